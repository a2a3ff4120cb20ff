//! Machines that exist in memory, followed by a real recorder into a real store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::*;
use virtmark_recorder::{Attachment, Error, Recorder, RecorderOptions, default_options};
use virtmark_timeseries::{Function, Reader, Schema, StoreOptions, Tier, Writer};

const TICK: Duration = Duration::from_millis(20);
const VCPU: &str = "vcpu_time_seconds_total{machine=m,vcpu=0}";

#[test]
fn samples_are_on_whole_multiples_and_none_is_missing() {
    let world = World::new();
    // One slot for each tick, so that each can be seen.
    let tiers = vec![Tier::wide(TICK, 500), Tier::wide(TICK * 10, 100)];
    let options = StoreOptions::new(vec![Schema::new("all", 40).with_tiers(tiers)]).unwrap();
    let writer = Writer::create(&world.store, &options).unwrap();
    let recorder = Recorder::start(writer, RecorderOptions::every(TICK), world.notice()).unwrap();
    let probe = Arc::new(FakeProbe::default());
    let id = recorder.attach(attachment("m", &probe, None)).unwrap();
    wait_until("the first sample", || !probe.looked.lock().unwrap().is_empty());
    for value in 1..=30 {
        probe.counter.store(value, Ordering::SeqCst);
        sleep(TICK);
    }
    let machine = recorder.detach(id).unwrap();
    let summary = recorder.finish().unwrap();

    let kept = kept(&world.store, VCPU);
    let slots: Vec<u64> = kept.summaries.iter().map(|(time_ns, _)| time_ns / 20_000_000).collect();
    let lived = (slots[slots.len() - 1] - slots[0] + 1) as usize;
    assert!(slots.len() >= 30 && lived - slots.len() <= summary.missed_ticks as usize, "{slots:?} {summary}");
    let last: Vec<f64> = kept.summaries.iter().map(|(_, summary)| summary.last.unwrap()).collect();
    assert!(last.is_sorted() && last[last.len() - 1] == 30.0, "{last:?}");
    // The first sample is taken at once, and the last one when the machine goes.
    assert_eq!(kept.summaries[0].1.first, Some(0.0));
    assert!(machine.values >= 31 && machine.name == "m", "{machine:?}");
    assert_eq!((summary.machines, summary.rejected), (1, 0));
    assert!(summary.cpu > Duration::ZERO && summary.cpu_per_machine().unwrap() < 0.5, "{summary}");
    assert_eq!(world.notices(), Vec::<String>::new());

    let coarse = query(&world.store, VCPU, 1, Function::Last);
    assert_eq!(coarse.points.last().unwrap().value, 30.0, "coarser tiers are up to date");
}

#[test]
fn the_last_partial_interval_of_a_machine_is_kept() {
    let world = World::new();
    let recorder = world.record(Duration::from_secs(3600));
    let probe = Arc::new(FakeProbe::default());
    let id = recorder.attach(attachment("m", &probe, None)).unwrap();
    wait_until("the first sample", || !probe.looked.lock().unwrap().is_empty());
    // No tick for up to an hour: only what detaching takes can have this.
    probe.counter.store(7, Ordering::SeqCst);
    recorder.detach(id).unwrap();
    assert_eq!(kept(&world.store, VCPU).summaries.last().unwrap().1.last, Some(7.0));
    assert!(recorder.detach(id).is_none(), "it is followed no more");

    // One that is still there when recording ends is not forgotten.
    recorder.attach(attachment("n", &probe, None)).unwrap();
    wait_until("the first sample", || probe.looked.lock().unwrap().len() == 3);
    probe.counter.store(9, Ordering::SeqCst);
    let summary = recorder.finish().unwrap();
    let last = kept(&world.store, "vcpu_time_seconds_total{machine=n}");
    assert_eq!(last.summaries.last().unwrap().1.last, Some(9.0));
    assert_eq!((summary.machines, summary.ticks), (2, 0));
}

#[test]
fn a_machine_that_has_ended_leaves_a_gap_and_nothing_invented() {
    let world = World::new();
    let recorder = world.record(TICK);
    let (probe, other) = (Arc::new(FakeProbe::default()), Arc::new(FakeProbe::default()));
    let id = recorder.attach(attachment("m", &probe, None)).unwrap();
    recorder.attach(attachment("n", &other, None)).unwrap();
    wait_until("samples", || probe.looked.lock().unwrap().len() > 2);
    probe.ended.store(true, Ordering::SeqCst);
    let taken = probe.looked.lock().unwrap().len();
    let looked = other.looked.lock().unwrap().len();
    wait_until("samples of the other", || other.looked.lock().unwrap().len() > looked + 5);
    let machine = recorder.detach(id).unwrap();
    assert!(machine.values <= taken as u64 + 1, "{machine:?} after {taken} samples");
    recorder.finish().unwrap();
    let count = |machine: &str| -> u64 {
        let kept = kept(&world.store, &format!("vcpu_time_seconds_total{{machine={machine}}}"));
        kept.summaries.iter().map(|(_, summary)| summary.count.unwrap()).sum()
    };
    assert!(count("m") + 5 <= count("n"), "{} and {}", count("m"), count("n"));
}

