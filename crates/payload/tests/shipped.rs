//! The payloads that come with virtmark: packed, linted and run for real, with `PATH` not set.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use virtmark_payload::metric::{Better, Results};
use virtmark_payload::{
    Limits, Manifest, OutsideRoot, ROOT_VARIABLE, TOOL_DIRECTORIES, TOOL_MISSING, Verdict, pack, unpack_file,
};

const NAMES: [&str; 5] = ["boot-facts", "fio-randrw", "openssl", "simplest", "sysbench-cpu"];

/// A payload, unpacked below a root of its own.
struct Unpacked {
    root: tempfile::TempDir,
    manifest: Manifest,
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../payloads").join(name)
}

fn unpacked(name: &str) -> Unpacked {
    // Not in /tmp, which may be a tmpfs, on which old kernels have no direct I/O.
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let archive = tempfile::tempdir().unwrap();
    let packed = pack(&source(name), &archive.path().join("p.tgz")).unwrap();
    assert_eq!(packed.report.verdict, Verdict::Clean, "{name}: {:?}", packed.report.findings);
    unpack_file(&packed.file, root.path(), &Limits::default(), OutsideRoot::Refuse).unwrap();
    Unpacked { root, manifest: packed.report.manifest.unwrap() }
}

impl Unpacked {
    fn run(&self, parameters: &[(&str, &str)]) -> Output {
        for (name, _) in parameters {
            assert!(self.manifest.parameters.contains_key(*name), "{name} is not in the manifest");
        }
        let mut command = Command::new(self.root.path().join("payload.sh"));
        command.env_clear().env(ROOT_VARIABLE, self.root.path()).envs(parameters.iter().copied());
        command.current_dir(self.root.path()).output().unwrap()
    }

    /// Names, units and directions, when every value is above zero.
    fn results(&self, parameters: &[(&str, &str)]) -> Vec<(String, String, Option<Better>)> {
        let output = self.run(parameters);
        assert!(output.status.success(), "{output:?}");
        let results = Results::read(output.stdout.as_slice()).unwrap();
        assert_eq!(results.malformed, []);
        let told = |metric: virtmark_payload::metric::Metric| {
            assert!(metric.value > 0.0, "{metric}");
            (metric.name, metric.unit, metric.better)
        };
        results.metrics.into_iter().map(told).collect()
    }

    /// Without a tool the test says so and ends; where everything was to be installed, it fails.
    fn lacks_tools(&self) -> bool {
        let is_there =
            |tool: &&String| TOOL_DIRECTORIES.iter().any(|place| Path::new(place).join(tool).exists());
        let missing: Vec<_> = self.manifest.tools.iter().filter(|tool| !is_there(tool)).collect();
        assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "not installed: {missing:?}");
        if !missing.is_empty() {
            eprintln!("skipped: not installed: {missing:?} (CI=1 make setup)");
        }
        !missing.is_empty()
    }
}

fn owned(expected: &[(&str, &str, Option<Better>)]) -> Vec<(String, String, Option<Better>)> {
    expected.iter().map(|(name, unit, better)| ((*name).into(), (*unit).into(), *better)).collect()
}

