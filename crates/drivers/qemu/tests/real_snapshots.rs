//! Bad days of snapshots, with real machines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use virtmark_host::process::live_children;
use virtmark_hypervisor::{Command, Disk, Hypervisor, Machine, MachineSpec};
use virtmark_model::FailureClass;

use common::{Place, roots, start_to_be_killed};

/// What a line prints in the guest, where it must succeed.
fn run(machine: &dyn Machine, line: &str) -> String {
    let output = machine.guest().unwrap().exec(&Command::shell(line)).unwrap();
    assert!(output.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf, bytes: u64) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mut mount = Process::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&path);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self { path })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Process::new("umount").arg("--lazy").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.path.display());
    }
}

/// Once while the guest runs, and once when its state is taken apart afterwards.
#[test]
fn real_a_disk_that_is_full_leaves_a_restored_machine_running_and_nothing_else() {
    let place = Place::new();
    let mut source = place.started(&place.spec("source"));
    run(&*source, "dd if=/dev/urandom of=/tmp/large bs=1M count=32 2>/dev/null");
    let (first, _) = source.snapshot(&place.path("first")).unwrap();
    drop(source);
    let (mut machine, _) = place.qemu.restore(&first, &place.spec("restored")).unwrap();
    for (name, bytes) in [("live", 16 << 20), ("apart", first.disk_bytes * 3 / 2)] {
        let Some(disk) = SmallDisk::mount(place.path(name), bytes) else {
            return eprintln!("skipped: nothing can be mounted here");
        };
        let error = machine.snapshot(&disk.path.join("second")).unwrap_err();
        assert_eq!(error.class(), FailureClass::DiskFull, "{error}");
        assert!(error.to_string().contains("second"), "{error}");
        assert_eq!(names_in(&disk.path), Vec::<String>::new());
        assert_eq!(place.others_than("restored"), Vec::<String>::new());
        assert_eq!(run(&*machine, "echo alive"), "alive\n");
    }
    let (second, _) = machine.snapshot(&place.path("second")).unwrap();
    assert_eq!(place.others_than("restored"), Vec::<String>::new());
    drop(machine);
    let (machine, _) = place.qemu.restore(&second, &place.spec("again")).unwrap();
    assert_eq!(run(&*machine, "stat -c %s /tmp/large"), format!("{}\n", 32 << 20));
}

#[test]
fn real_a_disk_kept_many_times_stays_shallow() {
    let place = Place::new();
    let disks = vec![Disk { name: "data".into(), size_bytes: 16 << 20 }];
    let spec = |name: &str| MachineSpec { disks: disks.clone(), ..place.spec(name) };
    let mut machine = place.started(&spec("source"));
    let mut snapshots = Vec::new();
    let mut depths = Vec::new();
    for number in 0..11 {
        // A place of its own for each, and one that all overwrite.
        let line = format!(
            "for at in {number} 15; do echo word-{number} | dd of=/dev/vda bs=1M seek=$at conv=sync,notrunc,fsync 2>/dev/null; done"
        );
        run(&*machine, &line);
        let directory = place.path(&format!("s{number}"));
        snapshots.push(machine.snapshot(&directory).unwrap().0);
        depths.push(names_in(&directory).iter().filter(|name| name.starts_with("disk-data.")).count());
    }
    assert!(
        depths.iter().all(|depth| *depth <= 9) && depths.windows(2).any(|two| two[1] < two[0]),
        "{depths:?}"
    );

    // What is below no more is open no more.
    let pid = live_children().into_iter().find(|child| child.name == "source").unwrap().pid;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let open: Vec<_> = open.filter(|path| path.to_string_lossy().contains("/data.")).collect();
    let left: BTreeSet<_> = open.iter().collect();
    assert!(left.len() <= depths[depths.len() - 1] + 1, "{left:?}");

    let expected = |last: usize| -> String {
        (0..=last).chain([last]).map(|number| format!("word-{number}\n")).collect()
    };
    let look = |machine: &dyn Machine, last: usize| {
        let line = format!(
            "echo 3 > /proc/sys/vm/drop_caches; for at in $(seq 0 {last}) 15; do dd if=/dev/vda bs=1M skip=$at count=1 2>/dev/null | head -n 1; done"
        );
        assert_eq!(run(machine, &line), expected(last));
    };
    look(&*machine, 10);
    drop(machine);
    for number in [0, 7, 8, 10] {
        let (machine, _) = place.qemu.restore(&snapshots[number], &spec("restored")).unwrap();
        look(&*machine, number);
    }

    // A machine that was restored with many layers is one of those that are put together.
    let (mut machine, _) = place.qemu.restore(&snapshots[7], &spec("restored")).unwrap();
    let (again, _) = machine.snapshot(&place.path("again")).unwrap();
    look(&*machine, 7);
    drop(machine);
    let (machine, _) = place.qemu.restore(&again, &spec("restored")).unwrap();
    look(&*machine, 7);
}

#[test]
fn real_memory_that_changed_between_two_restores_is_refused() {
    let place = Place::new();
    let mut source = place.started(&place.spec("source"));
    let (snapshot, _) = source.snapshot(&place.path("template")).unwrap();
    drop(source);
    for confined in [false, true] {
        let spec = MachineSpec { confined, ..place.spec("restored") };
        drop(place.qemu.restore(&snapshot, &spec).unwrap());
        let memory = File::options().read(true).write(true).open(snapshot.directory.join("memory")).unwrap();
        let mut byte = [0];
        memory.read_exact_at(&mut byte, 64 << 20).unwrap();
        memory.write_all_at(&[!byte[0]], 64 << 20).unwrap();
        let Err(error) = place.qemu.restore(&snapshot, &spec) else { panic!("it was restored") };
        assert!(error.to_string().contains("memory has the checksum"), "{error}");
        memory.write_all_at(&byte, 64 << 20).unwrap();
    }
    assert_eq!(place.others_than(""), Vec::<String>::new());
}

#[test]
fn real_a_virtmark_killed_while_it_keeps_a_machine_leaves_no_snapshot() {
    let victims = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let place = Place::new();
    let kept = place.path("kept");
    fs::create_dir(&kept).unwrap();
    let (mut victim, _) = start_to_be_killed(victims.path(), Some(&kept.join("s")));
    let pid = Pid::from_child(&victim);
    let deadline = Instant::now() + Duration::from_secs(60);
    let only_a_draft = || {
        let names = names_in(&kept);
        matches!(&names[..], [name] if name.starts_with(".partial-s-") && kept.join(name).join("memory").exists())
    };
    loop {
        assert!(Instant::now() < deadline, "no snapshot was being made: {:?}", names_in(&kept));
        // Stopped, so that what was seen still holds when it is killed.
        kill_process(pid, Signal::STOP).unwrap();
        if only_a_draft() {
            break;
        }
        kill_process(pid, Signal::CONT).unwrap();
        thread::sleep(Duration::from_millis(3));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(only_a_draft(), "{:?}", names_in(&kept));

    let mut machine = place.started(&place.spec("next"));
    let (snapshot, _) = machine.snapshot(&kept.join("s")).unwrap();
    assert_eq!(names_in(&kept), ["s"]);
    drop(machine);
    drop(place.qemu.restore(&snapshot, &place.spec("restored")).unwrap());
    let leftovers = roots(victims.path()).clean_leftovers();
    assert!(leftovers.iter().all(|leftover| leftover.problem.is_none()), "{leftovers:?}");
}
