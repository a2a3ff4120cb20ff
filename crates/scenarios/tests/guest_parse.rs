//! The parsers of measuring tools, on what several versions print.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use virtmark_scenarios::guest::parse::fio::{self, Direction};
use virtmark_scenarios::guest::parse::{ParseError, iperf3, openssl, ping, sysbench};

/// What a tool printed once.
fn stored(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guest").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_about(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= expected.abs() * 1e-9
}

#[test]
fn sysbench_tells_events_in_every_version() {
    let new = sysbench::cpu(&stored("sysbench-1.0.20-cpu.txt")).unwrap();
    assert_eq!((new.events_per_second, new.p95_ns), (760.05, Some(3.19e6)));
    // 10,000 events in 25 s, and in 12.5 s by two threads.
    let old = sysbench::cpu(&stored("sysbench-0.4.12-cpu.txt")).unwrap();
    assert_eq!((old.events_per_second, old.p95_ns), (400.0, Some(2.63e6)));
    let between = sysbench::cpu(&stored("sysbench-0.5-cpu.txt")).unwrap();
    assert_eq!((between.events_per_second, between.p95_ns), (800.0, Some(2.71e6)));
}

#[test]
fn sysbench_tells_bytes_in_every_version() {
    let mebi = f64::from(1 << 20);
    let read = sysbench::memory(&stored("sysbench-1.0.20-memory-read.txt")).unwrap();
    assert_eq!((read.operations_per_second, read.bytes_per_second), (24685.90, 24685.90 * mebi));
    let write = sysbench::memory(&stored("sysbench-1.0.20-memory-write.txt")).unwrap();
    assert_eq!(write.bytes_per_second, 15548.79 * mebi);
    let random = sysbench::memory(&stored("sysbench-1.0.20-memory-rnd.txt")).unwrap();
    assert_eq!((random.operations_per_second, random.bytes_per_second), (1808531.54, 1766.14 * mebi));
    let old = sysbench::memory(&stored("sysbench-0.4.12-memory.txt")).unwrap();
    assert_eq!((old.operations_per_second, old.bytes_per_second), (6826.67, 6826.67 * mebi));
}

