//! What a sweep is asked to do, as it goes on record.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use virtmark_load::TargetSpec;

use super::schedule::{self, Step};

/// What a sweep is asked to do. It is in every row that it writes, and a sweep is gone on with as the same only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// What is called in the column `plan`: the name of a plan, a URL, a command line.
    pub name: String,
    /// What is driven.
    pub target: Driven,
    /// Where it runs.
    pub location: Location,
    /// Virtual CPUs, a machine for each size; 0 where a service decides.
    pub vcpus: Vec<u32>,
    /// Memory of a machine in bytes; none where nothing limits it.
    pub memory_bytes: Option<u64>,
    /// The levels.
    pub load: Load,
    /// How long each run measures.
    pub duration_ms: u64,
    /// How often each level is measured.
    pub runs: u32,
    /// Requests before each run that do not count.
    pub warmup: u64,
    /// Threads that calculate; as many as there are virtual CPUs unless it is said.
    pub cpu_threads: Option<u32>,
    /// Threads that wait.
    pub io_threads: u32,
    /// After which a request is given up.
    pub request_timeout_ms: u64,
    /// After which a whole run is killed, warm-up included.
    pub timeout_ms: u64,
    /// Puts the levels of each repeat in a random order, always the same for one seed.
    pub order_seed: Option<u64>,
    /// What a level has to keep, such as `p99<20ms,errors<0.1%`.
    pub slo: Option<String>,
    /// Whether the guard rails are off.
    pub unsafe_limits: bool,
    /// Files that are put beside the target.
    pub uploads: Vec<Brought>,
    /// The program beside the target, with its arguments.
    pub service: Option<Vec<String>>,
    /// The port on which that listens when it is ready.
    pub service_port: Option<u16>,
    /// A dump with the data of the Redis that a plan reads; without one it is the built-in plan's.
    pub redis_data: Option<Brought>,
    /// The options of the machines, or of the service.
    pub machine: Value,
}

/// A file of this host that goes to where the target runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Here.
    pub source: PathBuf,
    /// There.
    pub path: String,
    /// Of its content.
    pub sha256: String,
}

/// What is driven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Driven {
    /// What the load generator's program calls, beside it in the machine.
    Generator {
        /// The target; its threads are those of the plan of the sweep.
        spec: TargetSpec,
    },
    /// A sandbox service, driven from here.
    Service {
        /// The service.
        endpoint: String,
        /// What a sandbox runs, for its shell.
        command: String,
        /// What one request is.
        per_request: PerRequest,
    },
}

/// What one request to a sandbox service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerRequest {
    /// One command in a sandbox that is there; each worker has its own.
    Exec,
    /// A sandbox's whole life: create, one command, destroy.
    Life,
}

/// Where a target runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// On the bare host, held to the size as far as the host permits.
    Native,
    /// Elsewhere: a service.
    Service,
    /// In a machine of the size.
    Vm,
}

/// How requests come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub enum Load {
    /// Each worker calls again as soon as it has its answer.
    Closed {
        /// Workers of each level.
        concurrency: Vec<u32>,
    },
    /// At fixed times, whether or not those before have been answered.
    Open {
        /// Requests each second of each level.
        rates_per_second: Vec<f64>,
        /// Most requests at once.
        in_flight: u32,
    },
}

impl SweepPlan {
    /// How long each run measures.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// After which a whole run is killed.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// After which a request is given up.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// All runs, in order.
    pub fn steps(&self) -> Vec<Step> {
        schedule::steps(self)
    }

    /// The target as the load generator's program gets it on a machine of this size; none for a service.
    pub fn spec(&self, vcpus: u32) -> Option<TargetSpec> {
        let Driven::Generator { spec } = &self.target else { return None };
        let threads = |count: u32| NonZeroUsize::new(count as usize).unwrap_or(NonZeroUsize::MIN);
        let mut spec = spec.clone();
        match &mut spec {
            TargetSpec::Command(_) => {}
            TargetSpec::Http(http) => http.threads = Some(threads(self.threads(vcpus))),
            TargetSpec::Plan(plan) => {
                plan.cpu_threads = threads(self.threads(vcpus));
                plan.io_threads = threads(self.io_threads);
            }
        }
        Some(spec)
    }

    /// Threads that calculate, on a machine of this size.
    pub fn threads(&self, vcpus: u32) -> u32 {
        self.cpu_threads.unwrap_or(vcpus).max(1)
    }

    /// Whether the target is a plan that reads a Redis which nobody has named, so that one has to be brought.
    pub fn wants_redis(&self) -> bool {
        match &self.target {
            Driven::Generator { spec: TargetSpec::Plan(plan) } if plan.redis.is_none() => {
                virtmark_plan::Plan::parse(&plan.plan).is_ok_and(|plan| !plan.is_offline())
            }
            _ => false,
        }
    }

    /// Whether a plan's nodes overlap; none where no plan is driven.
    pub fn is_async(&self) -> Option<bool> {
        match &self.target {
            Driven::Generator { spec: TargetSpec::Plan(plan) } => Some(plan.is_async),
            _ => None,
        }
    }

    /// As it stands in every row.
    pub fn settings(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(settings)) => settings,
            // Its types have no form that JSON lacks; a rate that is no number was refused with the command line.
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A harmless sweep.
    pub(in crate::sweep) fn small() -> SweepPlan {
        let spec = serde_json::json!({
            "kind": "plan", "plan": "{}", "async": true, "cpu_threads": 1, "io_threads": 1,
        });
        SweepPlan {
            name: "concat_plan".into(),
            target: Driven::Generator { spec: serde_json::from_value(spec).unwrap() },
            location: Location::Vm,
            vcpus: vec![4],
            memory_bytes: Some(512 << 20),
            load: Load::Closed { concurrency: vec![1, 2, 4] },
            duration_ms: 10_000,
            runs: 1,
            warmup: 100,
            cpu_threads: None,
            io_threads: 32,
            request_timeout_ms: 5_000,
            timeout_ms: 60_000,
            order_seed: None,
            slo: None,
            unsafe_limits: false,
            uploads: Vec::new(),
            service: None,
            service_port: None,
            redis_data: None,
            machine: Value::Null,
        }
    }

    #[test]
    fn the_settings_of_a_row_are_the_whole_plan() {
        let mut plan = small();
        plan.load = Load::Open { rates_per_second: vec![0.1, 100.0], in_flight: 64 };
        plan.order_seed = Some(u64::MAX);
        let text = serde_json::to_string(&plan.settings()).unwrap();
        assert_eq!(serde_json::from_str::<SweepPlan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_calculates_on_as_many_threads_as_there_are_cpus() {
        let threads = |plan: &SweepPlan, vcpus| match plan.spec(vcpus) {
            Some(TargetSpec::Plan(plan)) => (plan.cpu_threads.get(), plan.io_threads.get()),
            other => panic!("{other:?}"),
        };
        assert_eq!(threads(&small(), 6), (6, 32));
        assert_eq!(threads(&SweepPlan { cpu_threads: Some(2), ..small() }, 6), (2, 32));
    }
}
