//! A host whose KVM works, as the tests see it: this one, or the lab that `lab/test.sh` has started.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use virtmark_host::rundir::RunDir;
use virtmark_image::{SharedFile, Store};
use virtmark_lab::{Choice, Client, Job, LabOptions, Outcome, Place, Where};

/// What the whole suite takes on a busy host, twice.
const LIMIT: Duration = Duration::from_secs(900);

/// Set where the tests run on this host, and the lab's are elsewhere.
const DIRECT_VARIABLE: &str = "LAB_DIRECT";

/// A host with KVM, and a directory there that is this test's own, `$WORK` of its lines.
pub struct KvmHost(Site);

enum Site {
    Lab { client: Client, work: String },
    ThisHost { work: TempDir },
}

/// How a line ended, and what it wrote.
pub struct Run {
    pub outcome: Outcome,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// What a line printed that succeeded.
    pub fn json(&self) -> Value {
        assert_eq!(self.outcome, Outcome::Exited(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl KvmHost {
    /// The host for the test of this name. A lab must have the files of this build.
    pub fn new(test: &str) -> Self {
        if std::env::var_os(DIRECT_VARIABLE).is_some() {
            let run_dir = Arc::new(RunDir::create().unwrap());
            let Choice { place, reason } =
                virtmark_lab::choose(&options(), &run_dir, &mut |line| eprintln!("{line}")).unwrap();
            assert_eq!(place, Where::ThisHost, "{DIRECT_VARIABLE} is for hosts whose KVM works: {reason}");
            // Short, so that run directories fit.
            let work = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
            return Self(Site::ThisHost { work });
        }
        let client = lab();
        client.check_current().unwrap();
        let host = Self(Site::Lab { client, work: format!("/tmp/{test}") });
        assert_eq!(host.run("rm -rf $WORK; mkdir $WORK").outcome, Outcome::Exited(0));
        host
    }

    /// Where it is.
    pub fn place(&self) -> Where {
        match self.0 {
            Site::Lab { .. } => Where::Lab,
            Site::ThisHost { .. } => Where::ThisHost,
        }
    }

    /// Runs a line for the shell there, which finds `virtmark` and `real_conformance`.
    pub fn run(&self, line: &str) -> Run {
        let (outcome, stdout, stderr) = match &self.0 {
            Site::Lab { client, work } => {
                let argv = ["/bin/sh", "-c", line].map(String::from);
                let env = environment("/lab/bin:/usr/sbin:/usr/bin:/sbin:/bin", work);
                let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
                let outcome = client.exec(&argv, &env, b"", Some(LIMIT), &mut stdout, &mut stderr).unwrap();
                (outcome, stdout, stderr)
            }
            Site::ThisHost { work } => {
                let path = std::env::var("PATH").unwrap_or_default();
                let job = Job {
                    files: programs(),
                    command: format!("PATH=$LAB_FILES/bin:$PATH; {line}"),
                    env: environment(&path, work.path().to_str().unwrap()),
                    timeout: LIMIT,
                };
                let output = virtmark_lab::run(&job, &options(), &mut |line| eprintln!("{line}")).unwrap();
                assert_eq!(output.place, Where::ThisHost);
                (output.outcome, output.stdout, output.stderr)
            }
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { outcome, stdout: text(stdout), stderr: text(stderr) }
    }

    /// The answers of `virtmark doctor`, which has an image to try KVM with.
    pub fn doctor(&self) -> Value {
        let built = self.run("virtmark image build tiny");
        assert_eq!(built.outcome, Outcome::Exited(0), "{}", built.stderr);
        let ask = || self.run("virtmark doctor --json").json();
        let checks = ask();
        let (status, words) = finding(&checks, "kvm");
        if self.place() == Where::Lab && status == "warning" && words.contains("did not reach user space in")
        {
            // A host outside that is busy with other things makes the guest late, and that is remembered.
            eprintln!("asking again: {words}");
            self.run("rm /root/.cache/virtmark/kvm-probe.json");
            return ask();
        }
        checks
    }

    /// The samples of the newest run in an archive there, all of which succeeded and whose phases add up.
    pub fn samples(&self, archive: &str) -> Vec<Value> {
        let run = self.run(&format!("virtmark export latest --archive {archive}")).json();
        let samples = run["samples"].as_array().unwrap().clone();
        for sample in &samples {
            assert_eq!(sample["outcome"], "success", "{sample:#}");
            let phases = sample["phases"].as_array().unwrap();
            let sum: u64 = phases.iter().map(|phase| phase["duration_ns"].as_u64().unwrap()).sum();
            assert_eq!(sum as f64, sample["value"].as_f64().unwrap(), "{sample:#}");
            assert!(!phases.is_empty(), "{sample:#}");
        }
        assert!(!samples.is_empty());
        samples
    }
}

/// One finding of `virtmark doctor --json`: its status and its words.
pub fn finding<'a>(checks: &'a Value, id: &str) -> (&'a str, &'a str) {
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    (check["status"].as_str().unwrap(), check["finding"].as_str().unwrap())
}

/// The way to the lab that runs.
pub fn lab() -> Client {
    Client::new(Place::in_cache(&Store::default_dir().unwrap()))
}

/// A small lab with the disks that are there anyway.
pub fn options() -> LabOptions {
    LabOptions { memory_bytes: 1 << 30, ..LabOptions::new(Store::default_dir().unwrap()) }
}

/// The file that `lab/test.sh` names so.
pub fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("lab/test.sh sets {variable}")).into()
}

fn programs() -> Vec<SharedFile> {
    [("LAB_VIRTMARK", "bin/virtmark"), ("LAB_CONFORMANCE", "bin/real_conformance")]
        .map(|(variable, path)| SharedFile { source: named(variable), path: path.into() })
        .into()
}

fn environment(path: &str, work: &str) -> BTreeMap<String, String> {
    [("PATH", path), ("NO_COLOR", "1"), ("WORK", work)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
