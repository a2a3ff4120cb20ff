//! Scenarios in blocks that take turns, on a platform without machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Fake, Fault, Watcher};
use virtmark_hypervisor::{Capability, Hypervisor};
use virtmark_model::{Outcome, Sample};
use virtmark_scenarios::compare::{Side, interleave};
use virtmark_scenarios::lifecycle::{Lifecycle, LifecyclePlan};
use virtmark_scenarios::pace::Pace;
use virtmark_scenarios::restore::{Restore, RestorePlan};
use virtmark_scenarios::tti::{Tti, TtiPlan};
use virtmark_scenarios::{Block, Blockwise, Context, Ending, Plan, Sink};

/// Of each side.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(7).unwrap();
const BLOCKS: u32 = 3;
/// Which block each of the iterations is in.
const BLOCK_OF: [&str; 7] = ["0", "0", "0", "1", "1", "2", "2"];
const TIMEOUT: Duration = Duration::from_secs(5);

fn tti() -> Tti {
    let plan = TtiPlan { pace: Pace::sequential(ITERATIONS, 2), command: "true".into(), timeout: TIMEOUT };
    Tti { plan, machine: common::spec() }
}

fn lifecycle(scratch: &Path) -> Lifecycle {
    let plan = LifecyclePlan { iterations: ITERATIONS, warmup: 2 };
    Lifecycle { plan, machine: common::spec(), scratch: scratch.into(), stop_deadline: TIMEOUT }
}

fn restore(scratch: &Path) -> Restore {
    let plan = RestorePlan {
        pace: Pace::sequential(ITERATIONS, 2),
        timeout: TIMEOUT,
        working_set_bytes: 1 << 20,
        working_set_iterations: BLOCKS + 1,
    };
    Restore { plan, machine: common::spec(), scratch: scratch.into() }
}

fn context<'a>(fake: &'a Fake, sink: &'a mut dyn Sink, watcher: &'a Watcher) -> Context<'a> {
    let started = Instant::now();
    Context { hypervisor: fake, sink, progress: watcher, observer: None, interrupt: watcher, started }
}

/// The same scenario on two platforms, each with its samples.
fn take_turns(
    scenario: &dyn Blockwise,
    fakes: [&Fake; 2],
    watcher: &Watcher,
) -> (Ending, [Vec<Sample>; 2], Vec<Side>) {
    let (mut a, mut b, mut order) = (Vec::new(), Vec::new(), Vec::new());
    let sinks: [&mut dyn Sink; 2] = [&mut a, &mut b];
    let sizes = fakes.map(|fake| scenario.size(fake));
    let plan =
        Plan { warmups: sizes[0].warmups + sizes[1].warmups, samples: sizes[0].samples + sizes[1].samples };
    let ending = interleave(BLOCKS, plan, sinks, watcher, watcher, |side, turn| {
        order.push(side);
        let fake = fakes[usize::from(side == Side::B)];
        let context = Context {
            hypervisor: fake,
            sink: turn.sink,
            progress: turn.progress,
            observer: None,
            interrupt: watcher,
            started: turn.started,
        };
        let ending = scenario.measure(turn.block, context);
        assert_eq!(fakes.map(Fake::alive), [0, 0], "machines are left between blocks");
        ending
    });
    (ending.unwrap(), [a, b], order)
}

/// What samples say without their times: the metric, the machine, whether they are skipped.
fn gist(samples: &[Sample]) -> BTreeMap<(String, Option<String>), Vec<bool>> {
    let mut all: BTreeMap<_, Vec<bool>> = BTreeMap::new();
    for sample in samples {
        let key = (sample.metric.clone(), sample.labels.get("machine").cloned());
        all.entry(key).or_default().push(matches!(sample.outcome, Outcome::Skipped { .. }));
    }
    all
}

/// Both sides must keep what the scenario keeps by itself.
fn assert_as_alone(scenario: &dyn Blockwise, platform: fn() -> Fake) -> [Vec<Sample>; 2] {
    let mut alone = Vec::new();
    let watcher = Watcher::new();
    scenario.run(context(&platform(), &mut alone, &watcher)).unwrap();
    let (warmups, planned) = (watcher.warmups.load(Ordering::SeqCst), watcher.plan.lock().unwrap().unwrap());

    let (fakes, watcher) = ([platform(), platform()], Watcher::new());
    let (ending, sides, order) = take_turns(scenario, fakes.each_ref(), &watcher);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(order, [Side::A, Side::B, Side::B, Side::A, Side::A, Side::B]);
    assert_eq!(watcher.warmups.load(Ordering::SeqCst), 2 * warmups);
    let plan = watcher.plan.lock().unwrap().unwrap();
    assert_eq!((plan.warmups, plan.samples), (2 * planned.warmups, 2 * planned.samples));
    for samples in &sides {
        assert_eq!(gist(samples), gist(&alone));
        assert!(samples.iter().map(|sample| sample.seq).eq(0..alone.len() as u64));
    }
    sides
}

