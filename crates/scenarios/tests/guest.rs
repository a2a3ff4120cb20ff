//! Guest suites on platforms whose tools print what they printed once: the course of a run, its figures, its bad days.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "support/tools.rs"]
mod tools;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use common::Watcher;
use tools::{SILENCE, Tools, stored};
use virtmark_hypervisor::{Capability, ExecStatus, MachineSpec};
use virtmark_model::{FailureClass, Outcome, Sample};
use virtmark_scenarios::guest::{
    Field, Grade, Guest, GuestPlan, GuestReport, HostLimits, Profile, Side, Suite, Test,
};
use virtmark_scenarios::{Context, Ending};

const MEMORY_BYTES: u64 = 256 << 20;

fn well() -> Tools {
    Tools::new(|_| None)
}

/// A run of these suites.
fn measure(plan: GuestPlan, guest: &Tools, host: &Tools) -> (Ending, Vec<Sample>, GuestReport) {
    measure_until(plan, guest, host, &Watcher::new())
}

fn measure_until(
    plan: GuestPlan,
    guest: &Tools,
    host: &Tools,
    watcher: &Watcher,
) -> (Ending, Vec<Sample>, GuestReport) {
    let scratch = tempfile::tempdir().unwrap();
    let machine = MachineSpec { memory_bytes: MEMORY_BYTES, ..common::spec() };
    let mut configuration = serde_json::to_value(&plan).unwrap();
    configuration["memory_bytes"] = MEMORY_BYTES.into();
    let mut samples = Vec::new();
    let context = Context {
        hypervisor: guest,
        sink: &mut samples,
        progress: watcher,
        observer: None,
        interrupt: watcher,
        started: Instant::now(),
    };
    let limits = HostLimits::new(&[0, 1], 1, Err("no cgroups in a test".into()));
    let suite = Guest { plan, machine, limits, scratch: scratch.path().into() };
    let ending = suite.run(context, host).unwrap();
    assert!(
        guest.alive.lock().unwrap().is_empty() && host.alive.lock().unwrap().is_empty(),
        "machines are left"
    );
    let run = common::run("guest", configuration, guest);
    let report = GuestReport::from_samples(&run, &samples).unwrap();
    (ending, samples, report)
}

fn quick(suites: &[Suite]) -> GuestPlan {
    GuestPlan::new(Profile::Quick, suites)
}

fn only(test: Test) -> GuestPlan {
    GuestPlan { tests: vec![test], ..quick(&[test.suite()]) }
}

