//! The size that is announced is the size that is taken, to the byte and to the block.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use support::{SECOND, START};
use virtmark_timeseries::{Kind, OptionsError, Schema, StoreOptions, Tier, Writer};

/// Bytes and allocated bytes of a directory's files.
fn taken(directory: &std::path::Path) -> (u64, u64) {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.fold((0, 0), |(bytes, blocks), file| (bytes + file.len(), blocks + file.blocks() * 512))
}

#[test]
fn thirty_series_fit_where_they_should_and_never_grow() {
    for (schema, most) in [(Schema::new("all", 30), 10_000_000), (Schema::new("all", 30).narrow(), 2_500_000)]
    {
        // On a disk, where blocks count.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let options = StoreOptions::new(vec![schema]).unwrap();
        let announced = options.size_bytes();
        assert!(announced <= most, "{announced} bytes");
        let mut writer = Writer::create(&path, &options).unwrap();
        let (bytes, allocated) = taken(&path);
        assert_eq!(bytes, announced);
        assert!(allocated >= announced, "every block is allocated at creation: {allocated} of {announced}");

        let keys: Vec<_> = (0..30).map(|at| (support::key(&format!("series_{at}")), Kind::Gauge)).collect();
        let series = writer.register_all(&keys).unwrap();
        let mut recorder = writer.recorder().unwrap();
        for at in 0..2000 {
            let samples: Vec<_> = series.iter().map(|series| (*series, 1.0)).collect();
            recorder.record_batch(START + at * SECOND, &samples).unwrap();
            writer.consolidate();
        }
        drop(recorder);
        writer.close().unwrap();
        // Some file systems take a block of their own to note which blocks were written.
        let (bytes_after, allocated_after) = taken(&path);
        assert_eq!(bytes_after, bytes, "recording takes nothing more");
        assert!(allocated_after <= allocated + 5 * 4096, "{allocated_after} after {allocated}");
    }
}

/// The words of a slot and of a lane's first page, read from the file where `docs/timeseries.md` says they are.
#[test]
fn slots_are_laid_out_as_documented() {
    for narrow in [false, true] {
        let directory = support::memory_directory();
        let path = directory.path().join("store");
        let schema = Schema::new("all", 3);
        let schema = if narrow { schema.narrow() } else { schema };
        let mut writer = Writer::create(&path, &StoreOptions::new(vec![schema]).unwrap()).unwrap();
        let keys = ["a", "b"].map(|name| (support::key(name), Kind::Gauge));
        let series = writer.register_all(&keys).unwrap();
        let mut recorder = writer.recorder().unwrap();
        let tick = START / SECOND + 7;
        recorder.publish(tick * SECOND).unwrap();
        for value in [4.0, 1.0, 2.0] {
            assert!(recorder.record(series[1], value));
        }
        assert!(!recorder.record(series[1], f64::NAN));
        let bytes = fs::read(path.join("lane-0")).unwrap();
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let time = tick * SECOND + 1;
        assert_eq!(words[8..13], [time, time, time, 0, tick * SECOND]);
        assert_eq!(words[16..20], [0, 0, 0, 1]);
        let row = tick as usize % 600 * 3;
        if narrow {
            let slot = 512 + (row + 1) * 2;
            assert_eq!(words[slot..slot + 2], [tick << 24 | 3, 7_f64.to_bits()]);
        } else {
            let slot = 512 + (row + 1) * 8;
            let numbers = [7.0, 1.0, 4.0, 4.0, 2.0].map(f64::to_bits);
            assert_eq!(words[slot..slot + 3], [6, 0, tick]);
            assert_eq!(words[slot + 3..slot + 8], numbers);
        }
    }
}

#[test]
fn options_that_cannot_be_say_why() {
    let error =
        |tiers| StoreOptions::new(vec![Schema::new("s", 1).with_tiers(tiers)]).unwrap_err().to_string();
    let seconds = Duration::from_secs;
    let wide = |step, slots| Tier::wide(seconds(step), slots);
    assert!(error(vec![]).contains("1 to 8 tiers"));
    assert!(error(vec![wide(1, 60), wide(7, 60), wide(10, 60)]).contains("tier 2 must be a multiple"));
    assert!(error(vec![wide(1, 15), wide(10, 60)]).contains("must cover two slots of tier 1"));
    assert!(
        error(vec![Tier::narrow(seconds(1), 60), wide(10, 60)]).contains("cannot be filled from the narrow")
    );
    assert!(error(vec![Tier::narrow(Duration::from_millis(1), 60)]).contains("shorter than 10 ms"));
    assert!(error(vec![Tier::wide(Duration::ZERO, 60)]).contains("above zero"));
    let lanes = StoreOptions::new(vec![Schema::new("s", 1)]).unwrap().with_lanes(65);
    assert_eq!(lanes, Err(OptionsError::Lanes { found: 65 }));
    let large = StoreOptions::new(vec![Schema::new("s", 1 << 20)]).unwrap().with_lanes(64).unwrap_err();
    assert!(matches!(large, OptionsError::TooLarge { .. }));
    let horizon = StoreOptions::new(vec![Schema::new("s", 1)]).unwrap().with_horizon(seconds(601));
    assert!(matches!(horizon, Err(OptionsError::Horizon { .. })));
}
