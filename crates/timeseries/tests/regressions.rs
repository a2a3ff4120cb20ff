//! Faults found in a store of the same shape, `rondo`, which this one must not have.

mod support;

use support::{SECOND, START, Store, options};
use virtmark_timeseries::{Function, Kind, Query, Range, Rejected, TierChoice};

/// A series that is silent for a lap: its old values must not come back under the times of the new lap.
#[test]
fn rondo_a_silent_series_does_not_repeat_the_previous_lap_under_new_timestamps() {
    let mut store = Store::new(&options(2), &[("speaks", Kind::Gauge), ("silent", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    for at in 0..1500 {
        recorder.publish(START + at * SECOND).unwrap();
        assert!(recorder.record(store.series[0], at as f64));
        if at < 600 {
            assert!(recorder.record(store.series[1], at as f64));
        }
        store.writer.consolidate();
    }
    let reader = store.writer.reader().unwrap();
    let silent = &reader.series()[1];
    let query = |tier| Query { range: Range::All, tier: TierChoice::Tier(tier), function: Function::Last };
    assert_eq!(reader.query(silent, &query(0)).unwrap().points, []);
    for tier in [1, 2] {
        for point in reader.query(silent, &query(tier)).unwrap().points {
            assert!(point.time_ns < START + 600 * SECOND, "tier {tier} has {point:?}");
        }
    }
}

/// A sample that is a lap late shares its slot with a live one, and must not take its place.
#[test]
fn rondo_a_late_sample_does_not_overwrite_a_live_one() {
    let mut store = Store::new(&options(1), &[("value", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    for at in 0..700 {
        recorder.publish(START + at * SECOND).unwrap();
        assert!(recorder.record(store.series[0], at as f64));
        store.writer.consolidate();
    }
    let late = recorder.record_at(store.series[0], START + 50 * SECOND, -1.0);
    assert_eq!(late, Err(Rejected::Late { behind_ns: 649 * SECOND }));
    assert_eq!(recorder.publish(START + 50 * SECOND), Err(Rejected::Late { behind_ns: 649 * SECOND }));
    assert!(!recorder.record(store.series[0], -1.0));
    assert_eq!(recorder.rejected().late, 2);
    store.writer.consolidate();

    let reader = store.writer.reader().unwrap();
    for tier in 0..3 {
        let query = Query { range: Range::All, tier: TierChoice::Tier(tier), function: Function::Minimum };
        let points = reader.query(&reader.series()[0], &query).unwrap().points;
        assert!(!points.is_empty());
        for point in points {
            assert_eq!(point.value, ((point.time_ns - START) / SECOND) as f64);
        }
    }
}

/// A coarse slot says what was in all of its time, not what was last.
#[test]
fn rondo_a_coarse_slot_is_the_average_and_not_the_last_point() {
    let mut store = Store::new(&options(1), &[("value", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    for at in 0..600 {
        recorder.publish(START + at * SECOND).unwrap();
        assert!(recorder.record(store.series[0], at as f64));
        store.writer.consolidate();
    }
    let reader = store.writer.reader().unwrap();
    for (tier, step) in [(1, 10), (2, 300)] {
        let query = Query { range: Range::All, tier: TierChoice::Tier(tier), function: Function::Average };
        let points = reader.query(&reader.series()[0], &query).unwrap().points;
        assert_eq!(points.len(), 600 / step);
        for point in points {
            let first = ((point.time_ns - START) / SECOND) as f64;
            assert_eq!(point.value, first + (step - 1) as f64 / 2.0);
        }
    }
}
