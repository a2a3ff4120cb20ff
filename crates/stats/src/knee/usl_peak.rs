//! Where the Universal Scalability Law peaks, and how sure that is.

use std::fmt;

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::figures::significant;
use super::finding::Finding;
use super::levels::Levels;
use super::usl::{Coefficients, UslPoint};
use super::usl_fit::{Observation, fit};
use crate::Interval;
use crate::bootstrap::below;
use crate::interval::Level as Confidence;

/// Fewer cannot place the ends of a 95 % interval.
const FEWEST_RESAMPLES: u32 = 40;

/// How the interval of a peak was resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// From the repeats of each level, one fewer than there are, with replacement.
    ///
    /// As many as there are would make the interval too narrow where repeats are few. Source: J. N. K. Rao,
    /// C. F. J. Wu, JASA 83 (1988).
    Repeats,
    /// The residuals of all runs, centred and widened by √(n/(n − 3)), added to the fitted curve.
    ///
    /// Used where a level has no repeats. It supposes residuals of one size at every level. Source: A. C. Davison,
    /// D. V. Hinkley, Bootstrap Methods and their Application (1997), chapters 6 and 7.
    Residuals,
}

/// The peak of the fitted law, among the levels measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPeak {
    /// N* = √((1 − σ)/κ), rarely a whole number.
    pub concurrency: f64,
    /// Throughput of the fitted law there, per second.
    pub throughput: f64,
    /// Percentile bootstrap interval of `concurrency` at 95 %; its upper end may lie beyond the highest level.
    pub interval: Interval,
    /// How the interval was resampled.
    pub interval_method: IntervalMethod,
}

impl fmt::Display for UslPeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, throughput, interval: Interval { low, high, .. }, .. } = self;
        let throughput = significant(*throughput);
        write!(f, "{concurrency:.1} (95 % interval {low:.1} to {high:.1}), {throughput}/s")
    }
}

/// The peak of a law fitted to these levels and points, if it can be told apart from none.
pub(super) fn find(
    levels: &Levels,
    law: &Coefficients,
    points: &[UslPoint],
    resamples: u32,
    seed: u64,
) -> Finding<UslPeak> {
    let (lowest, highest) = (levels.lowest().concurrency(), levels.highest().concurrency());
    let Some(concurrency) = law.peak() else {
        return Finding::none("the fitted law has no coherency cost (κ = 0), so its throughput never falls");
    };
    if concurrency > f64::from(highest) {
        return Finding::none(format!(
            "the fitted law peaks at {concurrency:.1}, beyond the highest level, {highest}; measure higher levels"
        ));
    }
    if concurrency < f64::from(lowest) || concurrency <= 1.0 {
        return Finding::none(format!("by the fitted law throughput falls from the lowest level, {lowest}"));
    }
    if resamples < FEWEST_RESAMPLES {
        return Finding::none(format!(
            "{resamples} resamples cannot place a 95 % interval of the peak; take at least {FEWEST_RESAMPLES}"
        ));
    }
    let (interval_method, peaks) = resampled_peaks(levels, law, points, resamples, seed);
    let tail = Confidence::NINETY_FIVE.tail();
    let at = |probability: f64| peaks[((probability * peaks.len() as f64).ceil() as usize).max(1) - 1];
    let (low, high) = (at(tail), at(1.0 - tail));
    if high.is_infinite() {
        return Finding::none(format!(
            "the fitted law peaks at {concurrency:.1}, but its 95 % interval from {low:.1} has no finite end; \
             measure higher levels or more repeats"
        ));
    }
    Finding::Found(UslPeak {
        concurrency,
        throughput: law.throughput(concurrency),
        interval: Confidence::NINETY_FIVE.interval(low, high),
        interval_method,
    })
}

/// The peaks of resampled data in ascending order, infinite where there is none.
fn resampled_peaks(
    levels: &Levels,
    law: &Coefficients,
    points: &[UslPoint],
    resamples: u32,
    seed: u64,
) -> (IntervalMethod, Vec<f64>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let repeated = levels.as_slice().iter().all(|level| level.runs().len() > 1);
    let (method, mut draw): (_, Box<dyn FnMut() -> Vec<Observation>>) = if repeated {
        (IntervalMethod::Repeats, Box::new(move || repeats(levels, &mut rng)))
    } else {
        let residuals = centred_residuals(points);
        (IntervalMethod::Residuals, Box::new(move || with_residuals(points, &residuals, &mut rng)))
    };
    // A resample in which nothing succeeds has no peak.
    let peak =
        |drawn: &[Observation]| fit(drawn, Some(law)).and_then(|law| law.peak()).unwrap_or(f64::INFINITY);
    let mut peaks: Vec<f64> = (0..resamples).map(|_| peak(&draw())).collect();
    peaks.sort_unstable_by(f64::total_cmp);
    (method, peaks)
}

/// Repeats of each level drawn with replacement, with the weight that the level has in the fit.
fn repeats(levels: &Levels, rng: &mut Xoshiro256PlusPlus) -> Vec<Observation> {
    let mut drawn = Vec::new();
    for level in levels.as_slice() {
        let runs = level.runs();
        let weight = runs.len() as f64 / (runs.len() - 1) as f64;
        drawn.extend((1..runs.len()).map(|_| {
            let run = &runs[below(rng, runs.len() as u64) as usize];
            Observation { weight, ..Observation::new(run.concurrency, run.throughput) }
        }));
    }
    drawn
}

fn centred_residuals(points: &[UslPoint]) -> Vec<f64> {
    let count = points.len() as f64;
    let mean = points.iter().map(UslPoint::residual).sum::<f64>() / count;
    // Three coefficients have taken their share of the scatter.
    let widened = (count / (count - 3.0)).sqrt();
    points.iter().map(|point| (point.residual() - mean) * widened).collect()
}

fn with_residuals(points: &[UslPoint], residuals: &[f64], rng: &mut Xoshiro256PlusPlus) -> Vec<Observation> {
    let drawn = points.iter().map(|point| {
        let residual = residuals[below(rng, residuals.len() as u64) as usize];
        Observation::new(point.concurrency, point.fitted + residual)
    });
    drawn.collect()
}