#[test]
fn counters_that_start_again_are_recorded_as_they_are_and_their_growth_is_right() {
    let world = World::new();
    let tiers = vec![Tier::wide(TICK, 500), Tier::wide(TICK * 10, 100)];
    let options = StoreOptions::new(vec![Schema::new("all", 40).with_tiers(tiers)]).unwrap();
    let writer = Writer::create(&world.store, &options).unwrap();
    let recorder = Recorder::start(writer, RecorderOptions::every(TICK), world.notice()).unwrap();
    let probe = Arc::new(FakeProbe::default());
    recorder.attach(attachment("m", &probe, None)).unwrap();
    for value in [0, 10, 25, 3, 8] {
        probe.counter.store(value, Ordering::SeqCst);
        let looked = probe.looked.lock().unwrap().len();
        wait_until("two ticks", || probe.looked.lock().unwrap().len() >= looked + 2);
    }
    recorder.finish().unwrap();
    let grown = query(&world.store, VCPU, 0, Function::Increase);
    let sum: f64 = grown.points.iter().map(|point| point.value).sum();
    assert_eq!(sum, 33.0);
}

#[test]
fn a_guest_that_hangs_delays_nobody() {
    let world = World::new();
    let recorder = world.record(TICK);
    let (good, bad) = (Arc::new(FakeGuest::default()), Arc::new(FakeGuest::default()));
    let (probe, other) = (Arc::new(FakeProbe::default()), Arc::new(FakeProbe::default()));
    bad.hang(true);
    let hung = recorder.attach(attachment("hung", &probe, Some(&bad))).unwrap();
    recorder.attach(attachment("m", &other, Some(&good))).unwrap();
    let started = Instant::now();
    wait_until("answers of the other", || good.asked.load(Ordering::SeqCst) > 60);
    let looked = probe.looked.lock().unwrap().len() as u32;
    let ticks = (started.elapsed().as_nanos() / TICK.as_nanos()) as u32;
    assert!(looked + 3 >= ticks / 2, "looked at {looked} times in {ticks} ticks");
    assert_eq!(bad.asked.load(Ordering::SeqCst), 1, "one question waits, and no others are asked");

    let called = Instant::now();
    let machine = recorder.detach(hung).unwrap();
    assert!(called.elapsed() < Duration::from_secs(5), "letting go took {:?}", called.elapsed());
    assert!(machine.skipped_questions > 10, "{machine:?}");
    let summary = recorder.finish().unwrap();
    bad.hang(false);
    assert!(summary.skipped_questions >= machine.skipped_questions, "{summary}");
    assert!(!has(&world.store, "guest_load1{machine=hung}"));
    for (selector, value) in [
        ("guest_cpu_seconds_total{machine=m,mode=user}", 1.0),
        ("guest_memory_available_bytes{machine=m}", 1_024_000.0),
        ("guest_load1{machine=m}", 0.5),
        ("guest_run_queue{machine=m}", 2.0),
    ] {
        assert_eq!(kept(&world.store, selector).summaries[0].1.last, Some(value), "{selector}");
    }
}

#[test]
fn a_guest_that_comes_back_is_asked_again() {
    let world = World::new();
    let recorder = world.record(TICK);
    let guest = Arc::new(FakeGuest::default());
    let probe = Arc::new(FakeProbe::default());
    let id = recorder.attach(attachment("m", &probe, None)).unwrap();
    assert_eq!(guest.asked.load(Ordering::SeqCst), 0);
    recorder.guest_answers(id, guest.clone()).unwrap();
    wait_until("questions", || guest.asked.load(Ordering::SeqCst) > 3);
    guest.hang(true);
    let looked = probe.looked.lock().unwrap().len();
    wait_until("ticks", || probe.looked.lock().unwrap().len() > looked + 5);
    let asked = guest.asked.load(Ordering::SeqCst);
    guest.hang(false);
    wait_until("more questions", || guest.asked.load(Ordering::SeqCst) > asked + 3);
    assert!(recorder.finish().unwrap().skipped_questions > 0);
}

