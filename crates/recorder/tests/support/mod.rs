//! Machines and guests that exist in memory.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtmark_hypervisor::*;
use virtmark_recorder::{Attachment, Notice, Recorder, RecorderOptions};
use virtmark_timeseries::{Function, Points, Query, Range, Reader, Summaries, TierChoice};

/// A store of its own, and what the recorder had to say.
pub struct World {
    _place: TempDir,
    pub store: PathBuf,
    pub notices: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { store: place.path().join("store"), _place: place, notices: Arc::default() }
    }

    pub fn notice(&self) -> Notice {
        let notices = Arc::clone(&self.notices);
        Box::new(move |text| notices.lock().unwrap().push(text.to_owned()))
    }

    pub fn record(&self, interval: Duration) -> Recorder {
        let options = RecorderOptions { ask_interval: interval, ..RecorderOptions::every(interval) };
        Recorder::open(&self.store, 2, options, self.notice()).unwrap()
    }

    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap().clone()
    }
}

pub fn attachment(name: &str, probe: &Arc<FakeProbe>, guest: Option<&Arc<FakeGuest>>) -> Attachment {
    Attachment {
        name: name.into(),
        labels: Vec::new(),
        probe: Some(probe.clone()),
        guest: guest.map(|guest| guest.clone() as Arc<dyn GuestLink>),
    }
}

/// All that tier 0 keeps of one series.
pub fn kept(store: &Path, selector: &str) -> Summaries {
    let reader = Reader::open(store).unwrap();
    let found = reader.select(&selector.parse().unwrap()).unwrap();
    assert_eq!(found.len(), 1, "{selector}");
    reader.summaries(found[0], Range::All, TierChoice::Tier(0)).unwrap()
}

pub fn has(store: &Path, selector: &str) -> bool {
    let reader = Reader::open(store).unwrap();
    reader.select(&selector.parse().unwrap()).is_ok_and(|found| !found.is_empty())
}

pub fn query(store: &Path, selector: &str, tier: usize, function: Function) -> Points {
    let reader = Reader::open(store).unwrap();
    let found = reader.select(&selector.parse().unwrap()).unwrap();
    reader.query(found[0], &Query { range: Range::All, tier: TierChoice::Tier(tier), function }).unwrap()
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Tells a counter that the test moves, and when it was looked at.
#[derive(Default)]
pub struct FakeProbe {
    pub counter: AtomicU64,
    pub ended: AtomicBool,
    pub looked: Mutex<Vec<Instant>>,
    /// Beside the counter, this many gauges.
    pub gauges: u64,
}

impl MachineProbe for FakeProbe {
    fn observe(&self, sink: &mut Sink<'_>) -> Result<()> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(Error::WrongState { machine: "m".into(), action: "watch", state: "ended".into() });
        }
        self.looked.lock().unwrap().push(Instant::now());
        let value = self.counter.load(Ordering::SeqCst) as f64;
        sink("vcpu_time_seconds_total", &[("vcpu", "0")], MetricKind::Counter, value);
        for number in 0..self.gauges {
            sink("level", &[("number", &number.to_string())], MetricKind::Gauge, number as f64);
        }
        Ok(())
    }
}

/// A guest that reads its files, or hangs until it is let go.
#[derive(Default)]
pub struct FakeGuest {
    pub asked: AtomicU64,
    hangs: Mutex<bool>,
    changed: Condvar,
}

impl FakeGuest {
    pub fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.changed.notify_all();
    }
}

impl GuestLink for FakeGuest {
    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut hangs = self.hangs.lock().unwrap();
        while *hangs {
            hangs = self.changed.wait(hangs).unwrap();
        }
        let text = match path {
            "/proc/stat" => "cpu  100 0 50 800 0 0 0 0 0 0\nprocs_running 2\n",
            "/proc/meminfo" => "MemAvailable: 1000 kB\n",
            "/proc/loadavg" => "0.50 0.40 0.30 1/50 100\n",
            other => panic!("nobody reads {other}"),
        };
        target.write_all(text.as_bytes()).unwrap();
        Ok(0o444)
    }

    fn spawn(&self, _command: &Command) -> Result<Box<dyn ExecHandle>> {
        unreachable!("a recorder runs nothing in a guest")
    }

    fn put(&self, _source: &mut dyn Read, _size: u64, _path: &str, _mode: u32) -> Result<()> {
        unreachable!("a recorder writes nothing in a guest")
    }

    fn facts(&self) -> Result<GuestFacts> {
        unreachable!("a recorder does not ask for facts")
    }

    fn clock(&self) -> Result<GuestClock> {
        unreachable!("a recorder does not ask for clocks")
    }

    fn personalize(&self, _: &Identity) -> Result<()> {
        unreachable!("a recorder gives no identity")
    }

    fn shutdown(&self) -> Result<()> {
        unreachable!("a recorder ends no guest")
    }
}
