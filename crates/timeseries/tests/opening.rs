//! Creating, registering and opening, when all is well and when it is not.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{SECOND, START, Store, child, key, options};
use virtmark_timeseries::{
    Error, Function, Kind, Query, Range, Reader, Rejected, Schema, SeriesKey, StoreOptions, TierChoice,
    Writer,
};

#[test]
fn what_is_registered_is_found_again() {
    let mut store = Store::new(&options(3), &[("a", Kind::Gauge), ("b", Kind::Counter)]);
    assert_eq!(store.writer.register(&key("a"), Kind::Gauge).unwrap(), store.series[0]);
    let path = store.path();
    let Store { directory: _directory, writer, series } = store;
    drop(writer);
    let mut writer = Writer::open_or_create(&path, &options(3)).unwrap();
    assert_eq!(writer.register(&key("b"), Kind::Counter).unwrap(), series[1]);
    let error = writer.register(&key("b"), Kind::Gauge).unwrap_err();
    assert_eq!(error.to_string(), "cannot register b as a gauge: it is registered as a counter");
    drop(writer);
    assert!(matches!(Writer::open_or_create(&path, &options(4)), Err(Error::OptionsDiffer { .. })));
    assert!(matches!(Writer::create(&path, &options(3)), Err(Error::AlreadyExists { .. })));
}

#[test]
fn a_series_beyond_the_maximum_is_refused_with_the_name_of_its_schema() {
    let schemas = vec![
        Schema::new("network", 1).matching("net_bytes_total".parse().unwrap()),
        Schema::new("rest", 2).matching("{job=virtmark}".parse().unwrap()),
    ];
    let mut store = Store::new(&StoreOptions::new(schemas).unwrap(), &[("net_bytes_total", Kind::Counter)]);
    let received = key("net_bytes_total").with("direction", "received").unwrap();
    let error = store.writer.register(&received, Kind::Counter).unwrap_err().to_string();
    assert!(error.contains("schema \"network\" has its 1 series"), "{error}");
    let error = store.writer.register(&key("disk"), Kind::Counter).unwrap_err();
    assert!(matches!(error, Error::NoSchema { .. }), "{error}");

    let others = ["x", "y", "z"].map(|name| (key(name).with("job", "virtmark").unwrap(), Kind::Gauge));
    let error = store.writer.register_all(&others).unwrap_err();
    assert!(matches!(error, Error::SchemaFull { .. }), "{error}");
    assert_eq!(store.writer.reader().unwrap().series().len(), 1, "all or none");
    store.writer.register_all(&others[..2]).unwrap();
}

#[test]
fn label_values_are_any_text_up_to_ten_kilobytes() {
    let mut store = Store::new(&options(3), &[]);
    let odd = "a \"quoted\"\nline, a \\ and {braces}";
    let long = "ü".repeat(5120);
    let keys = [key("x").with("odd", odd).unwrap(), key("x").with("long", long.clone()).unwrap()];
    for key in &keys {
        store.writer.register(key, Kind::Gauge).unwrap();
    }
    let reader = Reader::open(&store.path()).unwrap();
    let held: Vec<&SeriesKey> = reader.series().iter().map(|entry| entry.key()).collect();
    assert_eq!(held, [&keys[0], &keys[1]]);
    let found = reader.select(&keys[0].to_string().parse().unwrap()).unwrap();
    assert_eq!(found[0].key().label("odd"), Some(odd));

    let error = key("x").with("long", format!("{long}.")).unwrap_err().to_string();
    assert_eq!(error, "the value of label \"long\" has 10241 bytes; 10240 is the limit");
    assert!(key("x").with("a", "1").unwrap().with("a", "2").is_err());
    assert!(key("x").with("__name__", "y").is_err());
    assert!(key("x").with("a-b", "y").is_err());
    assert!(SeriesKey::new("1x").is_err());

    // The message about a series stays readable.
    let error = store.writer.register(&keys[1], Kind::Counter).unwrap_err().to_string();
    assert!(error.len() < 500 && error.contains("(10250 bytes)"), "{error}");
}

