//! Ranges, tiers, functions, rates, names that are unknown, and draining.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use support::{SECOND, START, Store, key, options};
use virtmark_timeseries::{
    CursorFile, Error, Function, Kind, Point, Points, Query, QueryError, Range, Reader, Schema, StoreOptions,
    TierChoice, Writer,
};

/// One counter or gauge with a value a second; `None` is a gap.
fn recorded(kind: Kind, narrow: bool, values: &[Option<f64>]) -> (Store, Reader) {
    let schema = Schema::new("all", 1);
    let schema = if narrow { schema.narrow() } else { schema };
    let mut store = Store::new(&StoreOptions::new(vec![schema]).unwrap(), &[("series", kind)]);
    let mut recorder = store.writer.recorder().unwrap();
    for (at, value) in values.iter().enumerate() {
        recorder.publish(START + at as u64 * SECOND).unwrap();
        if let Some(value) = value {
            assert!(recorder.record(store.series[0], *value));
        }
        store.writer.consolidate();
    }
    let reader = store.writer.reader().unwrap();
    (store, reader)
}

fn ask(reader: &Reader, range: Range, tier: TierChoice, function: Function) -> Result<Points, QueryError> {
    reader.query(&reader.series()[0], &Query { range, tier, function })
}

fn seconds(points: &[Point]) -> Vec<(u64, f64)> {
    points.iter().map(|point| ((point.time_ns - START) / SECOND, point.value)).collect()
}

#[test]
fn every_point_of_a_short_life_is_there_whatever_the_wall_clock_says() {
    let values: Vec<_> = (0..45).map(|at| Some(f64::from(at))).collect();
    let (_store, reader) = recorded(Kind::Gauge, false, &values);
    let all = ask(&reader, Range::All, TierChoice::Auto, Function::Last).unwrap();
    assert_eq!((all.tier, all.step_ns, all.points.len()), (0, SECOND, 45));
    let last = ask(&reader, Range::Last(Duration::from_secs(5)), TierChoice::Auto, Function::Last).unwrap();
    assert_eq!(seconds(&last.points), [(40, 40.0), (41, 41.0), (42, 42.0), (43, 43.0), (44, 44.0)]);
    let between = Range::Between { from_ns: START + SECOND + 1, until_ns: START + 4 * SECOND };
    let between = ask(&reader, between, TierChoice::Auto, Function::Last).unwrap();
    assert_eq!(seconds(&between.points), [(2, 2.0), (3, 3.0)]);
}

#[test]
fn the_finest_tier_that_covers_the_range_is_taken() {
    let values: Vec<_> = (0..8 * 3600).map(|at| Some(f64::from(at))).collect();
    let (_store, reader) = recorded(Kind::Gauge, false, &values);
    let hours = |hours: u64| Range::Last(Duration::from_secs(hours * 3600));
    for (range, tier, slots) in [
        (Range::Last(Duration::from_secs(90)), 0, 90),
        (Range::Last(Duration::from_secs(600)), 0, 600),
        (Range::Last(Duration::from_secs(601)), 1, 60),
        (hours(6), 1, 2160),
        (hours(7), 2, 84),
        (hours(24 * 365), 2, 96),
        (Range::All, 2, 96),
    ] {
        let answer = ask(&reader, range, TierChoice::Auto, Function::Average).unwrap();
        assert_eq!((answer.tier, answer.points.len()), (tier, slots), "{range:?}");
    }
    let error = ask(&reader, Range::All, TierChoice::Tier(3), Function::Average).unwrap_err();
    assert_eq!(error.to_string(), "there is no tier 3: series has 3, counted from 0");
}

