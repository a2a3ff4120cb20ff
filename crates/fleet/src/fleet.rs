//! All machines at once.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use virtmark_hypervisor::Cancel;

use crate::gate::Gate;
pub(crate) use crate::gate::Places;
use crate::life::{Common, live};
use crate::map::{HostMap, Machine};
use crate::outcome::{MachineRun, Stage};
use crate::results::ResultsDir;
use crate::transport::Transport;
use crate::{Failure, FailureKind, Job};

/// Is told what happens, from the threads of the machines.
pub trait Watch: Sync {
    /// A machine is in this stage now.
    fn stage(&self, machine: &Machine, stage: Stage) {
        let _ = (machine, stage);
    }

    /// A machine did not answer, and is tried again.
    fn waiting(&self, machine: &Machine, failure: &Failure) {
        let _ = (machine, failure);
    }

    /// A machine is done. Called once for each, one at a time.
    fn done(&self, run: &MachineRun) {
        let _ = run;
    }
}

/// Nobody is told.
impl Watch for () {}

/// How the machines fared together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The payload succeeded on every machine.
    AllSucceeded,
    /// Too few machines were ready: the payload was run nowhere.
    NotReady,
    /// It ran, and succeeded nowhere.
    NoneSucceeded,
    /// It succeeded on some machines.
    SomeSucceeded,
}

impl Verdict {
    /// Of the runs of all machines.
    pub fn of(machines: &[MachineRun]) -> Self {
        let succeeded = machines.iter().filter(|run| run.succeeded).count();
        let begun = machines.iter().any(|run| run.stages.iter().any(|time| time.stage > Stage::Ready));
        match succeeded {
            count if count == machines.len() => Self::AllSucceeded,
            0 if !begun => Self::NotReady,
            0 => Self::NoneSucceeded,
            _ => Self::SomeSucceeded,
        }
    }
}

/// Runs a payload on all machines of the map and brings everything home.
///
/// Whatever happens to one machine is in its own entry, in the order of the map, and costs no other its result. After
/// `cancel` every stage ends soon, what runs on machines is killed, and what came home is kept.
pub fn run(
    map: &HostMap,
    job: &Job,
    transport: &dyn Transport,
    results: &ResultsDir,
    watch: &dyn Watch,
    cancel: &Cancel,
) -> Vec<MachineRun> {
    let machines = map.machines();
    let gate = Gate::new(machines.len(), job.need.count(machines.len()));
    let places = Places::new(job.parallel.get());
    let started = Instant::now();
    let common = Common { job, transport, results, watch, cancel, gate: &gate, places: &places, started };
    let telling = Mutex::new(());
    let one = |machine: &Machine| {
        let run = live(&common, machine);
        let _one_at_a_time = telling.lock().unwrap_or_else(PoisonError::into_inner);
        watch.done(&run);
        run
    };
    thread::scope(|scope| {
        let threads: Vec<_> = machines
            .iter()
            .map(|machine| {
                let named = thread::Builder::new().name(format!("machine {}", machine.name));
                let spawned = named.spawn_scoped(scope, || one(machine));
                if spawned.is_err() {
                    // It never will be.
                    drop(gate.ticket());
                }
                (machine, spawned)
            })
            .collect();
        threads
            .into_iter()
            .map(|(machine, spawned)| {
                let failure = match spawned.map(|thread| thread.join()) {
                    Ok(Ok(run)) => return run,
                    Ok(Err(_)) => "its thread panicked; this is an error of virtmark".to_owned(),
                    Err(error) => format!("cannot start a thread: {error}"),
                };
                let mut run = MachineRun::new(machine.clone());
                run.failure = Some(Failure::new(FailureKind::Other, failure));
                run
            })
            .collect()
    })
}

/// As many at a time as there are machines.
pub fn all_at_once(map: &HostMap) -> NonZeroUsize {
    NonZeroUsize::new(map.machines().len()).unwrap_or(NonZeroUsize::MIN)
}
