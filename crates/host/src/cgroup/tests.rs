use super::*;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { cpus: 2, memory_bytes: 64 << 20, tasks: 7 };
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

/// A directory tree that stands for a host's. It shows which files are written, and not what the kernel makes of them.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn make(root: &Path) -> (Result<RunCgroups, String>, Vec<PathBuf>) {
    let mut recorded = Vec::new();
    let made = RunCgroups::make(&Source::new(root), "12-00c0ffee", |path| {
        assert!(!path.exists(), "on record before it is made");
        recorded.push(path.strip_prefix(root).unwrap().to_owned());
        Ok(())
    });
    (made, recorded)
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn beside_the_own_cgroup_with_what_is_handed_down_there() {
    let root = host(&[
        ("proc/self/cgroup", "0::/system.slice/virtmark.service\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/system.slice/cgroup.controllers", "cpuset cpu io memory pids\n"),
        ("sys/fs/cgroup/system.slice/cgroup.subtree_control", "memory pids\n"),
        ("sys/fs/cgroup/system.slice/other.service/cgroup.procs", "1\n"),
        ("sys/fs/cgroup/system.slice/virtmark.service/cgroup.controllers", "memory pids\n"),
        ("sys/fs/cgroup/system.slice/virtmark.service/cgroup.subtree_control", ""),
        ("sys/fs/cgroup/system.slice/virtmark.service/worker/cgroup.procs", ""),
    ]);
    let (made, recorded) = make(root.path());
    let made = made.unwrap();
    assert_eq!(recorded, [Path::new("sys/fs/cgroup/system.slice/virtmark-12-00c0ffee")]);
    assert_eq!((made.version(), made.controllers()), (2, vec!["memory", "pids"]));
    // A slice with others in it goes on as it was.
    assert_eq!(text(root.path(), "sys/fs/cgroup/system.slice/cgroup.subtree_control"), "memory pids\n");
    let run = "sys/fs/cgroup/system.slice/virtmark-12-00c0ffee";
    assert_eq!(text(root.path(), &format!("{run}/cgroup.subtree_control")), "+memory +pids");

    let machine = made.machine("m1", LIMITS).unwrap();
    assert_eq!(text(root.path(), &format!("{run}/m1/memory.max")), "67108864");
    assert_eq!(text(root.path(), &format!("{run}/m1/pids.max")), "7");
    assert!(!root.path().join(run).join("m1/cpu.max").exists());
    machine.adopt(4321).unwrap();
    assert_eq!(text(root.path(), &format!("{run}/m1/cgroup.procs")), "4321");
    assert_eq!(machine.oom_kills(), None);
    fs::write(root.path().join(run).join("m1/memory.events"), "low 0\noom 3\noom_kill 1\noom_group_kill 0\n")
        .unwrap();
    assert_eq!(machine.oom_kills(), Some(1));
}

#[test]
fn a_cgroup_of_ones_own_hands_down_everything() {
    // As in a unit with `Delegate=yes` and `DelegateSubgroup=`: nothing else is in the unit's cgroup.
    let root = host(&[
        ("proc/self/cgroup", "0::/virtmark.service/service\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/virtmark.service/cgroup.controllers", "cpu memory pids\n"),
        ("sys/fs/cgroup/virtmark.service/cgroup.subtree_control", ""),
        ("sys/fs/cgroup/virtmark.service/virtmark-99-01234567/cgroup.procs", ""),
        ("sys/fs/cgroup/virtmark.service/service/cgroup.controllers", ""),
    ]);
    let (made, _) = make(root.path());
    let made = made.unwrap();
    assert_eq!(made.controllers(), ["cpu", "memory", "pids"]);
    let unit = "sys/fs/cgroup/virtmark.service";
    assert_eq!(text(root.path(), &format!("{unit}/cgroup.subtree_control")), "+cpu +memory +pids");
    made.machine("m1", LIMITS).unwrap();
    assert_eq!(text(root.path(), &format!("{unit}/virtmark-12-00c0ffee/m1/cpu.max")), "200000 100000");
    assert_eq!(text(root.path(), &format!("{unit}/virtmark-12-00c0ffee/m1/cpu.weight")), "200");
}

#[test]
fn where_nothing_is_handed_down_the_reason_is_said() {
    let hybrid = host(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", V2),
        ("sys/fs/cgroup/cgroup.controllers", ""),
    ]);
    let (made, recorded) = make(hybrid.path());
    assert!(made.unwrap_err().contains("hands down none of cpu, memory and pids"));
    assert!(recorded.is_empty());
    let (made, _) = make(host(&[]).path());
    assert_eq!(made.unwrap_err(), "no hierarchy of cgroups is mounted here");
}

#[test]
fn v1_is_one_directory_for_each_hierarchy() {
    let root = host(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/job\n3:memory:/\n2:pids:/\n"),
        (
            "proc/self/mountinfo",
            "40 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             41 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/job/tasks", ""),
        ("sys/fs/cgroup/memory/tasks", ""),
    ]);
    let (made, recorded) = make(root.path());
    let made = made.unwrap();
    assert_eq!(recorded.len(), 2);
    assert_eq!((made.version(), made.controllers()), (1, vec!["cpu", "memory"]));
    let machine = made.machine("m1", LIMITS).unwrap();
    let [cpu, memory] = machine.directories() else { panic!("{machine:?}") };
    assert_eq!(text(cpu, "cpu.cfs_quota_us"), "200000");
    assert_eq!(text(cpu, "cpu.shares"), "2048");
    assert_eq!(text(memory, "memory.limit_in_bytes"), "67108864");
}

/// On a host where this process may make cgroups: a process that takes too much is ended, which is told; and all of it
/// goes.
#[test]
fn a_process_is_held_to_the_limits_of_its_cgroup() {
    let mut recorded = Vec::new();
    let id = format!("{}-0badcafe", std::process::id());
    let made = RunCgroups::make(&Source::new(Path::new("/")), &id, |path| {
        recorded.push(path.to_owned());
        Ok(())
    });
    let run = match made {
        Ok(run) if run.controllers().contains(&"memory") => run,
        Ok(_) => return eprintln!("skipped: memory is not limited here"),
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let machine = run.machine("m1", LIMITS).unwrap();
    let mut hog = Command::new("/bin/sh");
    // Waits for a line, then takes more than it may.
    hog.args(["-c", "read line; exec dd if=/dev/zero of=/dev/null bs=512M count=1"]);
    let mut hog = hog.process_group(0).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    machine.adopt(hog.id() as i32).unwrap();
    let listed = fs::read_to_string(machine.directories()[0].join("cgroup.procs")).unwrap();
    assert_eq!(listed.trim(), hog.id().to_string());
    assert_eq!(machine.oom_kills(), Some(0));
    io::Write::write_all(&mut hog.stdin.take().unwrap(), b"go\n").unwrap();
    let ended = hog.wait().unwrap();
    assert!(!ended.success(), "{ended}");
    assert_eq!(machine.oom_kills(), Some(1));

    let directories = machine.directories().to_vec();
    let started = Instant::now();
    machine.remove().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(directories.iter().all(|directory| !directory.exists()));
    assert!(recorded.iter().all(|path| path.is_dir()));
    drop(run);
    assert!(recorded.iter().all(|path| !path.exists()));
}