#[test]
fn a_counter_that_starts_again_grows_from_zero_and_gaps_stay_gaps() {
    let values = [Some(10.0), Some(15.0), None, None, Some(30.0), Some(2.0), Some(3.0)];
    for narrow in [false, true] {
        let (_store, reader) = recorded(Kind::Counter, narrow, &values);
        let increase = ask(&reader, Range::All, TierChoice::Tier(0), Function::Increase).unwrap();
        assert_eq!(seconds(&increase.points), [(1, 5.0), (4, 15.0), (5, 2.0), (6, 1.0)]);
        let rate = ask(&reader, Range::All, TierChoice::Tier(0), Function::Rate).unwrap();
        assert_eq!(seconds(&rate.points), [(1, 5.0), (4, 5.0), (5, 2.0), (6, 1.0)]);
        // The slot before the range is what its first growth is measured from.
        let last = Range::Last(Duration::from_secs(2));
        let last = ask(&reader, last, TierChoice::Tier(0), Function::Increase).unwrap();
        assert_eq!(seconds(&last.points), [(5, 2.0), (6, 1.0)]);
    }
    let (_store, reader) = recorded(Kind::Gauge, false, &values);
    let error = ask(&reader, Range::All, TierChoice::Tier(0), Function::Rate).unwrap_err();
    assert!(matches!(error, QueryError::NotACounter { .. }), "{error}");
}

#[test]
fn narrow_slots_answer_what_they_keep_and_say_what_they_do_not() {
    let values: Vec<_> = (0..20).map(|at| Some(f64::from(at))).collect();
    let (_store, reader) = recorded(Kind::Gauge, true, &values);
    let value = |tier, function| {
        ask(&reader, Range::All, TierChoice::Tier(tier), function).map(|answer| answer.points[0].value)
    };
    assert_eq!(value(0, Function::Maximum), Ok(0.0), "one sample is its own maximum");
    assert_eq!(value(1, Function::Average), Ok(4.5));
    assert_eq!(value(1, Function::Sum), Ok(45.0));
    assert_eq!(value(1, Function::Count), Ok(10.0));
    let error = value(1, Function::Maximum).unwrap_err().to_string();
    assert!(error.contains("do not keep the max of several samples; ask for avg, sum or count"), "{error}");
}

#[test]
fn an_unknown_series_lists_the_near_names() {
    let mut store = Store::new(&options(5), &[("net_bytes_total", Kind::Counter)]);
    for reason in ["io", "hlt"] {
        store
            .writer
            .register(&key("vcpu_exits_total").with("reason", reason).unwrap(), Kind::Counter)
            .unwrap();
    }
    let reader = store.writer.reader().unwrap();
    assert_eq!(reader.select(&"vcpu_exits_total".parse().unwrap()).unwrap().len(), 2);
    assert_eq!(reader.select(&"{reason=\"hlt\"}".parse().unwrap()).unwrap().len(), 1);
    assert_eq!(reader.select(&"{}".parse().unwrap()).unwrap().len(), 3);
    let error = |text: &str| reader.select(&text.parse().unwrap()).unwrap_err().to_string();
    assert_eq!(error("vcpu_exit_total"), "no series matches vcpu_exit_total; near names: vcpu_exits_total");
    assert_eq!(
        error("vcpu_exits_total{reason=mmio}"),
        "no series matches vcpu_exits_total{reason=\"mmio\"}; near names: vcpu_exits_total{reason=\"io\"}, \
         vcpu_exits_total{reason=\"hlt\"}"
    );
    assert_eq!(error("nonsense"), "no series matches nonsense");
}

#[test]
fn info_counts_what_is_there() {
    let values: Vec<_> = (0..1200).map(|at| (at % 2 == 0).then_some(1.0)).collect();
    let (store, reader) = recorded(Kind::Gauge, false, &values);
    let info = reader.info();
    assert_eq!(info.size_bytes, store.writer.options().size_bytes());
    assert_eq!((info.oldest_ns, info.newest_ns), (Some(START), Some(START + 1199 * SECOND)));
    assert_eq!((info.lanes, info.rejected.total()), (1, 0));
    let fill: Vec<_> =
        info.schemas[0].tiers.iter().map(|tier| (tier.filled_slots, tier.registered_slots)).collect();
    assert_eq!(fill, [(300, 600), (120, 2160), (4, 2016)]);
    assert_eq!((info.schemas[0].series, info.schemas[0].max_series), (1, 1));
}

