//! Guard rails: what a sweep does not do by accident.

use std::fmt;
use std::time::Duration;

use super::plan::{Load, SweepPlan};

/// The longest that one run may take, warm-up and all.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that one run may measure.
pub const MAX_DURATION: Duration = Duration::from_secs(30);
/// The most requests before a run that do not count.
pub const MAX_WARMUP: u64 = 100;
/// The most requests in flight at once.
pub const MAX_CONCURRENCY: u32 = 128;

/// One guard rail that a sweep would go beyond.
#[derive(Clone, Debug, PartialEq)]
pub enum Excess {
    /// More requests in flight than [`MAX_CONCURRENCY`].
    Concurrency {
        /// The highest asked for.
        asked: u32,
    },
    /// More threads that calculate than the smallest size has virtual CPUs.
    CpuThreads {
        /// Threads asked for.
        asked: u32,
        /// Virtual CPUs of the smallest size.
        vcpus: u32,
    },
    /// Runs longer than [`MAX_DURATION`].
    Duration {
        /// What was asked for.
        asked: Duration,
    },
    /// Runs that may hang for longer than [`MAX_TIMEOUT`].
    Timeout {
        /// What was asked for.
        asked: Duration,
    },
    /// More warm-up than [`MAX_WARMUP`].
    Warmup {
        /// Requests asked for.
        asked: u64,
    },
}

impl fmt::Display for Excess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency { asked } => {
                write!(formatter, "{asked} requests at once, and {MAX_CONCURRENCY} are the most")
            }
            Self::CpuThreads { asked, vcpus } => {
                write!(formatter, "{asked} CPU threads on {vcpus} vCPUs, and there is one for each at most")
            }
            Self::Duration { asked } => {
                write!(formatter, "runs of {asked:?}, and {MAX_DURATION:?} are the longest")
            }
            Self::Timeout { asked } => {
                write!(formatter, "a time limit of {asked:?}, and {MAX_TIMEOUT:?} are the longest")
            }
            Self::Warmup { asked } => {
                write!(formatter, "{asked} requests of warm-up, and {MAX_WARMUP} are the most")
            }
        }
    }
}

/// Every guard rail that a sweep would go beyond; none of a harmless one.
pub fn excesses(plan: &SweepPlan) -> Vec<Excess> {
    let mut found = Vec::new();
    let concurrency = match &plan.load {
        Load::Closed { concurrency } => concurrency.iter().max().copied().unwrap_or(0),
        Load::Open { in_flight, .. } => *in_flight,
    };
    if concurrency > MAX_CONCURRENCY {
        found.push(Excess::Concurrency { asked: concurrency });
    }
    // Of a size that a service decides, nothing is known.
    let smallest = plan.vcpus.iter().filter(|vcpus| **vcpus > 0).min();
    if let (Some(asked), Some(vcpus)) = (plan.cpu_threads, smallest)
        && asked > *vcpus
    {
        found.push(Excess::CpuThreads { asked, vcpus: *vcpus });
    }
    if plan.duration() > MAX_DURATION {
        found.push(Excess::Duration { asked: plan.duration() });
    }
    if plan.timeout() > MAX_TIMEOUT {
        found.push(Excess::Timeout { asked: plan.timeout() });
    }
    if plan.warmup > MAX_WARMUP {
        found.push(Excess::Warmup { asked: plan.warmup });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::small;
    use super::*;

    #[test]
    fn the_defaults_are_within_all_of_them() {
        assert_eq!(excesses(&small()), []);
    }

    #[test]
    fn each_is_found_at_its_border_and_not_before() {
        type Change = fn(&mut SweepPlan);
        let cases: [(Change, Change, &str); 5] = [
            (|plan| plan.duration_ms = 30_000, |plan| plan.duration_ms = 30_001, "runs of 30.001s"),
            (|plan| plan.timeout_ms = 60_000, |plan| plan.timeout_ms = 60_001, "limit of 60.001s"),
            (|plan| plan.warmup = 100, |plan| plan.warmup = 101, "101 requests of warm-up"),
            (
                |plan| plan.load = Load::Closed { concurrency: vec![128, 1] },
                |plan| plan.load = Load::Closed { concurrency: vec![1, 129] },
                "129 requests at once",
            ),
            (
                |plan| (plan.vcpus, plan.cpu_threads) = (vec![4, 2], Some(2)),
                |plan| (plan.vcpus, plan.cpu_threads) = (vec![4, 2], Some(3)),
                "3 CPU threads on 2 vCPUs",
            ),
        ];
        for (within, beyond, words) in cases {
            let mut plan = small();
            within(&mut plan);
            assert_eq!(excesses(&plan), [], "{words}");
            beyond(&mut plan);
            let found = excesses(&plan);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].to_string().contains(words), "{}", found[0]);
        }
    }
}
