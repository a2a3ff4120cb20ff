//! Pushing to a receiver that has good and bad days.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use export_support::{Answer, Received, Receiver, Recording, TAKEN, awkward_series, options, start_ns};
use virtmark_host::signals::Interrupt;
use virtmark_recorder::export::remote_write::{PushError, PushOptions, Pusher};
use virtmark_timeseries::{
    Function, Kind, Query, Range, Reader, Schema, SeriesKey, StoreOptions, TierChoice, Writer,
};

/// Series as text, time in milliseconds, bits of the value.
type Samples = BTreeMap<(String, i64), u64>;

struct Fixture {
    directory: tempfile::TempDir,
    recording: Recording,
}

impl Fixture {
    fn new(seconds: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut recording = Recording::new(&directory.path().join("store"), start_ns());
        recording.record(0..seconds);
        Self { directory, recording }
    }

    fn reader(&self) -> Reader {
        self.recording.writer.reader().unwrap()
    }

    fn pusher(&self, options: PushOptions) -> Pusher {
        Pusher::open(options, &self.directory.path().join("cursor"), &Interrupt::never()).unwrap()
    }
}

fn labels_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    labels.join(";")
}

/// What the store answers for the last value of every slot.
fn stored(reader: &Reader, until_newest: bool) -> Samples {
    let query = Query { range: Range::All, tier: TierChoice::Tier(0), function: Function::Last };
    let newest_ms = (reader.newest_ns().unwrap() / 1_000_000) as i64;
    let mut all = Samples::new();
    for entry in reader.series() {
        let name = std::iter::once(("__name__", entry.key().name()));
        let key = labels_text(name.chain(entry.key().labels()));
        for point in reader.query(entry, &query).unwrap().points {
            let time_ms = (point.time_ns / 1_000_000) as i64;
            if until_newest || time_ms < newest_ms {
                all.insert((key.clone(), time_ms), point.value.to_bits());
            }
        }
    }
    all
}

/// What the receiver was sent; a sample that came twice fails.
fn arrived(received: &[Received]) -> Samples {
    let mut all = Samples::new();
    for request in received {
        for series in request.message().timeseries {
            let key =
                labels_text(series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())));
            for sample in series.samples {
                let before = all.insert((key.clone(), sample.timestamp), sample.value.to_bits());
                assert_eq!(before, None, "{key} at {} came twice", sample.timestamp);
            }
        }
    }
    all
}

#[test]
fn requests_are_as_the_specification_wants_them() {
    let receiver = Receiver::start(|_| TAKEN);
    let fixture = Fixture::new(45);
    let mut pusher = fixture.pusher(PushOptions { max_bytes: 20_000, ..options(receiver.url()) });
    pusher.push(&fixture.reader()).unwrap();

    let received = receiver.received();
    assert_eq!(arrived(&received), stored(&fixture.reader(), false));
    for request in &received {
        assert_eq!(request.first_line, "POST /api/v1/write HTTP/1.1");
        assert_eq!(request.header("Content-Encoding"), Some("snappy"));
        assert_eq!(request.header("Content-Type"), Some("application/x-protobuf"));
        assert_eq!(request.header("X-Prometheus-Remote-Write-Version"), Some("0.1.0"));
        assert_eq!(request.header("User-Agent"), Some(concat!("virtmark/", env!("CARGO_PKG_VERSION"))));
        let message = request.message();
        let samples: usize = message.timeseries.iter().map(|series| series.samples.len()).sum();
        assert!((1..=50).contains(&samples), "{samples} samples");
        assert!(prost::Message::encoded_len(&message) <= 20_000);
        for series in &message.timeseries {
            assert!(series.labels.is_sorted_by(|a, b| a.name < b.name), "{:?}", series.labels);
            assert!(series.samples.is_sorted_by(|a, b| a.timestamp < b.timestamp));
        }
    }
    let totals = pusher.totals();
    assert_eq!(totals.requests, received.len() as u64);
    assert_eq!(totals.samples, arrived(&received).len() as u64);
    assert_eq!(totals.bytes, received.iter().map(|request| request.body.len() as u64).sum::<u64>());
    assert_eq!((totals.retries, totals.already_held, totals.missed_ticks, totals.not_kept), (0, 0, 0, 0));
}