#[test]
fn draining_says_what_was_pushed_out_before_it_came() {
    let values: Vec<_> = (0..1000).map(|at| Some(f64::from(at))).collect();
    let (_store, reader) = recorded(Kind::Gauge, false, &values);
    let batch = reader.drain(&reader.cursor(0), 1, 10_000).unwrap();
    assert_eq!((batch.slots.len(), batch.missed_ticks, batch.more), (599, 400, false));
    let again = reader.drain(&batch.next, 1, 10_000).unwrap();
    assert_eq!((again.slots.len(), again.missed_ticks), (0, 0));
    let coarse = reader.drain(&reader.cursor(1), 1, 10_000).unwrap();
    assert_eq!((coarse.slots.len(), coarse.missed_ticks), (99, 0));

    let (_other, stranger) = recorded(Kind::Gauge, false, &values[..5]);
    assert!(matches!(stranger.drain(&batch.next, 1, 10), Err(Error::CursorOfAnotherStore { .. })));
}

#[derive(Clone, Debug)]
enum Event {
    /// The exporter dies after the batch has arrived and before the cursor is saved.
    Crash,
    Drain {
        most: usize,
    },
    Record {
        seconds: u64,
        series: usize,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => Just(Event::Crash),
        3 => (1..40usize).prop_map(|most| Event::Drain { most }),
        6 => (1..4u64, 0..3usize).prop_map(|(seconds, series)| Event::Record { seconds, series }),
    ];
    prop::collection::vec(event, 1..80)
}

/// Where samples arrive: a point of a time it has is taken if it is equal, as Prometheus does.
type Arrived = BTreeMap<(usize, u64), f64>;

fn push(
    reader: &Reader,
    from: &virtmark_timeseries::Cursor,
    most: usize,
    arrived: &mut Arrived,
) -> virtmark_timeseries::Cursor {
    let batch = reader.drain(from, 1, most).unwrap();
    assert!(batch.slots.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns), "in the order of time");
    assert_eq!(batch.missed_ticks, 0);
    for slot in batch.slots {
        let value = slot.summary.sum.unwrap();
        let before = arrived.insert((slot.series, slot.time_ns), value);
        assert!(before.is_none_or(|before| before == value), "a point never changes once it was given");
    }
    batch.next
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_drained_store_has_arrived_once_and_whole(events in events()) {
        let schemas = vec![
            Schema::new("own", 1).matching("c".parse().unwrap()),
            Schema::new("rest", 2),
        ];
        let options = StoreOptions::new(schemas).unwrap();
        let store = Store::new(&options, &[("a", Kind::Gauge), ("b", Kind::Gauge), ("c", Kind::Gauge)]);
        let mut recorder = store.writer.recorder().unwrap();
        let reader = store.writer.reader().unwrap();
        let path = store.directory.path().join("cursor");
        let mut recorded: Arrived = BTreeMap::new();
        let mut arrived: Arrived = BTreeMap::new();
        let mut now_ns = START;
        for (number, event) in events.iter().enumerate() {
            let (mut file, cursor) = CursorFile::open(&path).unwrap();
            let cursor = cursor.unwrap_or_else(|| reader.cursor(0));
            match *event {
                Event::Crash => {
                    push(&reader, &cursor, 20, &mut arrived);
                }
                Event::Drain { most } => {
                    let next = push(&reader, &cursor, most, &mut arrived);
                    file.save(&next).unwrap();
                }
                Event::Record { seconds, series } => {
                    now_ns += seconds * SECOND;
                    recorder.publish(now_ns).unwrap();
                    prop_assert!(recorder.record(store.series[series], number as f64));
                    recorded.insert((series, now_ns), number as f64);
                }
            }
        }
        recorder.publish(now_ns + SECOND).unwrap();
        let (mut file, cursor) = CursorFile::open(&path).unwrap();
        let cursor = cursor.unwrap_or_else(|| reader.cursor(0));
        file.save(&push(&reader, &cursor, usize::MAX, &mut arrived)).unwrap();
        prop_assert_eq!(arrived, recorded);
    }
}

#[test]
fn a_copy_of_a_store_in_use_can_be_opened() {
    let (store, _reader) = recorded(Kind::Gauge, false, &[Some(1.0), Some(2.0)]);
    store.writer.checkpoint().unwrap();
    let copy = store.directory.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(store.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut writer = Writer::open(&copy).unwrap();
    writer.consolidate();
    let reader = writer.reader().unwrap();
    let answer = ask(&reader, Range::All, TierChoice::Auto, Function::Sum).unwrap();
    assert_eq!(seconds(&answer.points), [(0, 1.0), (1, 2.0)]);
}
