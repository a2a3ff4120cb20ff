//! What a comparison comes to, for machines and for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtmark_model::{Run, RunId, Unit};
use virtmark_stats::Interval;
use virtmark_stats::compare::{Basis, Direction, Verdict};

use super::{Differing, FalseAlarms, Request};

/// The JSON object that `virtmark compare` prints. Figures are `null` where there are none, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Side A, which B is compared with.
    pub run_a: RunId,
    /// Side B.
    pub run_b: RunId,
    /// What both measured.
    pub scenario: String,
    /// Whether the runs took turns in blocks.
    pub interleaved: bool,
    /// Whether guest code of either side ran in software emulation.
    pub emulated: bool,
    /// Confidence of intervals and verdicts.
    pub confidence: f64,
    /// The smallest difference that matters, as a share.
    pub min_effect: f64,
    /// What the runs differ in, all of it allowed.
    pub differences: Vec<Differing>,
    /// Each metric.
    pub metrics: Vec<MetricComparison>,
    /// Metrics that were left out, because nothing says which way of them is better.
    pub unjudged: Vec<String>,
    /// Of all metrics together: worse when one is, otherwise undecided when one is, otherwise better when one is.
    pub verdict: Verdict,
    /// What else a reader should know.
    pub notes: Vec<String>,
    /// How often this installation finds a difference where there is none; absent until `virtmark aa` measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<FalseAlarms>,
}

/// One metric of both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Its name.
    pub metric: String,
    /// Labels that tell it from others of its name.
    pub labels: BTreeMap<String, String>,
    /// The unit of the medians.
    pub unit: Unit,
    /// Which way is better.
    pub direction: Direction,
    /// Side A.
    pub a: SideFigures,
    /// Side B.
    pub b: SideFigures,
    /// B as a multiple of A: the middle of the quotients of blocks.
    pub ratio: Option<f64>,
    /// Bootstrap interval of the ratio.
    pub ratio_interval: Option<Interval>,
    /// Probability of blocks at least so far apart where nothing differs; exact.
    pub p_value: Option<f64>,
    /// The same with all metrics of this comparison considered.
    pub adjusted_p_value: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why; absent where there is no ratio, or the sides failed differently.
    pub basis: Option<Basis>,
    /// Why, in words.
    pub reason: String,
}

/// One side of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideFigures {
    /// Samples with a value.
    pub succeeded: u64,
    /// Samples that failed.
    pub failed: u64,
    /// Samples that were skipped.
    pub skipped: u64,
    /// Blocks they were compared in.
    pub blocks: u64,
    /// Median of the values, nearest rank.
    pub median: Option<f64>,
}

impl Comparison {
    pub(super) fn new(
        a: &Run,
        b: &Run,
        interleaved: bool,
        differences: Vec<Differing>,
        unjudged: Vec<String>,
        metrics: Vec<MetricComparison>,
        request: &Request,
    ) -> Self {
        let mut notes = Vec::new();
        if !interleaved {
            notes.push(
                "The runs were measured at different times: what changed on the host meanwhile counts as a \
                 difference. `virtmark compare --interleave` lets two configurations take turns."
                    .into(),
            );
        }
        let program = |run: &Run| run.environment.virtmark.clone();
        if program(a) != program(b) {
            let name = |run: &Run| {
                let program = program(run);
                match program.commit {
                    Some(commit) => format!("{} ({commit})", program.version),
                    None => program.version,
                }
            };
            notes.push(format!("Measured by different versions of virtmark: A {}, B {}.", name(a), name(b)));
        }
        let versions = [a, b].map(|run| &run.environment.hypervisor);
        if versions[0].name == versions[1].name && versions[0].version != versions[1].version {
            let [a, b] = versions;
            notes.push(format!("Versions of {}: A {}, B {}.", a.name, a.version, b.version));
        }
        let kernels = [a, b].map(|run| &run.environment.host.kernel);
        if kernels[0] != kernels[1] {
            notes.push(format!("Kernels of the host: A {}, B {}.", kernels[0], kernels[1]));
        }
        Self {
            run_a: a.id.clone(),
            run_b: b.id.clone(),
            scenario: a.scenario.clone(),
            interleaved,
            emulated: [a, b].iter().any(|run| run.environment.hypervisor.is_emulated()),
            confidence: request.options.confidence,
            min_effect: request.options.min_effect,
            differences,
            verdict: overall(&metrics),
            metrics,
            unjudged,
            notes,
            false_alarms: None,
        }
    }
}

fn overall(metrics: &[MetricComparison]) -> Verdict {
    let has = |verdict| metrics.iter().any(|metric| metric.verdict == verdict);
    [Verdict::Worse, Verdict::CannotTell, Verdict::Better]
        .into_iter()
        .find(|verdict| has(*verdict))
        .unwrap_or(Verdict::NoDifference)
}

/// Why two runs were not compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// They are results of different things.
    #[error("cannot compare {a} with {b}, which are results of different things: {}", told(refused))]
    Different {
        /// Side A.
        a: RunId,
        /// Side B.
        b: RunId,
        /// What differs and was not allowed to.
        refused: Vec<Differing>,
    },
    /// There is no metric that could be judged.
    #[error("cannot compare {a} with {b}: there is no metric of which it is known which way is better")]
    NothingInCommon {
        /// Side A.
        a: RunId,
        /// Side B.
        b: RunId,
    },
    /// They measured different things.
    #[error("cannot compare a run of {a} with a run of {b}: name two runs of one scenario")]
    Scenarios {
        /// The scenario of side A.
        a: String,
        /// The scenario of side B.
        b: String,
    },
    /// Neither run has a metric of this name.
    #[error("cannot compare {name:?}: neither run has such a metric, but {}", there.join(", "))]
    UnknownMetric {
        /// The name.
        name: String,
        /// Metrics that there are.
        there: Vec<String>,
    },
}

fn told(refused: &[Differing]) -> String {
    let each: Vec<String> = refused
        .iter()
        .map(|Differing { difference, what, a, b }| format!("{what} ({a} and {b}; --allow {difference})"))
        .collect();
    each.join(", ")
}