#[test]
fn a_push_goes_on_where_the_last_one_ended_and_finish_adds_the_newest_slot() {
    let receiver = Receiver::start(|_| TAKEN);
    let mut fixture = Fixture::new(10);
    fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
    fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
    fixture.recording.record(10..30);
    fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
    assert_eq!(arrived(&receiver.received()), stored(&fixture.reader(), false));
    fixture.pusher(options(receiver.url())).finish(&fixture.reader()).unwrap();
    assert_eq!(arrived(&receiver.received()), stored(&fixture.reader(), true));
}

#[test]
fn slots_that_the_store_overwrote_are_counted_as_missed() {
    let receiver = Receiver::start(|_| TAKEN);
    let mut fixture = Fixture::new(5);
    let mut pusher = fixture.pusher(options(receiver.url()));
    pusher.push(&fixture.reader()).unwrap();
    for from in (0..1000).step_by(100) {
        fixture.recording.record(from..from + 100);
    }
    pusher.push(&fixture.reader()).unwrap();
    // 600 slots are held, 400 to 999; 0 to 3 had been pushed.
    assert_eq!(pusher.totals().missed_ticks, 396);
    assert!(arrived(&receiver.received()).keys().map(|(_, time_ms)| time_ms).max().is_some());
}

#[test]
fn a_server_that_answers_500_for_a_while_is_tried_until_it_works() {
    let broken = Answer::Status;
    let receiver = Receiver::start(move |number| match number {
        2..7 => broken("500 Internal Server Error", "", "the disk is full\n"),
        7..9 => Answer::Hangup,
        _ => TAKEN,
    });
    let fixture = Fixture::new(45);
    let mut pusher = fixture.pusher(options(receiver.url()));
    pusher.push(&fixture.reader()).unwrap();
    let received = receiver.received();
    assert!(received[2..10].iter().all(|request| request.body == received[2].body), "the same again");
    let taken = [&received[..2], &received[9..]].concat();
    assert_eq!(arrived(&taken), stored(&fixture.reader(), false));
    assert_eq!(pusher.totals().retries, 7);
}

#[test]
fn a_server_that_answers_500_for_too_long_is_given_up_and_nothing_is_lost() {
    let receiver = Receiver::start(|number| match number {
        0 | 20.. => TAKEN,
        _ => Answer::Status("503 Service Unavailable", "", "\n  starting up \nmore\n"),
    });
    let fixture = Fixture::new(45);
    let hurried = PushOptions { give_up_after: Duration::from_millis(300), ..options(receiver.url()) };
    let mut pusher = fixture.pusher(hurried);
    let error = pusher.push(&fixture.reader()).unwrap_err();
    assert!(matches!(error, PushError::GaveUp { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("503: starting up;") && text.contains("tries"), "{text}");
    let failed = receiver.received().len();
    assert!(failed > 2, "{failed}");
    let mut tries = 0;
    while pusher.push(&fixture.reader()).is_err() {
        tries += 1;
        assert!(tries < 20);
    }
    let received = receiver.received();
    let taken = [&received[..1], &received[20..]].concat();
    assert_eq!(arrived(&taken), stored(&fixture.reader(), false));
}

#[test]
fn retry_after_is_honoured() {
    let receiver = Receiver::start(|number| match number {
        0 => Answer::Status("429 Too Many Requests", "Retry-After: 1\r\n", "slow down\n"),
        _ => TAKEN,
    });
    let fixture = Fixture::new(5);
    fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[test]
fn a_retry_after_beyond_the_patience_ends_the_push_at_once() {
    let receiver =
        Receiver::start(|_| Answer::Status("429 Too Many Requests", "Retry-After: 3600\r\n", "an hour\n"));
    let fixture = Fixture::new(5);
    let started = Instant::now();
    let error = fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("after 1 tries"), "{error}");
}

#[test]
fn a_refusal_is_told_at_once_with_the_first_line() {
    for (status, line) in [
        ("400 Bad Request", "label name too long"),
        // In a first push it could mean that samples had arrived before; that nothing is taken says they had not.
        ("400 Bad Request", "out of order sample"),
        ("404 Not Found", "404 page not found"),
        ("302 Found", "elsewhere"),
    ] {
        let receiver = Receiver::start(move |_| match status {
            "302 Found" => Answer::Status(status, "Location: http://127.0.0.1:9/\r\n", line),
            _ => Answer::Status(status, "", line),
        });
        let fixture = Fixture::new(5);
        let started = Instant::now();
        let error = fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        let PushError::Refused { status: told, line: first, .. } = &error else { panic!("{error:?}") };
        assert_eq!((format!("{told}").as_str(), first.as_str()), (&status[..3], line));
        assert!(error.to_string().contains(line), "{error}");
        let tries = if line.starts_with("out of order") { 1 + 4 } else { 1 };
        assert_eq!(receiver.received().len(), tries, "{status} {line}");

        // What was refused is not passed over.
        let receiver = Receiver::start(|_| TAKEN);
        fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
        assert_eq!(arrived(&receiver.received()), stored(&fixture.reader(), false));
    }
}

#[test]
fn out_of_order_without_a_doubt_is_a_refusal() {
    let receiver = Receiver::start(|number| match number {
        0 => TAKEN,
        _ => Answer::Status("400 Bad Request", "", "out of order sample\n"),
    });
    let fixture = Fixture::new(45);
    let error = fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap_err();
    assert!(matches!(error, PushError::Refused { status: 400, .. }), "{error:?}");
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let receiver = Receiver::start(|_| Answer::Silence);
    let fixture = Fixture::new(5);
    let impatient = PushOptions {
        request_timeout: Duration::from_millis(100),
        give_up_after: Duration::from_secs(2),
        ..options(receiver.url())
    };
    let started = Instant::now();
    let error = fixture.pusher(impatient).push(&fixture.reader()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20));
    let PushError::GaveUp { tries, last, .. } = &error else { panic!("{error:?}") };
    assert!(*tries >= 2 && last.contains("no answer within 100"), "{error}");
}

#[test]
fn nobody_at_the_address_is_given_up() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fixture = Fixture::new(5);
    let impatient = PushOptions {
        give_up_after: Duration::from_millis(500),
        ..options(format!("http://{address}/write"))
    };
    let error = fixture.pusher(impatient).push(&fixture.reader()).unwrap_err();
    let PushError::GaveUp { tries, last, .. } = &error else { panic!("{error:?}") };
    assert!(*tries >= 2 && last.contains("refused"), "{error}");
}

