//! What claims KVM, on KVM: `lab/test.sh` runs it on this host where KVM works here, and in the lab otherwise. Each test is
//! a user of a host that has KVM, and changes nothing of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use common::{KvmHost, finding, named, options};
use serde_json::Value;
use virtmark_image::{SharedFile, Store};
use virtmark_lab::{Job, Outcome, Where};

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_doctor_names_hardware_kvm_and_its_flavour() {
    let host = KvmHost::new("doctor");
    let checks = host.doctor();
    let (status, words) = finding(&checks, "cpu-virtualisation");
    let flavours = ["AMD SVM with second-level paging", "Intel VMX with second-level paging"];
    assert!(status == "good" && flavours.contains(&words), "{status} {words}");
    let module = if words.starts_with("AMD") { "kvm_amd" } else { "kvm_intel" };
    let (_, words) = finding(&checks, "nested");
    assert!(["on", "off"].iter().any(|state| words.starts_with(&format!("{state} ({module})"))), "{words}");
    let (status, words) = finding(&checks, "kvm");
    assert!(status == "good" && words.starts_with("yes, "), "{status} {words}");
    assert_eq!(finding(&checks, "kvm-node").0, "good");
    if host.place() == Where::Lab {
        assert_eq!(finding(&checks, "nested"), ("good", "on (kvm_amd)"));
        assert!(words.starts_with("yes, nested in emulation: "), "{words}");
        let (_, platform) = finding(&checks, "platform");
        assert!(platform.contains("QEMU TCG"), "{platform}");
    }
}

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_auto_picks_kvm_and_says_why() {
    let host = KvmHost::new("auto");
    let nested = finding(&host.doctor(), "platform").1.contains("QEMU TCG");
    let tti = host.run("virtmark tti --iterations 1 --warmup 0 --timeout 120s --archive $WORK/a.sqlite");
    let report = tti.json();
    let facts = &report["environment"]["hypervisor"];
    assert_eq!(facts["accelerator"], "kvm", "{report:#}");
    assert!(facts["accelerator_reason"].as_str().unwrap().contains("reached user space"), "{facts}");
    assert_eq!(host.samples("$WORK/a.sqlite").len(), 1);
    // What figures from the lab are good for is on record, and wherever they are shown.
    assert_eq!(facts["nested_in_emulation"].as_bool().unwrap_or_default(), nested, "{report:#}");
    assert_eq!(report["emulated"], nested);
    assert_eq!(tti.stderr.contains("NESTED IN EMULATION"), nested, "{}", tti.stderr);
    let label = "kvm, nested in emulation";
    for command in ["show latest", "runs"] {
        let shown = host.run(&format!("virtmark {command} --archive $WORK/a.sqlite"));
        assert_eq!((shown.stdout + &shown.stderr).contains(label), nested, "{command}");
    }
    let page = host.run("virtmark report latest --archive $WORK/a.sqlite -o $WORK/a.html; cat $WORK/a.html");
    assert!(page.stdout.contains("<html"), "{}{}", page.stdout, page.stderr);
    assert_eq!(page.stdout.contains(label), nested);
}

/// Beside a host whose KVM works, one whose KVM does not: the one outside of the lab, or the same with a QEMU that fails.
#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_auto_picks_emulation_where_kvm_fails_and_says_why() {
    let place = tempfile::tempdir().unwrap();
    let host = KvmHost::new("fails");
    let mut command = Command::new(named("LAB_VIRTMARK"));
    command.args(["tti", "--iterations", "1", "--warmup", "0", "--timeout", "120s", "--archive"]);
    command.arg(place.path().join("a.sqlite"));
    if host.place() == Where::ThisHost {
        let qemu = place.path().join("qemu");
        let lines =
            "#!/bin/sh\ncase \"$*\" in *'-accel kvm'*) echo 'failed to initialize kvm' >&2; exit 1;; esac
            exec qemu-system-x86_64 \"$@\"\n";
        std::fs::write(&qemu, lines).unwrap();
        std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
        command.arg("--qemu").arg(qemu);
        // What is found out about this QEMU is not to be remembered of this host.
        let cache = place.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        let kernels = Store::default_dir().unwrap().join("kernels");
        std::os::unix::fs::symlink(kernels, cache.join("kernels")).unwrap();
        command.env("VIRTMARK_CACHE", cache);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let facts = &report["environment"]["hypervisor"];
    assert_eq!(facts["accelerator"], "tcg", "{facts}");
    let reason = facts["accelerator_reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    if host.place() == Where::ThisHost {
        assert!(reason.contains("failed to initialize kvm"), "{reason}");
    }
}

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_driver_conforms_under_kvm() {
    conforms("", "real_machines_conform");
}

