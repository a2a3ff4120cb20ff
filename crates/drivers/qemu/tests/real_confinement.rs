//! Confined machines, as the host's kernel sees them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_host::process::{FIRST_USER, GROUP, live_children};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::conformance::{Subject, Verdict, run};
use virtmark_hypervisor::{
    Command, Disk, Hypervisor, MachineSpec, MachineState, Migration, MigrationChannel, MigrationMode,
};
use virtmark_model::{Accelerator, FailureClass};

use common::{Place, interfaces_with, roots, start_to_be_killed};

fn confined(place: &Place, name: &str) -> MachineSpec {
    MachineSpec { snapshots: false, confined: true, ..place.spec(name) }
}

/// Fails where the VMM of this machine is less locked in than the driver says.
fn check(place: &Place, name: &str) {
    let pid = pid_of(name);
    let facts = place.qemu.confinement();
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    if facts.seccomp.holds {
        assert_eq!(status(pid, "Seccomp"), "2");
    }
    if rustix::process::geteuid().is_root() && facts.unprivileged_user.holds {
        let user = FIRST_USER + pid as u32;
        assert_eq!(status(pid, "Uid"), format!("{user}\t{user}\t{user}\t{user}"));
        assert_eq!(status(pid, "Gid"), format!("{GROUP}\t{GROUP}\t{GROUP}\t{GROUP}"));
        if place.qemu.facts().accelerator == Some(Accelerator::Tcg) {
            assert_eq!(status(pid, "Groups"), "");
        }
    } else {
        eprintln!("skipped: a user of its own: {}", facts.unprivileged_user.detail);
    }
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let variables: Vec<_> = environment.split_terminator('\0').collect();
    assert_eq!(variables, [format!("VIRTMARK_RUN_ID={}", place.run_dir.id())]);
    let Ok(run) = place.run_dir.cgroups() else {
        return eprintln!("skipped: a cgroup: {}", facts.cgroup.detail);
    };
    let cgroups = cgroups_of(pid, &place.run_dir);
    assert!(!cgroups.is_empty());
    let limits: Vec<u64> = cgroups.iter().flat_map(|cgroup| limits_in(cgroup)).collect();
    assert_eq!(limits.len(), run.controllers().len(), "{cgroups:?}");
}

fn pid_of(name: &str) -> i32 {
    live_children().into_iter().find(|child| child.name == name).unwrap().pid
}

fn status(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
}

/// The cgroups of this run's machines that a process is in, as directories.
fn cgroups_of(pid: i32, run_dir: &RunDir) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    recorded(run_dir.path())
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .filter(|path| {
            let ending = path.components().rev().take(2).collect::<Vec<_>>();
            let ending: PathBuf = ending.into_iter().rev().collect();
            text.lines().any(|line| Path::new(line.rsplit(':').next().unwrap()).ends_with(&ending))
        })
        .filter(|path| {
            fs::read_to_string(path.join("cgroup.procs")).unwrap().lines().any(|line| line == pid.to_string())
        })
        .collect()
}

fn recorded(run_dir: &Path) -> Vec<PathBuf> {
    fs::read_to_string(run_dir.join("cgroups")).unwrap_or_default().lines().map(PathBuf::from).collect()
}