/// The kinds of failures of a test on a side, and the first message.
fn failures(samples: &[Sample], test: Test, side: Side) -> (Vec<String>, FailureClass, String) {
    let failed: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.labels.get("test").is_some_and(|label| label == test.as_str()))
        .filter(|sample| sample.labels.get("side").is_some_and(|label| label == side.as_str()))
        .filter(|sample| sample.outcome.failure().is_some())
        .collect();
    let kinds = failed.iter().map(|sample| sample.labels["failure_kind"].clone()).collect();
    match &failed.first().expect("a failure").outcome {
        Outcome::Failure { class, message } => (kinds, *class, message.clone()),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_whole_run_has_every_test_on_both_sides_in_every_block() {
    let (guest, host) = (well(), well());
    let plan = quick(&Suite::ALL);
    let watcher = Watcher::new();
    let (ending, samples, report) = measure_until(plan.clone(), &guest, &host, &watcher);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(report.tests.len(), Test::ALL.len());
    for test in &report.tests {
        assert_eq!((test.guest.samples.len(), test.host.samples.len()), (6, 6), "{}", test.test);
        let ratio = test.ratio.as_ref().unwrap();
        assert_eq!((ratio.point, ratio.blocks.len(), ratio.emulated), (1.0, 6, true), "{}", test.test);
        assert!(ratio.ci95.is_some(), "{}", test.test);
        assert!(!test.versions_differ());
    }
    // The sides take turns in coming first.
    let order =
        |sample: &&Sample| sample.metric == "sysbench_cpu_events_per_second" && sample.labels["order"] == "0";
    let first: Vec<&str> =
        samples.iter().filter(order).map(|sample| sample.labels["side"].as_str()).collect();
    assert_eq!(first, ["guest", "host", "guest", "host", "guest", "host"]);
    // What was announced is what came. fio's stored output has no time of reads for one that only wrote.
    let planned = watcher.plan.lock().unwrap().unwrap().samples;
    assert!(
        planned >= samples.len() as u64 && planned - samples.len() as u64 <= 24,
        "{planned} {}",
        samples.len()
    );

    // The machine has a disk of its own, and the host a file; fio writes all of it before anything is read.
    assert!(guest.lines_with("--name=layout")[0].contains("--filename=/dev/vdb --direct=1"));
    assert!(host.lines_with("--name=layout")[0].contains("virtmark-fio --direct=1"));
    // The client in one machine dials the other one.
    assert!(guest.lines_with("iperf3 -c")[0].starts_with("iperf3 -c 10.0.0.9 -p 5201 "));
    assert!(host.lines_with("iperf3 -c")[0].starts_with("iperf3 -c 127.0.0.1 -p "));
    let tcp = report.tests.iter().find(|test| test.test == Test::IperfTcp).unwrap();
    assert_eq!(
        (tcp.guest.network.as_deref(), tcp.host.network.as_deref()),
        (Some("shared"), Some("loopback"))
    );
    assert_eq!(report.host_limits.cpus.as_deref(), Some("0"));
    assert!(report.host_limits.lacks[0].contains("no cgroups in a test"));
    assert_eq!(report.harness.exec_round_trip_ns.len(), 2);
    assert!(report.harness.harness_share.is_some_and(|share| (0.0..=1.0).contains(&share)));
}

#[test]
fn overheads_are_what_is_lost_of_the_host_and_graded_by_the_interval() {
    let round = AtomicU32::new(0);
    // 94, 95, … 99 of the host's 100 events in a second.
    let guest = Tools::new(move |line| {
        let slower = || 94 + round.fetch_add(1, Ordering::SeqCst);
        line.starts_with("sysbench cpu")
            .then(|| (ExecStatus::Exited(0), format!("events per second: {}.0\n", slower())))
    });
    let host = Tools::new(|line| {
        line.starts_with("sysbench cpu").then(|| (ExecStatus::Exited(0), "events per second: 100.0\n".into()))
    });
    let (_, _, report) = measure(quick(&[Suite::Cpu, Suite::Memory, Suite::Storage]), &guest, &host);
    let cpu = &report.overhead.cpu_overhead_percent;
    let interval = cpu.ci95.unwrap();
    // Of six blocks the lower of the middle two is shown, 0.96, and what is lost is of that one.
    let shown = report.tests[0].ratio.as_ref().unwrap().point;
    assert!((shown - 0.96).abs() < 1e-9 && (cpu.value.unwrap() - 4.0).abs() < 1e-9, "{shown} {cpu:?}");
    assert!((interval.low - 1.0).abs() < 1e-9 && (interval.high - 6.0).abs() < 1e-9, "{cpu:?}");
    assert_eq!((cpu.grade, cpu.blocks), (Grade::CannotTell, 6));
    assert_eq!(cpu.grade_text, "cannot tell (limits 3 % and 5 %), emulated");

    // PSS 200 MiB; of 256 MiB the guest has 100 MiB free.
    let memory = &report.overhead.memory_overhead_mb;
    assert!((memory.value.unwrap() - f64::from(44 << 20) / 1e6).abs() < 1e-9, "{memory:?}");
    assert!((memory.percent.unwrap() - 100.0 * 44.0 / 256.0).abs() < 1e-9, "{memory:?}");
    assert_eq!(memory.grade, Grade::NeedsOptimisation);
    // One megabyte more than the 64 MiB that were written.
    let storage = &report.overhead.storage_overhead_mb;
    assert!((storage.value.unwrap() - 1.0).abs() < 1e-9, "{storage:?}");
    assert_eq!(storage.grade, Grade::Target);
    assert_eq!(report.overhead.iops_native_ratio.value, Some(1.0));
    assert_eq!(report.overhead.iops_native_ratio.grade, Grade::NoTarget);
    assert_eq!(report.overhead.network_overhead_percent.grade, Grade::NotMeasured);
    let json = serde_json::to_value(&report.overhead).unwrap();
    for field in Field::ALL {
        assert!(json.get(field.as_str()).is_some(), "{}", field.as_str());
    }
    assert_eq!(
        serde_json::from_value::<GuestReport>(serde_json::to_value(&report).unwrap()).unwrap(),
        report
    );
}

#[test]
fn five_blocks_are_too_few_for_an_interval_and_a_grade() {
    let plan = GuestPlan { blocks: NonZeroU32::new(5).unwrap(), ..only(Test::SysbenchCpu) };
    let (_, _, report) = measure(plan, &well(), &well());
    assert!(report.tests[0].ratio.as_ref().unwrap().ci95.is_none());
    assert_eq!(report.overhead.cpu_overhead_percent.grade, Grade::CannotTell);
}

#[test]
fn a_guest_without_the_tools_is_told_once_for_each_test_and_nothing_is_run() {
    let guest =
        Tools::new(|line| line.contains("command -v").then(|| (ExecStatus::Exited(0), String::new())));
    let (ending, samples, report) = measure(quick(&[Suite::Cpu]), &guest, &well());
    assert_eq!(ending, Ending::Complete);
    assert_eq!(samples.len(), 2, "{samples:#?}");
    let (kinds, class, message) = failures(&samples, Test::SysbenchCpu, Side::Guest);
    assert_eq!((kinds, class), (vec!["tool_missing".into()], FailureClass::Unsupported));
    assert_eq!(message, "cannot run sysbench: it is not in the guest; use --image bench");
    assert!(guest.lines_with("sysbench cpu").is_empty());
    assert_eq!(report.overhead.cpu_overhead_percent.grade, Grade::NotMeasured);
}

#[test]
fn tools_that_only_the_host_lacks_leave_the_guests_figures() {
    let host = Tools::new(|line| {
        line.contains("command -v").then(|| (ExecStatus::Exited(0), "openssl OpenSSL 1.1.1w\n".into()))
    });
    let (_, samples, report) = measure(quick(&[Suite::Cpu]), &well(), &host);
    let (_, class, message) = failures(&samples, Test::SysbenchCpu, Side::Host);
    assert_eq!(class, FailureClass::Unsupported);
    assert!(message.contains("apt-get install sysbench"), "{message}");
    assert_eq!((report.tests[0].guest.samples.len(), report.tests[0].ratio.is_none()), (6, true));
    // Another version of the other tool is measured, and told.
    assert!(report.tests[1].ratio.is_some() && report.tests[1].versions_differ());
}

#[test]
fn a_tool_that_the_kernel_killed_for_memory_is_told_and_not_tried_again() {
    let killed = AtomicU32::new(0);
    let guest = Tools::new(move |line| {
        if line.contains("--memory-oper=write") {
            killed.fetch_add(1, Ordering::SeqCst);
            return Some((ExecStatus::Signaled(9), String::new()));
        }
        let count = killed.load(Ordering::SeqCst);
        line.contains("/proc/vmstat").then(|| (ExecStatus::Exited(0), format!("oom_kill {count}\n")))
    });
    let (_, samples, report) = measure(quick(&[Suite::Memory]), &guest, &well());
    let (kinds, class, message) = failures(&samples, Test::MemorySeqWrite, Side::Guest);
    assert_eq!((kinds, class), (vec!["out_of_memory".into()], FailureClass::OutOfMemory));
    assert!(message.contains("--memory"), "{message}");
    assert_eq!(guest.lines_with("--memory-oper=write").len(), 1);
    // The others go on.
    assert!(report.tests.iter().filter(|test| test.ratio.is_some()).count() == 2);
}

#[test]
fn a_tool_whose_process_the_kernel_killed_is_told_so_however_it_ends_itself() {
    let killed = AtomicU32::new(0);
    let guest = Tools::new(move |line| {
        if line.contains("--name=layout") {
            killed.fetch_add(1, Ordering::SeqCst);
            let said = "fio: pid=83, got signal=9\nfree(): double free detected in tcache 2\n";
            return Some((ExecStatus::Signaled(6), said.into()));
        }
        let count = killed.load(Ordering::SeqCst);
        line.contains("/proc/vmstat").then(|| (ExecStatus::Exited(0), format!("oom_kill {count}\n")))
    });
    let (_, samples, _) = measure(only(Test::FioSeqRead), &guest, &well());
    let (kinds, class, message) = failures(&samples, Test::FioSeqRead, Side::Guest);
    assert_eq!((kinds, class), (vec!["out_of_memory".into()], FailureClass::OutOfMemory));
    assert!(message.contains("--memory"), "{message}");
}

#[test]
fn a_tool_that_was_refused_memory_is_told_so_by_its_json() {
    let guest = Tools::new(|line| {
        let refused = r#"{"fio version": "fio-3.33", "jobs": [{"jobname": "layout", "error": 12}]}"#;
        line.contains("--name=layout").then(|| (ExecStatus::Exited(134), refused.into()))
    });
    let (_, samples, _) = measure(only(Test::FioSeqRead), &guest, &well());
    let (kinds, class, message) = failures(&samples, Test::FioSeqRead, Side::Guest);
    assert_eq!((kinds, class), (vec!["out_of_memory".into()], FailureClass::OutOfMemory));
    assert!(message.ends_with("give it more with --memory"), "{message}");
}

#[test]
fn a_guest_that_answers_nothing_any_more_ends_the_run_and_is_not_asked_again() {
    for word in ["--name=layout", "--rw=randread"] {
        let silent = AtomicU32::new(0);
        let guest = Tools::new(move |line| {
            let ends = line.contains(word) || silent.load(Ordering::SeqCst) > 0;
            ends.then(|| {
                silent.fetch_add(1, Ordering::SeqCst);
                (ExecStatus::TimedOut, SILENCE.to_owned())
            })
        });
        let plan = quick(&[Suite::Cpu, Suite::Storage]);
        let (ending, samples, report) = measure(plan, &guest, &well());
        let Ending::Stopped { class, message } = ending else { panic!("{ending:?}") };
        assert_eq!(class, FailureClass::GuestSilent);
        assert!(message.contains("did not end within") && message.contains("answers nothing"), "{message}");
        // One question more showed it.
        let asked = guest.lines_with("");
        assert_eq!(asked.len() - asked.iter().position(|line| line.contains(word)).unwrap(), 2, "{asked:?}");
        // Every test that was still to be run has the reason; what was measured stays.
        let (kinds, ..) = failures(&samples, Test::FioRandWrite, Side::Guest);
        assert_eq!(kinds, ["guest_silent"]);
        assert_eq!(report.tests[0].ratio.is_some(), word == "--rw=randread");
    }
}

#[test]
fn a_full_disk_in_the_guest_ends_the_storage_suite_there() {
    let full = stored("fio-3.33-disk-full.json");
    let guest =
        Tools::new(move |line| line.contains("--name=layout").then(|| (ExecStatus::Exited(1), full.clone())));
    let (ending, samples, _) = measure(quick(&[Suite::Storage, Suite::Cpu]), &guest, &well());
    assert_eq!(ending, Ending::Complete);
    let (kinds, class, message) = failures(&samples, Test::FioSeqRead, Side::Guest);
    assert_eq!((kinds, class), (vec!["disk_full".into()], FailureClass::DiskFull));
    assert!(message.contains("in the guest full; use a smaller --size"), "{message}");
    assert_eq!(guest.lines_with("--runtime").len(), 0);
    assert_eq!(guest.lines_with("sysbench cpu").len(), 6);
}

#[test]
fn a_file_system_without_direct_io_is_used_through_the_page_cache_and_told() {
    let host = Tools::new(|line| {
        let refused = line.contains("--name=layout") && line.contains("--direct=1");
        refused.then(|| {
            (
                ExecStatus::Exited(1),
                "fio: looks like your file system does not support direct=1: Invalid argument\n".into(),
            )
        })
    });
    let (_, _, report) = measure(only(Test::FioSeqRead), &well(), &host);
    assert_eq!((report.tests[0].guest.direct, report.tests[0].host.direct), (Some(true), Some(false)));
    assert!(report.tests[0].ratio.is_some());
}

#[test]
fn what_is_no_machine_has_no_overhead_of_memory_and_disk() {
    let bare = Tools::new(|line| {
        if line.contains("/sys/block") {
            return Some((ExecStatus::Exited(0), String::new()));
        }
        let host = "MemTotal: 8000000 kB\nMemFree: 5000000 kB\n";
        line.contains("/proc/meminfo").then(|| (ExecStatus::Exited(0), host.into()))
    });
    let (_, samples, report) = measure(quick(&[Suite::Memory, Suite::Storage]), &bare, &well());
    assert_eq!(report.overhead.memory_overhead_mb.grade, Grade::NotMeasured);
    assert_eq!(report.overhead.storage_overhead_mb.grade, Grade::NotMeasured);
    let reasons = |metric: &str| -> Vec<Outcome> {
        samples.iter().filter(|sample| sample.metric == metric).map(|sample| sample.outcome.clone()).collect()
    };
    let skipped = |reason: &str| Outcome::Skipped { reason: reason.into() };
    assert_eq!(
        reasons("memory_overhead_bytes")[0],
        skipped("the tools do not run in the memory of a machine")
    );
    assert_eq!(reasons("storage_overhead_bytes")[0], skipped("the machine has no disk of its own"));
    let reads = report.tests.iter().find(|test| test.test == Test::FioRandRead).unwrap();
    assert_eq!(reads.guest.target.as_deref(), Some("file"));
    assert!(reads.ratio.is_some());
}

#[test]
fn without_a_second_machine_only_the_network_is_not_measured() {
    let mut guest = well();
    guest.missing = Some("guest-2");
    let (ending, samples, report) = measure(quick(&[Suite::Network, Suite::Cpu]), &guest, &well());
    assert_eq!(ending, Ending::Complete);
    let (_, class, message) = failures(&samples, Test::IperfTcp, Side::Guest);
    assert_eq!(class, FailureClass::OutOfMemory);
    assert!(message.starts_with("network tests need a second machine: no memory for guest-2: "), "{message}");
    assert!(report.tests.iter().all(|test| (test.suite == Suite::Cpu) == test.ratio.is_some()));
}

#[test]
fn a_taken_port_is_told_with_what_to_do() {
    let taken =
        "iperf3: error - unable to start listener for connections: Address already in use\niperf3: exiting\n";
    let guest = Tools::new(move |line| {
        line.contains("grep -q -e listening").then(|| (ExecStatus::Exited(0), taken.into()))
    });
    let (_, samples, report) = measure(quick(&[Suite::Network]), &guest, &well());
    let (kinds, class, message) = failures(&samples, Test::IperfTcp, Side::Guest);
    assert_eq!((kinds, class), (vec!["port_taken".into()], FailureClass::Other));
    assert_eq!(
        message,
        "cannot start iperf3's server on the guest: port 5201 is taken; choose another with --port"
    );
    // ping needs the other machine, and no server in it.
    let measured: Vec<Test> =
        report.tests.iter().filter(|test| test.ratio.is_some()).map(|test| test.test).collect();
    assert_eq!(measured, [Test::Ping]);
}

#[test]
fn a_guest_that_has_ping_alone_is_pinged_and_its_host_starts_no_server() {
    let guest =
        Tools::new(|line| line.contains("command -v").then(|| (ExecStatus::Exited(0), "ping \n".to_owned())));
    let (_, samples, report) = measure(quick(&[Suite::Network]), &guest, &well());
    let (kinds, class, _) = failures(&samples, Test::IperfTcp, Side::Guest);
    assert_eq!((kinds, class), (vec!["tool_missing".into()], FailureClass::Unsupported));
    let ping = report.tests.iter().find(|test| test.test == Test::Ping).unwrap();
    // It did not say its version, which is no reason to make one up.
    assert_eq!((ping.guest.samples.len(), ping.guest.tool_version.as_deref()), (6, None));
    assert!(guest.lines_with("iperf3 -s").is_empty());
}

#[test]
fn machines_that_share_no_network_are_joined_by_the_host_for_tcp_alone() {
    let guest = well().without([(Capability::SharedNetwork, "no /dev/net/tun")]);
    let (_, _, report) = measure(quick(&[Suite::Network]), &guest, &well());
    assert!(guest.lines_with("iperf3 -c")[0].starts_with("iperf3 -c 10.0.2.2 -p 40001 "));
    let [tcp, udp, ping] = &report.tests[..] else { panic!("{:?}", report.tests) };
    assert_eq!(tcp.guest.network.as_deref(), Some("user"));
    assert!(tcp.ratio.is_some() && udp.ratio.is_none() && ping.ratio.is_none());
    assert!(udp.skipped.as_ref().unwrap().contains("no /dev/net/tun"), "{:?}", udp.skipped);

    let neither = [(Capability::SharedNetwork, "it has none"), (Capability::Network, "it has none")];
    let (_, samples, report) = measure(quick(&[Suite::Network]), &well().without(neither), &well());
    assert!(
        report
            .tests
            .iter()
            .all(|test| test.skipped.as_deref() == Some("machines cannot be connected: it has none"))
    );
    assert!(samples.iter().all(|sample| sample.outcome.failure().is_none()));
}

#[test]
fn what_cannot_be_read_is_a_failure_with_the_text_and_the_next_block_tries_again() {
    let guest = Tools::new(|line| {
        line.starts_with("openssl").then(|| (ExecStatus::Exited(0), "speed: fast\n".into()))
    });
    let (_, samples, report) = measure(only(Test::OpensslSha256), &guest, &well());
    let (kinds, class, _) = failures(&samples, Test::OpensslSha256, Side::Guest);
    assert_eq!((kinds, class), (vec!["unparsable".to_owned(); 6], FailureClass::Other));
    let failed = samples.iter().find(|sample| sample.outcome.failure().is_some()).unwrap();
    assert_eq!(failed.labels["raw_output"], "speed: fast\n");
    assert_eq!(report.tests[0].guest.failures[&FailureClass::Other], 6);
    assert!(
        report.tests[0].ratio.is_none() && report.tests[0].why_no_ratio().unwrap().starts_with("failed: ")
    );
}

#[test]
fn a_stop_keeps_what_was_measured() {
    let watcher = Watcher::stopping_after(20);
    let (ending, samples, report) = measure_until(quick(&[Suite::Cpu]), &well(), &well(), &watcher);
    assert_eq!(ending, Ending::Interrupted);
    assert!(samples.len() >= 20 && report.tests[0].ratio.is_some(), "{}", samples.len());
}

#[test]
fn a_machine_that_cannot_be_made_ends_the_run_with_its_reason() {
    let mut guest = well();
    guest.missing = Some("guest-1");
    let (ending, samples, _) = measure(quick(&[Suite::Cpu]), &guest, &well());
    assert!(matches!(ending, Ending::Stopped { class: FailureClass::OutOfMemory, .. }), "{ending:?}");
    assert_eq!(samples.len(), 2);
}
