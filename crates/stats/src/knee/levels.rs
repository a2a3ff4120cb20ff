//! The measurements that a knee is looked for in.

use serde::{Deserialize, Serialize};

/// The latencies of the requests of one run that succeeded, in nanoseconds, each an observed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

/// One run of a sweep: one repeat of one level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelRun {
    /// Requests in flight at once.
    pub concurrency: u32,
    /// Requests that succeeded, per second.
    pub throughput: f64,
    /// Latencies of the requests that succeeded; none when no request did.
    pub latency: Option<Latency>,
    /// Share of the requests that failed, 0 to 1; none when failures were not counted.
    pub error_ratio: Option<f64>,
}

/// All runs of one concurrency, and the figure that stands for them.
///
/// The figures are nearest-rank medians over the runs, so each was observed; with an even number the lower of the
/// middle two. Runs without a figure take no part in its median.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    runs: Vec<LevelRun>,
}

impl Level {
    /// Requests in flight at once.
    pub fn concurrency(&self) -> u32 {
        self.runs[0].concurrency
    }

    /// The repeats of this level, at least one, in the order given.
    pub fn runs(&self) -> &[LevelRun] {
        &self.runs
    }

    /// Median throughput, requests per second.
    pub fn throughput(&self) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(|run| run.throughput).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[middle(values.len())]
    }

    /// Median of each latency percentile over the runs; none when no request succeeded in any.
    pub fn latency(&self) -> Option<Latency> {
        let all: Vec<Latency> = self.runs.iter().filter_map(|run| run.latency).collect();
        if all.is_empty() {
            return None;
        }
        let median = |field: fn(&Latency) -> u64| {
            let mut values: Vec<u64> = all.iter().map(field).collect();
            values.sort_unstable();
            values[middle(values.len())]
        };
        Some(Latency {
            p50_ns: median(|latency| latency.p50_ns),
            p90_ns: median(|latency| latency.p90_ns),
            p99_ns: median(|latency| latency.p99_ns),
            max_ns: median(|latency| latency.max_ns),
        })
    }
}

/// The runs of a sweep by level, in ascending order of concurrency; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels(Vec<Level>);

impl Levels {
    /// Groups runs, given in any order, into levels.
    ///
    /// # Errors
    /// When there are no runs, or one has a concurrency of 0, a throughput that is not a finite number from 0, an
    /// error ratio outside 0 to 1, or percentiles that descend.
    pub fn new(runs: impl IntoIterator<Item = LevelRun>) -> Result<Self, LevelsError> {
        let mut runs: Vec<LevelRun> = runs.into_iter().collect();
        if runs.is_empty() {
            return Err(LevelsError::Empty);
        }
        runs.iter().enumerate().try_for_each(|(index, run)| check(index, run))?;
        runs.sort_by_key(|run| run.concurrency);
        let levels = runs.chunk_by(|a, b| a.concurrency == b.concurrency);
        Ok(Self(levels.map(|runs| Level { runs: runs.to_vec() }).collect()))
    }

    /// The levels, lowest first.
    pub fn as_slice(&self) -> &[Level] {
        &self.0
    }

    /// The lowest level.
    pub fn lowest(&self) -> &Level {
        &self.0[0]
    }

    /// The highest level.
    pub fn highest(&self) -> &Level {
        &self.0[self.0.len() - 1]
    }
}

