//! Modes, failures and interrupts of the TTI scenario, on a platform without machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Fake, Fault, Noting, Watcher};
use virtmark_hypervisor::{Hypervisor, MachineState, Observer};
use virtmark_model::{FailureClass, Sample};
use virtmark_scenarios::pace::{Arrivals, Mode, Pace};
use virtmark_scenarios::tti::{Tti, TtiPlan, TtiReport};
use virtmark_scenarios::{Blockwise, Context, Ending, Error, Sink};

fn plan(mode: Mode, iterations: u32, concurrency: u32) -> TtiPlan {
    let (iterations, concurrency) =
        (NonZeroU32::new(iterations).unwrap(), NonZeroU32::new(concurrency).unwrap());
    let pace = match mode {
        Mode::Burst => Pace::burst(iterations, 0, concurrency),
        Mode::OpenLoop => {
            let rate_per_second = 250.0;
            let duration = Duration::from_secs_f64(f64::from(iterations.get()) / rate_per_second);
            Pace::open_loop(Arrivals { rate_per_second, duration }, 0, concurrency).unwrap()
        }
        Mode::Sequential => Pace::sequential(iterations, 0),
        Mode::Staggered => Pace::staggered(iterations, 0, concurrency, Duration::from_millis(10)),
    };
    TtiPlan { pace, command: "echo benchmark".into(), timeout: Duration::from_secs(5) }
}

fn warmed(warmup: u32, mut plan: TtiPlan) -> TtiPlan {
    plan.pace.warmup = warmup;
    plan
}

fn measure(fake: &Fake, watcher: &Watcher, plan: TtiPlan) -> (Ending, Vec<Sample>, TtiReport) {
    measure_observed(fake, watcher, None, plan)
}

fn measure_observed(
    fake: &Fake,
    watcher: &Watcher,
    observer: Option<&dyn Observer>,
    plan: TtiPlan,
) -> (Ending, Vec<Sample>, TtiReport) {
    let mut samples = Vec::new();
    let run = common::run("tti", serde_json::to_value(&plan).unwrap(), fake);
    let context = Context {
        hypervisor: fake,
        sink: &mut samples,
        progress: watcher,
        observer,
        interrupt: watcher,
        started: Instant::now(),
    };
    let ending = Tti { plan, machine: common::spec() }.run(context).unwrap();
    assert_eq!(fake.alive(), 0, "machines are left");
    let report = TtiReport::from_samples(&run, &samples).unwrap();
    (ending, samples, report)
}

#[test]
fn phases_that_a_command_has_of_its_own_take_the_place_of_exec() {
    let fake = Fake::new().exec(Duration::from_millis(2)).exec_phases(&["http", "exec"]);
    let (_, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 2, 1));
    for sample in &samples {
        let names: Vec<_> = sample.phases.iter().map(|phase| phase.name.as_ref()).collect();
        assert_eq!(names, ["prepare", "spawn", "firmware_kernel", "init", "connect", "http", "exec"]);
        let mut end_ns = 0;
        for phase in &sample.phases {
            assert_eq!(phase.start_ns, end_ns);
            end_ns += phase.duration_ns;
        }
        assert_eq!(sample.outcome.value(), Some(end_ns as f64));
    }
    let of = |name: &str| report.phases.iter().find(|phase| phase.name == name).unwrap().figures.min_ns;
    assert!(of("http") >= 2_000_000 && of("exec") >= 2_000_000, "{:?}", report.phases);
}