#[test]
fn an_interrupt_ends_a_wait() {
    let receiver = Receiver::start(|_| Answer::Status("503 Service Unavailable", "Retry-After: 50\r\n", ""));
    let fixture = Fixture::new(5);
    let interrupt = Interrupt::never();
    let mut pusher =
        Pusher::open(options(receiver.url()), &fixture.directory.path().join("cursor"), &interrupt).unwrap();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            while receiver.received().is_empty() {
                thread::yield_now();
            }
            interrupt.request(2);
        });
        pusher.push(&fixture.reader()).unwrap_err()
    });
    assert!(matches!(error, PushError::Interrupted { .. }), "{error:?}");
}

#[test]
fn what_cannot_be_pushed_is_said_before_anything_is_sent() {
    let receiver = Receiver::start(|_| TAKEN);
    let directory = tempfile::tempdir().unwrap();
    let cursor = directory.path().join("cursor");
    let push = |writer: &Writer| {
        let mut pusher = Pusher::open(options(receiver.url()), &cursor, &Interrupt::never()).unwrap();
        pusher.push(&writer.reader().unwrap()).unwrap_err().to_string()
    };

    let plain = StoreOptions::new(vec![Schema::new("all", 4)]).unwrap();
    let mut writer = Writer::create(&directory.path().join("same"), &plain).unwrap();
    writer.register(&SeriesKey::new("a").unwrap(), Kind::Gauge).unwrap();
    writer.register(&SeriesKey::new("a").unwrap().with("x", "").unwrap(), Kind::Gauge).unwrap();
    let text = push(&writer);
    assert!(text.contains(r#"a and a{x=""} are one series"#), "{text}");

    let tiers = vec![virtmark_timeseries::Tier::wide(Duration::from_micros(100), 100)];
    let short = StoreOptions::new(vec![Schema::new("short", 4).with_tiers(tiers)]).unwrap();
    let text = push(&Writer::create(&directory.path().join("short"), &short).unwrap());
    assert!(text.contains("\"short\"") && text.contains("100000 ns"), "{text}");

    let fixture = Fixture::new(5);
    fixture.pusher(options(receiver.url())).push(&fixture.reader()).unwrap();
    fs::copy(fixture.directory.path().join("cursor"), &cursor).unwrap();
    let text = push(&Writer::create(&directory.path().join("other"), &plain).unwrap());
    assert!(text.contains("belongs to another store") && text.contains("cursor"), "{text}");
    assert_eq!(awkward_series().len(), 5);
}
