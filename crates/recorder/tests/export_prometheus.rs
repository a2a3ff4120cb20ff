//! The exports and a real Prometheus: to the last bit, nothing lost and nothing doubled, whatever is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_support;
#[path = "export_support/prometheus.rs"]
mod prometheus;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use export_support::{Recording, options, read_request, start_ns};
use prometheus::{Prometheus, installed};
use virtmark_host::signals::Interrupt;
use virtmark_recorder::export::openmetrics::serve;
use virtmark_recorder::export::remote_write::{PushOptions, Pusher};
use virtmark_timeseries::{Function, Query, Range, Reader, TierChoice};

const EMPTY: &str = "global: {}\n";
const EVERYTHING: &str = r#"{__name__=~".+"}"#;

type Held = BTreeMap<BTreeMap<String, String>, Vec<(i64, u64)>>;

struct Fixture {
    directory: tempfile::TempDir,
    recording: Recording,
    start_seconds: u64,
}

impl Fixture {
    fn new(seconds: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let start_ns = start_ns();
        let mut recording = Recording::new(&directory.path().join("store"), start_ns);
        recording.record(0..seconds);
        Self { directory, recording, start_seconds: start_ns / 1_000_000_000 }
    }

    fn reader(&self) -> Reader {
        self.recording.writer.reader().unwrap()
    }

    fn cursor(&self) -> PathBuf {
        self.directory.path().join("cursor")
    }

    fn pusher(&self, options: PushOptions) -> Pusher {
        Pusher::open(options, &self.cursor(), &Interrupt::never()).unwrap()
    }

    /// What our own query answers, for comparison with what Prometheus does.
    fn stored(&self) -> Held {
        let reader = self.reader();
        let query = Query { range: Range::All, tier: TierChoice::Tier(0), function: Function::Last };
        let of_entry = |entry: &virtmark_timeseries::SeriesEntry| {
            let name = std::iter::once(("__name__", entry.key().name()));
            let labels = name.chain(entry.key().labels());
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let points = reader.query(entry, &query).unwrap().points;
            let sample = |point: &virtmark_timeseries::Point| {
                ((point.time_ns / 1_000_000) as i64, point.value.to_bits())
            };
            (labels, points.iter().map(sample).collect())
        };
        reader.series().iter().map(of_entry).collect()
    }

    fn assert_held(&self, prometheus: &Prometheus) {
        assert_same(&prometheus.raw(EVERYTHING, self.start_seconds + 3000), &self.stored());
    }
}

