//! The exposition, read back by a parser of its own, and the server that gives it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod export_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use export_support::{Recording, awkward_series, awkward_value, start_ns};
use proptest::prelude::*;
use virtmark_host::signals::Interrupt;
use virtmark_recorder::export::openmetrics::{CONTENT_TYPE, MAX_CONNECTIONS, exposition, serve};
use virtmark_timeseries::{Kind, Schema, SeriesKey, StoreOptions, Writer};

/// Name, labels, time as text, bits of the value.
type Sample = (String, BTreeMap<String, String>, String, u64);

/// Types by family, and the samples of each.
#[derive(Debug, Default)]
struct Parsed {
    families: Vec<(String, String, Vec<Sample>)>,
}

impl Parsed {
    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|(_, _, samples)| samples)
    }
}

/// A parser that knows no more of OpenMetrics than the specification asks of the text.
fn parse(text: &str) -> Parsed {
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF");
    let mut parsed = Parsed::default();
    for line in body.split_terminator('\n') {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (family, kind) = described.split_once(' ').unwrap();
            assert!(parsed.families.iter().all(|(known, ..)| known != family), "{family} is there twice");
            parsed.families.push((family.into(), kind.into(), Vec::new()));
            continue;
        }
        if let Some(described) = line.strip_prefix("# HELP ") {
            let (family, _, samples) = parsed.families.last().expect("help is in a family");
            assert!(described.starts_with(&format!("{family} ")) && samples.is_empty(), "{line}");
            continue;
        }
        let sample = parse_sample(line);
        let (family, kind, samples) = parsed.families.last_mut().expect("a sample is in a family");
        let expected = if kind == "counter" { format!("{family}_total") } else { family.clone() };
        assert_eq!(sample.0, expected);
        samples.push(sample);
    }
    parsed
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").unwrap();
            let (value, after) = unquote(after);
            assert!(labels.insert(key.to_owned(), value).is_none());
            rest = after;
            match rest.split_at(1) {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let words: Vec<&str> = rest.strip_prefix(' ').unwrap().split(' ').collect();
    let [value, time] = words[..] else { panic!("{line}") };
    (name.into(), labels, time.into(), value.parse::<f64>().unwrap().to_bits())
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                other => panic!("no escape: {other:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text:?}");
}

#[test]
fn the_latest_sample_of_each_series_is_exposed() {
    let directory = tempfile::tempdir().unwrap();
    let start_ns = start_ns();
    let mut recording = Recording::new(directory.path(), start_ns);
    recording.record(0..10);
    let parsed = parse(&exposition(&recording.writer.reader().unwrap()));
    let series = awkward_series();
    assert_eq!(parsed.samples().count(), series.len());
    for (at, (key, _)) in series.iter().enumerate() {
        let found = parsed.samples().find(|(name, ..)| name == key.name()).unwrap();
        // The third is silent in second 9.
        let second = if at == 2 { 8 } else { 9 };
        let labels: BTreeMap<String, String> =
            key.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(found.1, labels);
        assert_eq!(found.2, (start_ns / 1_000_000_000 + second).to_string());
        assert_eq!(found.3, awkward_value(at, second).to_bits());
    }
    let kind = |name: &str| &parsed.families.iter().find(|(family, ..)| family == name).unwrap().1;
    assert_eq!(kind("vcpu_exits"), "counter");
    assert_eq!(kind("vmm_resident_bytes"), "gauge");
}

#[test]
fn the_text_is_as_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(vec![
        Schema::new("all", 16)
            .with_tiers(vec![virtmark_timeseries::Tier::wide(Duration::from_millis(250), 40)]),
    ]);
    let mut writer = Writer::create(directory.path(), &options.unwrap()).unwrap();
    let key = |name: &str| SeriesKey::new(name).unwrap();
    let all = [
        (key("vcpu_exits_total").with("reason", "io").unwrap(), Kind::Counter, 12.0),
        (key("vcpu_exits_total").with("reason", "a\"b\\c\nd").unwrap(), Kind::Counter, 0.1),
        (key("blk_request_seconds"), Kind::Counter, 1e-9),
        (key("load1"), Kind::Gauge, -0.0),
        (key("both_total").with("x", "1").unwrap(), Kind::Counter, 1.0),
        (key("both_total").with("x", "2").unwrap(), Kind::Gauge, 2.0),
        (key("clash_total"), Kind::Counter, 3.0),
        (key("clash"), Kind::Gauge, 1e300),
        (key("silent"), Kind::Gauge, f64::NAN),
    ];
    let mut recorder = writer.recorder().unwrap();
    recorder.publish(1_700_000_000_250_000_000).unwrap();
    for (key, kind, value) in all {
        let series = writer.register(&key, kind).unwrap();
        recorder.record(series, value);
    }
    let expected = r#"# TYPE blk_request_seconds unknown