#[test]
fn a_full_catalog_is_refused_and_stays_usable() {
    let options = options(100).with_catalog_bytes(4096).unwrap();
    let mut store = Store::new(&options, &[("a", Kind::Gauge)]);
    let long = key("b").with("v", "x".repeat(5000)).unwrap();
    let error = store.writer.register(&long, Kind::Gauge).unwrap_err();
    assert!(matches!(error, Error::CatalogFull { .. }), "{error}");
    store.writer.register(&key("c"), Kind::Gauge).unwrap();
    assert_eq!(Reader::open(&store.path()).unwrap().series().len(), 2);
}

#[test]
fn a_recorder_for_every_lane_and_no_more() {
    let store = Store::new(&options(1).with_lanes(2).unwrap(), &[("a", Kind::Gauge)]);
    let first = store.writer.recorder().unwrap();
    let _second = store.writer.recorder().unwrap();
    let error = store.writer.recorder().unwrap_err();
    assert!(error.to_string().starts_with("all 2 lanes of"), "{error}");
    drop(first);
    store.writer.recorder().unwrap();
}

#[test]
fn handles_of_another_store_and_numbers_that_are_none_are_rejected() {
    let one = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let other = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let mut recorder = one.writer.recorder().unwrap();
    assert!(!recorder.record(one.series[0], 1.0), "no time was published");
    recorder.publish(START).unwrap();
    assert!(!recorder.record(other.series[0], 1.0));
    assert!(!recorder.record(one.series[0], f64::NAN));
    assert_eq!(recorder.record_at(one.series[0], START, f64::INFINITY), Err(Rejected::NotFinite));
    assert_eq!(recorder.record_at(other.series[0], START, 1.0), Err(Rejected::Foreign));
    let rejected = one.writer.rejected();
    assert_eq!((rejected.late, rejected.foreign, rejected.not_finite), (1, 2, 2));
    assert_eq!(rejected.total(), 5);
}

#[test]
fn a_clock_set_back_an_hour_changes_nothing_that_is_there() {
    let mut store = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    let hour = 3600 * SECOND;
    for at in 0..700 {
        assert_eq!(recorder.record_batch(START + hour + at * SECOND, &[(store.series[0], 1.0)]), Ok(1));
        store.writer.consolidate();
    }
    for at in 0..100 {
        let result = recorder.record_batch(START + at * SECOND, &[(store.series[0], -1.0)]);
        assert!(matches!(result, Err(Rejected::Late { .. })));
        store.writer.consolidate();
    }
    assert_eq!(recorder.rejected().late, 100);
    // Ten seconds back is not too late.
    assert_eq!(recorder.record_batch(START + hour + 690 * SECOND, &[(store.series[0], 3.0)]), Ok(1));
    store.writer.consolidate();
    let reader = store.writer.reader().unwrap();
    let query = Query { range: Range::All, tier: TierChoice::Tier(2), function: Function::Sum };
    let points = reader.query(&reader.series()[0], &query).unwrap().points;
    assert_eq!(points.iter().map(|point| point.value).sum::<f64>(), 703.0);
}

#[test]
fn a_time_beyond_the_horizon_is_refused_until_it_is_meant() {
    let mut store = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    recorder.publish(START).unwrap();
    let day = 24 * 3600 * SECOND;
    let refused = recorder.record_batch(START + day, &[(store.series[0], 1.0)]);
    assert_eq!(refused, Err(Rejected::FarFuture { ahead_ns: day, horizon_ns: 300 * SECOND }));
    assert!(!recorder.record(store.series[0], 1.0), "no samples go to the time before");
    assert_eq!(recorder.rejected().far_future, 2);
    recorder.publish(START + 300 * SECOND).unwrap();
    recorder.jump_to(START + day).unwrap();
    assert!(recorder.record(store.series[0], 1.0));
    assert!(recorder.jump_to(u64::MAX).is_err());
    drop(recorder);
    store.writer.consolidate();
    let path = store.path();
    drop(store.writer);
    // A store that is opened again takes up where the clock is now.
    let writer = Writer::open(&path).unwrap();
    let mut recorder = writer.recorder().unwrap();
    recorder.publish(START + 30 * day).unwrap();
    recorder.publish(START + 60 * day).unwrap_err();
}

