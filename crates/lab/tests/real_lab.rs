//! What claims KVM, on KVM: in the lab that `make lab-test` has started. Each test is a user of a host that has KVM.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use virtmark_image::{SharedFile, Store};
use virtmark_lab::{Client, Job, LabOptions, Outcome, Place, Where};

/// What the whole suite takes on a busy host, twice.
const LIMIT: Duration = Duration::from_secs(900);

struct Run {
    outcome: Outcome,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        assert_eq!(self.outcome, Outcome::Exited(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs a line in the lab, which must have the files of this build.
fn lab(line: &str) -> Run {
    let client = Client::new(Place::in_cache(&Store::default_dir().unwrap()));
    client.check_current().unwrap();
    let argv = ["/bin/sh", "-c", line].map(String::from);
    let path = "/lab/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = BTreeMap::from([("PATH".to_owned(), path.to_owned()), ("NO_COLOR".into(), "1".into())]);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let outcome = client.exec(&argv, &env, b"", Some(LIMIT), &mut stdout, &mut stderr).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { outcome, stdout: text(stdout), stderr: text(stderr) }
}

/// One finding of `virtmark doctor --json`.
fn finding<'a>(checks: &'a Value, id: &str) -> (&'a str, &'a str) {
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    (check["status"].as_str().unwrap(), check["finding"].as_str().unwrap())
}

/// The samples of the newest run in an archive of the lab, all of which succeeded and whose phases add up.
fn samples(archive: &str) -> Vec<Value> {
    let run = lab(&format!("virtmark export latest --archive {archive}")).json();
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

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_doctor_names_hardware_kvm_and_its_flavour() {
    // What it tries KVM with.
    let built = lab("virtmark image build tiny");
    assert_eq!(built.outcome, Outcome::Exited(0), "{}", built.stderr);
    let checks = lab("virtmark doctor --json").json();
    assert_eq!(finding(&checks, "cpu-virtualisation"), ("good", "AMD SVM with second-level paging"));
    assert_eq!(finding(&checks, "nested"), ("good", "on (kvm_amd)"));
    let (status, words) = finding(&checks, "kvm");
    assert!(status == "good" && words.starts_with("yes, nested in emulation: "), "{status} {words}");
    let (_, platform) = finding(&checks, "platform");
    assert!(platform.contains("QEMU TCG"), "{platform}");
    assert_eq!(finding(&checks, "huge-pages").1, "none reserved");
    let reserve = |pages: u32| format!("echo {pages} > /proc/sys/vm/nr_hugepages");
    let checks = lab(&format!("{}; virtmark doctor --json; {}", reserve(16), reserve(0))).json();
    assert_ne!(finding(&checks, "huge-pages").1, "none reserved");
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_auto_picks_kvm_inside_and_says_why_on_both_sides() {
    let tti = lab("virtmark tti --iterations 1 --warmup 0 --timeout 120s --archive /tmp/auto.sqlite");
    let report = tti.json();
    let facts = &report["environment"]["hypervisor"];
    assert_eq!(facts["accelerator"], "kvm", "{report:#}");
    assert_eq!(facts["nested_in_emulation"], true, "{report:#}");
    assert!(facts["accelerator_reason"].as_str().unwrap().contains("reached user space"), "{facts}");
    assert_eq!(report["emulated"], true);
    assert!(tti.stderr.contains("NESTED IN EMULATION"), "{}", tti.stderr);
    assert_eq!(samples("/tmp/auto.sqlite").len(), 1);
    let shown = lab("virtmark show latest --archive /tmp/auto.sqlite");
    assert!((shown.stdout + &shown.stderr).contains("kvm, nested in emulation"));

    let outside = std::env::var("LAB_VIRTMARK").expect("make lab-test names the program");
    let archive = tempfile::tempdir().unwrap();
    let output = Command::new(outside)
        .args(["tti", "--iterations", "1", "--warmup", "0", "--archive"])
        .arg(archive.path().join("a.sqlite"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let facts = &report["environment"]["hypervisor"];
    assert_eq!(facts["accelerator"], "tcg", "the lab is for hosts without KVM");
    assert!(!facts["accelerator_reason"].as_str().unwrap().is_empty());
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_driver_conforms_under_kvm() {
    conforms("", "real_machines_conform");
}

/// What the processor, its virtualisation and its clock have a part in, for where there is little time.
#[test]
#[ignore = "needs the lab: make lab-test-short"]
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
#[ignore = "needs the lab: make lab-test"]
fn real_driver_conforms_with_two_cpus_under_kvm() {
    conforms("", "real_machines_with_two_cpus_conform");
}

/// Runs one test of the driver's suite in the lab.
fn conforms(environment: &str, test: &str) {
    let run = lab(&format!("{environment}real_conformance --nocapture --exact {test}"));
    assert_eq!(run.outcome, Outcome::Exited(0), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("under kvm, nested in emulation"), "{}", run.stderr);
    assert!(run.stdout.contains("test result: ok. 1 passed"), "{}", run.stdout);
    eprintln!("{}", run.stderr);
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_operations_under_kvm_have_phases_that_add_up() {
    let line = "virtmark lifecycle --iterations 1 --warmup 0 --timeout 120s --archive /tmp/life.sqlite";
    assert_eq!(lab(line).json()["environment"]["hypervisor"]["accelerator"], "kvm");
    let samples = samples("/tmp/life.sqlite");
    for name in ["vm_creation", "vm_startup", "snapshot", "restore", "vm_shutdown", "vm_destroy"] {
        assert_eq!(samples.iter().filter(|sample| sample["metric"] == name).count(), 1, "{name}");
    }
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_a_killed_run_leaves_nothing() {
    let line = "rm -rf /run/killed; mkdir /run/killed; export VIRTMARK_RUN_DIR=/run/killed
        virtmark tti --iterations 9 --warmup 0 --archive /tmp/killed.sqlite >/dev/null 2>&1 &
        n=0; while [ -z \"$(pgrep qemu-system)\" ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
        pgrep qemu-system >/dev/null && echo started
        kill -9 $!; wait $! 2>/dev/null
        n=0; while [ -n \"$(pgrep qemu-system)\" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
        pgrep qemu-system && echo alive
        virtmark runs --archive /tmp/killed.sqlite >/dev/null
        find /run/killed -mindepth 1 ! -name lock";
    let run = lab(line);
    assert_eq!(run.stdout, "started\n", "{}", run.stderr);
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_exits_are_recorded_by_reason() {
    let line =
        "rm -rf /tmp/store; virtmark capture --duration 15 --repeat 1 --timeout 180s --store /tmp/store \
                --archive /tmp/capture.sqlite >/dev/null 2>/tmp/capture.log || cat /tmp/capture.log >&2
                virtmark series query /tmp/store vcpu_exits_total --range all --format csv; virtmark series info /tmp/store";
    let run = lab(line);
    assert_eq!(run.outcome, Outcome::Exited(0), "{}", run.stderr);
    // The last points of reasons that every guest has.
    for reason in ["halt", "io"] {
        let mut lines = run.stdout.lines().filter(|line| line.contains(&format!("reason=\"\"{reason}\"\"")));
        let count = lines.next_back().and_then(|line| line.rsplit(',').next()).unwrap_or_default();
        assert!(count.parse::<f64>().is_ok_and(|count| count > 0.0), "{reason} in {}", run.stdout);
    }
    for series in ["vcpu_steal_seconds_total", "vcpu_halt_poll_seconds_total", "vcpu_all_exits_total"] {
        assert!(run.stdout.contains(series), "{series} in {}", run.stdout);
    }
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_files_go_in_and_come_out() {
    let program = std::env::var("LAB_VIRTMARK").expect("make lab-test names the program");
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    // Larger than a frame, and no multiple of one.
    let content: Vec<u8> = (0..3_000_001u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o750)).unwrap();
    let virtmark = |arguments: &[&str]| Command::new(&program).arg("lab").args(arguments).output().unwrap();
    let put = virtmark(&["put", source.to_str().unwrap(), "/tmp/travels"]);
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    let inside = lab("sha256sum < /tmp/travels; stat -c %a /tmp/travels").stdout;
    let expected = virtmark_image::sha256_file(&source).unwrap();
    assert_eq!(inside, format!("{expected}  -\n750\n"));
    let get = virtmark(&["get", "/tmp/travels", target.to_str().unwrap()]);
    assert!(get.status.success(), "{}", String::from_utf8_lossy(&get.stderr));
    assert!(std::fs::read(&target).unwrap() == content);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o750);
    // What is not there leaves nothing here.
    let absent = place.path().join("absent");
    let get = virtmark(&["get", "/tmp/nowhere", absent.to_str().unwrap()]);
    let words = String::from_utf8_lossy(&get.stderr).into_owned();
    assert!(!get.status.success() && words.contains("/tmp/nowhere"), "{words}");
    assert!(!absent.exists());
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
    let options = LabOptions { memory_bytes: 1 << 30, ..LabOptions::new(Store::default_dir().unwrap()) };
    let output = virtmark_lab::run(&job, &options, &mut |line| eprintln!("{line}")).unwrap();
    assert_eq!(output.place, Where::Lab, "LAB_VIRTMARK is for hosts without KVM");
    assert_eq!(output.outcome, Outcome::Exited(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"node\n"[..], &b"said\n"[..]));
    let expected = [("deep/lines", "8\n"), ("word", "given\n")];
    let expected: BTreeMap<_, _> = expected.map(|(name, text)| (name.to_owned(), text.into())).into();
    assert_eq!(output.results, expected);
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_kvm_that_is_broken_is_told_apart() {
    // Module missing.
    let run = lab("modprobe -r kvm_amd kvm && virtmark doctor --json; code=$?; modprobe kvm_amd; exit $code");
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == "kvm-node").unwrap();
    assert!(check["finding"].as_str().unwrap().starts_with("not there"), "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("modprobe kvm_amd"), "{check}");
    // Node that this user may not open.
    let line = "chmod 600 /dev/kvm; mkdir -p /tmp/nobody; chown 65534 /tmp/nobody
        HOME=/tmp/nobody setpriv --reuid 65534 --regid 65534 --clear-groups virtmark doctor --json";
    let run = lab(line);
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(finding(&checks, "kvm-node").1.starts_with("this user may not open it"), "{checks:#}");
    assert!(finding(&checks, "kvm").1.starts_with("no: /dev/kvm: this user may not open it"), "{checks:#}");
    // A node whose guests are never heard of.
    let line = "printf '#!/bin/sh\\ncase \"$*\" in *accel*) exec qemu-system-x86_64 \"$@\" -append quiet;; esac
        exec qemu-system-x86_64 \"$@\"\\n' > /tmp/mute; chmod 755 /tmp/mute; virtmark doctor --qemu /tmp/mute --json";
    let run = lab(line);
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    let (status, words) = finding(&checks, "kvm");
    assert_eq!(status, "warning", "{checks:#}");
    assert!(words.starts_with("present but unusable: /dev/kvm opens, but"), "{words}");
}