# HELP blk_request_seconds Average time of the requests since the last sample.
blk_request_seconds 1e-9 1700000000.250
# TYPE both_total unknown
both_total{x="1"} 1.0 1700000000.250
both_total{x="2"} 2.0 1700000000.250
# TYPE clash gauge
clash 1e300 1700000000.250
# TYPE clash_total unknown
clash_total 3.0 1700000000.250
# TYPE load1 gauge
load1 -0.0 1700000000.250
# TYPE vcpu_exits counter
# HELP vcpu_exits Exits of all virtual CPUs that have a reason of their own.
vcpu_exits_total{reason="io"} 12.0 1700000000.250
vcpu_exits_total{reason="a\"b\\c\nd"} 0.1 1700000000.250
# EOF
"#;
    assert_eq!(exposition(&writer.reader().unwrap()), expected);
}

fn series() -> impl Strategy<Value = (String, BTreeMap<String, String>, bool, u64)> {
    let value = any::<u64>().prop_filter("finite", |bits| f64::from_bits(*bits).is_finite());
    let name = "(_total|[a-c](_total|_created)?)";
    (
        name,
        prop::collection::btree_map("[a-zA-Z]{1,3}", ".{0,12}|[\"\\\\\n{},= ]{0,6}", 0..4),
        any::<bool>(),
        value,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_labels_and_values_are_read_back(all in prop::collection::vec(series(), 0..12)) {
        let directory = tempfile::tempdir().unwrap();
        let tiers = vec![virtmark_timeseries::Tier::wide(Duration::from_secs(1), 4)];
        let options = StoreOptions::new(vec![Schema::new("all", 16).with_tiers(tiers)]).unwrap();
        let mut writer = Writer::create(directory.path(), &options).unwrap();
        let mut recorder = writer.recorder().unwrap();
        recorder.publish(1_700_000_000_000_000_000).unwrap();
        let mut expected = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (name, labels, counter, bits) in all {
            if !seen.insert((name.clone(), labels.clone())) {
                continue;
            }
            let key = labels.iter().fold(SeriesKey::new(&name).unwrap(), |key, (label, value)| {
                key.with(label, value).unwrap()
            });
            let kind = if counter { Kind::Counter } else { Kind::Gauge };
            let series = writer.register(&key, kind).unwrap();
            recorder.record(series, f64::from_bits(bits));
            expected.insert((name, labels, "1700000000".to_owned(), bits));
        }
        let parsed = parse(&exposition(&writer.reader().unwrap()));
        prop_assert_eq!(parsed.samples().cloned().collect::<BTreeSet<_>>(), expected);
        let families: BTreeSet<&str> = parsed.families.iter().map(|(family, ..)| family.as_str()).collect();
        for (family, kind, _) in &parsed.families {
            let reserved = [format!("{family}_total"), format!("{family}_created")];
            prop_assert!(kind != "counter" || reserved.iter().all(|name| !families.contains(name.as_str())));
        }
    }
}

/// A server in a thread, for as long as the body takes.
fn with_server(body: impl FnOnce(SocketAddr, &mut Recording)) {
    let directory = tempfile::tempdir().unwrap();
    let mut recording = Recording::new(directory.path(), start_ns());
    recording.record(0..3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let interrupt = Interrupt::never();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, directory.path(), &interrupt));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(address, &mut recording)));
        interrupt.request(2);
        server.join().unwrap().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ask(address: SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A server that has heard enough may have closed already.
    let _ = stream.write_all(request);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_scrape_gets_the_store_as_it_is() {
    with_server(|address, recording| {
        for seconds in [3..4, 4..9] {
            let (head, body) = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nContent-Type: {CONTENT_TYPE}\r\n")), "{head}");
            assert_eq!(body, exposition(&recording.writer.reader().unwrap()));
            recording.record(seconds);
        }
    });
}

#[test]
fn what_is_no_scrape_gets_a_status() {
    with_server(|address, _| {
        let long = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 20_000], b"\r\n\r\n"].concat();
        for (request, status) in [
            (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "404"),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
            (b"\x16\x03\x01\r\n\r\n", "400"),
            (&long, "431"),
        ] {
            let (head, body) = ask(address, request);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(body.ends_with('\n'));
        }
    });
}

#[test]
fn those_who_never_finish_a_request_do_not_keep_others_out_for_long() {
    with_server(|address, _| {
        let mut idle: Vec<TcpStream> =
            (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
        idle.iter_mut().for_each(|stream| stream.write_all(b"GET /met").unwrap());
        let started = Instant::now();
        let mut refused = 0;
        loop {
            let (head, _) = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n");
            if head.starts_with("HTTP/1.1 200 ") {
                break;
            }
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            refused += 1;
            assert!(started.elapsed() < Duration::from_secs(20), "kept out");
            thread::sleep(Duration::from_millis(50));
        }
        assert!(refused > 0, "all {MAX_CONNECTIONS} places were taken");
    });
}

#[test]
fn a_store_that_is_gone_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let interrupt = Interrupt::never();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, directory.path(), &interrupt));
        let (head, body) = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n");
        interrupt.request(2);
        server.join().unwrap().unwrap();
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        assert!(body.contains("there is no store in"), "{body}");
    });
}
