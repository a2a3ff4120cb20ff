//! Any bytes in the files of a store: it is refused, or used without harm. Shared with the fuzz target.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use virtmark_timeseries::{
    Function, Kind, Query, Range, Reader, Schema, SeriesKey, StoreOptions, Tier, TierChoice, Writer,
};

pub(crate) const FILES: [&str; 5] = ["header", "catalog", "lane-0", "lane-1", "tiers"];
const MS: u64 = 1_000_000;
const START_NS: u64 = 1_700_000_000_000 * MS;

/// The value of every sample of the store at a time.
pub(crate) fn value_at(time_ns: u64) -> f64 {
    (time_ns / (10 * MS) % 1_000_003) as f64
}

/// A small store, once made: names and contents of its files.
pub(crate) fn template() -> &'static [(String, Vec<u8>)] {
    static TEMPLATE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        let files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect()
    })
}

fn make(path: &Path) {
    let tiers = |wide| {
        let tier = if wide { Tier::wide } else { Tier::narrow };
        [(10, 60), (40, 20), (160, 10)].map(|(step, slots)| tier(Duration::from_millis(step), slots)).to_vec()
    };
    let narrow =
        Schema::new("narrow", 2).with_tiers(tiers(false)).matching("{width=narrow}".parse().unwrap());
    let schemas = vec![narrow, Schema::new("wide", 3).with_tiers(tiers(true))];
    let options = StoreOptions::new(schemas).unwrap().with_lanes(2).unwrap();
    let options = options.with_catalog_bytes(4096).unwrap();
    let mut writer = Writer::create(path, &options).unwrap();
    let mut series = Vec::new();
    for at in 0..4 {
        let width = ["narrow", "wide"][at % 2];
        let key = SeriesKey::new(format!("series_{at}")).unwrap().with("width", width).unwrap();
        series.push(writer.register(&key, [Kind::Counter, Kind::Gauge][at / 2]).unwrap());
    }
    let mut recorders = [writer.recorder().unwrap(), writer.recorder().unwrap()];
    for tick in 0..150 {
        for recorder in &mut recorders {
            let time_ns = START_NS + tick * 10 * MS;
            recorder.publish(time_ns).unwrap();
            for series in &series {
                assert!(recorder.record(*series, value_at(time_ns)));
            }
        }
        writer.consolidate();
    }
}

/// Puts files into a directory as a store.
pub(crate) fn write_store(path: &Path, files: &[(String, Vec<u8>)]) {
    fs::create_dir_all(path).unwrap();
    for (name, bytes) in files {
        fs::write(path.join(name), bytes).unwrap();
    }
}

/// Takes bytes as patches to the files of the store: one byte for how, then file, place, length and bytes of each.
pub(crate) fn check_any_patches(input: &[u8]) {
    let mut files = template().to_vec();
    let Some((how, mut rest)) = input.split_first() else { return };
    while let [file, high, low, length, tail @ ..] = rest {
        let name = FILES[usize::from(*file) % FILES.len()];
        let (_, bytes) = files.iter_mut().find(|(held, _)| held == name).unwrap();
        let (patch, tail) = tail.split_at(usize::from(*length % 17).min(tail.len()));
        let at = (usize::from(*high) * 256 + usize::from(*low)) % bytes.len();
        for (byte, patch) in bytes[at..].iter_mut().zip(patch) {
            *byte = *patch;
        }
        rest = tail;
    }
    if how % 2 == 1 {
        files.iter_mut().for_each(|(name, bytes)| fix_checksums(name, bytes));
    }
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    write_store(directory.path(), &files);
    use_store(directory.path());
}

/// Opens a store, reads all of it and writes to it; gives whether it could be opened to read.
pub(crate) fn use_store(path: &Path) -> bool {
    let read = Reader::open(path).map(|reader| read_all(&reader));
    if let Ok(mut writer) = Writer::open(path) {
        let key = SeriesKey::new("another").unwrap();
        let series = writer.register(&key, Kind::Gauge);
        if let (Ok(mut recorder), Ok(series)) = (writer.recorder(), series) {
            let now_ns = writer.reader().ok().and_then(|reader| reader.newest_ns()).unwrap_or(START_NS);
            for ahead in 0..5 {
                // Whether it is taken depends on what the damaged files say is the newest time.
                let _ = recorder.record_batch(now_ns.saturating_add(ahead * 10 * MS), &[(series, 1.0)]);
                let _ = recorder.record_at(series, now_ns.saturating_sub(ahead * 10 * MS), 1.0);
                writer.consolidate();
            }
        }
        writer.checkpoint().unwrap();
    }
    read.is_ok()
}

fn read_all(reader: &Reader) {
    let info = reader.info();
    for schema in &info.schemas {
        assert!(schema.series <= schema.max_series);
        assert!(schema.tiers.iter().all(|tier| tier.filled_slots <= tier.registered_slots));
    }
    for entry in reader.series() {
        let tiers = info.schemas[entry.schema()].tiers.len();
        for tier in (0..tiers).map(TierChoice::Tier).chain([TierChoice::Auto]) {
            for function in [Function::Average, Function::Last, Function::Rate] {
                for range in [Range::All, Range::Last(Duration::from_millis(200))] {
                    if let Ok(answer) = reader.query(entry, &Query { range, tier, function }) {
                        assert!(answer.points.windows(2).all(|pair| pair[0].time_ns < pair[1].time_ns));
                    }
                }
            }
        }
    }
    let mut cursor = reader.cursor(0);
    loop {
        let batch = reader.drain(&cursor, 1, 16).unwrap();
        assert!(batch.next != cursor || !batch.more, "draining comes to an end");
        cursor = batch.next;
        if !batch.more {
            break;
        }
    }
}

/// Makes the checksums right again, so that what they cover is looked at.
fn fix_checksums(name: &str, bytes: &mut [u8]) {
    let sum = |parts: [&[u8]; 2]| crc32c::crc32c_append(crc32c::crc32c(parts[0]), parts[1]).to_le_bytes();
    let number = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 4).and_then(|field| field.first_chunk().copied());
        u32::from_le_bytes(field.unwrap_or_default()) as usize
    };
    if name != "catalog" {
        let used = if name == "header" { number(bytes, 16).clamp(20, bytes.len()) } else { 36 };
        let fixed = sum([&bytes[..12], &bytes[16..used]]);
        bytes[12..16].copy_from_slice(&fixed);
        return;
    }
    for record in [0, 4096] {
        let end = (record + 24 + number(bytes, record + 12)).min(record + 4096);
        let fixed = sum([&[], &bytes[record + 12..end]]);
        bytes[record + 8..record + 12].copy_from_slice(&fixed);
    }
    let mut at = 8192;
    while at + 8 < bytes.len() {
        let end = (at + 8 + number(bytes, at)).min(bytes.len());
        let fixed = sum([&[], &bytes[at + 8..end]]);
        bytes[at + 4..at + 8].copy_from_slice(&fixed);
        at = end;
    }
}
