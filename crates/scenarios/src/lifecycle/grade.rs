//! How an operation compares with the lifecycle targets of the hypervisor guide.

use std::fmt;

use serde::{Deserialize, Serialize};
use virtmark_model::HypervisorFacts;

use super::Operation;
use crate::verdict::Verdict;

/// Targets in milliseconds. Source: "Hypervisor Performance Benchmarking Guide", table "VM Lifecycle Performance
/// Targets", column KVM/QEMU. The guide has none for destroy and restore.
const KVM_QEMU_TARGETS_MS: [(Operation, u32); 4] = [
    (Operation::Create, 15_000),
    (Operation::Start, 10_000),
    (Operation::Stop, 5_000),
    (Operation::Snapshot, 30_000),
];

/// How the median of an operation compares with its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// Met, missed, or why neither.
    pub verdict: Verdict,
    /// What the median must stay below; absent where the guide has no target.
    pub target_ms: Option<u32>,
    /// Whether guest code ran in software emulation, for which the target was not meant.
    pub emulated: bool,
}

impl Grade {
    /// Grades the median of an operation on a platform; `None` where nothing was measured.
    pub fn new(operation: Operation, median_ms: Option<f64>, hypervisor: &HypervisorFacts) -> Self {
        let target_ms = target_ms(operation, hypervisor);
        let verdict = Verdict::of(median_ms, target_ms, |ms, target_ms| ms < f64::from(target_ms));
        Self { verdict, target_ms, emulated: hypervisor.is_emulated() }
    }
}

/// As in `meets target (<10 s), emulated`.
impl fmt::Display for Grade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target_s = self.target_ms.map_or(0.0, |target_ms| f64::from(target_ms) / 1e3);
        match self.verdict {
            Verdict::Met => write!(formatter, "meets target (<{target_s} s)")?,
            Verdict::Missed => write!(formatter, "misses target (<{target_s} s)")?,
            Verdict::NoTarget => return formatter.write_str("no target"),
            Verdict::NotMeasured => return formatter.write_str("not measured"),
        }
        formatter.write_str(if self.emulated { ", emulated" } else { "" })
    }
}

fn target_ms(operation: Operation, hypervisor: &HypervisorFacts) -> Option<u32> {
    if hypervisor.name != "qemu" {
        return None;
    }
    KVM_QEMU_TARGETS_MS.into_iter().find(|(graded, _)| *graded == operation).map(|(_, target_ms)| target_ms)
}

#[cfg(test)]
mod tests {
    use virtmark_model::Accelerator;

    use super::*;

    fn qemu(accelerator: Accelerator) -> HypervisorFacts {
        HypervisorFacts { name: "qemu".into(), accelerator: Some(accelerator), ..Default::default() }
    }

    #[test]
    fn the_target_itself_is_missed_and_emulation_is_said() {
        let text = |operation, median_ms, accelerator| {
            Grade::new(operation, median_ms, &qemu(accelerator)).to_string()
        };
        assert_eq!(text(Operation::Start, Some(9_999.9), Accelerator::Kvm), "meets target (<10 s)");
        assert_eq!(text(Operation::Start, Some(10_000.0), Accelerator::Kvm), "misses target (<10 s)");
        assert_eq!(text(Operation::Create, Some(20.0), Accelerator::Tcg), "meets target (<15 s), emulated");
        assert_eq!(text(Operation::Stop, Some(6_000.0), Accelerator::Tcg), "misses target (<5 s), emulated");
        assert_eq!(text(Operation::Snapshot, Some(29_000.0), Accelerator::Kvm), "meets target (<30 s)");
        assert_eq!(text(Operation::Restore, Some(1.0), Accelerator::Kvm), "no target");
        assert_eq!(text(Operation::Destroy, Some(1.0), Accelerator::Tcg), "no target");
        assert_eq!(text(Operation::Snapshot, None, Accelerator::Tcg), "not measured");
    }

    #[test]
    fn platforms_without_a_column_have_no_target() {
        let native = HypervisorFacts { name: "native".into(), ..Default::default() };
        assert_eq!(Grade::new(Operation::Create, Some(1.0), &native).verdict, Verdict::NoTarget);
    }
}