/// What the processor, its virtualisation and its clock have a part in, for where there is little time.
#[test]
#[ignore = "needs KVM or the lab: make lab-test-short"]
fn real_driver_conforms_in_short_under_kvm() {
    let checks = [
        "phases_are_contiguous",
        "boot_has_a_kernel_phase",
        "graceful_stop_is_the_guest's",
        "dropping_destroys",
        "paused_machines_continue",
        "usage_grows_with_work",
        "snapshots_restore_to_the_same_guest",
        "facts_come_from_the_guest",
        "a_time_limit_ends_the_group",
        "the_clock_goes_forward",
    ];
    conforms(&format!("VIRTMARK_CHECKS=\"{}\" ", checks.join(",")), "real_machines_conform");
}

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_driver_conforms_with_two_cpus_under_kvm() {
    conforms("", "real_machines_with_two_cpus_conform");
}

/// Runs one test of the driver's suite.
fn conforms(environment: &str, test: &str) {
    let host = KvmHost::new("conforms");
    let run = host.run(&format!("{environment}real_conformance --nocapture --exact {test}"));
    assert_eq!(run.outcome, Outcome::Exited(0), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("under kvm"), "{}", run.stderr);
    if host.place() == Where::Lab {
        assert!(run.stderr.contains("under kvm, nested in emulation"), "{}", run.stderr);
    }
    assert!(run.stdout.contains("test result: ok. 1 passed"), "{}", run.stdout);
    eprintln!("{}", run.stderr);
}

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_operations_under_kvm_have_phases_that_add_up() {
    let host = KvmHost::new("operations");
    let line = "virtmark lifecycle --iterations 1 --warmup 0 --timeout 120s --archive $WORK/a.sqlite";
    assert_eq!(host.run(line).json()["environment"]["hypervisor"]["accelerator"], "kvm");
    let samples = host.samples("$WORK/a.sqlite");
    for name in ["vm_creation", "vm_startup", "snapshot", "restore", "vm_shutdown", "vm_destroy"] {
        assert_eq!(samples.iter().filter(|sample| sample["metric"] == name).count(), 1, "{name}");
    }
}

/// Under KVM the guest's registers, its clock and its log of written pages are the kernel's, and go over with the rest.
#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_a_machine_that_writes_migrates_under_kvm() {
    let host = KvmHost::new("migrates");
    for mode in ["pre-copy", "post-copy"] {
        let line = format!(
            "virtmark migrate --memory 256 --load dirty=5M --mode {mode} --iterations 1 --settle 1s --archive $WORK/a.sqlite"
        );
        let report = host.run(&line).json();
        assert_eq!(report["environment"]["hypervisor"]["accelerator"], "kvm", "{report:#}");
        let cell = &report["cells"][0];
        // The same machine: its memory, its names, and a writer that goes on writing.
        assert_eq!((&cell["attempts"], &cell["success_rate"]), (&1.into(), &1.0.into()), "{report:#}");
        for figure in
            ["migration_duration_ms", "downtime_actual_ms", "downtime_guest_ms", "data_transferred_mb"]
        {
            assert!(cell[figure]["p50"].as_f64().unwrap() > 0.0, "{mode}: {figure}: {cell:#}");
        }
        assert!(cell["downtime_hypervisor_ms"]["p50"].is_number(), "{mode}: {cell:#}");
        eprintln!("{mode}: {cell:#}");
    }
}