#[test]
fn a_sysbench_of_another_test_is_unreadable() {
    for (name, result) in [
        ("memory as cpu", sysbench::memory(&stored("sysbench-1.0.20-cpu.txt")).err()),
        ("nothing", sysbench::cpu("").err()),
        ("a rate that is none", sysbench::cpu("events per second: nan").err()),
        ("no time", sysbench::cpu("total time: 0.0000s\ntotal number of events: 3").err()),
    ] {
        assert!(
            matches!(result, Some(ParseError::Unreadable { tool: "sysbench", .. })),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn fio_3_and_2_are_in_the_same_units() {
    let read = fio::job(&stored("fio-3.33-randread.json"), Direction::Read).unwrap();
    assert_eq!(read.version.as_deref(), Some("fio-3.33"));
    assert_eq!((read.bytes_per_second, read.operations_per_second), (139_354_021.0, 34021.978022));
    assert_eq!((read.bytes, read.p99_ns), (139_493_376.0, Some(209_920.0)));
    let written = fio::job(&stored("fio-3.33-randread.json"), Direction::Write).unwrap();
    assert_eq!((written.bytes, written.operations_per_second, written.p99_ns), (0.0, 0.0, None));
    assert!(fio::job(&stored("fio-3.33-write.json"), Direction::Write).unwrap().bytes_per_second > 1e6);

    // KiB and microseconds.
    let old = fio::job(&stored("fio-2.2.10-randwrite.json"), Direction::Write).unwrap();
    assert_eq!(old.version.as_deref(), Some("fio-2.2.10"));
    assert_eq!((old.bytes_per_second, old.operations_per_second), (62_500.0 * 1024.0, 15_625.0));
    assert_eq!((old.bytes, old.p99_ns), (625_000.0 * 1024.0, Some(8_640_000.0)));
}

#[test]
fn a_fio_that_failed_says_why() {
    let output = stored("fio-3.33-disk-full.json");
    let error = fio::job(&output, Direction::Write).unwrap_err();
    assert!(error.to_string().ends_with("error=No space left on device"), "{error}");
    // The words go another way when standard error is apart.
    let json = &output[output.find('{').unwrap()..];
    let error = fio::job(json, Direction::Write).unwrap_err();
    assert_eq!(error.to_string(), "fio failed: its job ended with: No space left on device (os error 28)");
    let error = fio::job("fio: engine libaio not loadable\n", Direction::Read).unwrap_err();
    assert_eq!(error.to_string(), "fio failed: engine libaio not loadable");
    for text in ["", "{", "{\"jobs\": []}", "{\"jobs\": [{\"error\": 0, \"read\": {\"bw\": -1}}]}"] {
        let error = fio::job(text, Direction::Read).unwrap_err();
        assert!(matches!(error, ParseError::Unreadable { tool: "fio", .. }), "{text}: {error}");
    }
}

#[test]
fn iperf3_tells_what_arrived() {
    let tcp = iperf3::tcp(&stored("iperf3-3.0.7-tcp.json")).unwrap();
    assert_eq!((tcp.bytes_per_second, tcp.retransmits), (11_790_000.0, Some(3.0)));
    let new = iperf3::tcp(&stored("iperf3-3.12-tcp.json")).unwrap();
    assert!(new.bytes_per_second > 1e6 && new.retransmits.is_some(), "{new:?}");

    let udp = iperf3::udp(&stored("iperf3-3.12-udp.json")).unwrap();
    assert!(is_about(udp.bytes_per_second, 15_605_219_899.454_88 / 8.0), "{udp:?}");
    assert!(
        is_about(udp.lost_ratio, 119_822.0 / 179_360.0) && is_about(udp.jitter_ns, 217_577.602_002_659_9)
    );
    // 51.2 MB/s were sent, and a quarter was lost.
    let old = iperf3::udp(&stored("iperf3-3.1.3-udp.json")).unwrap();
    assert_eq!((old.bytes_per_second, old.lost_ratio, old.jitter_ns), (38_400_000.0, 0.25, 250_000.0));
}

#[test]
fn both_ways_to_what_arrived_agree() {
    let json = stored("iperf3-3.12-udp.json");
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let told = iperf3::udp(&json).unwrap().bytes_per_second;
    value["end"].as_object_mut().unwrap().remove("sum_received");
    let derived = iperf3::udp(&value.to_string()).unwrap().bytes_per_second;
    // The sender's second and the receiver's differ a little.
    assert!((derived / told - 1.0).abs() < 1e-3, "{derived} {told}");
}

#[test]
fn an_iperf3_that_failed_says_why() {
    let error = iperf3::tcp(&stored("iperf3-3.12-port-taken.json")).unwrap_err();
    let words = "iperf3 failed: unable to start listener for connections: Address already in use";
    assert_eq!(error.to_string(), words);
    let error = iperf3::udp(&stored("iperf3-3.12-refused.json")).unwrap_err();
    assert_eq!(error.to_string(), "iperf3 failed: unable to connect to server: Connection refused");
    for text in ["", "{}", "[]", "{\"end\": {}}"] {
        assert!(matches!(iperf3::tcp(text), Err(ParseError::Unreadable { .. })), "{text}");
    }
}

#[test]
fn openssl_tells_the_largest_blocks() {
    let speed = |name: &str| openssl::speed(&stored(name), "sha256").unwrap();
    assert!(is_about(speed("openssl-1.1.1-sha256.txt"), 393_216_000.0));
    assert!(is_about(speed("openssl-3.0.19-sha256.txt"), 1_229_225_980.0));
    assert!(is_about(speed("openssl-3.0.19-sha256-all-sizes.txt"), 1_278_820_350.0));
    assert!(is_about(speed("openssl-3.6.0-sha256.txt"), 2_113_536_000.0));
    assert!(speed("openssl-3.0.19-sha256-two-processes.txt") > 1e6);
    for text in ["", "sha256", "sha256 12", "sha256  inf k", "sha256 -1k", "sha512  1.0k"] {
        assert!(openssl::speed(text, "sha256").is_err(), "{text}");
    }
}

#[test]
fn ping_tells_every_answer() {
    let found = ping::packets(&stored("ping-iputils-20221126.txt")).unwrap();
    assert_eq!((found.sent, found.received, found.lost_ratio()), (5.0, 5.0, 0.0));
    assert_eq!(found.round_trips_ns, [914e3, 38e3, 42e3, 79e3, 47e3]);
    let busybox = ping::packets(&stored("ping-busybox.txt")).unwrap();
    assert_eq!((busybox.sent, busybox.round_trips_ns), (3.0, vec![45e3, 73e3, 58e3]));
    let lost = ping::packets(&stored("ping-iputils-20221126-lost.txt")).unwrap();
    assert_eq!((lost.sent, lost.received, lost.lost_ratio()), (2.0, 0.0, 1.0));
    assert!(lost.round_trips_ns.is_empty());
    for text in ["", "0 packets transmitted, 0 received", "1 packets transmitted, 2 received"] {
        assert!(ping::packets(text).is_err(), "{text}");
    }
}

/// All of them, one after the other.
fn read_with_all(text: &str) {
    let _ = sysbench::cpu(text);
    let _ = sysbench::memory(text);
    let _ = fio::job(text, Direction::Read);
    let _ = fio::job(text, Direction::Write);
    let _ = iperf3::tcp(text);
    let _ = iperf3::udp(text);
    let _ = openssl::speed(text, "sha256");
    let _ = ping::packets(text);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        read_with_all(&text);
    }

    /// Real outputs, cut off and with a stretch of something else in the middle.
    #[test]
    fn no_damage_makes_a_parser_panic(which in 0usize..6, cut in 0usize..7000, at in 0usize..7000, noise in ".{0,12}") {
        let names = [
            "sysbench-0.4.12-memory.txt",
            "sysbench-1.0.20-cpu.txt",
            "fio-3.33-randread.json",
            "iperf3-3.12-udp.json",
            "openssl-3.0.19-sha256.txt",
            "ping-iputils-20221126.txt",
        ];
        let whole: Vec<char> = stored(names[which]).chars().collect();
        let (cut, at) = (cut.min(whole.len()), at.min(whole.len()));
        read_with_all(&whole[..cut].iter().collect::<String>());
        let text: String = whole[..at].iter().copied().chain(noise.chars()).chain(whole[at..].iter().copied()).collect();
        read_with_all(&text);
    }

    /// Whatever is read as a figure is one.
    #[test]
    fn figures_are_finite_and_not_negative(number in "-?[0-9einfaNx.+]{1,12}") {
        if let Ok(cpu) = sysbench::cpu(&format!("events per second: {number}")) {
            prop_assert!(cpu.events_per_second.is_finite() && cpu.events_per_second >= 0.0);
        }
        if let Ok(speed) = openssl::speed(&format!("sha256  {number}k"), "sha256") {
            prop_assert!(speed.is_finite() && speed >= 0.0);
        }
    }
}
