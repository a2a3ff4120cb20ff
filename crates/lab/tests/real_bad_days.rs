//! What goes wrong with a lab that has to boot for it: one message with its cause, and nothing left.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtmark_driver_qemu::Program;
use virtmark_host::process::live_children;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_host::signals;
use virtmark_image::Store;
use virtmark_lab::{Client, Error, Lab, LabOptions, Outcome, Owner, Place};

const PATIENCE: Duration = Duration::from_secs(30);

/// A place for everything that a lab has while it runs. Short, so that run directories fit.
fn place() -> TempDir {
    tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap()
}

fn run_dir(place: &TempDir) -> Arc<RunDir> {
    let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
    Arc::new(RunDir::create_in(roots).unwrap())
}

/// A small lab with the disks that are there anyway.
fn options() -> LabOptions {
    LabOptions { memory_bytes: 1 << 30, ..LabOptions::new(Store::default_dir().unwrap()) }
}

/// A QEMU of this name in `place` that does `lines` before the machine starts.
fn qemu(place: &TempDir, lines: &str) -> PathBuf {
    let path = place.path().join("qemu");
    let real = Program::find(None).unwrap().path;
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in --version|*'-monitor stdio'*) exec {0} \"$@\";; esac\n{lines}\nexec {0} \"$@\"\n",
        real.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(20));
    }
}

fn kill(signal: &str, pid: impl std::fmt::Display) {
    assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}

/// The program. Shells have what they start in the background ignore Ctrl-C, which tests may be as well.
fn virtmark() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT");
    command.arg(std::env::var("LAB_VIRTMARK").expect("make lab-test names the program"));
    command
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// The end of a process that was interrupted.
fn ended(mut child: Child) -> Output {
    wait_for(|| child.try_wait().unwrap().is_some());
    child.wait_with_output().unwrap()
}