/// Only the QEMU that the run has started is looked at: the host may have others.
#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_a_killed_run_leaves_nothing() {
    let line = "mkdir $WORK/run; export VIRTMARK_RUN_DIR=$WORK/run
        virtmark tti --iterations 9 --warmup 0 --archive $WORK/a.sqlite >/dev/null 2>&1 & run=$!
        machine() { qemu=$(pgrep -P $run -f 'accel kvm'); [ -n \"$qemu\" ]; }
        n=0; while ! machine && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
        runs() { grep -q '^State:.[^ZX]' /proc/$qemu/status 2>/dev/null; }
        runs && echo runs
        kill -9 $run; wait $run 2>/dev/null
        n=0; while runs && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
        runs && echo alive
        virtmark runs --archive $WORK/a.sqlite >/dev/null
        find $WORK/run -mindepth 1 ! -name lock";
    let run = KvmHost::new("killed").run(line);
    assert_eq!(run.stdout, "runs\n", "{}", run.stderr);
}

#[test]
#[ignore = "needs KVM or the lab: make lab-test"]
fn real_what_only_kvm_tells_is_recorded() {
    let host = KvmHost::new("recorded");
    let captured = host.run(
        "virtmark capture --duration 15 --repeat 1 --timeout 180s --store $WORK/store --archive $WORK/a.sqlite",
    );
    captured.json();
    let points = |metric: &str| -> Vec<Vec<f64>> {
        let run = host.run(&format!("virtmark series query $WORK/store {metric} --range all --format json"));
        let series = run.json();
        let series = series["series"].as_array().unwrap();
        let value = |point: &Value| point["value"].as_f64();
        series
            .iter()
            .map(|one| one["points"].as_array().unwrap().iter().filter_map(value).collect())
            .collect()
    };
    // One series, whose points never go down; gives the last.
    let total = |metric: &str| {
        let series = points(metric);
        assert_eq!(series.len(), 1, "{metric}: {series:?}");
        let values = &series[0];
        assert!(values.len() >= 3 && values.is_sorted(), "{metric}: {values:?}");
        values[values.len() - 1]
    };
    // Reasons that every guest has.
    for reason in ["halt", "io"] {
        assert!(total(&format!("vcpu_exits_total{{reason={reason}}}")) > 0.0, "{reason}");
    }
    let all = total("vcpu_all_exits_total");
    let known: f64 = points("vcpu_exits_total").iter().filter_map(|values| values.last()).sum();
    assert!(known > 0.0 && all > 0.0, "{known} of {all}");
    // A guest that starts and then does nothing halts: KVM polls for what comes next, in vain at least once.
    let polled = ["success", "fail"]
        .map(|outcome| total(&format!("vcpu_halt_poll_seconds_total{{outcome={outcome}}}")));
    assert!(polled[0] >= 0.0 && polled[1] > 0.0, "{polled:?}");
    let steal = points("vcpu_steal_seconds_total");
    assert_eq!(steal.len(), 1, "one virtual CPU: {steal:?}");
    let (first, last) = (steal[0][0], steal[0][steal[0].len() - 1]);
    // A share of the machine's life, which is not much longer than what was asked for.
    assert!(first >= 0.0 && last >= first && last < 180.0, "{steal:?}");
}

/// The way that other drivers' tests take: files and a command to wherever KVM is, and what it found back.
#[test]
#[ignore = "needs KVM or a lab: make lab-test"]
fn real_a_job_takes_its_files_to_kvm_and_brings_results() {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("look.sh");
    let lines = "#!/bin/sh\nset -e\ntest -c /dev/kvm && echo node\nmkdir -p $LAB_RESULTS/deep\n\
        grep -c . $0 > $LAB_RESULTS/deep/lines\necho $WORD > $LAB_RESULTS/word\necho said >&2\nexit 7\n";
    std::fs::write(&script, lines).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let job = Job {
        files: vec![SharedFile { source: script, path: "tools/look.sh".into() }],
        command: "$LAB_FILES/tools/look.sh".into(),
        env: [("WORD".to_owned(), "given".to_owned())].into(),
        timeout: Duration::from_secs(60),
    };
    let output = virtmark_lab::run(&job, &options(), &mut |line| eprintln!("{line}")).unwrap();
    assert_eq!(output.place, KvmHost::new("job").place());
    assert_eq!(output.outcome, Outcome::Exited(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"node\n"[..], &b"said\n"[..]));
    let expected = [("deep/lines", "8\n"), ("word", "given\n")];
    let expected: BTreeMap<_, _> = expected.map(|(name, text)| (name.to_owned(), text.into())).into();
    assert_eq!(output.results, expected);
}