#[test]
fn phases_add_up_to_the_total_and_destroy_is_not_in_it() {
    let fake = Fake::new().destroy(Duration::from_millis(200));
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 3, 1));
    assert_eq!(ending, Ending::Complete);
    for (position, sample) in samples.iter().enumerate() {
        assert_eq!(sample.seq, position as u64);
        let names: Vec<_> = sample.phases.iter().map(|phase| phase.name.as_ref()).collect();
        assert_eq!(names, ["prepare", "spawn", "firmware_kernel", "init", "connect", "exec"]);
        let sum: u64 = sample.phases.iter().map(|phase| phase.duration_ns).sum();
        assert_eq!(sample.outcome.value(), Some(sum as f64));
        assert!(sum < 200_000_000, "destroy was timed: {sum}");
    }
    assert_eq!(report.iterations_success, 3);
    assert_eq!(report.exit_codes["0"], 3);
    assert_eq!(report.concurrent, None);
    let mean: u64 = report.phases.iter().map(|phase| phase.figures.mean_ns).sum();
    assert!(mean.abs_diff(report.mean_ns.unwrap()) <= report.phases.len() as u64);
    assert!((report.phases.iter().map(|phase| phase.share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(report.emulated);
}

#[test]
fn warm_ups_run_and_are_not_recorded() {
    let (fake, watcher) = (Fake::new(), Watcher::new());
    let (_, samples, _) = measure(&fake, &watcher, warmed(2, plan(Mode::Sequential, 1, 1)));
    assert_eq!(samples.len(), 1);
    assert_eq!(watcher.warmups.load(Ordering::SeqCst), 2);
    assert_eq!(fake.shared.created.load(Ordering::SeqCst), 3);
}

#[test]
fn a_command_that_is_not_found_is_a_result() {
    let fake = Fake::new().exit_code(127);
    let (ending, _, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 2, 1));
    assert_eq!(ending, Ending::Complete);
    assert_eq!((report.iterations_success, report.iterations_failed), (2, 0));
    assert_eq!(report.exit_codes["127"], 2);
}

#[test]
fn failures_are_classified_counted_and_keep_the_phases_passed() {
    let fake =
        Fake::new().fault("tti-1", Fault::Start, common::silent).fault("tti-2", Fault::Exec, common::silent);
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 4, 1));
    assert_eq!(ending, Ending::Complete);
    assert_eq!((report.iterations_success, report.iterations_failed), (2, 2));
    assert_eq!(report.failures[&FailureClass::GuestSilent], 2);
    assert_eq!(samples[1].labels["failed_in"], "start");
    assert_eq!(samples[1].phases.len(), 2);
    assert_eq!(samples[2].labels["failed_in"], "exec");
    assert_eq!(samples[2].phases.len(), 5);
}

#[test]
fn what_comes_after_the_time_limit_is_no_figure() {
    let fake = Fake::new().exec(Duration::from_millis(600));
    let plan = TtiPlan { timeout: Duration::from_millis(500), ..plan(Mode::Sequential, 1, 1) };
    let (_, samples, report) = measure(&fake, &Watcher::new(), plan);
    assert_eq!(report.failures[&FailureClass::Timeout], 1);
    assert_eq!((report.iterations_success, report.max_ns), (0, None));
    assert_eq!(samples[0].labels["failed_in"], "exec");
}

#[test]
fn nothing_succeeded_gives_null_and_never_zero() {
    let fake = Fake::new().fault("tti-0", Fault::Start, common::silent);
    let (_, _, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 1, 1));
    let json = serde_json::to_value(&report).unwrap();
    for field in ["min_ns", "p50_ns", "p95_ns", "p99_ns", "max_ns", "mean_ns", "median_ci95"] {
        assert!(json[field].is_null(), "{field} is {}", json[field]);
    }
    assert_eq!(json["iterations_requested"], 1);
    assert_eq!(json["failures"]["guest_silent"], 1);
}

#[test]
fn a_cause_that_stays_ends_the_run_at_once() {
    let fake = Fake::new().fault("tti-1", Fault::Create, common::missing);
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 50, 1));
    assert!(matches!(ending, Ending::Stopped { class: FailureClass::HypervisorMissing, .. }), "{ending:?}");
    assert_eq!(samples.len(), 2);
    assert_eq!((report.iterations_requested, report.iterations_success), (50, 1));
}

#[test]
fn a_cause_that_stays_in_a_warm_up_is_on_record() {
    let fake = Fake::new().fault("warmup-0", Fault::Create, common::missing);
    let (ending, samples, _) = measure(&fake, &Watcher::new(), warmed(5, plan(Mode::Sequential, 50, 1)));
    assert!(matches!(ending, Ending::Stopped { .. }));
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].labels["warmup"], "true");
}

#[test]
fn an_interrupt_keeps_what_was_measured_and_drops_the_rest() {
    for mode in Mode::ALL {
        let fake = Fake::new();
        let watcher = Watcher::stopping_after(4);
        let (ending, samples, report) = measure(&fake, &watcher, plan(mode, 40, 2));
        assert_eq!(ending, Ending::Interrupted, "{mode}");
        assert!((4..=6).contains(&samples.len()), "{mode}: {}", samples.len());
        assert_eq!(report.iterations_failed, 0, "{mode}");
    }
}

