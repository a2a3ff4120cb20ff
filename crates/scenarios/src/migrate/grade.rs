//! How migrations compare with the targets of the hypervisor guide.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;

/// A row of the guide's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Guest memory that the row is for, in GB.
    pub memory_gb: u64,
    /// Most that a migration may take, in milliseconds.
    pub max_duration_ms: u32,
    /// Longest that the guest may stand still, in milliseconds.
    pub max_downtime_ms: u32,
    /// Least that must be sent, in MB a second.
    pub min_rate_mbps: u32,
}

/// Source: "Hypervisor Performance Benchmarking Guide", table "Migration Performance Targets".
const TARGETS: [Target; 4] = [
    Target { memory_gb: 1, max_duration_ms: 30_000, max_downtime_ms: 100, min_rate_mbps: 50 },
    Target { memory_gb: 4, max_duration_ms: 60_000, max_downtime_ms: 200, min_rate_mbps: 80 },
    Target { memory_gb: 8, max_duration_ms: 90_000, max_downtime_ms: 300, min_rate_mbps: 100 },
    Target { memory_gb: 16, max_duration_ms: 180_000, max_downtime_ms: 500, min_rate_mbps: 120 },
];

/// The row for this size, or for the next larger one: targets between two rows are not made up. `None` beyond the last.
fn target_of(memory_mb: u64) -> Option<Target> {
    TARGETS.into_iter().find(|target| memory_mb <= target.memory_gb * 1024)
}

/// How the medians of a size and load compare with their row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// The row; absent beyond the table.
    pub target: Option<Target>,
    /// The time of the whole migration.
    pub duration: Verdict,
    /// The time for which a client outside heard nothing.
    pub downtime: Verdict,
    /// What was sent in a second.
    pub rate: Verdict,
    /// Whether guest code ran in software emulation, for which the targets were not meant.
    pub emulated: bool,
}

impl Grade {
    /// Grades medians; `None` where nothing was measured.
    pub fn new(
        memory_mb: u64,
        duration_ms: Option<f64>,
        downtime_ms: Option<f64>,
        rate_mbps: Option<f64>,
        emulated: bool,
    ) -> Self {
        let target = target_of(memory_mb);
        Self {
            duration: Verdict::of(duration_ms, target, |ms, target| ms <= f64::from(target.max_duration_ms)),
            downtime: Verdict::of(downtime_ms, target, |ms, target| ms <= f64::from(target.max_downtime_ms)),
            rate: Verdict::of(rate_mbps, target, |rate, target| rate >= f64::from(target.min_rate_mbps)),
            target,
            emulated,
        }
    }
}

/// As in `meets time (≤30 s), downtime (≤100 ms); misses rate (≥50 MB/s); row 1 GB, emulated`.
impl fmt::Display for Grade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(target) = &self.target else { return formatter.write_str("no target for this size") };
        let parts = [
            (self.duration, format!("time (≤{} s)", target.max_duration_ms / 1000)),
            (self.downtime, format!("downtime (≤{} ms)", target.max_downtime_ms)),
            (self.rate, format!("rate (≥{} MB/s)", target.min_rate_mbps)),
        ];
        let named = |verdict| -> Vec<&str> {
            parts.iter().filter(|(found, _)| *found == verdict).map(|(_, name)| name.as_str()).collect()
        };
        let words =
            [("meets", Verdict::Met), ("misses", Verdict::Missed), ("not measured:", Verdict::NotMeasured)];
        let said = words.into_iter().map(|(word, verdict)| (word, named(verdict)));
        let said = said.filter(|(_, names)| !names.is_empty());
        let said: Vec<String> = said.map(|(word, names)| format!("{word} {}", names.join(", "))).collect();
        let emulated = if self.emulated { ", emulated" } else { "" };
        write!(formatter, "{}; row {} GB{emulated}", said.join("; "), target.memory_gb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_between_two_rows_has_the_larger_one() {
        let row = |mb| target_of(mb).map(|target| target.memory_gb);
        assert_eq!([256, 1024, 1025, 2048, 4096].map(row), [1, 1, 4, 4, 4].map(Some));
        assert_eq!((row(16_384), row(16_385)), (Some(16), None));
    }

    #[test]
    fn the_target_itself_is_met_and_what_was_not_measured_is_said() {
        let grade = |duration, downtime, rate| Grade::new(1024, duration, downtime, rate, true).to_string();
        assert_eq!(
            grade(Some(30_000.0), Some(100.0), Some(50.0)),
            "meets time (≤30 s), downtime (≤100 ms), rate (≥50 MB/s); row 1 GB, emulated"
        );
        assert_eq!(
            grade(Some(30_000.1), None, Some(49.9)),
            "misses time (≤30 s), rate (≥50 MB/s); not measured: downtime (≤100 ms); row 1 GB, emulated"
        );
        assert_eq!(Grade::new(32_768, Some(1.0), None, None, false).to_string(), "no target for this size");
    }
}