/// The limits that are set in a cgroup: none of them is the kernel's "no limit".
fn limits_in(cgroup: &Path) -> Vec<u64> {
    let files = ["cpu.max", "cpu.cfs_quota_us", "memory.max", "memory.limit_in_bytes", "pids.max"];
    let texts = files.into_iter().filter_map(|file| fs::read_to_string(cgroup.join(file)).ok());
    let limits: Vec<u64> =
        texts.map(|text| text.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert!(limits.iter().all(|limit| (1..1 << 40).contains(limit)), "{limits:?}");
    limits
}

fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "never true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn real_confined_machines_boot_restore_and_are_locked_in() {
    let place = Place::new();
    for (name, measure) in place.qemu.confinement().measures() {
        eprintln!("{name}: {} ({})", measure.holds, measure.detail);
    }
    let spec = MachineSpec { snapshots: true, ..confined(&place, "kept") };
    let mut kept = place.started(&spec);
    check(&place, "kept");
    let guest = kept.guest().unwrap();
    assert!(guest.exec(&Command::shell("echo remembered > /tmp/note")).unwrap().success());
    let usage = kept.usage().unwrap();
    assert!(
        usage.cpu_ns > Some(0) && usage.pss_bytes > Some(0) && usage.private_bytes > Some(0),
        "{usage:?}"
    );
    let mut observed = Vec::new();
    kept.probe().unwrap().observe(&mut |name, _, _, _| observed.push(name.to_owned())).unwrap();
    assert!(observed.iter().any(|name| name == "vmm_open_fds"), "{observed:?}");

    let directory = place.directory.path().join("snapshot");
    let (snapshot, _) = kept.snapshot(&directory).unwrap();
    let before = fs::read(directory.join("memory")).unwrap();
    let mut machines = vec![kept];
    for name in ["first", "second"] {
        let (machine, _) = place.qemu.restore(&snapshot, &confined(&place, name)).unwrap();
        check(&place, name);
        let read =
            machine.guest().unwrap().exec(&Command::shell("cat /tmp/note; echo x > /tmp/other")).unwrap();
        assert_eq!(read.stdout, b"remembered\n");
        machines.push(machine);
    }
    assert!(
        before == fs::read(directory.join("memory")).unwrap(),
        "a restored machine wrote to its snapshot"
    );

    let pids: Vec<_> = ["kept", "first", "second"].map(pid_of).to_vec();
    let cgroups: Vec<_> = pids.iter().flat_map(|pid| cgroups_of(*pid, &place.run_dir)).collect();
    for mut machine in machines {
        machine.destroy().unwrap();
    }
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()), "{cgroups:?}");
    let runs = recorded(place.run_dir.path());
    assert!(runs.iter().all(|cgroup| cgroup.is_dir()));
    let Place { run_dir, qemu, directory: _kept, .. } = place;
    drop((run_dir, qemu));
    assert!(runs.iter().all(|cgroup| !cgroup.exists()), "{runs:?}");
}

#[test]
fn real_a_confined_machine_writes_to_its_disk_and_nowhere_else() {
    let place = Place::new();
    let disks = vec![Disk { name: "data".into(), size_bytes: 8 << 20 }];
    let machine = place.started(&MachineSpec { disks, ..confined(&place, "disk") });
    check(&place, "disk");
    let guest = machine.guest().unwrap();
    let wrote = guest
        .exec(&Command::shell("dd if=/dev/zero bs=1M count=4 | tr '\\0' v | dd of=/dev/vda bs=1M; sync"));
    assert!(wrote.unwrap().success());
    let read = guest.exec(&Command::shell("dd if=/dev/vda bs=1 count=4")).unwrap();
    assert_eq!(read.stdout, b"vvvv");
}