#[test]
fn what_fails_because_of_an_interrupt_is_no_failure() {
    let fake = Fake::new().fault("tti-0", Fault::Start, common::silent);
    let (ending, samples, _) = measure(&fake, &Watcher::stopping_after(0), plan(Mode::Sequential, 1, 1));
    assert_eq!((ending, samples), (Ending::Interrupted, Vec::new()));
}

#[test]
fn a_burst_launches_all_at_once_and_leaves_destroys_out() {
    let fake = Fake::new().boot(Duration::from_millis(60)).destroy(Duration::from_millis(100));
    let (_, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Burst, 8, 8));
    assert_eq!(samples.len(), 8);
    assert_eq!(fake.shared.most_alive.load(Ordering::SeqCst), 8);
    let concurrent = report.concurrent.unwrap();
    assert_eq!((concurrent.waves, concurrent.concurrency), (1, 8));
    assert_eq!(concurrent.ramp.len(), 8);
    let wall = concurrent.wall_clock_ns.unwrap();
    assert!(wall >= report.max_ns.unwrap());
    assert_eq!(wall, concurrent.ramp.iter().filter_map(|point| point.ready_ns).max().unwrap());
    assert!(concurrent.time_to_first_ready_ns.unwrap() <= wall);
    // Eight destroys of 100 ms follow.
    assert!(wall < 800_000_000, "{wall}");
}

#[test]
fn waves_bound_the_machines_alive() {
    let fake = Fake::new();
    let (_, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Burst, 7, 3));
    assert_eq!(samples.len(), 7);
    assert!(fake.shared.most_alive.load(Ordering::SeqCst) <= 3);
    let concurrent = report.concurrent.unwrap();
    assert_eq!(concurrent.waves, 3);
    assert_eq!(concurrent.ramp.iter().filter(|point| point.wave == 2).count(), 1);
}

#[test]
fn staggered_launches_keep_their_distance() {
    let fake = Fake::new().boot(Duration::from_millis(50));
    let mut plan = plan(Mode::Staggered, 4, 4);
    plan.pace.stagger = Duration::from_millis(40);
    let (_, _, report) = measure(&fake, &Watcher::new(), plan);
    for (position, point) in report.concurrent.unwrap().ramp.iter().enumerate() {
        assert_eq!(point.machine, format!("tti-{position}"));
        // The first launch, from which the others count, may itself be late.
        assert!(point.launched_ns + 30_000_000 >= position as u64 * 40_000_000, "{point:?}");
    }
}

