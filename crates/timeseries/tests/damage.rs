//! Files that are cut, torn, overwritten, exchanged or from another time: refused with a message, or read as gaps.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

#[path = "support/patched.rs"]
mod patched;

use std::fs;
use std::path::Path;

use patched::{FILES, check_any_patches, template, use_store, value_at, write_store};
use proptest::prelude::*;
use support::{Store, key, options};
use virtmark_timeseries::{CursorFile, Error, FORMAT_VERSION, Kind, Range, Reader, TierChoice, Writer};

type Files = Vec<(String, Vec<u8>)>;

/// The store with one file changed.
fn with(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = template().to_vec();
    change(&mut files.iter_mut().find(|(held, _)| held == name).unwrap().1);
    files
}

fn opened(files: &[(String, Vec<u8>)]) -> (tempfile::TempDir, Result<Reader, Error>) {
    let directory = support::memory_directory();
    write_store(directory.path(), files);
    let reader = Reader::open(directory.path());
    (directory, reader)
}

/// All that can be read is true: what is damaged may be missing, and nothing else takes its place.
fn assert_nothing_untrue(reader: &Reader, what: &str) -> usize {
    let mut slots = 0;
    for entry in reader.series() {
        for tier in 0..3 {
            let found = reader.summaries(entry, Range::All, TierChoice::Tier(tier)).unwrap();
            slots += found.summaries.len();
            for (time_ns, summary) in found.summaries {
                let value = value_at(time_ns);
                let end = value_at(time_ns + found.step_ns - 10_000_000);
                let count = summary.count.unwrap();
                assert!(count <= 2 * (found.step_ns / 10_000_000), "{what}: {summary:?}");
                for number in [summary.first, summary.min, summary.max, summary.last].into_iter().flatten() {
                    assert!((value..=end).contains(&number), "{what}: {summary:?} at {time_ns}");
                }
                if let Some(average) = summary.average() {
                    assert!((value..=end).contains(&average), "{what}: {summary:?} at {time_ns}");
                }
            }
        }
    }
    slots
}

#[test]
fn the_store_is_whole_to_begin_with() {
    let (directory, reader) = opened(template());
    let slots = assert_nothing_untrue(&reader.unwrap(), "whole");
    assert_eq!(slots, 4 * (60 + 20 + 10));
    assert!(use_store(directory.path()));
}

#[test]
fn a_page_that_is_lost_or_overwritten_is_refused_or_a_gap() {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise as u8
    };
    let (mut refused, mut gaps) = (0, 0);
    for name in FILES {
        let pages = template().iter().find(|(held, _)| held == name).unwrap().1.len() / 4096;
        for page in 0..pages {
            for pattern in 0..3 {
                let files = with(name, |bytes| {
                    for byte in &mut bytes[page * 4096..(page + 1) * 4096] {
                        *byte = [0, 0xff, noise()][pattern];
                    }
                });
                let what = format!("page {page} of {name}, pattern {pattern}");
                let (directory, reader) = opened(&files);
                match reader {
                    Ok(reader) => gaps += usize::from(assert_nothing_untrue(&reader, &what) < 360),
                    Err(error) => {
                        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
                        refused += 1;
                    }
                }
                use_store(directory.path());
            }
        }
    }
    assert!(refused >= 12 && gaps >= 6, "{refused} refused, {gaps} with gaps");
}

#[test]
fn every_byte_of_the_header_counts() {
    let length = u32::from_le_bytes(*template_of("header")[16..].first_chunk().unwrap()) as usize;
    for at in 0..length {
        let (_directory, reader) = opened(&with("header", |bytes| bytes[at] ^= 0x10));
        let error = reader.expect_err("a byte of the header is wrong");
        assert!(matches!(error, Error::Damaged { .. } | Error::NewerVersion { .. }), "byte {at}: {error}");
    }
}

fn template_of(name: &str) -> &'static [u8] {
    &template().iter().find(|(held, _)| held == name).unwrap().1
}

