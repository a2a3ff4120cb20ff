//! Several processes on one store: readers beside a writer, a second writer, and writers that are killed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use support::child::{self, Running};
use support::{SECOND, START, key};
use virtmark_timeseries::{
    Error, Kind, Range, Reader, Schema, SeriesKey, StoreOptions, Summary, TierChoice, Writer,
};

/// Samples of one series in one tick.
const SAMPLES: u64 = 5;

fn options(narrow: bool) -> StoreOptions {
    let schema = Schema::new("all", 4);
    StoreOptions::new(vec![if narrow { schema.narrow() } else { schema }]).unwrap()
}

/// The value all samples of a tick have, so that every summary can be checked by itself.
fn value_of(tick: u64) -> f64 {
    (tick % 1009) as f64
}

/// Records one second after another as fast as it can, going on after what is there.
fn record_for_ever(path: &Path) {
    let mut writer = Writer::open(path).unwrap();
    let keys: [(SeriesKey, Kind); 2] = [(key("gauge"), Kind::Gauge), (key("counter"), Kind::Counter)];
    let series = writer.register_all(&keys).unwrap();
    let reader = writer.reader().unwrap();
    let mut recorder = writer.recorder().unwrap();
    let mut time_ns = reader.newest_ns().unwrap_or(START - SECOND);
    loop {
        time_ns += SECOND;
        recorder.publish(time_ns).unwrap();
        for _ in 0..SAMPLES {
            for series in &series {
                assert!(recorder.record(*series, value_of(time_ns / SECOND)));
            }
        }
        writer.consolidate();
    }
}

#[test]
#[ignore = "run as a child process by the tests that kill it"]
fn child_records() {
    record_for_ever(&child::store());
}

#[test]
#[ignore = "run as a child process by the test of a second writer"]
fn child_opens_to_write() {
    let error = Writer::open(&child::store()).unwrap_err();
    println!("refused: {error}");
}

