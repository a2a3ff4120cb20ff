//! A platform without machines, for the logic of modes, failures and interrupts.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use virtmark_hypervisor::{Error, Hypervisor, MachineSpec};
use virtmark_model::{Environment, Run, RunId, RunStatus};

pub use fake::{Fake, FakeMachine, Fault, Shared};
pub use watch::{Noting, Watcher};

pub fn spec() -> MachineSpec {
    MachineSpec {
        name: "template".into(),
        vcpus: 1,
        memory_bytes: 64 << 20,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(1),
    }
}

pub fn run(scenario: &str, configuration: serde_json::Value, hypervisor: &dyn Hypervisor) -> Run {
    let started_at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    Run {
        id: RunId::new(scenario, started_at, 1),
        scenario: scenario.into(),
        started_at,
        finished_at: None,
        status: RunStatus::Complete,
        configuration,
        environment: Environment { hypervisor: hypervisor.facts().clone(), ..Default::default() },
    }
}

pub fn silent() -> Error {
    Error::GuestSilent { machine: "m".into(), timeout: Duration::from_secs(1), console: String::new() }
}

pub fn missing() -> Error {
    Error::HypervisorMissing { program: "x".into(), reason: "not there".into(), remedy: "install it".into() }
}

pub fn lost() -> Error {
    Error::AgentLost {
        machine: "m".into(),
        request: "a command".into(),
        reason: "end of stream".into(),
        console: String::new(),
    }
}
