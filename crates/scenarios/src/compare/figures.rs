//! One metric of both runs: its blocks, its ratio, its verdict.

use std::collections::BTreeMap;

use virtmark_model::{Outcome, Sample};
use virtmark_stats::compare::{
    Basis, BlockRatio, DEFAULT_BLOCKS, Judgement, MOST_BLOCKS, Options, Sides, Verdict, block_medians,
};
use virtmark_stats::{StatsError, Summary};

use super::{MetricComparison, Request, Series, SideFigures};

/// The label that names the block of a sample.
pub(super) const BLOCK: &str = "block";

/// What was found in one metric.
pub(super) struct Found {
    pub(super) a: SideFigures,
    pub(super) b: SideFigures,
    /// The ratio, or why there is none.
    pub(super) ratio: Result<BlockRatio, String>,
}

pub(super) fn measure(series: &Series<'_>, takes_turns: bool, request: &Request) -> Found {
    let (a, b) = (values(&series.a), values(&series.b));
    let found = |blocks: (usize, usize), ratio| Found {
        a: side(&series.a, &a, blocks.0),
        b: side(&series.b, &b, blocks.1),
        ratio,
    };
    for (name, side, values) in [("A", &series.a, &a), ("B", &series.b, &b)] {
        if values.is_empty() {
            let failed = side.iter().filter(|sample| sample.outcome.failure().is_some()).count();
            let message = match (side.len(), failed) {
                (0, _) => format!("run {name} does not have this metric"),
                (_, 0) => format!("run {name} skipped it"),
                (all, failed) => format!("run {name} has no value of it: {failed} of {all} failed"),
            };
            return found((0, 0), Err(message));
        }
    }
    let pairs = if takes_turns { paired(&series.a, &series.b) } else { Ok(None) };
    match pairs {
        Err(error) => found((0, 0), Err(error.to_string())),
        Ok(Some(pairs)) => {
            let ratio = BlockRatio::new(Sides::Paired(&pairs), &request.options);
            found((pairs.len(), pairs.len()), ratio.map_err(|error| error.to_string()))
        }
        Ok(None) => {
            let blocks = request.blocks.unwrap_or(DEFAULT_BLOCKS).min(MOST_BLOCKS);
            match (block_medians(&a, blocks), block_medians(&b, blocks)) {
                (Ok(a), Ok(b)) => {
                    let ratio = BlockRatio::new(Sides::Separate { a: &a, b: &b }, &request.options);
                    found((a.len(), b.len()), ratio.map_err(|error| error.to_string()))
                }
                (Err(error), _) | (_, Err(error)) => found((0, 0), Err(error.to_string())),
            }
        }
    }
}

/// `metrics` is how many of them have a p-value.
pub(super) fn judge(
    series: Series<'_>,
    found: Found,
    adjusted_p_value: Option<f64>,
    metrics: usize,
    options: &Options,
) -> MetricComparison {
    let Found { a, b, ratio } = found;
    let (verdict, basis, reason) = match (&ratio, adjusted_p_value) {
        (Ok(ratio), Some(adjusted)) => {
            let Judgement { verdict, basis } =
                Judgement::new(ratio, adjusted, metrics, series.direction, options);
            match failing(&a, &b, verdict) {
                Some(reason) => (Verdict::CannotTell, None, reason),
                None => (verdict, Some(basis), words(basis, &a, &b, options)),
            }
        }
        (Ok(_), None) => (Verdict::CannotTell, None, "it has no p-value".into()),
        (Err(reason), _) => (Verdict::CannotTell, None, reason.clone()),
    };
    let ratio = ratio.ok();
    MetricComparison {
        metric: series.metric,
        labels: series.labels,
        unit: series.unit,
        direction: series.direction,
        a,
        b,
        ratio: ratio.map(|ratio| ratio.point),
        ratio_interval: ratio.map(|ratio| ratio.interval),
        p_value: ratio.map(|ratio| ratio.p_value),
        adjusted_p_value,
        verdict,
        basis,
        reason,
    }
}

/// The side that failed more often has no fair figures: what failed might have been the slow ones.
fn failing(a: &SideFigures, b: &SideFigures, verdict: Verdict) -> Option<String> {
    let share = |side: &SideFigures| side.failed as f64 / (side.failed + side.succeeded) as f64;
    let more_in_b = match share(a).total_cmp(&share(b)) {
        std::cmp::Ordering::Equal => return None,
        order => order.is_lt(),
    };
    let flattered = match verdict {
        Verdict::Better => more_in_b,
        Verdict::Worse => !more_in_b,
        Verdict::NoDifference => true,
        Verdict::CannotTell => false,
    };
    let of = |side: &SideFigures| format!("{} of {}", side.failed, side.failed + side.succeeded);
    flattered.then(|| format!("the sides did not fail equally often: A {}, B {}", of(a), of(b)))
}

fn words(basis: Basis, a: &SideFigures, b: &SideFigures, options: &Options) -> String {
    let percent = |share: f64| format!("{} %", (share * 1e4).round() / 100.0);
    let (effect, blocks) = (percent(options.min_effect), a.blocks.min(b.blocks));
    match basis {
        Basis::AroundMinimum => format!("there is a difference, but it may be smaller than {effect}"),
        Basis::Clear => format!("a difference of more than {effect} in {blocks} blocks"),
        Basis::TooFewBlocks => {
            format!(
                "{blocks} blocks cannot show a difference at {}: measure more",
                percent(options.confidence)
            )
        }
        Basis::TooWide => {
            "the blocks differ too much among themselves: measure more, or on a quieter host".into()
        }
        Basis::Within => format!("the whole interval is within {effect}"),
    }
}

fn values(samples: &[&Sample]) -> Vec<f64> {
    samples.iter().filter_map(|sample| sample.outcome.value()).collect()
}

fn side(samples: &[&Sample], values: &[f64], blocks: usize) -> SideFigures {
    let count = |of: fn(&Outcome) -> bool| samples.iter().filter(|sample| of(&sample.outcome)).count() as u64;
    SideFigures {
        succeeded: values.len() as u64,
        failed: count(|outcome| matches!(outcome, Outcome::Failure { .. })),
        skipped: count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
        blocks: blocks as u64,
        // Values that cannot be summarised cannot be compared either, and the ratio says why.
        median: Summary::from_samples(values).ok().map(|summary| summary.p50.value),
    }
}

/// The medians of both sides for each block that both have; none where samples do not tell their block.
pub(super) fn paired(a: &[&Sample], b: &[&Sample]) -> Result<Option<Vec<(f64, f64)>>, StatsError> {
    let (Some(a), Some(b)) = (by_block(a), by_block(b)) else { return Ok(None) };
    let mut pairs = Vec::new();
    for (block, of_a) in &a {
        if let Some(of_b) = b.get(block) {
            let median = |values: &[f64]| block_medians(values, 1).map(|medians| medians[0]);
            pairs.push((median(of_a)?, median(of_b)?));
        }
    }
    Ok(Some(pairs))
}

fn by_block(samples: &[&Sample]) -> Option<BTreeMap<u32, Vec<f64>>> {
    let mut blocks: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let block = sample.labels.get(BLOCK)?.parse().ok()?;
        blocks.entry(block).or_default().extend(sample.outcome.value());
    }
    blocks.retain(|_, values| !values.is_empty());
    Some(blocks)
}