#[test]
fn real_an_image_that_only_its_owner_may_read_boots() {
    let mut place = Place::new();
    for file in [&mut place.image.kernel, &mut place.image.initramfs] {
        let private = place.directory.path().join(file.file_name().unwrap());
        fs::copy(&*file, &private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        *file = private;
    }
    let machine = place.started(&confined(&place, "private"));
    assert!(machine.guest().unwrap().exec(&Command::shell("true")).unwrap().success());
}

/// The limit is that of a machine which is told to use less than it needs, as no guest can outgrow its own.
#[test]
fn real_a_vmm_killed_at_its_limit_is_out_of_memory() {
    let place = Place::new();
    let mut machine = place.started(&confined(&place, "large"));
    match place.run_dir.cgroups() {
        Ok(run) if run.controllers().contains(&"memory") => {}
        Ok(_) => return eprintln!("skipped: memory is not limited here"),
        Err(reason) => return eprintln!("skipped: {reason}"),
    }
    // First a process that the machine is on its way to, with more than it may have still to come.
    let run_dir = Arc::clone(&place.run_dir);
    let starver = thread::spawn(move || {
        eventually("a second process", || live_children().iter().any(|child| child.name == "large.1"));
        thread::sleep(Duration::from_secs(2));
        starve("large.1", &run_dir);
    });
    let migration = Migration {
        mode: MigrationMode::PreCopy,
        channel: MigrationChannel::Unix,
        max_bandwidth_bytes: Some(4 << 20),
        downtime_limit_ms: None,
        timeout: Duration::from_secs(60),
    };
    let error = machine.migrate(&migration).unwrap_err();
    starver.join().unwrap();
    assert_eq!(error.class(), FailureClass::OutOfMemory, "{error}");
    let children: Vec<_> = live_children().into_iter().map(|child| child.name).collect();
    assert_eq!((machine.state(), children), (MachineState::Running, vec!["large".to_owned()]));

    starve("large", &place.run_dir);
    let guest = machine.guest().unwrap();
    let error = guest.exec(&Command::shell("dd if=/dev/zero of=/tmp/large bs=1M count=64")).unwrap_err();
    let error = machine.explain(error);
    assert_eq!(error.class(), FailureClass::OutOfMemory, "{error}");
}

/// Leaves the VMM of this name next to nothing beyond the memory that it uses.
fn starve(name: &str, run_dir: &RunDir) {
    let cgroups = cgroups_of(pid_of(name), run_dir);
    let (used, limit) = cgroups
        .iter()
        .flat_map(|cgroup| {
            [("memory.usage_in_bytes", "memory.limit_in_bytes"), ("memory.current", "memory.max")]
                .map(|(used, limit)| (cgroup.join(used), cgroup.join(limit)))
        })
        .find(|(used, _)| used.exists())
        .unwrap();
    let used: u64 = fs::read_to_string(used).unwrap().trim().parse().unwrap();
    fs::write(limit, (used + (4 << 20)).to_string()).unwrap();
}

#[test]
fn real_confined_machines_conform() {
    let place = Place::new();
    let remains = || {
        let files = fs::read_dir(place.run_dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.map(|name| name.to_string_lossy().into_owned());
        let children = live_children().into_iter().map(|child| format!("{} {}", child.name, child.pid));
        let cgroups = recorded(place.run_dir.path())
            .into_iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .map(|path| path.display().to_string());
        files.filter(|name| name.contains("conformance")).chain(children).chain(cgroups).collect()
    };
    let subject = Subject {
        hypervisor: &place.qemu,
        spec: MachineSpec { snapshots: true, ..confined(&place, "") },
        scratch: place.run_dir.bulk_dir("snapshots", 1 << 30).unwrap(),
        remains: &remains,
    };
    let verdicts = run(&subject, &mut |name, verdict| eprintln!("{name}: {verdict}"));
    let failed: Vec<_> =
        verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Passed)));
}

#[test]
fn real_nothing_of_a_confined_machine_outlives_a_killed_virtmark() {
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let (mut victim, vmm) = start_to_be_killed(place.path(), None);
    let started = fs::read_to_string(format!("/proc/{vmm}/stat")).unwrap();
    assert!(started.contains("qemu"), "{started}");
    let mut run = fs::read_dir(place.path().join("run")).unwrap().map(|entry| entry.unwrap().path());
    let run = run.find(|path| path.is_dir()).unwrap();
    let cgroups = recorded(&run);
    let mark = run.to_string_lossy().rsplit_once('-').unwrap().1.to_owned();
    let connected = virtmark_host::network::refuses_segments().is_none();
    assert_eq!(interfaces_with(&mark).len(), if connected { 2 } else { 0 });

    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("the kernel ends the VMM", || {
        let stat = fs::read_to_string(format!("/proc/{vmm}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
    });
    assert!(cgroups.iter().all(|cgroup| cgroup.is_dir()), "{cgroups:?}");
    let leftovers = roots(place.path()).clean_leftovers();
    assert!(
        !leftovers.is_empty() && leftovers.iter().all(|leftover| leftover.problem.is_none()),
        "{leftovers:?}"
    );
    assert!(cgroups.iter().all(|cgroup| !cgroup.exists()), "{cgroups:?}");
    assert_eq!(interfaces_with(&mark), Vec::<String>::new(), "a bridge or a tap is left");
    if !connected {
        eprintln!("skipped: that its bridge goes: it had none here");
    }
    if cgroups.is_empty() {
        eprintln!("skipped: that its cgroups go: it had none here");
    }
}