/// Equality, with the first difference told instead of a thousand samples.
fn assert_same(found: &Held, expected: &Held) {
    let names = |held: &Held| held.keys().map(|labels| labels["__name__"].clone()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for ((found_labels, found), (labels, samples)) in found.iter().zip(expected) {
        assert!(found_labels == labels, "labels of {}", labels["__name__"]);
        let differs = found.iter().zip(samples).find(|(found, sample)| found != sample);
        assert_eq!(differs, None, "{}", labels["__name__"]);
        assert_eq!(found.len(), samples.len(), "{}", labels["__name__"]);
    }
}

/// Adds what is held now to what was held before, some of which may be overwritten by now.
fn remember(all: &mut Held, held: Held) {
    for (labels, samples) in held {
        let known = all.entry(labels).or_default();
        let newest = known.last().map_or(i64::MIN, |(time_ms, _)| *time_ms);
        known.extend(samples.into_iter().filter(|(time_ms, _)| *time_ms > newest));
    }
}

#[test]
fn real_prometheus_answers_as_the_store_does_to_the_last_bit() {
    if !installed() {
        return;
    }
    let prometheus = Prometheus::start(EMPTY);
    let fixture = Fixture::new(300);
    let mut pusher = fixture.pusher(PushOptions::new(prometheus.url()));
    pusher.finish(&fixture.reader()).unwrap();
    fixture.assert_held(&prometheus);

    // A range query gives the last sample at or before each step: for a series without gaps, that of the step.
    let seconds = (fixture.start_seconds, fixture.start_seconds + 299);
    let ranged = prometheus.range("vcpu_exits_total", seconds);
    let stored: Held =
        fixture.stored().into_iter().filter(|(labels, _)| labels["__name__"] == "vcpu_exits_total").collect();
    assert_same(&ranged, &stored);
    assert_eq!(stored.values().next().unwrap().len(), 300);
    assert_eq!(pusher.totals().already_held, 0);
    assert_eq!(pusher.totals().retries, 0);
}

#[test]
fn real_prometheus_killed_while_it_is_pushed_to() {
    if !installed() {
        return;
    }
    let mut prometheus = Prometheus::start(EMPTY);
    let mut fixture = Fixture::new(600);
    let mut pusher = fixture.pusher(PushOptions { max_samples: 20, ..options(prometheus.url()) });
    let mut recorded = Held::new();
    for round in 0..4 {
        let reader = fixture.reader();
        let saved = || fs::read(fixture.cursor()).unwrap();
        thread::scope(|scope| {
            let before = saved();
            let push = scope.spawn(|| pusher.finish(&reader).unwrap());
            while saved() == before {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(7 * round));
            prometheus.kill();
            thread::sleep(Duration::from_millis(100));
            prometheus.restart();
            push.join().unwrap();
        });
        remember(&mut recorded, fixture.stored());
        assert_same(&prometheus.raw(EVERYTHING, fixture.start_seconds + 3000), &recorded);
        let from = 600 + 100 * round;
        fixture.recording.record(from..from + 100);
    }
    assert!(pusher.totals().retries > 0, "it was killed too late");
}

#[test]
fn real_prometheus_pushed_to_again_after_the_cursor_was_not_saved() {
    if !installed() {
        return;
    }
    let prometheus = Prometheus::start(EMPTY);
    let mut fixture = Fixture::new(60);
    let options = PushOptions { max_samples: 1000, ..options(prometheus.url()) };
    let mut pusher = fixture.pusher(options.clone());
    let before = fs::read(fixture.cursor()).unwrap();
    pusher.push(&fixture.reader()).unwrap();
    drop(pusher);
    // As a kill between the answer and the saving of the cursor leaves it.
    fs::write(fixture.cursor(), before).unwrap();
    fixture.recording.record(60..90);

    let mut pusher = fixture.pusher(options.clone());
    pusher.finish(&fixture.reader()).unwrap();
    fixture.assert_held(&prometheus);
    let totals = pusher.totals();
    assert!(totals.already_held > 0, "{totals:?}");

    // A store that is finished again has nothing new, and its newest slot is the same.
    fixture.pusher(options).finish(&fixture.reader()).unwrap();
    fixture.assert_held(&prometheus);
}

#[test]
fn real_prometheus_whose_answers_are_lost() {
    if !installed() {
        return;
    }
    let prometheus = Prometheus::start(EMPTY);
    let fixture = Fixture::new(300);
    let lossy = Lossy::start(prometheus.port());
    let mut pusher = fixture.pusher(PushOptions { max_samples: 100, ..options(lossy.url()) });
    pusher.finish(&fixture.reader()).unwrap();
    fixture.assert_held(&prometheus);
    let totals = pusher.totals();
    assert!(totals.retries > 0 && totals.already_held > 0, "{totals:?}");
}

#[test]
fn real_prometheus_refuses_what_it_holds_otherwise() {
    if !installed() {
        return;
    }
    let prometheus = Prometheus::start(EMPTY);
    let (first, second) = (Fixture::new(20), Fixture::new(40));
    first.pusher(options(prometheus.url())).finish(&first.reader()).unwrap();
    let mut later = Fixture::new(0);
    later.recording.record(500..520);
    later.pusher(options(prometheus.url())).finish(&later.reader()).unwrap();

    let error = second.pusher(options(prometheus.url())).push(&second.reader()).unwrap_err().to_string();
    assert!(error.contains("status 400: out of order sample"), "{error}");
}

#[test]
fn real_prometheus_scrapes_what_is_served() {
    if !installed() {
        return;
    }
    let fixture = Fixture::new(600);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let interrupt = Interrupt::never();
    let configuration = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: virtmark\n  \
         static_configs:\n  - targets: ['{target}']\n"
    );
    let reader = fixture.reader();
    let (mut expected, stored) = (Held::new(), fixture.stored());
    for (mut labels, samples) in stored {
        labels.insert("job".into(), "virtmark".into());
        labels.insert("instance".into(), target.to_string());
        expected.insert(labels, samples[samples.len() - 1..].to_vec());
    }
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, reader.directory(), &interrupt));
        let found = {
            let prometheus = Prometheus::start(&configuration);
            let selector = r#"{__name__!~"up|scrape_.*",job="virtmark"}"#;
            let until = Instant::now() + Duration::from_secs(20);
            loop {
                let found = prometheus.raw(selector, fixture.start_seconds + 3000);
                if found.len() == expected.len() || Instant::now() > until {
                    break found;
                }
                thread::sleep(Duration::from_millis(100));
            }
        };
        interrupt.request(2);
        server.join().unwrap().unwrap();
        assert_same(&found, &expected);
    });
}

/// Passes requests on, and loses every second answer.
struct Lossy {
    address: SocketAddr,
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lossy {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (stop, count) = (std::sync::Arc::clone(&stop), AtomicUsize::new(0));
            move || {
                loop {
                    let (mut stream, _) = listener.accept().unwrap();
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let answer = pass_on(&stream, port);
                    if count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                        stream.write_all(&answer).unwrap();
                    }
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn pass_on(stream: &TcpStream, port: u16) -> Vec<u8> {
    let request = read_request(stream).unwrap();
    let mut onward = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut bytes = format!("{}\r\n", request.first_line).into_bytes();
    for (key, value) in request.headers {
        bytes.extend_from_slice(format!("{key}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    bytes.extend_from_slice(&request.body);
    onward.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    onward.read_to_end(&mut answer).unwrap();
    answer
}
