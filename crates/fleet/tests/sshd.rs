//! Payloads on machines over SSH: real servers, real trouble.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lab.rs"]
mod lab;
mod support;

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{ECHO, Lab, kind, map, message};
use support::{noise, payload};
use virtmark_fleet::map::HostMap;
use virtmark_fleet::{FailureKind, Stage, Verdict, all_at_once, summarize};

#[test]
fn three_machines_succeed() {
    let lab = Lab::new();
    let servers = lab.servers(3);
    let file = payload(lab.path(), "echo", ECHO, b"");
    let (runs, results) = lab.run(&map(&servers), &lab.job(&file));
    assert_eq!(Verdict::of(&runs), Verdict::AllSucceeded, "{runs:?}");
    let mut expected = String::new();
    for (run, server) in runs.iter().zip(&servers) {
        assert_eq!((run.exit_code, run.machine.name.as_str()), (Some(0), server.name.as_str()));
        let stages: Vec<Stage> = run.stages.iter().map(|time| time.stage).collect();
        assert_eq!(stages, [Stage::Ready, Stage::Upload, Stage::Unpack, Stage::Run, Stage::Collect]);
        let times = run.stages.iter().map(|time| time.started_ns);
        assert!(times.is_sorted() && run.stages.iter().all(|time| time.duration_ns > 0));
        let root = server.far_root();
        let out = format!("out {}\nvirtmark: metric answer 42 ms better=lower\n", root.display());
        let directory = results.machine(&server.name);
        assert_eq!(fs::read_to_string(directory.join("stdout")).unwrap(), out);
        assert_eq!(fs::read_to_string(directory.join("stderr")).unwrap(), "err\n");
        expected.push_str(&format!("### {}\n{out}", server.name));
        // What was unpacked stays; what was only carried there does not.
        assert!(root.join("payload.sh").exists());
        let left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tgz")), "{left:?}");
    }
    assert_eq!(fs::read_to_string(results.result_file()).unwrap(), expected);
    assert_eq!(
        fs::read_to_string(results.errors_file()).unwrap(),
        "### vm-0\nerr\n### vm-1\nerr\n### vm-2\nerr\n"
    );
    let samples: Vec<_> = runs.iter().flat_map(|run| run.samples("echo", 0)).collect();
    let summaries = summarize(&samples);
    let answer = summaries.iter().find(|summary| summary.metric == "answer").unwrap();
    assert_eq!((answer.machines, answer.mean, answer.spread), (3, 42e6, Some(0.0)));
}

/// Kills a machine when its payload has begun to print.
#[test]
fn one_that_dies_in_the_middle_costs_nobody_else() {
    let lab = Lab::new();
    let mut servers = lab.servers(3);
    let file = payload(lab.path(), "slow", "echo begun; PATH=/bin:/usr/bin; sleep 3; echo done", b"");
    let job = lab.job(&file);
    let text = map(&servers);
    let mut victim = servers.remove(1);
    let (runs, results) = thread::scope(|scope| {
        let begun = lab.path().to_owned();
        scope.spawn(move || {
            let until = Instant::now() + Duration::from_secs(60);
            while Instant::now() < until && !has_begun(&begun, "vm-1") {
                thread::sleep(Duration::from_millis(20));
            }
            victim.kill();
        });
        lab.run(&text, &job)
    });
    assert_eq!(Verdict::of(&runs), Verdict::SomeSucceeded, "{runs:?}");
    assert!(runs[0].succeeded && runs[2].succeeded);
    assert_eq!((kind(&runs[1]), runs[1].failed_stage), (Some(FailureKind::Lost), Some(Stage::Run)));
    // Once, and never again by itself.
    assert_eq!(runs[1].stage(Stage::Run).unwrap().attempts, 1);
    assert_eq!(fs::read_to_string(results.machine("vm-1").join("stdout")).unwrap(), "begun\n");
}

fn has_begun(below: &Path, machine: &str) -> bool {
    let entries = fs::read_dir(below).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().join("vmrun-test/machines").join(machine).join("stdout"))
        .any(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0))
}

