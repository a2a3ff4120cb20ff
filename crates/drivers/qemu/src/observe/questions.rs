//! What only QEMU itself can tell, from its answers over QMP.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use virtmark_hypervisor::{MetricKind, Sink};

use crate::command_line::disk_of;

/// Kinds of requests of `query-blockstats`, with QEMU's word for each.
const OPERATIONS: [(&str, &str); 4] =
    [("read", "rd"), ("write", "wr"), ("flush", "flush"), ("discard", "unmap")];

/// Those of them that move bytes.
const DIRECTIONS: [(&str, &str); 2] = [("read", "rd_bytes"), ("write", "wr_bytes")];

/// Tells what disks did, and remembers what they had done by then.
#[derive(Debug, Default)]
pub(super) struct BlockStatistics {
    /// Requests and the nanoseconds they took, of each disk and kind.
    before: BTreeMap<(String, &'static str), (u64, u64)>,
}

impl BlockStatistics {
    /// Reads the answer to `query-blockstats`. A time is that of the requests that were completed since the last answer, on
    /// average, and absent when there were none.
    pub(super) fn tell(&mut self, answer: &Value, sink: &mut Sink<'_>) {
        for device in answer.as_array().into_iter().flatten() {
            let Some(disk) = device["node-name"].as_str().and_then(disk_of) else { continue };
            let statistic = |name: &str| device["stats"][name].as_u64();
            for (op, word) in OPERATIONS {
                let Some(requests) = statistic(&format!("{word}_operations")) else { continue };
                let labels = [("disk", disk), ("op", op)];
                sink("blk_requests_total", &labels, MetricKind::Counter, requests as f64);
                let Some(took_ns) = statistic(&format!("{word}_total_time_ns")) else { continue };
                let before =
                    self.before.insert((disk.to_owned(), op), (requests, took_ns)).unwrap_or_default();
                if let (Some(more @ 1..), Some(more_ns)) =
                    (requests.checked_sub(before.0), took_ns.checked_sub(before.1))
                {
                    let seconds = more_ns as f64 / more as f64 / 1e9;
                    sink("blk_request_seconds", &labels, MetricKind::Gauge, seconds);
                }
            }
            for (direction, word) in DIRECTIONS {
                if let Some(bytes) = statistic(word) {
                    let labels = [("direction", direction), ("disk", disk)];
                    sink("blk_bytes_total", &labels, MetricKind::Counter, bytes as f64);
                }
            }
        }
    }
}

/// What is asked of `query-stats`.
pub(super) fn exits_wanted() -> Value {
    json!({ "target": "vcpu", "providers": [{ "provider": "kvm" }] })
}

/// Reads the answer to `query-stats`: exits of all virtual CPUs together, by the reasons that KVM counts
/// (`NAME_exits`). KVM counts more exits than it has reasons for, so all of them are a metric of their own.
pub(super) fn exits(answer: &Value, sink: &mut Sink<'_>) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for vcpu in answer.as_array().into_iter().flatten() {
        for statistic in vcpu["stats"].as_array().into_iter().flatten() {
            let (Some(name), Some(value)) = (statistic["name"].as_str(), statistic["value"].as_u64()) else {
                continue;
            };
            if name == "exits" || name.ends_with("_exits") || halt_poll(name).is_some() {
                *sums.entry(name).or_default() += value;
            }
        }
    }
    for (name, count) in sums {
        if let Some(outcome) = halt_poll(name) {
            let seconds = count as f64 / 1e9;
            sink("vcpu_halt_poll_seconds_total", &[("outcome", outcome)], MetricKind::Counter, seconds);
            continue;
        }
        match name.strip_suffix("_exits") {
            Some(reason) => {
                sink("vcpu_exits_total", &[("reason", reason)], MetricKind::Counter, count as f64)
            }
            None => sink("vcpu_all_exits_total", &[], MetricKind::Counter, count as f64),
        }
    }
}

/// What became of the time that KVM polled for before it let a halted virtual CPU sleep: `success` when work came
/// meanwhile, `fail` when none did.
fn halt_poll(name: &str) -> Option<&str> {
    name.strip_prefix("halt_poll_")?.strip_suffix("_ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(read: impl FnOnce(&mut Sink<'_>)) -> Vec<String> {
        let mut lines = Vec::new();
        read(&mut |name, labels, _, value| lines.push(format!("{name} {labels:?} {value}")));
        lines
    }

    fn blocks(read: u64, took_ns: u64) -> Value {
        json!([
            { "device": "floppy0", "stats": { "rd_operations": 9 } },
            { "node-name": "disk-data.o1", "device": "", "stats": {
                "rd_operations": read, "rd_bytes": read * 512, "rd_total_time_ns": took_ns,
                "wr_operations": 0, "wr_bytes": 0, "wr_total_time_ns": 0 } },
        ])
    }

    #[test]
    fn a_time_is_of_the_requests_since_the_last_answer() {
        let mut statistics = BlockStatistics::default();
        let first = told(|sink| statistics.tell(&blocks(2, 4_000_000_000), sink));
        assert_eq!(
            first,
            [
                r#"blk_requests_total [("disk", "data"), ("op", "read")] 2"#,
                r#"blk_request_seconds [("disk", "data"), ("op", "read")] 2"#,
                r#"blk_requests_total [("disk", "data"), ("op", "write")] 0"#,
                r#"blk_bytes_total [("direction", "read"), ("disk", "data")] 1024"#,
                r#"blk_bytes_total [("direction", "write"), ("disk", "data")] 0"#,
            ]
        );
        let second = told(|sink| statistics.tell(&blocks(4, 5_000_000_000), sink));
        assert_eq!(second[1], r#"blk_request_seconds [("disk", "data"), ("op", "read")] 0.5"#);
        // Nothing was read, and then QEMU started again from zero.
        for count in [4, 1] {
            let lines = told(|sink| statistics.tell(&blocks(count, 1), sink));
            assert!(!lines.iter().any(|line| line.contains("seconds")), "{lines:?}");
        }
    }

    /// The shape of `qapi/stats.json`, with names of `kvm_vcpu_stats_desc` in `arch/x86/kvm/x86.c`.
    #[test]
    fn exits_are_added_up_over_virtual_cpus() {
        let vcpu = |path: &str, halt: u64| {
            json!({ "provider": "kvm", "qom-path": path, "stats": [
                { "name": "exits", "value": 100 + halt },
                { "name": "halt_exits", "value": halt },
                { "name": "io_exits", "value": 7 },
                { "name": "halt_poll_success_ns", "value": 250_000_000 },
                { "name": "halt_poll_invalid", "value": 1 },
                { "name": "guest_mode", "value": false },
                { "name": "halt_wait_hist", "value": [1, 2] },
                { "name": "irq_injections", "value": 5 } ] })
        };
        let answer =
            json!([vcpu("/machine/unattached/device[0]", 3), vcpu("/machine/unattached/device[1]", 4)]);
        let lines = told(|sink| exits(&answer, sink));
        assert_eq!(
            lines,
            [
                "vcpu_all_exits_total [] 207",
                r#"vcpu_exits_total [("reason", "halt")] 7"#,
                r#"vcpu_halt_poll_seconds_total [("outcome", "success")] 0.5"#,
                r#"vcpu_exits_total [("reason", "io")] 14"#,
            ]
        );
        assert!(told(|sink| exits(&json!([]), sink)).is_empty());
    }
}
