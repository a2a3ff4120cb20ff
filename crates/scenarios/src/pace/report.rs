//! What there is to say of machines that were alive at once, and of launches at fixed moments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::Sample;
use virtmark_stats::StatsError;

use super::{Mode, Pace};
use crate::figures::{NsFigures, summary};

/// The phase in which an arrival waits for its own launch.
pub(super) const LAG: &str = "lag";

/// The most that the generator's lag may be of the median time, in percent.
const MOST_LAG_PERCENT: u64 = 1;

/// What there is to say of several machines at once. Destroying machines is in none of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrent {
    /// Machines alive at once, at most.
    pub concurrency: u64,
    /// Groups of machines that followed each other.
    pub waves: u64,
    /// From a wave's first launch to its last machine ready, added up over the waves.
    pub wall_clock_ns: Option<u64>,
    /// From the first launch to the first machine ready, in the first wave that had one.
    pub time_to_first_ready_ns: Option<u64>,
    /// Each machine, in the order of launch.
    pub ramp: Vec<RampPoint>,
}

/// One machine of a concurrent run. Times count from the first launch of its wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RampPoint {
    /// Its name.
    pub machine: String,
    /// The wave it belongs to, from 0.
    pub wave: u64,
    /// Its launch.
    pub launched_ns: u64,
    /// Its first command's output in hand; `null` when it failed.
    pub ready_ns: Option<u64>,
    /// Its TTI; `null` when it failed.
    pub tti_ns: Option<u64>,
}

/// What there is to say of launches at fixed moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Launches each second, as asked for.
    pub rate_per_second: f64,
    /// For how long machines were launched.
    pub duration_ns: u64,
    /// Arrivals that were launched, whether they succeeded or not.
    pub launched: u64,
    /// Arrivals that came when as many machines were alive as may be: failures, and never launched.
    pub dropped: u64,
    /// How late the generator's own threads were, the median; `null` when nothing was launched.
    pub lag_p50_ns: Option<u64>,
    /// The 99th percentile, nearest rank.
    pub lag_p99_ns: Option<u64>,
    /// The latest.
    pub lag_max_ns: Option<u64>,
    /// Whether the generator disturbed the times so little that they stand: its lag at the 99th percentile is at most
    /// 1 % of the median time.
    pub valid: bool,
    /// Why, in words.
    pub validity: String,
}

impl Concurrent {
    /// Of the samples of one metric; none in sequential mode.
    pub(crate) fn new(pace: &Pace, samples: &[&Sample]) -> Option<Self> {
        if !pace.mode.is_concurrent() {
            return None;
        }
        let mut first_launches: BTreeMap<u64, u64> = BTreeMap::new();
        for sample in samples {
            let first = first_launches.entry(wave(sample)).or_insert(sample.started_ns);
            *first = sample.started_ns.min(*first);
        }
        let mut ramp: Vec<RampPoint> = samples
            .iter()
            .map(|sample| {
                let wave = wave(sample);
                let launched_ns = sample.started_ns - first_launches[&wave];
                let tti_ns = sample.outcome.value().map(|value| value.round() as u64);
                RampPoint {
                    machine: sample.labels.get("machine").cloned().unwrap_or_default(),
                    wave,
                    launched_ns,
                    ready_ns: tti_ns.map(|tti_ns| launched_ns + tti_ns),
                    tti_ns,
                }
            })
            .collect();
        ramp.sort_by_key(|point| (point.wave, point.launched_ns));
        let mut last_ready: BTreeMap<u64, u64> = BTreeMap::new();
        for (wave, ready_ns) in ramp.iter().filter_map(|point| Some((point.wave, point.ready_ns?))) {
            let last = last_ready.entry(wave).or_insert(ready_ns);
            *last = ready_ns.max(*last);
        }
        let first_ready_wave = last_ready.keys().next().copied();
        Some(Self {
            concurrency: pace.width().get().into(),
            waves: first_launches.len() as u64,
            wall_clock_ns: (!last_ready.is_empty()).then(|| last_ready.values().sum()),
            time_to_first_ready_ns: ramp
                .iter()
                .filter(|point| Some(point.wave) == first_ready_wave)
                .filter_map(|point| point.ready_ns)
                .min(),
            ramp,
        })
    }
}

fn wave(sample: &Sample) -> u64 {
    sample.labels.get("wave").and_then(|wave| wave.parse().ok()).unwrap_or(0)
}

impl OpenLoop {
    /// Of the samples of one metric; none in other modes.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub(crate) fn new(pace: &Pace, samples: &[&Sample]) -> Result<Option<Self>, StatsError> {
        let Some(arrivals) = pace.arrivals.filter(|_| pace.mode == Mode::OpenLoop) else { return Ok(None) };
        let lags: Vec<f64> = samples
            .iter()
            .filter_map(|sample| sample.phases.first().filter(|phase| phase.name == LAG))
            .map(|phase| phase.duration_ns as f64)
            .collect();
        let values: Vec<f64> = samples.iter().filter_map(|sample| sample.outcome.value()).collect();
        let lag = summary(&lags)?.as_ref().map(NsFigures::new);
        let median_ns = summary(&values)?.as_ref().map(|summary| NsFigures::new(summary).p50_ns);
        let lag_p99_ns = lag.as_ref().map(|lag| lag.p99_ns);
        let (valid, validity) = validity(lag_p99_ns, median_ns);
        let dropped = samples.iter().filter(|sample| sample.labels.contains_key("dropped")).count();
        Ok(Some(Self {
            rate_per_second: arrivals.rate_per_second,
            duration_ns: u64::try_from(arrivals.duration.as_nanos()).unwrap_or(u64::MAX),
            launched: lags.len() as u64,
            dropped: dropped as u64,
            lag_p50_ns: lag.as_ref().map(|lag| lag.p50_ns),
            lag_p99_ns,
            lag_max_ns: lag.as_ref().map(|lag| lag.max_ns),
            valid,
            validity,
        }))
    }
}

fn validity(lag_p99_ns: Option<u64>, median_ns: Option<u64>) -> (bool, String) {
    let (Some(lag_p99_ns), Some(median_ns)) = (lag_p99_ns, median_ns) else {
        return (
            false,
            "invalid: nothing succeeded, so the generator's lag has nothing to compare with".into(),
        );
    };
    let valid = u128::from(lag_p99_ns) * 100 <= u128::from(median_ns) * u128::from(MOST_LAG_PERCENT);
    let word = if valid { "valid" } else { "invalid" };
    let relation = if valid { "is within" } else { "exceeds" };
    let said = format!(
        "{word}: the generator's lag (p99 {:.3} ms) {relation} {MOST_LAG_PERCENT} % of the median ({:.3} ms)",
        lag_p99_ns as f64 / 1e6,
        median_ns as f64 / 1e6,
    );
    (valid, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_of_one_percent_is_the_most_that_stands() {
        assert!(validity(Some(10_000), Some(1_000_000)).0);
        let (valid, said) = validity(Some(10_001), Some(1_000_000));
        assert!(!valid);
        assert_eq!(said, "invalid: the generator's lag (p99 0.010 ms) exceeds 1 % of the median (1.000 ms)");
        assert!(!validity(Some(1), None).0);
        assert!(!validity(None, None).0);
    }
}