#[test]
fn a_full_store_is_told_once_and_the_rest_goes_on() {
    let world = World::new();
    let options = StoreOptions::new(vec![Schema::new("small", 10)]).unwrap();
    let writer = Writer::create(&world.store, &options).unwrap();
    let recorder = Recorder::start(writer, RecorderOptions::every(TICK), world.notice()).unwrap();
    let probe = Arc::new(FakeProbe { gauges: 50, ..FakeProbe::default() });
    recorder.attach(attachment("m", &probe, None)).unwrap();
    recorder.attach(attachment("n", &probe, None)).unwrap();
    wait_until("ticks", || probe.looked.lock().unwrap().len() > 8);
    let summary = recorder.finish().unwrap();
    let notices = world.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains(r#"schema "small" has its 10 series"#), "{notices:?}");
    assert_eq!(Reader::open(&world.store).unwrap().series().len(), 10);
    assert!(summary.samples > 0 && !kept(&world.store, VCPU).summaries.is_empty());
}

#[test]
fn what_recording_costs_is_recorded_too() {
    let world = World::new();
    let recorder = world.record(TICK);
    let probe = Arc::new(FakeProbe::default());
    recorder.attach(attachment("m", &probe, Some(&Arc::new(FakeGuest::default())))).unwrap();
    wait_until("ticks", || probe.looked.lock().unwrap().len() > 10);
    let summary = recorder.finish().unwrap();
    let last = |name: &str| kept(&world.store, name).summaries.last().unwrap().1.last.unwrap();
    assert!(last("recorder_cpu_seconds_total") > 0.0);
    assert!(last("recorder_cpu_seconds_total") <= summary.cpu.as_secs_f64());
    assert_eq!(last("recorder_bytes"), default_options(2).unwrap().size_bytes() as f64);
    assert_eq!(last("recorder_machines"), 1.0);
    assert!(last("recorder_samples_total") > 10.0);
}

#[test]
fn two_recorders_on_one_store_and_labels_that_cannot_be_are_refused() {
    let world = World::new();
    let recorder = world.record(TICK);
    let second = Recorder::open(&world.store, 1, RecorderOptions::default(), world.notice()).unwrap_err();
    let text = second.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())) && text.contains("stop that one"),
        "{text}"
    );

    let probe = Arc::new(FakeProbe::default());
    let long = "x".repeat(10_241);
    let named = |name: &str| Attachment {
        name: name.into(),
        labels: Vec::new(),
        probe: Some(probe.clone()),
        guest: None,
    };
    let error = recorder.attach(named(&long)).unwrap_err().to_string();
    assert!(error.contains("10241 bytes") && error.len() < 300, "{error}");
    let twice = Attachment { labels: vec![("machine".into(), "n".into())], ..named("m") };
    assert!(matches!(recorder.attach(twice), Err(Error::Label { .. })));

    // What can be is kept to the last character.
    let strange = "a \"b\"\\c\nd é \u{1F980}";
    let id = recorder.attach(named(strange)).unwrap();
    recorder.detach(id).unwrap();
    recorder.finish().unwrap();
    let reader = Reader::open(&world.store).unwrap();
    let found = reader.select(&"vcpu_time_seconds_total".parse().unwrap()).unwrap();
    assert_eq!(found[0].key().label("machine"), Some(strange));
}

#[test]
fn a_store_that_is_deleted_meanwhile_is_told_at_the_end() {
    let world = World::new();
    let recorder = world.record(TICK);
    let probe = Arc::new(FakeProbe::default());
    recorder.attach(attachment("m", &probe, None)).unwrap();
    wait_until("a sample", || !probe.looked.lock().unwrap().is_empty());
    std::fs::remove_dir_all(&world.store).unwrap();
    let looked = probe.looked.lock().unwrap().len();
    wait_until("ticks", || probe.looked.lock().unwrap().len() > looked + 2);
    let error = recorder.finish().unwrap_err().to_string();
    assert!(error.contains("was deleted or replaced"), "{error}");
}

#[test]
fn recording_again_goes_on_in_the_same_series() {
    let world = World::new();
    for value in [5, 6] {
        let recorder = world.record(TICK);
        let probe = Arc::new(FakeProbe::default());
        probe.counter.store(value, Ordering::SeqCst);
        recorder.attach(attachment("m", &probe, None)).unwrap();
        wait_until("ticks", || probe.looked.lock().unwrap().len() > 2);
        // Without a word, as when the program fails.
        drop(recorder);
    }
    let kept = kept(&world.store, VCPU);
    assert_eq!(kept.summaries[0].1.first, Some(5.0));
    assert_eq!(kept.summaries.last().unwrap().1.last, Some(6.0));
    let series = Reader::open(&world.store).unwrap().series().len();
    assert_eq!(series, 7, "one of the machine and six of the recorder");
}