#[test]
fn all_that_is_shipped_is_tested() {
    let shipped =
        fs::read_dir(source("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut shipped: Vec<String> = shipped.collect();
    shipped.sort();
    assert_eq!(shipped, NAMES);
}

#[test]
fn manifests_say_what_the_scripts_do() {
    for name in NAMES {
        let script = fs::read_to_string(source(name).join("payload.sh")).unwrap();
        let Unpacked { manifest, .. } = unpacked(name);
        assert_eq!(manifest.name.as_deref(), Some(name));
        assert!(manifest.version.is_some() && manifest.description.is_some());
        assert!(manifest.timeout > manifest.expected && manifest.expected.is_some());
        for (parameter, told) in &manifest.parameters {
            let default = format!("${{{parameter}:-{}}}", told.default.as_ref().unwrap());
            assert!(script.contains(&default), "{name}: {default} is not in the script");
            assert!(told.description.is_some());
        }
        let needed = script.lines().find_map(|line| line.strip_prefix("for tool in ")?.split_once(';'));
        let needed: Vec<&str> = needed.map_or(vec![], |(tools, _)| tools.split(' ').collect());
        assert_eq!(manifest.tools, needed, "{name}");
    }
}

#[test]
fn a_tool_that_is_missing_is_named() {
    for name in ["fio-randrw", "openssl", "sysbench-cpu"] {
        let payload = unpacked(name);
        for missing in &payload.manifest.tools {
            // A machine that has every tool but one: the script's own list of directories is replaced.
            let tools = tempfile::tempdir().unwrap();
            for other in payload.manifest.tools.iter().filter(|tool| *tool != missing) {
                symlink("/bin/true", tools.path().join(other)).unwrap();
            }
            let script = payload.root.path().join("payload.sh");
            let text = fs::read_to_string(&script).unwrap();
            let path = format!("PATH={}", TOOL_DIRECTORIES.join(":"));
            assert!(text.contains(&path));
            fs::write(&script, text.replace(&path, &format!("PATH={}", tools.path().display()))).unwrap();
            let output = payload.run(&[]);
            fs::write(&script, text).unwrap();
            assert_eq!(output.status.code(), Some(TOOL_MISSING), "{name} {missing}: {output:?}");
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains(&format!("{missing} is not installed")), "{told}");
        }
    }
}

#[test]
fn output_without_figures_is_a_failure() {
    for (name, tool) in [("fio-randrw", "fio"), ("openssl", "openssl"), ("sysbench-cpu", "sysbench")] {
        let payload = unpacked(name);
        let tools = tempfile::tempdir().unwrap();
        fs::write(tools.path().join(tool), "#!/bin/sh\necho another version says other things\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(tools.path().join(tool), executable).unwrap();
        let script = payload.root.path().join("payload.sh");
        let text = fs::read_to_string(&script).unwrap();
        fs::write(&script, text.replace("\nPATH=", &format!("\nPATH={}:", tools.path().display()))).unwrap();
        let output = payload.run(&[]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert_eq!(Results::read(output.stdout.as_slice()).unwrap(), Results::default());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn simplest() {
    let payload = unpacked("simplest");
    assert_eq!(payload.results(&[]), owned(&[("uptime", "s", None)]));
    let output = payload.run(&[]);
    let root = payload.root.path().display();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&format!("hello from {root}\n")));
}

#[test]
fn boot_facts() {
    let results = unpacked("boot-facts").results(&[]);
    let expected =
        [("cpus", "count", None), ("memory", "KiB", None), ("forks", "count", None), ("uptime", "s", None)];
    assert_eq!(results[..4], owned(&expected));
    assert!(results[4..].iter().all(|(name, unit, _)| name.starts_with("boot/") && unit == "us"));
}

#[test]
fn openssl() {
    let payload = unpacked("openssl");
    if payload.lacks_tools() {
        return;
    }
    let quick = [("OPENSSL_SECONDS", "1"), ("OPENSSL_DIGESTS", "sha256"), ("OPENSSL_CIPHERS", "aes-256-gcm")];
    let expected =
        [("digest/sha256", "B/s", Some(Better::Higher)), ("cipher/aes-256-gcm", "B/s", Some(Better::Higher))];
    assert_eq!(payload.results(&quick), owned(&expected));
    let output = payload.run(&[("OPENSSL_DIGESTS", "sha0")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot measure sha0"));
}

#[test]
fn sysbench_cpu() {
    let payload = unpacked("sysbench-cpu");
    if payload.lacks_tools() {
        return;
    }
    let quick = [("SYSBENCH_SECONDS", "1"), ("SYSBENCH_THREADS", "1"), ("SYSBENCH_MAX_PRIME", "5000")];
    let expected = [
        ("events", "events/s", Some(Better::Higher)),
        ("latency/mean", "ms", Some(Better::Lower)),
        ("latency/p99", "ms", Some(Better::Lower)),
        ("latency/max", "ms", Some(Better::Lower)),
    ];
    assert_eq!(payload.results(&quick), owned(&expected));
}

#[test]
fn fio_randrw() {
    let payload = unpacked("fio-randrw");
    if payload.lacks_tools() {
        return;
    }
    let quick = [("FIO_SECONDS", "1"), ("FIO_SIZE", "4M"), ("FIO_DIRECT", "0")];
    let results = payload.results(&quick);
    let parts = [
        ("bandwidth", "KiB/s", Some(Better::Higher)),
        ("operations", "operations/s", Some(Better::Higher)),
        ("latency/mean", "us", Some(Better::Lower)),
        ("latency/p99", "us", Some(Better::Lower)),
    ];
    let both = ["read", "write"].into_iter().flat_map(|kind| {
        parts.iter().map(move |(name, unit, better)| (format!("{kind}/{name}"), (*unit).to_owned(), *better))
    });
    assert_eq!(results, both.collect::<Vec<_>>());
    assert!(!payload.root.path().join("fio-randrw.data").exists());
}
