//! A stop in every stage: the stage ends soon, and what came home until then is kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lab.rs"]
mod lab;
mod support;

use std::fs;
use std::time::{Duration, Instant};

use lab::{Lab, kind};
use support::payload;
use virtmark_fleet::map::Machine;
use virtmark_fleet::{FailureKind, Stage, Watch};
use virtmark_hypervisor::Cancel;

/// Stops when a machine is in this stage.
struct StopIn {
    stage: Stage,
    cancel: Cancel,
}

impl Watch for StopIn {
    fn stage(&self, _: &Machine, stage: Stage) {
        if stage == self.stage {
            self.cancel.cancel();
        }
    }
}

fn stopped_in(stage: Stage) {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let script = match stage {
        Stage::Collect => "echo 'virtmark: metric early 1 s'",
        _ => "PATH=/bin:/usr/bin; sleep 987",
    };
    let file = payload(lab.path(), "work", script, b"");
    let job = lab.job(&file);
    let begun = Instant::now();
    let (runs, results) =
        lab.run_watched(&lab::map(&servers), &job, &StopIn { stage, cancel: lab.cancel.clone() });
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let directory = results.machine("vm-0");
    assert!(directory.join("result.json").exists());
    assert_eq!(runs[0].stages.last().map(|time| time.stage), Some(stage));
    if stage == Stage::Collect {
        // Everything had been done: it is brought to its end.
        assert!(runs[0].succeeded && runs[0].results.metrics.len() == 1, "{:?}", runs[0]);
        assert!(fs::read_to_string(results.result_file()).unwrap().contains("early"));
        return;
    }
    assert_eq!((kind(&runs[0]), runs[0].failed_stage), (Some(FailureKind::Interrupted), Some(stage)));
    let errors = fs::read_to_string(results.errors_file()).unwrap();
    assert!(errors.starts_with("### vm-0\nvirtmark: stopped "), "{errors}");
}

#[test]
fn while_a_machine_is_waited_for() {
    stopped_in(Stage::Ready);
}

#[test]
fn while_the_payload_is_sent() {
    stopped_in(Stage::Upload);
}

#[test]
fn while_it_is_unpacked() {
    stopped_in(Stage::Unpack);
}

#[test]
fn while_it_runs() {
    stopped_in(Stage::Run);
}

#[test]
fn while_its_output_is_collected() {
    stopped_in(Stage::Collect);
}
