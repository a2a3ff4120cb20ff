//! Payloads on this machine: their environment, their end, their output.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_fleet::local::{Ended, LocalError, LocalRun, Options, run};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_payload::metric::Better;
use virtmark_payload::{Limits, OutsideRoot, pack};

struct World {
    here: tempfile::TempDir,
    run_dir: RunDir,
    options: Options,
}

impl World {
    fn new() -> Self {
        // A short path, wherever the user has temporary files.
        let here = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let roots = Roots::new(here.path().join("c"), [here.path().join("b")]);
        let options = Options {
            root: here.path().join("root"),
            output: here.path().join("output"),
            timeout: None,
            parameters: BTreeMap::new(),
            outside: OutsideRoot::Refuse,
            limits: Limits::default(),
        };
        Self { run_dir: RunDir::create_in(roots).unwrap(), here, options }
    }

    fn payload(&self, script: &str, manifest: &str) -> PathBuf {
        let directory = self.here.path().join("payload");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("payload.sh"), script).unwrap();
        fs::write(directory.join("payload.toml"), manifest).unwrap();
        fs::set_permissions(directory.join("payload.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        pack(&directory, &self.here.path().join("payload.tgz")).unwrap().file
    }

    fn run(&self, script: &str, manifest: &str) -> Result<LocalRun, LocalError> {
        run(&self.payload(script, manifest), &self.options, &self.run_dir, || false)
    }

    fn recorded(&self, name: &str) -> Vec<u8> {
        fs::read(self.options.output.join(name)).unwrap()
    }
}

#[test]
fn it_runs_with_path_not_set_below_the_root() {
    let mut world = World::new();
    world.options.parameters.insert("ROUNDS".into(), "3 or 4".into());
    let script = "#!/bin/sh\n/usr/bin/env\n/bin/pwd\n/bin/cat\necho oops >&2\nprintf '\\377'\necho\n\
                  echo 'virtmark: metric a 2 ms better=lower'\n";
    let run = world.run(script, "").unwrap();
    assert_eq!(run.ended, Ended::Exited { exit_code: 0 });
    let stdout = world.recorded("stdout");
    let text = String::from_utf8_lossy(&stdout);
    let root = fs::canonicalize(&world.options.root).unwrap();
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // What a shell exports by itself depends on the shell.
    let of_shell = ["OLDPWD", "PWD", "SHLVL", "_"];
    names.retain(|name| !name.starts_with("virtmark: ") && !of_shell.contains(name));
    names.sort_unstable();
    assert_eq!(names, ["BENCH_ROOT", "ROUNDS", "VIRTMARK_RUN_ID"]);
    assert!(text.contains(&format!("BENCH_ROOT={}\n", root.display())) && text.contains("ROUNDS=3 or 4\n"));
    assert!(text.contains(&format!("\n{}\n", root.display())), "{text}");
    assert!(stdout.contains(&0xff));
    assert_eq!(world.recorded("stderr"), b"oops\n");
    assert_eq!((run.stdout.bytes, run.stderr.bytes), (stdout.len() as u64, 5));
    let [metric] = run.results.metrics.as_slice() else { panic!("{:?}", run.results) };
    assert_eq!((metric.name.as_str(), metric.value, metric.better), ("a", 2.0, Some(Better::Lower)));
    assert!(run.unpack_ns > 0 && run.run_ns > 0);
    // Nothing is removed.
    assert!(world.options.root.join("payload.sh").exists());

    let json = serde_json::to_value(&run).unwrap();
    assert_eq!((&json["ended"], &json["exit_code"]), (&"exited".into(), &0.into()));
    assert_eq!((&json["metrics"][0]["name"], &json["payload"]["verdict"]), (&"a".into(), &"clean".into()));
}

#[test]
fn how_it_ends_is_told() {
    let world = World::new();
    let ended = |script: &str| world.run(&format!("#!/bin/sh\n{script}\n"), "").unwrap().ended;
    assert_eq!(ended("exit 7"), Ended::Exited { exit_code: 7 });
    assert_eq!(ended("kill -TERM $$"), Ended::Signaled { signal: 15 });
    assert!(!ended("exit 127").is_success() && ended("").is_success());
}

#[test]
fn the_time_limit_ends_everything_that_was_started() {
    let mut world = World::new();
    let script =
        "#!/bin/sh\ntrap '' TERM INT HUP\necho started\n/bin/sleep 1000 &\necho $! >pid\n/bin/sleep 1000\n";
    let manifest = "timeout_s = 0.3";
    let started = Instant::now();
    let run = world.run(script, manifest).unwrap();
    assert_eq!(run.ended, Ended::TimedOut);
    assert!(run.run_ns >= 300_000_000 && started.elapsed() < Duration::from_secs(30));
    assert_eq!(world.recorded("stdout"), b"started\n");
    let pid = fs::read_to_string(world.options.root.join("pid")).unwrap();
    // Gone, or a zombie until whoever adopted it looks; a process dies when it is next scheduled.
    let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let is_over = |stat: &str| stat.is_empty() || stat.contains(") Z ");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_over(&stat()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(is_over(&stat()), "{}", stat());
    // The user's limit takes precedence.
    world.options.timeout = Some(Duration::from_millis(50));
    assert!(world.run(script, "timeout_s = 100").unwrap().run_ns < 50_000_000_000);
}

#[test]
fn the_user_can_stop_it() {
    let world = World::new();
    let payload = world.payload("#!/bin/sh\nexec /bin/sleep 1000\n", "");
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 2;
    assert_eq!(run(&payload, &world.options, &world.run_dir, stop).unwrap().ended, Ended::Interrupted);
    assert_eq!(asked.get(), 3);
}

#[test]
fn what_cannot_run_is_refused_before_anything_is_unpacked() {
    let mut world = World::new();
    let error = world.run("#!/bin/sh\n", "tools = [\"sh\", \"no-such-tool\"]").unwrap_err();
    assert!(
        matches!(&error, LocalError::MissingTools { missing, .. } if missing == &["no-such-tool"]),
        "{error}"
    );

    let bad = world.here.path().join("bad.tgz");
    fs::write(&bad, "nothing").unwrap();
    let error = run(&bad, &world.options, &world.run_dir, || false).unwrap_err();
    assert!(
        matches!(&error, LocalError::Refused { .. }) && error.to_string().contains("[not-gzip]"),
        "{error}"
    );

    let none = world.here.path().join("none.tgz");
    let error = run(&none, &world.options, &world.run_dir, || false).unwrap_err();
    assert!(matches!(error, LocalError::Read(_)), "{error}");

    world.options.parameters.insert("PATH".into(), "/bin".into());
    let error = world.run("#!/bin/sh\n", "").unwrap_err();
    assert!(matches!(error, LocalError::Parameter { .. }), "{error}");
    assert!(!world.options.root.exists());
}