#[test]
fn every_byte_of_a_registered_series_counts() {
    let used = template_of("catalog").iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(used > 8192 + 4 * 40);
    for at in 8192..used {
        let (_directory, reader) = opened(&with("catalog", |bytes| bytes[at] ^= 0x10));
        assert!(matches!(reader, Err(Error::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn a_file_that_is_cut_or_too_long_or_missing_is_refused() {
    for name in FILES {
        let whole = template_of(name).len();
        for length in [0, 1, 15, 4095, whole / 2, whole - 1, whole + 1, whole + 4096] {
            let (_directory, reader) = opened(&with(name, |bytes| bytes.resize(length, 0)));
            let error = reader.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{name} with {length} bytes: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        let (directory, _) = opened(template());
        fs::remove_file(directory.path().join(name)).unwrap();
        let error = Reader::open(directory.path()).unwrap_err();
        if name == "header" {
            assert!(matches!(error, Error::NotAStore { .. }), "{error}");
        } else {
            assert!(error.to_string().contains("the file is missing"), "{error}");
        }
        assert!(Writer::open(directory.path()).is_err());
    }
}

#[test]
fn a_newer_version_is_refused_as_that() {
    for name in ["header", "lane-1", "tiers"] {
        let newer = (FORMAT_VERSION + 1).to_le_bytes();
        let (_directory, reader) = opened(&with(name, |bytes| bytes[8..12].copy_from_slice(&newer)));
        let error = reader.unwrap_err();
        assert!(error.to_string().contains("use a newer program"), "{error}");
    }
}

#[test]
fn a_file_of_another_store_or_place_is_refused() {
    let lane = template_of("lane-1").to_vec();
    let (_directory, reader) = opened(&with("lane-0", |bytes| *bytes = lane));
    assert!(reader.unwrap_err().to_string().contains("belongs to another store or to another place"));
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let files = with("catalog", |bytes| {
        let length = u32::from_le_bytes(*bytes[8192..].first_chunk().unwrap()) as usize;
        let name = bytes[8192..8192 + 8 + length].windows(6).position(|part| part == b"series").unwrap();
        bytes[8192 + name] = 0xff;
        let sum = crc32c::crc32c(&bytes[8200..8200 + length]).to_le_bytes();
        bytes[8196..8200].copy_from_slice(&sum);
    });
    let (_directory, reader) = opened(&files);
    assert!(reader.unwrap_err().to_string().contains("entry 0 cannot be read"));
}

/// Slots that claim a time nobody has recorded at are gaps, and are recorded into again when their turn comes.
#[test]
fn slots_that_claim_a_later_tick_heal() {
    let files = with("lane-0", |bytes| {
        bytes[4096..].as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = (u64::MAX - 5).to_le_bytes());
    });
    let directory = support::memory_directory();
    write_store(directory.path(), &files);
    let mut writer = Writer::open(directory.path()).unwrap();
    let reader = writer.reader().unwrap();
    let newest_ns = reader.newest_ns().unwrap();
    let mut recorder = writer.recorder().unwrap();
    for tick in 1..=60 {
        let time_ns = newest_ns + tick * 10_000_000;
        recorder.publish(time_ns).unwrap();
        for entry in reader.series() {
            assert!(recorder.record(entry.series(), value_at(time_ns)));
        }
        writer.consolidate();
    }
    for entry in reader.series() {
        let summaries = reader.summaries(entry, Range::All, TierChoice::Tier(0)).unwrap().summaries;
        assert_eq!(summaries.len(), 60);
        assert!(summaries.iter().all(|(time_ns, summary)| summary.last == Some(value_at(*time_ns))));
    }
}

/// Every prefix of every write of a registration: the old catalog or the new one, never something else.
#[test]
fn a_registration_that_stops_after_any_write_is_there_or_not() {
    let mut store = Store::new(&options(5), &[("first", Kind::Gauge)]);
    let catalog = store.path().join("catalog");
    let before = fs::read(&catalog).unwrap();
    store.writer.register(&key("second"), Kind::Gauge).unwrap();
    let after = fs::read(&catalog).unwrap();
    let changed: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
    let (record, entry): (Vec<usize>, Vec<usize>) = changed.into_iter().partition(|at| *at < 8192);
    let mut bytes = before;
    let mut counts = Vec::new();
    // The entry is written first, then the record that counts it.
    for at in entry.into_iter().chain(record) {
        bytes[at] = after[at];
        fs::write(&catalog, &bytes).unwrap();
        counts.push(Reader::open(&store.path()).unwrap().series().len());
    }
    assert!(counts.is_sorted() && counts.contains(&1) && counts.last() == Some(&2), "{counts:?}");
}

/// The same for the cursor of an export.
#[test]
fn a_cursor_that_stops_after_any_write_is_the_old_or_the_new_one() {
    let store = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    let reader = store.writer.reader().unwrap();
    let path = store.directory.path().join("cursor");
    let (mut file, none) = CursorFile::open(&path).unwrap();
    assert_eq!(none, None);
    let mut cursors = Vec::new();
    for at in 1..4 {
        recorder.publish(support::START + at * support::SECOND).unwrap();
        cursors.push(reader.drain(&reader.cursor(0), 1, 10).unwrap().next);
    }
    file.save(&cursors[0]).unwrap();
    file.save(&cursors[1]).unwrap();
    let before = fs::read(&path).unwrap();
    file.save(&cursors[2]).unwrap();
    let after = fs::read(&path).unwrap();
    let mut bytes = before;
    let mut found = Vec::new();
    for at in 0..after.len() {
        if bytes[at] != after[at] {
            bytes[at] = after[at];
            fs::write(&path, &bytes).unwrap();
            let cursor = CursorFile::open(&path).unwrap().1.unwrap();
            found.push(cursors.iter().position(|held| *held == cursor).unwrap());
        }
    }
    assert!(found.is_sorted() && found.first() == Some(&1) && found.last() == Some(&2), "{found:?}");
    refuse_damaged_cursor(&path);
}

fn refuse_damaged_cursor(path: &Path) {
    fs::write(path, [7; 8192]).unwrap();
    assert!(matches!(CursorFile::open(path), Err(Error::Damaged { .. })));
    fs::write(path, [0; 100]).unwrap();
    assert!(matches!(CursorFile::open(path), Err(Error::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_patches_do_no_harm(
        how in any::<u8>(),
        patches in prop::collection::vec((0..5u8, 0..64u16, prop::collection::vec(any::<u8>(), 1..9)), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut input = vec![how];
        for (file, at, bytes) in patches {
            // Near the starts, where the fields are.
            let at = if at < 32 { at * 4 } else { 8192 + at * 4 };
            input.extend([file, (at >> 8) as u8, at as u8, bytes.len() as u8]);
            input.extend(bytes);
        }
        input.extend(noise);
        check_any_patches(&input);
    }
}
