//! What a run ran on, taken before it and completed after it.

use virtmark_host::facts::{harness_cost, host_facts, steal_ns};
use virtmark_model::{Environment, HarnessCost, HypervisorFacts, ProgramFacts};

use crate::platform::Platform;

/// The counters at the start of a run.
pub(crate) struct Meter {
    steal_ns: Option<u64>,
    cpu_ns: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { steal_ns: steal_ns(), cpu_ns: harness_cost(0).cpu_ns }
    }

    /// Completes the environment with what the run took.
    pub(crate) fn finish(&self, environment: &mut Environment, iterations: u64) {
        environment.steal_ns = match (self.steal_ns, steal_ns()) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        let cost = harness_cost(iterations);
        environment.harness = Some(HarnessCost { cpu_ns: cost.cpu_ns.saturating_sub(self.cpu_ns), ..cost });
    }
}

/// Everything that is known before the first measurement.
pub(crate) fn before(platform: &Platform) -> Environment {
    Environment { image: platform.image_facts.clone(), ..of(platform.hypervisor.facts().clone()) }
}

/// The same of machines that somebody else made.
pub(crate) fn of(hypervisor: HypervisorFacts) -> Environment {
    Environment {
        host: host_facts(),
        hypervisor,
        image: None,
        virtmark: program(),
        steal_ns: None,
        harness: None,
    }
}

fn program() -> ProgramFacts {
    let commit = Some(env!("VIRTMARK_COMMIT")).filter(|commit| !commit.is_empty());
    ProgramFacts { version: env!("CARGO_PKG_VERSION").into(), commit: commit.map(Into::into) }
}
