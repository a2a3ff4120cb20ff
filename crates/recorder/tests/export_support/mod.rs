//! What the tests of the exports share: a store with awkward contents, and a receiver that answers as it is told.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test crate uses part of this, and fails where it cannot go on"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use prost::Message;
use virtmark_recorder::export::remote_write::PushOptions;
use virtmark_timeseries::{Kind, Recorder, Schema, Series, SeriesKey, StoreOptions, Writer};

/// Ten minutes ago, on a whole second: the finest tier reaches back as far.
pub(crate) fn start_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (now.as_secs() - 600) * 1_000_000_000
}

/// Names and labels that break careless code: sorting around `__name__`, quotes, newlines, 10 kB.
pub(crate) fn awkward_series() -> Vec<(SeriesKey, Kind)> {
    let key = |name: &str| SeriesKey::new(name).unwrap();
    vec![
        (key("vcpu_exits_total").with("reason", "io").unwrap(), Kind::Counter),
        (key("vmm_resident_bytes"), Kind::Gauge),
        (key("zones").with("Zone", "upper").unwrap().with("zone", "lower").unwrap(), Kind::Gauge),
        (key("quoted").with("text", "a \"quoted\" \\ path\nand a line, {}=é\u{1F980}").unwrap(), Kind::Gauge),
        (key("long_total").with("text", "é".repeat(5_000)).unwrap(), Kind::Counter),
    ]
}

/// Values whose last bits, signs and sizes matter.
pub(crate) fn awkward_value(series: usize, second: u64) -> f64 {
    match (series, second % 7) {
        (0 | 4, _) => second as f64 * (0.1 + 0.2),
        (_, 0) => -0.0,
        (_, 1) => f64::from_bits(1 + second),
        (_, 2) => f64::MAX / (1.0 + second as f64),
        (_, 3) => -std::f64::consts::PI * second as f64,
        (_, _) => 1.0 / (3.0 + second as f64 + series as f64),
    }
}

/// A writer, its recorder and the handles of [`awkward_series`].
pub(crate) struct Recording {
    pub(crate) writer: Writer,
    recorder: Recorder,
    series: Vec<Series>,
    start_ns: u64,
}

impl Recording {
    pub(crate) fn new(path: &Path, start_ns: u64) -> Self {
        let options = StoreOptions::new(vec![Schema::new("all", 16)]).unwrap();
        let mut writer = Writer::create(path, &options).unwrap();
        let series = writer.register_all(&awkward_series()).unwrap();
        let recorder = writer.recorder().unwrap();
        Self { writer, recorder, series, start_ns }
    }

    /// Records seconds since the start; every third one without the third series, as a silent source would.
    pub(crate) fn record(&mut self, seconds: std::ops::Range<u64>) {
        for second in seconds {
            self.recorder.publish(self.start_ns + second * 1_000_000_000).unwrap();
            for (at, series) in self.series.iter().enumerate() {
                if at != 2 || second % 3 != 0 {
                    assert!(self.recorder.record(*series, awkward_value(at, second)));
                }
            }
        }
        self.writer.consolidate();
    }
}

/// Options for tests: quick tries, small requests.
pub(crate) fn options(url: String) -> PushOptions {
    PushOptions {
        max_samples: 50,
        request_timeout: Duration::from_secs(10),
        give_up_after: Duration::from_secs(60),
        first_backoff: Duration::from_millis(5),
        longest_backoff: Duration::from_millis(50),
        ..PushOptions::new(url)
    }
}

/// A request that the receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn message(&self) -> WriteRequest {
        let bytes = snap::raw::Decoder::new().decompress_vec(&self.body).unwrap();
        WriteRequest::decode(bytes.as_slice()).unwrap()
    }
}

/// What the receiver does with a request.
pub(crate) enum Answer {
    /// Closes the connection without a word.
    Hangup,
    /// Never answers.
    Silence,
    /// Status line, more header lines, body.
    Status(&'static str, &'static str, &'static str),
}

pub(crate) const TAKEN: Answer = Answer::Status("204 No Content", "", "");

/// A receiver that answers request number n as a function of n says.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start(answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (received, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || receive(&listener, &received, &stop, answer)
        });
        Self { address, received, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn receive(
    listener: &TcpListener,
    received: &Mutex<Vec<Received>>,
    stop: &AtomicBool,
    answer: impl Fn(usize) -> Answer,
) {
    // Those that get no answer stay open until the receiver ends.
    let mut silent = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Some(request) = read_request(&stream) else { continue };
        let number = {
            let mut all = received.lock().unwrap();
            all.push(request);
            all.len() - 1
        };
        match answer(number) {
            Answer::Hangup => {}
            Answer::Silence => silent.push(stream),
            Answer::Status(status, headers, body) => {
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        }
    }
}

/// One request, or `None` when the caller left.
pub(crate) fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first_line = lines.next()?;
    let split = |line: String| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(split).collect();
    let length = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Received { at: Instant::now(), first_line, headers, body })
}

/// The messages as the specification has them, written apart from those that are tested.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Label {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}