fn blocks<'a>(samples: &'a [Sample], metric: &str) -> Vec<&'a str> {
    let of = samples.iter().filter(|sample| sample.metric == metric);
    of.map(|sample| sample.labels["block"].as_str()).collect()
}

#[test]
fn each_scenario_keeps_in_turns_what_it_keeps_alone() {
    let scratch = tempfile::tempdir().unwrap();
    for samples in assert_as_alone(&tti(), Fake::new) {
        assert_eq!(blocks(&samples, "tti"), BLOCK_OF);
    }
    for samples in assert_as_alone(&lifecycle(scratch.path()), Fake::new) {
        for metric in ["vm_creation", "vm_startup", "snapshot", "restore", "vm_shutdown", "vm_destroy"] {
            assert_eq!(blocks(&samples, metric), BLOCK_OF);
        }
    }
    for samples in assert_as_alone(&restore(scratch.path()), Fake::new) {
        for metric in ["restore_only", "restore_tti", "restored_pss_bytes", "restored_private_bytes"] {
            assert_eq!(blocks(&samples, metric), BLOCK_OF);
        }
        for metric in ["working_set_25_warm", "working_set_100_cold"] {
            assert_eq!(blocks(&samples, metric), ["0", "0", "1", "2"]);
        }
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "snapshots are left");
}

#[test]
fn what_cannot_be_measured_is_said_once() {
    let scratch = tempfile::tempdir().unwrap();
    let without_snapshots = || Fake::new().without([(Capability::Snapshot, "it keeps no state")]);
    for samples in assert_as_alone(&lifecycle(scratch.path()), without_snapshots) {
        assert_eq!(blocks(&samples, "restore"), ["0"]);
    }
    for samples in assert_as_alone(&restore(scratch.path()), without_snapshots) {
        assert_eq!(samples.len(), 2);
    }
    let without_more = || {
        let absent =
            [(Capability::ResourceUsage, "it tells nothing"), (Capability::CoolSnapshot, "no cache")];
        Fake::new().without(absent)
    };
    for samples in assert_as_alone(&restore(scratch.path()), without_more) {
        assert_eq!(blocks(&samples, "working_set_50_cold"), ["0"]);
        let skipped = |sample: &&Sample| matches!(sample.outcome, Outcome::Skipped { .. });
        let memory = samples.iter().filter(|sample| sample.metric == "restored_pss_bytes").filter(skipped);
        assert_eq!(memory.count(), 1);
    }
}

#[test]
fn each_block_restores_a_snapshot_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let fakes = [Fake::new(), Fake::new()];
    take_turns(&restore(scratch.path()), fakes.each_ref(), &Watcher::new());
    let restored = ITERATIONS.get() + 2 + 2 * (BLOCKS + 1);
    for fake in &fakes {
        assert_eq!(fake.shared.created.load(Ordering::SeqCst), BLOCKS + restored);
    }
}

#[test]
fn a_stop_and_what_cannot_go_on_end_both_sides_and_keep_their_samples() {
    let scratch = tempfile::tempdir().unwrap();
    let scenario = lifecycle(scratch.path());
    let fakes = [Fake::new(), Fake::new()];
    // In the first life of side B: six samples of each of three lives are A's.
    let (ending, [a, b], order) = take_turns(&scenario, fakes.each_ref(), &Watcher::stopping_after(20));
    assert_eq!(ending, Ending::Interrupted);
    assert_eq!((a.len(), b.len(), order.len()), (18, 2, 2));

    let fakes = [Fake::new(), Fake::new().fault("lifecycle-3", Fault::Create, common::missing)];
    let (ending, [a, b], _) = take_turns(&scenario, fakes.each_ref(), &Watcher::new());
    assert!(matches!(ending, Ending::Stopped { .. }), "{ending:?}");
    assert_eq!((a.len(), b.len()), (18, 19));
    assert_eq!(b[18].labels["block"], "1");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "snapshots are left");
}

#[test]
fn machines_that_are_alive_at_once_cannot_be_cut_into_blocks() {
    let many = NonZeroU32::new(4).unwrap();
    let mut scenario = tti();
    scenario.plan.pace = Pace::burst(many, 0, many);
    let (mut samples, watcher, fake) = (Vec::new(), Watcher::new(), Fake::new());
    let second = Block::all(2).nth(1).unwrap();
    let ending = scenario.measure(second, context(&fake, &mut samples, &watcher)).unwrap();
    assert!(matches!(ending, Ending::Stopped { .. }), "{ending:?}");
    assert!(samples.is_empty());
    assert_eq!(scenario.run(context(&fake, &mut samples, &watcher)).unwrap(), Ending::Complete);
    assert_eq!((samples.len() as u64, scenario.size(&fake as &dyn Hypervisor).samples), (4, 4));
}
