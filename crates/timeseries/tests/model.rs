//! The store against a naive model that keeps every accepted sample: at every tier, for laps, gaps, silent series,
//! late samples, clocks that step back and forth, far-future samples, several lanes, and stores opened anew.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use proptest::prelude::*;
use virtmark_timeseries::{
    Kind, Range, Reader, Recorder, Rejected, Schema, Series, SeriesKey, StoreOptions, Summary, Tier,
    TierChoice, Width, Writer,
};

const MS: u64 = 1_000_000;
const START_NS: u64 = 1_700_000_000_003 * MS;
const LANES: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Consolidate,
    Jump { lane: usize, by_ms: i64 },
    Publish { lane: usize, by_ms: i64 },
    Record { lane: usize, series: usize, value: i32 },
    RecordAt { lane: usize, series: usize, by_ms: i64, value: i32 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = 0..LANES;
    let by_ms = || prop_oneof![6 => 0..25i64, 3 => -130..130i64, 1 => -1000..1000i64];
    let record = || (lane.clone(), 0..3usize, -50..50i32);
    let step = prop_oneof![
        2 => Just(Step::Consolidate),
        1 => (lane.clone(), by_ms()).prop_map(|(lane, by_ms)| Step::Jump { lane, by_ms }),
        8 => (lane.clone(), by_ms()).prop_map(|(lane, by_ms)| Step::Publish { lane, by_ms }),
        12 => record().prop_map(|(lane, series, value)| Step::Record { lane, series, value }),
        6 => (record(), by_ms()).prop_map(|((lane, series, value), by_ms)| {
            Step::RecordAt { lane, series, by_ms, value }
        }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

/// A sample that was accepted, in the order of arrival.
#[derive(Clone, Copy, Debug)]
struct Sample {
    series: usize,
    time_ns: u64,
    lane: usize,
    value: f64,
}

struct Model {
    tiers: Vec<Tier>,
    horizon_ns: u64,
    newest_ns: Option<u64>,
    started: bool,
    published: [Option<u64>; LANES],
    samples: Vec<Sample>,
}

impl Model {
    /// Alive is what no newer slot has taken the place of, at its tier and at those it is consolidated into.
    fn lives(&self, time_ns: u64, newest_ns: u64) -> bool {
        let held = |tier: &Tier, time_ns: u64| {
            newest_ns / tier.step_ns < time_ns / tier.step_ns + u64::from(tier.slots)
        };
        held(&self.tiers[0], time_ns)
            && self.tiers.windows(2).all(|pair| held(&pair[0], time_ns / pair[1].step_ns * pair[1].step_ns))
    }

    fn accept(&mut self, time_ns: u64, horizon: bool) -> bool {
        let newest_ns = self.newest_ns.unwrap_or(time_ns);
        let in_reach = !horizon || !self.started || time_ns <= newest_ns + self.horizon_ns;
        let accepted = in_reach && self.lives(time_ns, newest_ns.max(time_ns));
        if accepted {
            self.newest_ns = Some(newest_ns.max(time_ns));
            self.started = true;
        }
        accepted
    }

    /// What a slot should hold, from all samples that were ever accepted.
    fn slot(&self, series: usize, tier: usize, tick: u64) -> Option<Summary> {
        let mut within: Vec<&Sample> = self
            .samples
            .iter()
            .filter(|sample| sample.series == series && sample.time_ns / self.tiers[tier].step_ns == tick)
            .collect();
        within.sort_by_key(|sample| (sample.time_ns / self.tiers[0].step_ns, sample.lane));
        let values: Vec<f64> = within.iter().map(|sample| sample.value).collect();
        Some(Summary {
            first: Some(*values.first()?),
            last: values.last().copied(),
            count: Some(values.len() as u64),
            sum: Some(values.iter().sum()),
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
        })
    }
}

fn kind_of(series: usize) -> Kind {
    if series == 0 { Kind::Counter } else { Kind::Gauge }
}

struct Store {
    directory: tempfile::TempDir,
    series: Vec<Series>,
    open: Option<(Writer, Vec<Recorder>)>,
}

impl Store {
    fn new(options: &StoreOptions) -> Self {
        let directory = support::memory_directory();
        let mut writer = Writer::create(&directory.path().join("store"), options).unwrap();
        let keys: Vec<(SeriesKey, Kind)> =
            (0..3).map(|at| (SeriesKey::new(format!("series_{at}")).unwrap(), kind_of(at))).collect();
        let series = writer.register_all(&keys).unwrap();
        let mut store = Self { directory, series, open: None };
        store.equip(writer);
        store
    }

    fn equip(&mut self, writer: Writer) {
        let recorders = (0..LANES).map(|_| writer.recorder().unwrap()).collect();
        self.open = Some((writer, recorders));
    }

    fn reopen(&mut self) {
        self.open = None;
        let writer = Writer::open(&self.directory.path().join("store")).unwrap();
        self.equip(writer);
    }

    fn parts(&mut self) -> (&mut Writer, &mut Vec<Recorder>) {
        let (writer, recorders) = self.open.as_mut().unwrap();
        (writer, recorders)
    }
}

fn run(width: Width, steps: &[Step]) -> Result<(), TestCaseError> {
    let tier = |step_ms, slots| Tier { step_ns: step_ms * MS, slots, width };
    let tiers = vec![tier(10, 12), tier(40, 8), tier(160, 5)];
    let schema = Schema::new("all", 3).with_tiers(tiers.clone());
    let options = StoreOptions::new(vec![schema]).unwrap().with_lanes(LANES as u32).unwrap();
    let horizon_ns = options.horizon_ns();
    let (newest_ns, started) = (None, false);
    let mut model =
        Model { tiers, horizon_ns, newest_ns, started, published: [None; LANES], samples: vec![] };
    let mut store = Store::new(&options);
    let mut rejected = 0;
    for step in steps {
        let now_ns = model.newest_ns.unwrap_or(START_NS);
        let moved = |by_ms: i64| now_ns.saturating_add_signed(by_ms * MS as i64);
        // What the store asks for: a consolidation between one time and the next.
        store.parts().0.consolidate();
        match *step {
            Step::Consolidate => {
                let again = store.parts().0.consolidate();
                prop_assert_eq!(again.written, 0, "a second consolidation changes nothing");
            }
            Step::Jump { lane, by_ms } | Step::Publish { lane, by_ms } => {
                let jump = matches!(step, Step::Jump { .. });
                let time_ns = moved(by_ms);
                let recorder = &mut store.parts().1[lane];
                let result = if jump { recorder.jump_to(time_ns) } else { recorder.publish(time_ns) };
                let accepted = model.accept(time_ns, !jump);
                prop_assert_eq!(result.is_ok(), accepted, "{:?} by {} ms", result, by_ms);
                model.published[lane] = accepted.then_some(time_ns);
            }
            Step::Record { lane, series, value } => {
                let handle = store.series[series];
                let published = model.published[lane];
                // A recorder whose time another has left behind must publish before it records again.
                if published.is_some_and(|time_ns| !model.lives(time_ns, now_ns)) {
                    continue;
                }
                let taken = store.parts().1[lane].record(handle, f64::from(value));
                prop_assert_eq!(taken, published.is_some());
                rejected += u64::from(!taken);
                if let Some(time_ns) = published {
                    model.samples.push(Sample { series, time_ns, lane, value: f64::from(value) });
                }
            }
            Step::RecordAt { lane, series, by_ms, value } => {
                let (handle, time_ns) = (store.series[series], moved(by_ms));
                let result = store.parts().1[lane].record_at(handle, time_ns, f64::from(value));
                let accepted = model.accept(time_ns, true);
                prop_assert_eq!(result.is_ok(), accepted, "{:?} by {} ms", result, by_ms);
                rejected += u64::from(result.is_err());
                if accepted {
                    model.samples.push(Sample { series, time_ns, lane, value: f64::from(value) });
                } else if time_ns > now_ns {
                    let far = matches!(result, Err(Rejected::FarFuture { .. }));
                    prop_assert!(far);
                }
            }
            Step::Reopen => {
                store.reopen();
                model.published = [None; LANES];
                model.started = false;
            }
        }
    }
    store.parts().0.consolidate();
    prop_assert_eq!(store.parts().0.rejected().total(), rejected);
    let reader = store.parts().0.reader().unwrap();
    compare(&model, &reader)
}

/// The count alone.
fn nothing(of: &Summary) -> Summary {
    Summary { count: of.count, sum: None, min: None, max: None, first: None, last: None }
}

/// The fields of one where the other has them as well.
fn meet(one: &Summary, other: &Summary) -> Summary {
    Summary {
        count: one.count.filter(|_| other.count.is_some()),
        sum: one.sum.filter(|_| other.sum.is_some()),
        min: one.min.filter(|_| other.min.is_some()),
        max: one.max.filter(|_| other.max.is_some()),
        first: one.first.filter(|_| other.first.is_some()),
        last: one.last.filter(|_| other.last.is_some()),
    }
}

/// Every slot of every tier, empty ones included.
fn compare(model: &Model, reader: &Reader) -> Result<(), TestCaseError> {
    let newest_ns = reader.newest_ns();
    prop_assert_eq!(newest_ns, model.newest_ns);
    let Some(newest_ns) = newest_ns else { return Ok(()) };
    for (number, entry) in reader.series().iter().enumerate() {
        for (at, tier) in model.tiers.iter().enumerate() {
            let found = reader.summaries(entry, Range::All, TierChoice::Tier(at)).unwrap();
            let mut found = found.summaries.into_iter().peekable();
            let newest = newest_ns / tier.step_ns;
            for tick in (newest + 1).saturating_sub(u64::from(tier.slots))..=newest {
                let here = found.next_if(|(time_ns, _)| *time_ns == tick * tier.step_ns);
                let found = here.map(|(_, summary)| summary);
                let Some(expected) = model.slot(number, at, tick) else {
                    prop_assert_eq!(found, None, "tier {} of series {}: a gap is a gap", at, number);
                    continue;
                };
                prop_assert!(found.is_some(), "tier {} of series {} lacks {:?}", at, number, expected);
                let found = found.unwrap();
                let must = match (tier.width, kind_of(number)) {
                    (Width::Wide, _) => expected,
                    (Width::Narrow, Kind::Counter) => Summary { last: expected.last, ..nothing(&expected) },
                    (Width::Narrow, Kind::Gauge) => Summary { sum: expected.sum, ..nothing(&expected) },
                };
                prop_assert_eq!(meet(&found, &must), must, "tier {} of series {}, tick {}", at, number, tick);
                prop_assert_eq!(meet(&expected, &found), found, "what is said beyond that is true as well");
            }
            prop_assert_eq!(found.next(), None, "nothing outside of the ring");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wide_slots_hold_what_the_model_holds(steps in steps()) {
        run(Width::Wide, &steps)?;
    }

    #[test]
    fn narrow_slots_hold_what_the_model_holds(steps in steps()) {
        run(Width::Narrow, &steps)?;
    }
}

/// The default tiers over several laps of the finest, with a series that is silent for a while.
#[test]
fn default_tiers_over_two_hours() {
    let directory = support::memory_directory();
    let options = StoreOptions::new(vec![Schema::new("all", 2)]).unwrap();
    let mut writer = Writer::create(&directory.path().join("store"), &options).unwrap();
    let keys = ["steady", "silent"].map(|name| (SeriesKey::new(name).unwrap(), Kind::Gauge));
    let series = writer.register_all(&keys).unwrap();
    let mut recorder = writer.recorder().unwrap();
    let second = 1_000_000_000;
    let start = 1_700_000_100;
    for at in start..start + 7200 {
        recorder.publish(at * second).unwrap();
        assert!(recorder.record(series[0], at as f64));
        if at % 1200 < 300 {
            assert!(recorder.record(series[1], 1.0));
        }
        writer.consolidate();
    }
    let reader = writer.reader().unwrap();
    for (tier, step, slots) in [(0, 1, 600), (1, 10, 720), (2, 300, 24)] {
        let steady = reader.summaries(&reader.series()[0], Range::All, TierChoice::Tier(tier)).unwrap();
        assert_eq!(steady.summaries.len(), slots);
        for (time_ns, summary) in &steady.summaries {
            let first = (time_ns / second) as f64;
            let last = first + f64::from(step - 1);
            assert_eq!((summary.min, summary.max), (Some(first), Some(last)));
            assert_eq!(summary.average(), Some((first + last) / 2.0));
        }
        let silent = reader.summaries(&reader.series()[1], Range::All, TierChoice::Tier(tier)).unwrap();
        let expected: u64 = (start + 7200 - slots as u64 * u64::try_from(step).unwrap()..start + 7200)
            .filter(|at| at % 1200 < 300)
            .count() as u64;
        let count: u64 = silent.summaries.iter().map(|(_, summary)| summary.count.unwrap()).sum();
        assert_eq!(count, expected, "tier {tier}");
        assert!(silent.summaries.iter().all(|(time_ns, _)| time_ns / second % 1200 < 300));
    }
}
