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
    let place = place();
    let cache = place.path().join("cache");
    fs::create_dir_all(&cache).unwrap();
    // A place of its own, with the disks that are there anyway.
    let store = Store::default_dir().unwrap();
    for name in ["kernels", "volumes"] {
        symlink(store.join(name), cache.join(name)).unwrap();
    }
    let pid_file = place.path().join("pid");
    let qemu = qemu(&place, &format!("echo $$ > {0}.new; mv {0}.new {0}", pid_file.display()));
    let mut command = virtmark();
    command.args(["lab", "up", "--memory", "1G", "--qemu"]).arg(qemu);
    command.env("VIRTMARK_CACHE", &cache).env("VIRTMARK_RUN_DIR", place.path().join("run"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for(|| pid_file.exists());
    kill("INT", child.id());
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{}", words(&output));
    let pid = fs::read_to_string(&pid_file).unwrap();
    // Killed, whether or not this host's init has noticed yet.
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    wait_for(|| fs::read_to_string(&stat).is_ok_and(|line| line.contains(") Z ")) || !stat.exists());
    let left: Vec<_> = fs::read_dir(place.path().join("run")).into_iter().flatten().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
    let status = virtmark().args(["lab", "status"]).env("VIRTMARK_CACHE", &cache).output().unwrap();
    assert!(words(&status).contains("no lab is running"), "{}", words(&status));
}
