//! Any text as what a measuring tool printed in a guest: it is refused in words, or its figures are figures.

#![no_main]

use virtmark_scenarios::guest::parse::fio::{self, Direction};
use virtmark_scenarios::guest::parse::{ParseError, iperf3, openssl, ping, sysbench};

libfuzzer_sys::fuzz_target!(|text: &str| {
    check(sysbench::cpu(text), |cpu| [Some(cpu.events_per_second), cpu.p95_ns, None]);
    check(sysbench::memory(text), |memory| {
        [Some(memory.operations_per_second), Some(memory.bytes_per_second), None]
    });
    for direction in [Direction::Read, Direction::Write] {
        check(fio::job(text, direction), |job| {
            [Some(job.bytes_per_second), Some(job.operations_per_second), job.p99_ns]
        });
    }
    check(iperf3::tcp(text), |tcp| [Some(tcp.bytes_per_second), tcp.retransmits, None]);
    check(iperf3::udp(text), |udp| [Some(udp.bytes_per_second), Some(udp.lost_ratio), Some(udp.jitter_ns)]);
    check(openssl::speed(text, "sha256"), |speed| [Some(*speed), None, None]);
    check(ping::packets(text), |ping| {
        assert!((0.0..=1.0).contains(&ping.lost_ratio()), "{ping:?}");
        let largest = ping.round_trips_ns.iter().copied().fold(0.0, f64::max);
        [Some(ping.sent), Some(ping.received), Some(largest)]
    });
});

fn check<T>(result: Result<T, ParseError>, figures: impl Fn(&T) -> [Option<f64>; 3]) {
    match result {
        Ok(output) => {
            for figure in figures(&output).into_iter().flatten() {
                assert!(figure.is_finite() && figure >= 0.0, "{figure}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
