//! Connections that break while a payload is brought, and what they leave running on the machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use support::payload;
use virtmark_fleet::map::{HostMap, Machine};
use virtmark_fleet::{
    End, Failure, FailureKind, Job, Limit, MachineRun, Need, Output, ResultsDir, Session, Source, Stage,
    Stream, Transport, run,
};
use virtmark_hypervisor::Cancel;

/// A machine that is this host, and a way to it that breaks.
#[derive(Clone, Default)]
struct Breaking(Arc<State>);

#[derive(Default)]
struct State {
    /// In which stages the connection breaks: each time at the end of its first script, of which nobody hears.
    breaks: Mutex<Vec<Stage>>,
    uploaded: Mutex<Vec<String>>,
}

impl Breaking {
    fn under(stages: &[Stage]) -> Self {
        let breaking = Self::default();
        *breaking.0.breaks.lock().unwrap() = stages.to_vec();
        breaking
    }

    fn breaks(&self, stage: Stage) -> Result<(), Failure> {
        let mut breaks = self.0.breaks.lock().unwrap();
        match breaks.iter().position(|other| *other == stage) {
            Some(at) => {
                breaks.remove(at);
                Err(Failure::new(FailureKind::Lost, "the connection broke"))
            }
            None => Ok(()),
        }
    }
}

impl Transport for Breaking {
    fn name(&self) -> &'static str {
        "breaking"
    }

    fn open(&self, _: &Machine, _: &Limit, _: &Limit) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Session for Breaking {
    fn put(&mut self, source: &Source, path: &str, _: &Limit) -> Result<(), Failure> {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        fs::copy(&source.path, path).unwrap();
        let mut uploaded = self.0.uploaded.lock().unwrap();
        // The script of an upload that was lost removes its file when it ends, which may be now.
        for before in uploaded.iter() {
            let _ = fs::remove_file(before);
        }
        uploaded.push(path.to_owned());
        self.breaks(Stage::Upload)
    }

    fn exec(&mut self, script: &str, _: &Limit, output: &mut dyn Output) -> Result<End, Failure> {
        let told = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
        output.take(Stream::Stdout, &told.stdout).unwrap();
        output.take(Stream::Stderr, &told.stderr).unwrap();
        if script.contains("tar -x") {
            self.breaks(Stage::Unpack)?;
        }
        Ok(End::Exited(told.status.code().unwrap()))
    }
}

/// Runs the payload; nothing that was carried to the machine may be left there.
fn run_over(way: &Breaking, file: &Path, parent: &Path) -> MachineRun {
    let root = parent.join("far root");
    let job = Job {
        id: "vmrun-test".into(),
        source: Source::read(file).unwrap(),
        root: root.to_str().unwrap().into(),
        variables: BTreeMap::new(),
        tools: Vec::new(),
        absolute_paths: false,
        need: Need::All,
        ready_time: None,
        transfer_time: None,
        run_time: None,
        retries: 2,
        parallel: NonZeroUsize::MIN,
    };
    let map = HostMap::from_bytes(b"10.0.0.1 vm-0", "map").unwrap();
    let results = ResultsDir::create(&parent.join("results"), &job.id).unwrap();
    let run = run(&map, &job, way, &results, &(), &Cancel::new()).remove(0);
    let left = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.contains("vmrun-test")).collect();
    assert!(left.is_empty(), "{left:?}");
    run
}

#[test]
fn an_upload_that_was_lost_does_not_take_the_next_one_away() {
    let here = tempfile::tempdir().unwrap();
    let way = Breaking::under(&[Stage::Upload, Stage::Upload]);
    let run = run_over(&way, &payload(here.path(), "echo", "exit 0", b""), here.path());
    assert!(run.succeeded, "{run:?}");
    assert_eq!(run.stage(Stage::Upload).unwrap().attempts, 3);
    let uploaded = way.0.uploaded.lock().unwrap();
    let names: Vec<_> = uploaded.iter().map(|path| path.rsplit_once('/').unwrap().1).collect();
    assert_eq!(names, [".vmrun-test-vm-0.tgz", ".vmrun-test-vm-0+2.tgz", ".vmrun-test-vm-0+3.tgz"]);
}

#[test]
fn what_was_unpacked_unheard_is_unpacked_again() {
    let here = tempfile::tempdir().unwrap();
    let way = Breaking::under(&[Stage::Unpack]);
    let run = run_over(&way, &payload(here.path(), "echo", "exit 0", b""), here.path());
    assert!(run.succeeded, "{run:?}");
    assert_eq!(
        (run.stage(Stage::Upload).unwrap().attempts, run.stage(Stage::Unpack).unwrap().attempts),
        (1, 2)
    );
}

#[test]
fn what_cannot_be_unpacked_is_removed() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("none.tgz");
    fs::write(&file, "this is no archive").unwrap();
    let run = run_over(&Breaking::under(&[Stage::Upload]), &file, here.path());
    let failure = run.failure.unwrap();
    assert_eq!(
        (failure.kind, run.failed_stage),
        (FailureKind::UnpackFailed, Some(Stage::Unpack)),
        "{failure}"
    );
}
