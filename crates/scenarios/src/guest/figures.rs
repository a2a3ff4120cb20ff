//! From a tool's output to the values of a test's metrics.

use virtmark_stats::percentile;

use super::Test;
use super::parse::{ParseError, fio, iperf3, openssl, ping, sysbench};

/// Values in the order of [`Test::metrics`]; those that this version of the tool does not tell are absent, the first never.
pub(super) fn read(test: Test, text: &str) -> Result<Vec<Option<f64>>, ParseError> {
    Ok(match test {
        Test::SysbenchCpu => {
            let cpu = sysbench::cpu(text)?;
            vec![Some(cpu.events_per_second), cpu.p95_ns]
        }
        Test::MemoryRandRead | Test::MemorySeqRead | Test::MemorySeqWrite => {
            vec![Some(sysbench::memory(text)?.bytes_per_second)]
        }
        Test::OpensslSha256 => vec![Some(openssl::speed(text, "sha256")?)],
        Test::FioRandRead | Test::FioRandWrite | Test::FioSeqRead | Test::FioSeqWrite => {
            let (direction, random, _) = test.fio().unwrap_or((fio::Direction::Read, false, 0));
            let job = fio::job(text, direction)?;
            let (bytes, operations) = (Some(job.bytes_per_second), Some(job.operations_per_second));
            if random { vec![operations, bytes, job.p99_ns] } else { vec![bytes, operations, job.p99_ns] }
        }
        Test::IperfTcp => {
            let tcp = iperf3::tcp(text)?;
            vec![Some(tcp.bytes_per_second), tcp.retransmits]
        }
        Test::IperfUdp => {
            let udp = iperf3::udp(text)?;
            vec![Some(udp.bytes_per_second), Some(udp.lost_ratio), Some(udp.jitter_ns)]
        }
        Test::Ping => {
            let ping = ping::packets(text)?;
            let median = percentile(&ping.round_trips_ns, 50.0).map_err(|_| ParseError::Failed {
                tool: "ping",
                message: format!("none of {} packets was answered", ping.sent),
            })?;
            vec![Some(median.value), Some(ping.lost_ratio())]
        }
    })
}
