//! The record path allocates nothing and takes no page fault.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{SECOND, START};
use virtmark_timeseries::{Kind, Recorder, Schema, Series, StoreOptions, Writer};

/// Counts what the running thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is; counting uses a thread-local cell without a destructor.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory is from `alloc` above, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn page_faults() -> (i64, i64) {
    // SAFETY: rusage is plain numbers, for which zeros are valid.
    #[allow(unsafe_code)]
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a rusage of this frame.
    #[allow(unsafe_code)]
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    assert_eq!(result, 0);
    (usage.ru_minflt, usage.ru_majflt)
}

fn store(directory: &std::path::Path, narrow: bool) -> (Writer, Vec<Series>) {
    let schema = Schema::new("all", 30);
    let schema = if narrow { schema.narrow() } else { schema };
    let options = StoreOptions::new(vec![schema]).unwrap();
    let mut writer = Writer::create(&directory.join("store"), &options).unwrap();
    let keys: Vec<_> = (0..30).map(|at| (support::key(&format!("series_{at}")), Kind::Gauge)).collect();
    let series = writer.register_all(&keys).unwrap();
    (writer, series)
}

/// A million samples, 30 series at a time; returns allocations and page faults of the samples alone.
fn million(recorder: &mut Recorder, series: &[Series], from_second: u64) -> (u64, i64, i64) {
    let (mut allocated, mut minor, mut major) = (0, 0, 0);
    let mut taken = 0;
    let mut second = from_second;
    while taken < 1_000_000 {
        recorder.jump_to(START + second * SECOND).unwrap();
        second += 1;
        let (faults, before) = (page_faults(), allocations());
        for _ in 0..50 {
            for series in series {
                taken += u64::from(recorder.record(*series, 1.5));
            }
        }
        let after = page_faults();
        allocated += allocations() - before;
        minor += after.0 - faults.0;
        major += after.1 - faults.1;
    }
    (allocated, minor, major)
}

#[test]
fn a_million_samples_allocate_nothing_and_take_no_page_fault() {
    // Once so that the test's own code is in memory; then on fresh stores, whose pages nobody has seen.
    for fresh in [false, true] {
        for narrow in [false, true] {
            let directory = support::memory_directory();
            let (writer, series) = store(directory.path(), narrow);
            let mut recorder = writer.recorder().unwrap();
            let found = million(&mut recorder, &series, 0);
            if fresh {
                assert_eq!(found, (0, 0, 0), "allocations, minor and major faults; narrow: {narrow}");
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (writer, series) = store(directory.path(), false);
    let mut recorder = writer.recorder().unwrap();
    for from_second in [0, 1000] {
        let (allocated, minor, major) = million(&mut recorder, &series, from_second);
        // A page that the kernel writes to the disk between its time and its samples is protected once more.
        assert!(minor <= 2, "{minor} faults of pages on a disk");
        assert_eq!((allocated, major), (0, 0));
        writer.checkpoint().unwrap();
    }
}

#[test]
fn a_batch_allocates_nothing_from_its_time_on() {
    let directory = support::memory_directory();
    let (writer, series) = store(directory.path(), false);
    let mut recorder = writer.recorder().unwrap();
    let samples: Vec<(Series, f64)> = series.iter().map(|series| (*series, 2.0)).collect();
    let before = allocations();
    for at in 0..1000 {
        assert_eq!(recorder.record_batch(START + at * SECOND, &samples), Ok(30));
    }
    assert_eq!(allocations() - before, 0);
}