/// Why runs are not the levels of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelsError {
    /// A run has no requests in flight.
    #[error("cannot use run {index}: its concurrency is 0; at least one request must be in flight")]
    Concurrency {
        /// Position of the run, from 0.
        index: usize,
    },
    /// There are no runs.
    #[error("cannot look for a knee in no runs: measure at least one level")]
    Empty,
    /// The share of failures is not a share.
    #[error(
        "cannot use run {index} of concurrency {concurrency}: an error ratio of {value} is not from 0 to 1"
    )]
    ErrorRatio {
        /// Position of the run, from 0.
        index: usize,
        /// Concurrency of the run.
        concurrency: u32,
        /// The share given.
        value: f64,
    },
    /// A higher percentile is below a lower one.
    #[error(
        "cannot use run {index} of concurrency {concurrency}: its latencies descend from p50 to max; \
         check which column is which"
    )]
    Percentiles {
        /// Position of the run, from 0.
        index: usize,
        /// Concurrency of the run.
        concurrency: u32,
    },
    /// The throughput is negative or not a number.
    #[error(
        "cannot use run {index} of concurrency {concurrency}: a throughput of {value} is not a number from 0 to 1e150"
    )]
    Throughput {
        /// Position of the run, from 0.
        index: usize,
        /// Concurrency of the run.
        concurrency: u32,
        /// The throughput given.
        value: f64,
    },
}

fn check(index: usize, run: &LevelRun) -> Result<(), LevelsError> {
    let concurrency = run.concurrency;
    if concurrency == 0 {
        return Err(LevelsError::Concurrency { index });
    }
    // Beyond this its square could not be summed.
    if !(0.0..=1e150).contains(&run.throughput) {
        return Err(LevelsError::Throughput { index, concurrency, value: run.throughput });
    }
    if let Some(value) = run.error_ratio
        && !(0.0..=1.0).contains(&value)
    {
        return Err(LevelsError::ErrorRatio { index, concurrency, value });
    }
    match run.latency {
        Some(Latency { p50_ns, p90_ns, p99_ns, max_ns })
            if !(p50_ns <= p90_ns && p90_ns <= p99_ns && p99_ns <= max_ns) =>
        {
            Err(LevelsError::Percentiles { index, concurrency })
        }
        _ => Ok(()),
    }
}

/// Position of the nearest-rank median.
fn middle(len: usize) -> usize {
    len.div_ceil(2) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(concurrency: u32, throughput: f64) -> LevelRun {
        LevelRun { concurrency, throughput, latency: None, error_ratio: None }
    }

    #[test]
    fn repeats_are_one_level_with_an_observed_median() {
        let levels = Levels::new([run(8, 3.0), run(1, 5.0), run(8, 1.0), run(8, 2.0), run(1, 4.0)]).unwrap();
        let figures: Vec<_> = levels.as_slice().iter().map(|l| (l.concurrency(), l.throughput())).collect();
        assert_eq!(figures, [(1, 4.0), (8, 2.0)]);
        assert_eq!((levels.lowest().runs().len(), levels.highest().runs().len()), (2, 3));
        assert_eq!(levels.lowest().latency(), None);
    }

    #[test]
    fn runs_without_a_success_take_no_part_in_the_median_latency() {
        let at = |p99_ns| Latency { p50_ns: 1, p90_ns: 2, p99_ns, max_ns: 90 };
        let with = |p99_ns| LevelRun { latency: Some(at(p99_ns)), ..run(4, 1.0) };
        let levels = Levels::new([with(30), run(4, 0.0), with(50), with(40)]).unwrap();
        assert_eq!(levels.lowest().latency(), Some(at(40)));
    }

    #[test]
    fn what_is_not_a_run_is_refused() {
        assert_eq!(Levels::new([]), Err(LevelsError::Empty));
        assert_eq!(Levels::new([run(1, 1.0), run(0, 1.0)]), Err(LevelsError::Concurrency { index: 1 }));
        for value in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(matches!(Levels::new([run(2, value)]), Err(LevelsError::Throughput { index: 0, .. })));
            let failing = LevelRun { error_ratio: Some(value), ..run(2, 1.0) };
            assert!(matches!(Levels::new([failing]), Err(LevelsError::ErrorRatio { concurrency: 2, .. })));
        }
        let latency = Some(Latency { p50_ns: 1, p90_ns: 3, p99_ns: 2, max_ns: 4 });
        let descending = LevelRun { latency, ..run(2, 1.0) };
        assert_eq!(Levels::new([descending]), Err(LevelsError::Percentiles { index: 0, concurrency: 2 }));
    }
}