#[test]
#[ignore = "boots a lab: make lab-test"]
fn real_a_kernel_without_kvm_amd_is_told() {
    let place = place();
    // The kernel then has no such module, whatever its file says.
    let lines = "for word; do shift; case $word in console=*) word=\"$word module_blacklist=kvm_amd\";; esac
        set -- \"$@\" \"$word\"; done";
    let options = LabOptions { qemu: Some(qemu(&place, lines)), ..options() };
    let Err(error) = Lab::start(&options, run_dir(&place), &mut |_| {}) else { panic!("it has KVM") };
    assert!(matches!(error, Error::NoKvm { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("the lab has no working KVM: ") && text.contains("kvm_amd"), "{text}");
    assert!(live_children().is_empty());
}

#[test]
#[ignore = "boots a lab: make lab-test"]
fn real_a_lab_that_dies_in_the_middle_of_a_command_is_told() {
    let (place, cache) = (place(), place());
    let at = Place::in_cache(cache.path());
    let owner =
        Owner::start(&at, &options(), Duration::from_secs(600), run_dir(&place), &mut |_| {}).unwrap();
    let interrupt = signals::install().unwrap();
    let serving = thread::spawn(move || owner.serve(&interrupt, || {}).unwrap());
    let client = Client::new(at);
    wait_for(|| client.status().is_ok());
    let asking = thread::spawn({
        let client = client.clone();
        move || {
            let argv = ["/bin/sh", "-c", "echo begun; sleep 600"].map(String::from);
            let mut stdout = Begun::default();
            let begun = stdout.0.clone();
            let asking = thread::spawn(move || {
                client.exec(&argv, &Default::default(), b"", None, &mut stdout, &mut Vec::new())
            });
            wait_for(|| begun.load(std::sync::atomic::Ordering::Acquire));
            for child in live_children() {
                kill("KILL", child.pid);
            }
            asking.join().unwrap()
        }
    });
    let error = asking.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("the lab ended during a command: ") && text.contains("lab/log"), "{text}");
    let why = serving.join().unwrap();
    assert!(why.starts_with("the machine ended by itself"), "{why}");
    assert!(matches!(client.status(), Err(Error::Absent)));
    assert!(live_children().is_empty());
    let left: Vec<_> = fs::read_dir(place.path().join("run")).into_iter().flatten().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
}

/// Tells that something was written.
#[derive(Default)]
struct Begun(Arc<std::sync::atomic::AtomicBool>);

impl std::io::Write for Begun {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.store(true, std::sync::atomic::Ordering::Release);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_a_second_lab_is_refused() {
    let output = virtmark().args(["lab", "up"]).output().unwrap();
    let text = words(&output);
    assert!(!output.status.success());
    assert!(text.starts_with("virtmark: a lab is running already (its owner is process "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(virtmark().args(["lab", "status"]).output().unwrap().status.success());
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_an_interrupted_command_ends_in_the_lab() {
    let client = Client::new(Place::in_cache(&Store::default_dir().unwrap()));
    // It writes nothing by which it could notice.
    let runs = || {
        let argv = ["pgrep", "-f", "sleep 9876"].map(String::from);
        let outcome =
            client.exec(&argv, &Default::default(), b"", None, &mut Vec::new(), &mut Vec::new()).unwrap();
        outcome == Outcome::Exited(0)
    };
    let mut command = virtmark();
    command.args(["lab", "exec", "--", "sleep", "9876"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for(runs);
    kill("INT", child.id());
    let output = ended(child);
    let interrupted = output.status.signal() == Some(2) || output.status.code() == Some(130);
    assert!(interrupted, "{:?} {}", output.status, words(&output));
    wait_for(|| !runs());
}

#[test]
#[ignore = "boots a lab: make lab-test"]
fn real_an_interrupted_start_leaves_nothing() {
    let apart = Apart::new();
    let child = apart.virtmark(&["lab", "up", "--memory", "1G", "--qemu", &apart.qemu]).spawn().unwrap();
    wait_for(|| apart.pid_file().exists());
    kill("INT", child.id());
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{}", words(&output));
    apart.assert_nothing_is_left();
}

#[test]
#[ignore = "boots a lab: make lab-test"]
fn real_a_newer_build_than_the_labs_copy_is_refused_and_a_killed_owner_leaves_nothing() {
    let apart = Apart::new();
    let program = apart.place.path().join("program");
    fs::write(&program, "old").unwrap();
    let share = format!("{}=bin/program", program.display());
    let up = ["lab", "up", "--memory", "1G", "--share", &share, "--qemu", &apart.qemu];
    let output = apart.virtmark(&up).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let exec = |options: &[&str]| {
        let arguments = [&["lab", "exec"], options, &["--", "cat", "/lab/bin/program"]].concat();
        apart.virtmark(&arguments).output().unwrap()
    };
    assert_eq!(exec(&[]).stdout, b"old");
    fs::write(&program, "newer").unwrap();
    let refused = exec(&[]);
    let text = words(&refused);
    assert_eq!((refused.status.code(), &*refused.stdout), (Some(1), &b""[..]), "{text}");
    assert!(text.starts_with("virtmark: the lab has an older copy of ") && text.contains("lab up"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(exec(&["--stale"]).stdout, b"old");
    let status = apart.virtmark(&["lab", "status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    kill("KILL", &status["owner_pid"]);
    // What a killed process leaves goes with the next run.
    wait_for(|| apart.machine_has_ended());
    assert!(apart.virtmark(&["lab", "where"]).output().unwrap().status.success());
    apart.assert_nothing_is_left();
}

/// A place for the lab of a whole program, with the disks that are there anyway.
struct Apart {
    place: TempDir,
    /// A QEMU that writes down its process.
    qemu: String,
}

impl Apart {
    fn new() -> Self {
        let place = place();
        let cache = place.path().join("cache");
        fs::create_dir_all(&cache).unwrap();
        let store = Store::default_dir().unwrap();
        for name in ["kernels", "volumes"] {
            symlink(store.join(name), cache.join(name)).unwrap();
        }
        // What it found out about KVM is not asked again.
        let _ = fs::copy(store.join("kvm-probe.json"), cache.join("kvm-probe.json"));
        let pid_file = place.path().join("pid");
        let qemu = qemu(&place, &format!("echo $$ > {0}.new; mv {0}.new {0}", pid_file.display()));
        Self { qemu: qemu.to_str().unwrap().into(), place }
    }

    fn pid_file(&self) -> PathBuf {
        self.place.path().join("pid")
    }

    fn virtmark(&self, arguments: &[&str]) -> Command {
        let mut command = virtmark();
        command.args(arguments).env("VIRTMARK_CACHE", self.place.path().join("cache"));
        command.env("VIRTMARK_RUN_DIR", self.place.path().join("run"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Whether or not this host's init has noticed yet.
    fn machine_has_ended(&self) -> bool {
        let pid = fs::read_to_string(self.pid_file()).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        fs::read_to_string(&stat).is_ok_and(|line| line.contains(") Z ")) || !stat.exists()
    }

    fn assert_nothing_is_left(&self) {
        wait_for(|| self.machine_has_ended());
        let run = self.place.path().join("run");
        let left: Vec<_> = fs::read_dir(run).into_iter().flatten().flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
        let status = self.virtmark(&["lab", "status"]).output().unwrap();
        assert!(words(&status).contains("no lab is running"), "{}", words(&status));
    }
}