#[test]
fn a_payload_that_hangs_is_killed_with_all_its_processes() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let script = "PATH=/bin:/usr/bin; sleep 987 & echo $! >$BENCH_ROOT/pid; echo first; sleep 987";
    let file = payload(lab.path(), "hang", script, b"");
    let mut job = lab.job(&file);
    job.run_time = Some(Duration::from_secs(5));
    let (runs, results) = lab.run(&map(&servers), &job);
    assert_eq!((kind(&runs[0]), runs[0].failed_stage), (Some(FailureKind::TimedOut), Some(Stage::Run)));
    assert_eq!(fs::read_to_string(results.machine("vm-0").join("stdout")).unwrap(), "first\n");
    let pid = fs::read_to_string(servers[0].far_root().join("pid")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while is_alive(pid.trim()) {
        assert!(Instant::now() < until, "{pid} is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_payload_leaves_printing_is_not_waited_for_beyond_the_limit() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    // It ends by itself where nothing ends it.
    let script = "PATH=/bin:/usr/bin; (n=0; while [ $n -lt 600 ]; do n=$((n + 1)); echo more; sleep 0.1; done) & exit 0";
    let file = payload(lab.path(), "noisy", script, b"");
    let mut job = lab.job(&file);
    job.run_time = Some(Duration::from_secs(5));
    let (runs, results) = lab.run(&map(&servers), &job);
    assert_eq!((kind(&runs[0]), runs[0].exit_code), (None, Some(0)));
    let lines = fs::read_to_string(results.machine("vm-0").join("stdout")).unwrap().lines().count();
    assert!((1..500).contains(&lines), "{lines}");
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("(sleep)") && !stat.contains(") Z ")
}

#[test]
fn a_stop_keeps_what_came_home() {
    let lab = Lab::new();
    let servers = lab.servers(2);
    let script = "echo $$ >$BENCH_ROOT/pid; echo 'virtmark: metric early 1 s'; PATH=/bin:/usr/bin; sleep 987";
    let file = payload(lab.path(), "hang", script, b"");
    let job = lab.job(&file);
    let (runs, results) = thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(60);
            let all = || ["vm-0", "vm-1"].iter().all(|machine| has_begun(lab.path(), machine));
            while Instant::now() < until && !all() {
                thread::sleep(Duration::from_millis(20));
            }
            lab.cancel.cancel();
        });
        lab.run(&map(&servers), &job)
    });
    for run in &runs {
        assert_eq!((kind(run), run.failed_stage), (Some(FailureKind::Interrupted), Some(Stage::Run)));
        assert_eq!(run.results.metrics.len(), 1);
        assert!(results.machine(&run.machine.name).join("result.json").exists());
    }
    for server in &servers {
        let pid = fs::read_to_string(server.far_root().join("pid")).unwrap();
        assert!(!is_alive(pid.trim()));
    }
}

/// Output is not held: the peak of this process's memory hardly moves.
#[test]
fn much_output_costs_no_memory_and_is_kept_byte_for_byte() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let script =
        "PATH=/bin:/usr/bin; head -c 67108864 /dev/zero; head -c 67108864 /dev/zero | tr '\\0' '\\377' >&2";
    let file = payload(lab.path(), "much", script, &noise(8 << 20));
    let before = peak_bytes();
    let (runs, results) = lab.run(&map(&servers), &lab.job(&file));
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
    assert_eq!((runs[0].stdout_bytes, runs[0].stderr_bytes), (64 << 20, 64 << 20));
    let grown = peak_bytes() - before;
    assert!(grown < 40 << 20, "the peak grew by {grown} bytes");
    let stderr = fs::read(results.machine("vm-0").join("stderr")).unwrap();
    assert!(stderr.len() == 64 << 20 && stderr.iter().all(|byte| *byte == 0xff));
}

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

#[test]
fn a_failure_has_its_code_and_what_it_printed() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let script = "printf '\\377\\000x'; printf 'why' >&2; exit 7";
    let file = payload(lab.path(), "fail", script, b"");
    let (runs, results) = lab.run(&map(&servers), &lab.job(&file));
    assert_eq!(Verdict::of(&runs), Verdict::NoneSucceeded);
    assert_eq!((runs[0].exit_code, kind(&runs[0])), (Some(7), Some(FailureKind::PayloadFailed)));
    assert_eq!(fs::read(results.machine("vm-0").join("stdout")).unwrap(), b"\xff\0x");
    let errors = fs::read_to_string(results.errors_file()).unwrap();
    assert!(errors.starts_with("### vm-0\nwhy\nvirtmark: the payload ended with exit code 7"), "{errors}");
    assert_eq!(fs::read(results.result_file()).unwrap(), b"");
}