#[test]
fn a_staggered_run_stops_launching_when_a_cause_stays() {
    let fake = Fake::new().fault("tti-0", Fault::Create, common::missing);
    let mut plan = plan(Mode::Staggered, 3, 3);
    plan.pace.stagger = Duration::from_secs(30);
    let started = Instant::now();
    let (ending, samples, _) = measure(&fake, &Watcher::new(), plan);
    assert!(matches!(ending, Ending::Stopped { .. }));
    assert_eq!(samples.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_failed_machine_of_a_burst_has_no_ready_time() {
    let fake = Fake::new().fault("tti-2", Fault::Start, common::silent);
    let (_, _, report) = measure(&fake, &Watcher::new(), plan(Mode::Burst, 4, 4));
    let concurrent = report.concurrent.unwrap();
    let failed = concurrent.ramp.iter().find(|point| point.machine == "tti-2").unwrap();
    assert_eq!((failed.ready_ns, failed.tti_ns), (None, None));
    assert_eq!(concurrent.ramp.iter().filter(|point| point.ready_ns.is_some()).count(), 3);
}

/// Takes one sample, then has no room.
struct Full(u32);

impl Sink for Full {
    fn record(&mut self, _: &Sample) -> virtmark_archive::Result<()> {
        self.0 += 1;
        if self.0 == 1 {
            return Ok(());
        }
        Err(virtmark_archive::Error::DiskFull { action: "recording a sample", path: "x".into() })
    }
}

#[test]
fn a_sample_that_cannot_be_kept_ends_the_run_and_leaves_no_machine() {
    for mode in Mode::ALL {
        let (fake, watcher) = (Fake::new(), Watcher::new());
        let mut sink = Full(0);
        let context = Context {
            hypervisor: &fake as &dyn Hypervisor,
            sink: &mut sink,
            progress: &watcher,
            observer: None,
            interrupt: &watcher,
            started: Instant::now(),
        };
        let result = Tti { plan: plan(mode, 10, 2), machine: common::spec() }.run(context);
        assert!(matches!(result, Err(Error::Record(_))), "{mode}: {result:?}");
        assert_eq!(fake.alive(), 0, "{mode}");
        assert!(fake.shared.created.load(Ordering::SeqCst) <= 4, "{mode}");
    }
}

#[test]
fn what_the_link_sees_is_explained_by_the_machine() {
    let fake = Fake::new().fault("tti-0", Fault::Answer, common::lost);
    let (_, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::Sequential, 1, 1));
    assert_eq!(report.failures[&FailureClass::GuestPanic], 1);
    assert_eq!(samples[0].labels["failed_in"], "exec");
}

#[test]
fn observers_hear_of_machines_while_they_are_there() {
    for mode in Mode::ALL {
        let fake = Fake::new().fault("tti-1", Fault::Start, common::silent);
        let noting = Noting::default();
        let plan = warmed(1, plan(mode, 3, 3));
        measure_observed(&fake, &Watcher::new(), Some(&noting), plan);
        for name in ["warmup-0", "tti-0", "tti-2"] {
            let heard: Vec<_> = noting.of(name).into_iter().map(|(what, _)| what).collect();
            assert_eq!(heard, ["created", "running", "ending"], "{mode} {name}");
        }
        let heard: Vec<_> = noting.of("tti-1").into_iter().map(|(what, _)| what).collect();
        assert_eq!(heard, ["created", "ending"], "{mode}: it never ran");
        assert!(noting.0.lock().unwrap().iter().all(|(.., state)| *state != MachineState::Destroyed));
    }
}

#[test]
fn an_open_loop_launches_at_its_moments_and_counts_from_them() {
    let fake = Fake::new().boot(Duration::from_millis(30));
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::OpenLoop, 10, 10));
    assert_eq!((ending, samples.len()), (Ending::Complete, 10));
    let mut launches: Vec<u64> = samples.iter().map(|sample| sample.started_ns).collect();
    launches.sort_unstable();
    for (position, launched) in launches.iter().enumerate() {
        // The intended moments, which no lateness moves.
        assert_eq!(launched - launches[0], position as u64 * 4_000_000);
    }
    for sample in &samples {
        assert_eq!(sample.phases[0].name, "lag");
        let sum: u64 = sample.phases.iter().map(|phase| phase.duration_ns).sum();
        assert_eq!(sample.outcome.value(), Some(sum as f64));
    }
    let open = report.open_loop.unwrap();
    assert_eq!((open.launched, open.dropped, open.rate_per_second), (10, 0, 250.0));
    let latest = samples.iter().map(|sample| sample.phases[0].duration_ns).max();
    assert_eq!((open.lag_p99_ns, open.lag_max_ns), (latest, latest));
    assert_eq!(open.valid, latest.unwrap() * 100 <= report.p50_ns.unwrap());
    assert_eq!(report.concurrent.unwrap().ramp.len(), 10);
}

#[test]
fn arrivals_beyond_the_limit_are_failures_and_never_launched() {
    let fake = Fake::new().boot(Duration::from_millis(300));
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Mode::OpenLoop, 12, 2));
    assert_eq!((ending, samples.len()), (Ending::Complete, 12));
    assert_eq!(fake.shared.most_alive.load(Ordering::SeqCst), 2);
    assert_eq!(fake.shared.created.load(Ordering::SeqCst), 2);
    let open = report.open_loop.unwrap();
    assert_eq!((open.launched, open.dropped), (2, 10));
    assert_eq!((report.iterations_success, report.iterations_failed), (2, 10));
    let dropped = samples.iter().find(|sample| sample.labels.contains_key("dropped")).unwrap();
    assert_eq!(dropped.labels["failed_in"], "launch");
    assert!(format!("{:?}", dropped.outcome).contains("raise --concurrency"));
}

#[test]
fn an_open_loop_stops_launching_when_a_cause_stays() {
    let fake = Fake::new().fault("tti-0", Fault::Create, common::missing);
    let mut plan = plan(Mode::OpenLoop, 3, 1);
    plan.pace.arrivals = Some(Arrivals { rate_per_second: 0.01, duration: Duration::from_secs(300) });
    let started = Instant::now();
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan);
    assert!(matches!(ending, Ending::Stopped { .. }), "{ending:?}");
    assert_eq!(samples.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(!report.open_loop.unwrap().valid);
}
