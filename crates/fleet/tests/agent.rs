//! Payloads on machines through their agent: the same stages and the same results, without network and SSH.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use support::payload;
use tempfile::TempDir;
use virtmark_driver_native::Native;
use virtmark_fleet::map::HostMap;
use virtmark_fleet::{
    AgentTransport, FailureKind, Job, MachineRun, Need, ResultsDir, Source, Stage, Verdict, run,
};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{Cancel, Hypervisor, Machine, MachineSpec};

/// Machines with an agent, and a map that has one more.
struct Lab {
    place: TempDir,
    machines: Vec<Box<dyn Machine>>,
    cancel: Cancel,
}

impl Lab {
    fn new(count: usize) -> Self {
        let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
        let native = Native::new(Arc::new(RunDir::create_in(roots).unwrap())).unwrap();
        let start = |at: usize| {
            let (mut machine, _) = native.create(&spec(&format!("vm-{at}"))).unwrap();
            machine.start().unwrap();
            machine
        };
        Self { machines: (0..count).map(start).collect(), place, cancel: Cancel::new() }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// All machines are this host: with more than one, they would unpack over each other.
    fn job(&self, file: &Path) -> Job {
        Job {
            id: "kvbench-test".into(),
            source: Source::read(file).unwrap(),
            root: self.path().join("it's root").to_str().unwrap().into(),
            variables: BTreeMap::from([("ROUNDS".to_owned(), "3 'x'".to_owned())]),
            tools: vec!["sh".into()],
            absolute_paths: false,
            need: Need::AtLeast(NonZeroUsize::MIN),
            ready_time: Some(Duration::from_secs(30)),
            transfer_time: Some(Duration::from_secs(60)),
            run_time: Some(Duration::from_secs(60)),
            retries: 0,
            parallel: NonZeroUsize::MIN,
        }
    }

    fn run(&self, job: &Job, names: &str) -> (Vec<MachineRun>, ResultsDir) {
        let links =
            (0..).zip(&self.machines).map(|(at, machine)| (format!("vm-{at}"), machine.guest().unwrap()));
        let transport = AgentTransport::new(links);
        let map = HostMap::from_bytes(names.as_bytes(), "map").unwrap();
        let parent = tempfile::tempdir_in(self.path()).unwrap().keep();
        let results = ResultsDir::create(&parent, &job.id).unwrap();
        (run(&map, job, &transport, &results, &(), &self.cancel), results)
    }

    /// A job whose payload has no end: a pipe that goes on when `go_on` returns.
    fn endless(&self, go_on: impl FnOnce() + Send + 'static) -> Job {
        let path = self.path().join("endless");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut job = self.job(&payload(self.path(), "echo", "exit 0", b""));
        job.source = Source { path: path.clone(), bytes: 1 << 40, ..job.source };
        // It ends with the test, if nobody ever opens the pipe.
        thread::spawn(move || {
            let mut pipe = File::options().write(true).open(path).unwrap();
            let piece = vec![0; 1 << 20];
            pipe.write_all(&piece).unwrap();
            go_on();
            // Until the reader is gone.
            while pipe.write_all(&piece).is_ok() {}
        });
        job
    }
}

fn spec(name: &str) -> MachineSpec {
    MachineSpec {
        name: name.into(),
        vcpus: 1,
        memory_bytes: 128 << 20,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(20),
    }
}

#[test]
fn the_stages_and_the_results_are_the_same() {
    let lab = Lab::new(1);
    let script = "printf '\\377 %s\\n' \"$ROUNDS\"; echo $BENCH_ROOT >&2; echo 'virtmark: metric a 1.5 s'";
    let file = payload(lab.path(), "echo", script, &support::noise(3 << 20));
    let job = lab.job(&file);
    let (runs, results) = lab.run(&job, "10.0.0.1 vm-0\n10.0.0.2 vm-9\n");
    assert_eq!(Verdict::of(&runs), Verdict::SomeSucceeded, "{runs:?}");
    let stages: Vec<Stage> = runs[0].stages.iter().map(|time| time.stage).collect();
    assert_eq!(stages, [Stage::Ready, Stage::Upload, Stage::Unpack, Stage::Run, Stage::Collect]);
    let stdout = fs::read(results.machine("vm-0").join("stdout")).unwrap();
    assert_eq!(stdout, b"\xff 3 'x'\nvirtmark: metric a 1.5 s\n");
    let stderr = fs::read_to_string(results.machine("vm-0").join("stderr")).unwrap();
    assert_eq!(stderr, format!("{}\n", job.root));
    assert_eq!(runs[0].results.metrics[0].value, 1.5);
    assert!(runs[1].failure.as_ref().unwrap().message.contains("no link to the agent of vm-9"));
}

#[test]
fn a_payload_that_hangs_or_fails_is_told_as_over_ssh() {
    let lab = Lab::new(1);
    let file = payload(lab.path(), "hang", "echo first; PATH=/bin:/usr/bin; sleep 987", b"");
    let mut job = lab.job(&file);
    job.run_time = Some(Duration::from_secs(2));
    let (runs, results) = lab.run(&job, "10.0.0.1 vm-0\n");
    let failure = runs[0].failure.as_ref().unwrap();
    assert_eq!((failure.kind, runs[0].failed_stage), (FailureKind::TimedOut, Some(Stage::Run)));
    assert_eq!(fs::read_to_string(results.machine("vm-0").join("stdout")).unwrap(), "first\n");

    let file = payload(lab.path(), "fail", "echo why >&2; exit 7", b"");
    let (runs, _) = lab.run(&lab.job(&file), "10.0.0.1 vm-0\n");
    assert_eq!((runs[0].exit_code, Verdict::of(&runs)), (Some(7), Verdict::NoneSucceeded));
}

#[test]
fn an_upload_ends_with_the_wish_to_stop() {
    let lab = Lab::new(1);
    let cancel = lab.cancel.clone();
    let (runs, _) = lab.run(&lab.endless(move || cancel.cancel()), "10.0.0.1 vm-0\n");
    let failure = runs[0].failure.as_ref().unwrap();
    assert_eq!((failure.kind, runs[0].failed_stage), (FailureKind::Interrupted, Some(Stage::Upload)));
    assert_eq!(failure.message, "stopped during the upload");
    // Nothing of it stays, as soon as the agent has heard.
    let until = Instant::now() + Duration::from_secs(20);
    while fs::read_dir(lab.path().join("it's root")).unwrap().count() > 0 {
        assert!(Instant::now() < until, "what came is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_upload_ends_with_its_time() {
    const TIME: Duration = Duration::from_secs(1);
    let lab = Lab::new(1);
    let mut job = lab.endless(|| thread::sleep(2 * TIME));
    job.transfer_time = Some(TIME);
    let (runs, _) = lab.run(&job, "10.0.0.1 vm-0\n");
    let failure = runs[0].failure.as_ref().unwrap();
    assert_eq!((failure.kind, runs[0].failed_stage), (FailureKind::TimedOut, Some(Stage::Upload)));
    assert!(failure.message.contains("did not end in time"), "{failure}");
}