#[test]
fn a_store_that_is_deleted_while_recording_is_noticed_and_does_no_harm() {
    let mut store = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let mut recorder = store.writer.recorder().unwrap();
    recorder.publish(START).unwrap();
    store.writer.checkpoint().unwrap();
    fs::remove_dir_all(store.path()).unwrap();
    for at in 0..1000 {
        recorder.publish(START + at * SECOND).unwrap();
        assert!(recorder.record(store.series[0], 1.0));
        store.writer.consolidate();
    }
    assert!(matches!(store.writer.checkpoint(), Err(Error::Deleted { .. })));
    // Another store in its place is not taken for it.
    let other = Writer::create(&store.path(), &options(1)).unwrap();
    assert!(matches!(store.writer.check_present(), Err(Error::Deleted { .. })));
    other.checkpoint().unwrap();
    assert!(matches!(Reader::open(&store.directory.path().join("none")), Err(Error::NotAStore { .. })));
}

/// A small file system in memory, where this process may mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                println!("skipped: cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: cannot run mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[test]
fn a_full_disk_is_an_error_of_creation_that_leaves_nothing() {
    let directory = support::memory_directory();
    let Some(mounted) = Mounted::new(directory.path(), "5m") else { return };
    let path = mounted.0.join("store");
    let error = Writer::create(&path, &options(30)).unwrap_err().to_string();
    assert!(error.contains("lane-0") || error.contains("tiers"), "{error}");
    assert!(
        error.contains("No space left") && error.contains("free space, or create a smaller store"),
        "{error}"
    );
    assert!(!path.exists(), "nothing is left behind");

    // What fits can be filled to the last slot while nothing else does.
    let mut writer = Writer::create(&path, &options(5)).unwrap();
    let hog = fs::write(mounted.0.join("hog"), vec![1; 5 << 20]);
    assert!(hog.is_err(), "the disk is full now");
    let series = writer.register(&key("a"), Kind::Gauge).unwrap();
    let mut recorder = writer.recorder().unwrap();
    for at in 0..1300 {
        recorder.publish(START + at * SECOND).unwrap();
        assert!(recorder.record(series, 1.0));
        writer.consolidate();
    }
    writer.checkpoint().unwrap();
}

#[test]
fn a_read_only_file_system_takes_readers_and_refuses_writers() {
    let directory = support::memory_directory();
    let Some(mounted) = Mounted::new(directory.path(), "5m") else { return };
    let path = mounted.0.join("store");
    drop(Writer::create(&path, &options(1)).unwrap());
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&mounted.0).status().unwrap();
    assert!(remounted.success());
    Reader::open(&path).unwrap();
    let error = Writer::open(&path).unwrap_err().to_string();
    assert!(error.contains("Read-only file system") && error.contains("choose a directory"), "{error}");
    let error = Writer::create(&mounted.0.join("new"), &options(1)).unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
}

#[test]
#[ignore = "run as a child process without rights by the test of permissions"]
fn child_without_permission() {
    let path = child::store();
    println!("writer: {}", Writer::open(&path).unwrap_err());
    match Reader::open(&path) {
        Ok(_) => println!("reader: open"),
        Err(error) => println!("reader: {error}"),
    }
}

/// As another user if this one is root, for whom permissions do not count.
fn without_permission(path: &Path) -> Option<String> {
    let mut command = child::command("child_without_permission", path);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    match command.output() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) => {
            println!("skipped: another user cannot run this test: {error}");
            None
        }
    }
}

#[test]
fn missing_permission_is_named() {
    let store = Store::new(&options(1), &[("a", Kind::Gauge)]);
    let path = store.path();
    drop(store.writer);
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let files = || fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    allow(store.directory.path(), 0o755);
    allow(&path, 0o755);
    files().for_each(|file| allow(&file, 0o444));
    let Some(text) = without_permission(&path) else { return };
    assert!(text.contains("writer: cannot open") && text.contains("check the permissions"), "{text}");
    assert!(text.contains("reader: open"), "{text}");
    let rights = if rustix::process::geteuid().is_root() { 0o600 } else { 0o000 };
    files().for_each(|file| allow(&file, rights));
    let Some(text) = without_permission(&path) else { return };
    assert!(text.contains("reader: cannot open") && text.contains("Permission denied"), "{text}");
}