#[test]
fn tools_are_looked_for_before_the_payload_runs() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.tools = vec!["sh".into(), "no-such-tool".into()];
    let (runs, _) = lab.run(&map(&servers), &job);
    assert_eq!((kind(&runs[0]), runs[0].failed_stage), (Some(FailureKind::ToolMissing), Some(Stage::Unpack)));
    assert!(message(&runs[0]).contains("no-such-tool"), "{}", message(&runs[0]));
}

/// The file changes after it was checked: what arrives is not what was meant, and is not unpacked.
#[test]
fn a_payload_that_arrives_wrong_is_not_unpacked() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.retries = 0;
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let (runs, _) = lab.run(&map(&servers), &job);
    assert_eq!(
        (kind(&runs[0]), runs[0].failed_stage),
        (Some(FailureKind::ChecksumMismatch), Some(Stage::Upload))
    );
    assert_eq!(fs::read_dir(servers[0].far_root()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_of_a_machine_is_told() {
    let lab = Lab::new();
    let servers = lab.servers(2);
    let far = servers[1].far_root();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&far).output().unwrap();
    if !mount.status.success() {
        let why = String::from_utf8_lossy(&mount.stderr);
        eprintln!(
            "skipped: a small file system can be mounted by root only, and not in every container: {why}"
        );
        return;
    }
    let file = payload(lab.path(), "big", ECHO, &noise(4 << 20));
    let (runs, _) = lab.run(&map(&servers), &lab.job(&file));
    assert!(Command::new("umount").arg(&far).status().unwrap().success());
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
    assert_eq!((kind(&runs[1]), runs[1].failed_stage), (Some(FailureKind::DiskFull), Some(Stage::Upload)));
    assert!(message(&runs[1]).contains("--root"), "{}", message(&runs[1]));
}

#[test]
fn one_after_the_other_is_one_after_the_other() {
    let lab = Lab::new();
    let servers = lab.servers(3);
    let file = payload(lab.path(), "short", "PATH=/bin:/usr/bin; sleep 0.2", b"");
    let mut job = lab.job(&file);
    job.parallel = NonZeroUsize::MIN;
    let (runs, _) = lab.run(&map(&servers), &job);
    assert_eq!(Verdict::of(&runs), Verdict::AllSucceeded);
    let mut times: Vec<_> = runs.iter().map(|run| run.stage(Stage::Run).unwrap()).collect();
    times.sort_by_key(|time| time.started_ns);
    for pair in times.windows(2) {
        assert!(pair[0].started_ns + pair[0].duration_ns <= pair[1].started_ns, "{times:?}");
    }
    let everything = HostMap::from_bytes(map(&servers).as_bytes(), "map").unwrap();
    assert_eq!(all_at_once(&everything).get(), 3);
}

/// What the specification allows and discourages: a file outside of the root is written where its path says.
#[test]
fn absolute_paths_are_written_where_they_say() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let outside = lab.path().join("outside/file");
    let directory = lab.path().join("content");
    fs::create_dir_all(&directory).unwrap();
    fs::create_dir_all(outside.parent().unwrap()).unwrap();
    fs::write(&outside, "x").unwrap();
    fs::write(directory.join("payload.sh"), "#!/bin/sh\nexit 0\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.join("payload.sh"), executable).unwrap();
    let file = lab.path().join("absolute.tgz");
    let mut tar = Command::new("tar");
    tar.arg("-czPf").arg(&file).arg("-C").arg(&directory).arg("payload.sh").arg(&outside);
    assert!(tar.status().unwrap().success());
    fs::remove_file(&outside).unwrap();
    let mut job = lab.job(&file);
    job.absolute_paths = true;
    let (runs, _) = lab.run(&map(&servers), &job);
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "x");
}