fn start_recording(path: &Path) -> Running {
    Running(child::command("child_records", path).spawn().unwrap())
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A summary holds nothing but samples of its own tick.
fn assert_whole(tick: u64, summary: &Summary) {
    let value = Some(value_of(tick));
    let count = summary.count.unwrap();
    assert!((1..=SAMPLES).contains(&count), "tick {tick}: {summary:?}");
    let sum = summary.sum.unwrap_or(value_of(tick) * count as f64);
    assert_eq!(sum, value_of(tick) * count as f64, "tick {tick}: {summary:?}");
    for number in [summary.min, summary.max, summary.first, summary.last] {
        assert!(number.is_none() || number == value, "tick {tick}: {summary:?}");
    }
}

/// Checks the finest tier of both series; gives the ticks that are not complete.
fn check_finest(reader: &Reader) -> BTreeMap<u64, u64> {
    let mut incomplete = BTreeMap::new();
    let newest = reader.newest_ns().unwrap() / SECOND;
    for entry in reader.series() {
        let found = reader.summaries(entry, Range::All, TierChoice::Tier(0)).unwrap();
        let counts: BTreeMap<u64, u64> = found
            .summaries
            .iter()
            .map(|(time_ns, summary)| {
                assert_whole(time_ns / SECOND, summary);
                (time_ns / SECOND, summary.count.unwrap())
            })
            .collect();
        for tick in (newest - 599).max(START / SECOND)..=newest {
            let lacking = SAMPLES - counts.get(&tick).copied().unwrap_or_default();
            if lacking > 0 {
                *incomplete.entry(tick).or_default() += lacking;
            }
        }
    }
    incomplete
}

#[test]
fn a_killed_writer_loses_at_most_the_slot_it_was_writing() {
    for narrow in [false, true] {
        let directory = support::memory_directory();
        let path = directory.path().join("store");
        drop(Writer::create(&path, &options(narrow)).unwrap());
        for round in 0..15u64 {
            let before = Reader::open(&path).unwrap().newest_ns();
            let running = start_recording(&path);
            let reader = Reader::open(&path).unwrap();
            let ahead = 40 + round * 17;
            let reached = before.unwrap_or(START) + ahead * SECOND;
            wait_until("the child to record", || reader.newest_ns().is_some_and(|newest| newest > reached));
            running.kill();
            // A reader of the dead one's files, and then the next writer's.
            for reopened in [false, true] {
                if reopened {
                    drop(Writer::open(&path).unwrap());
                }
                let mut reader = Reader::open(&path).unwrap();
                reader.refresh().unwrap();
                let killed_at = reader.newest_ns().unwrap() / SECOND;
                let incomplete = check_finest(&reader);
                // Only times at which a writer was killed can lack samples, and this time only the last one.
                let of_this_round: Vec<_> = incomplete
                    .keys()
                    .filter(|tick| before.is_none_or(|before| **tick > before / SECOND))
                    .collect();
                assert!(
                    of_this_round.iter().all(|tick| **tick == killed_at),
                    "{of_this_round:?} of {killed_at}"
                );
                if reopened {
                    check_coarse(&reader);
                }
            }
        }
    }
}

/// The coarser tiers hold what the finest does, where that still holds all of it.
fn check_coarse(reader: &Reader) {
    let newest_ns = reader.newest_ns().unwrap();
    for entry in reader.series() {
        let fine = reader.summaries(entry, Range::All, TierChoice::Tier(0)).unwrap().summaries;
        for (tier, step_ns) in [(1, 10 * SECOND), (2, 300 * SECOND)] {
            let coarse = reader.summaries(entry, Range::All, TierChoice::Tier(tier)).unwrap().summaries;
            for (time_ns, summary) in coarse {
                if time_ns + 599 * SECOND < newest_ns {
                    continue;
                }
                let within = fine
                    .iter()
                    .filter(|(at, _)| (time_ns..time_ns + step_ns).contains(at))
                    .map(|(_, fine)| fine);
                let count: u64 = within.map(|fine| fine.count.unwrap()).sum();
                assert_eq!(summary.count, Some(count), "tier {tier} at {time_ns}");
            }
        }
    }
}

#[test]
fn readers_in_other_processes_never_see_a_torn_value() {
    for narrow in [false, true] {
        let directory = support::memory_directory();
        let path = directory.path().join("store");
        drop(Writer::create(&path, &options(narrow)).unwrap());
        let running = start_recording(&path);
        let mut reader = Reader::open(&path).unwrap();
        wait_until("the child to record", || reader.newest_ns().is_some());
        reader.refresh().unwrap();
        assert_eq!(reader.series().len(), 2, "what was registered since is found");
        let start = Instant::now();
        let mut seen = 0;
        while start.elapsed() < Duration::from_millis(400) {
            for entry in reader.series() {
                let found = reader.summaries(entry, Range::All, TierChoice::Tier(0)).unwrap();
                for (time_ns, summary) in &found.summaries {
                    assert_whole(time_ns / SECOND, summary);
                }
                seen += found.summaries.len();
            }
        }
        running.kill();
        assert!(seen > 1000, "only {seen} slots were looked at");
    }
}

#[test]
fn readers_in_other_threads_never_see_a_torn_value_of_two_recorders() {
    let directory = support::memory_directory();
    let path = directory.path().join("store");
    let mut writer = Writer::create(&path, &options(false).with_lanes(2).unwrap()).unwrap();
    let series = writer.register(&key("value"), Kind::Gauge).unwrap();
    let recorders = [writer.recorder().unwrap(), writer.recorder().unwrap()];
    let until = Instant::now() + Duration::from_millis(400);
    let seen = std::thread::scope(|scope| {
        for mut recorder in recorders {
            scope.spawn(move || {
                let mut at = 0;
                while Instant::now() < until {
                    at += 1;
                    // The other recorder may be far ahead; then this one jumps to where it is.
                    if recorder.jump_to(START + at * SECOND).is_err() {
                        at += 500;
                        continue;
                    }
                    for _ in 0..SAMPLES {
                        assert!(recorder.record(series, value_of(START / SECOND + at)));
                    }
                }
            });
        }
        let reading = scope.spawn(|| {
            let reader = Reader::open(&path).unwrap();
            let mut seen = 0;
            while Instant::now() < until {
                let found = reader.summaries(&reader.series()[0], Range::All, TierChoice::Tier(0)).unwrap();
                for (time_ns, summary) in &found.summaries {
                    let value = value_of(time_ns / SECOND);
                    assert_eq!(summary.sum, Some(value * summary.count.unwrap() as f64));
                    assert_eq!((summary.min, summary.max), (Some(value), Some(value)));
                    assert!(summary.count <= Some(2 * SAMPLES));
                }
                seen += found.summaries.len();
            }
            seen
        });
        reading.join().unwrap()
    });
    assert!(seen > 1000, "only {seen} slots were looked at");
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_the_store() {
    let directory = support::memory_directory();
    let path = directory.path().join("store");
    let writer = Writer::create(&path, &options(false)).unwrap();
    let here = Writer::open(&path).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&here, Error::InUse { pid: found, .. } if *found == pid), "{here}");
    let output = child::command("child_opens_to_write", &path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("process {pid} is recording into it")), "{text}");

    let recorder = writer.recorder().unwrap();
    drop(writer);
    assert!(matches!(Writer::open(&path), Err(Error::InUse { .. })), "a recorder still has it");
    drop(recorder);
    Writer::open(&path).unwrap();
}
