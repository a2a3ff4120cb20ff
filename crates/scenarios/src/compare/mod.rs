//! Two runs side by side: which metrics got worse, which better, and of which that cannot be told.
//!
//! Runs that are not of the same kind are refused with everything that differs ([`Difference`]), unless the caller
//! allows it by name. Each metric is compared block by block ([`virtmark_stats::compare`]): pair by pair where the two
//! runs took turns ([`Interleaved`]), otherwise as two sets. `docs/compare.md` has the method.

mod difference;
mod figures;
mod interleave;
mod rate;
mod result;
mod series;

use virtmark_model::{Run, Sample};
use virtmark_stats::compare::{Options, benjamini_hochberg};

pub use difference::{BESIDE_THE_WORK, Difference, Differing, UnknownDifference, between};
pub use interleave::{Interleaved, Purpose, Side, Turn, interleave};
pub use rate::{FalseAlarms, Rate};
pub use result::{CompareError, Comparison, MetricComparison, SideFigures};
pub use series::{MetricChoice, Series, direction_of};
pub use virtmark_stats::compare::{Direction, Verdict};

/// A run with its samples.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The run.
    pub run: &'a Run,
    /// All its samples, in their order.
    pub samples: &'a [Sample],
}

/// How two runs are to be compared.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Only these metrics; all of them when there are none.
    pub metrics: Vec<MetricChoice>,
    /// What may differ between the runs.
    pub allowed: Vec<Difference>,
    /// How sure the verdicts have to be, and of what.
    pub options: Options,
    /// Blocks that each run is cut into where they did not take turns; none for the default.
    pub blocks: Option<usize>,
}

/// Compares run B with run A.
///
/// # Errors
/// When the runs differ in what is not allowed, are of different scenarios or have no metric in common, or a metric was
/// asked for that neither has.
pub fn compare(a: Recorded<'_>, b: Recorded<'_>, request: &Request) -> Result<Comparison, CompareError> {
    if a.run.scenario != b.run.scenario {
        let scenarios = (a.run.scenario.clone(), b.run.scenario.clone());
        return Err(CompareError::Scenarios { a: scenarios.0, b: scenarios.1 });
    }
    let pair = Interleaved::pair(a.run, b.run);
    let differences = between(a.run, b.run);
    // Those of runs that took turns were asked for in one breath.
    let is_allowed =
        |differing: &Differing| pair.is_some() || request.allowed.contains(&differing.difference);
    if !differences.iter().all(is_allowed) {
        let refused = differences.into_iter().filter(|differing| !is_allowed(differing)).collect();
        return Err(CompareError::Different { a: a.run.id.clone(), b: b.run.id.clone(), refused });
    }
    let (all, unjudged) = series::of(a.samples, b.samples, &request.metrics)?;
    if all.is_empty() {
        return Err(CompareError::NothingInCommon { a: a.run.id.clone(), b: b.run.id.clone() });
    }
    let measured: Vec<_> =
        all.iter().map(|series| figures::measure(series, pair.is_some(), request)).collect();
    let p_values: Vec<f64> =
        measured.iter().filter_map(|found| Some(found.ratio.as_ref().ok()?.p_value)).collect();
    let mut adjusted = benjamini_hochberg(&p_values).into_iter();
    let count = p_values.len();
    let metrics: Vec<MetricComparison> = all
        .into_iter()
        .zip(measured)
        .map(|(series, found)| {
            // One for each ratio, in their order.
            let adjusted = found.ratio.is_ok().then(|| adjusted.next()).flatten();
            figures::judge(series, found, adjusted, count, &request.options)
        })
        .collect();
    Ok(Comparison::new(a.run, b.run, pair.is_some(), differences, unjudged, metrics, request))
}

#[cfg(test)]
mod tests;
