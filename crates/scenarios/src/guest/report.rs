//! The figures of a run of guest suites, computed from its stored samples and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Outcome, Run, RunId, RunStatus, Sample, Unit};
use virtmark_stats::compare::Direction;
use virtmark_stats::{Interval, StatsError};

use super::{Overhead, Side, Suite, Test};
use crate::figures;

/// The JSON object that `virtmark guest` prints. Figures are `null` where nothing succeeded, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestReport {
    /// The run.
    pub run_id: RunId,
    /// Always `guest`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// The platform.
    pub hypervisor: String,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Every test that was asked for.
    pub tests: Vec<TestFigures>,
    /// In the guide's fields, graded.
    pub overhead: Overhead,
    /// What the run took, and how much of that was virtmark's own.
    pub harness: Harness,
    /// What held the host's side to the guest's size.
    pub host_limits: HostLimitFacts,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// One test on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestFigures {
    /// The test.
    pub test: Test,
    /// Its suite.
    pub suite: Suite,
    /// What its samples are called.
    pub metric: String,
    /// Their unit.
    pub unit: Unit,
    /// Which values are better.
    pub better: Direction,
    /// In the guest.
    pub guest: SideFigures,
    /// On the host.
    pub host: SideFigures,
    /// Guest by host.
    pub ratio: Option<RatioFigures>,
    /// What else the tool told: medians by metric and side.
    pub more: BTreeMap<String, BTreeMap<Side, f64>>,
    /// Why it was not attempted.
    pub skipped: Option<String>,
}

/// What a test gave on one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideFigures {
    /// Median over blocks.
    pub median: Option<f64>,
    /// Every value, in the order measured.
    pub samples: Vec<f64>,
    /// Failures by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// The first of each kind of failure, in words.
    pub messages: BTreeMap<String, String>,
    /// What the tool says of its version.
    pub tool_version: Option<String>,
    /// How the two ends of a network are connected: `shared` or `user` in guests, `namespaces` or `loopback` on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether fio worked past the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<bool>,
    /// What fio worked on: a `device` or a `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The guest's value as a multiple of the host's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioFigures {
    /// The median of the blocks' ratios, an observed one.
    pub point: f64,
    /// Interval between two blocks that holds the median with at least 95 % confidence, whatever the distribution; `null`
    /// with fewer than 6 blocks.
    pub ci95: Option<Interval>,
    /// The ratio of each block that both sides have.
    pub blocks: BTreeMap<u64, f64>,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
}

/// What a run took, in host nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Harness {
    /// Making machines, finding tools, writing fio's files; before the first block.
    pub prepare_ns: Option<u64>,
    /// In tools, with the way to them and back.
    pub tools_ns: Option<u64>,
    /// In blocks, and in no tool: reading outputs, keeping samples, readings of memory and files.
    pub harness_ns: Option<u64>,
    /// `harness_ns` of both.
    pub harness_share: Option<f64>,
    /// Median of the way to a side and back, of a command that does nothing.
    pub exec_round_trip_ns: BTreeMap<Side, f64>,
}

/// The host's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLimitFacts {
    /// CPUs that it was pinned to, as `taskset` writes them.
    pub cpus: Option<String>,
    /// Its memory limit, in bytes.
    pub memory_bytes: Option<u64>,
    /// Which of these limits did not hold, and why.
    pub lacks: Vec<String>,
}

impl GuestReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let emulated = run.environment.hypervisor.is_emulated();
        let measured: BTreeSet<&str> =
            samples.iter().filter_map(|sample| Some(sample.labels.get("test")?.as_str())).collect();
        let tests = Test::ALL.into_iter().filter(|test| measured.contains(test.as_str()));
        let memory_bytes = run.configuration.get("memory_bytes").and_then(serde_json::Value::as_f64);
        Ok(Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            hypervisor: run.environment.hypervisor.name.clone(),
            emulated,
            tests: tests.map(|test| TestFigures::new(test, samples, emulated)).collect::<Result<_, _>>()?,
            overhead: Overhead::from_samples(samples, memory_bytes, emulated)?,
            harness: Harness::new(samples)?,
            host_limits: HostLimitFacts::new(samples),
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }
}

impl TestFigures {
    fn new(test: Test, samples: &[Sample], emulated: bool) -> Result<Self, StatsError> {
        let (metric, unit) = test.metric();
        let blocks = paired(samples, test);
        let ratios: Vec<f64> = blocks.values().copied().collect();
        let ratio = figures::summary(&ratios)?.map(|all| RatioFigures {
            point: all.median,
            ci95: all.median_ci95_exact,
            blocks,
            emulated,
        });
        let mut more = BTreeMap::new();
        for (other, _) in &test.metrics()[1..] {
            let medians = medians(samples, other)?;
            if !medians.is_empty() {
                more.insert((*other).to_owned(), medians);
            }
        }
        let skipped =
            samples.iter().filter(|sample| sample.metric == metric).find_map(|sample| {
                match &sample.outcome {
                    Outcome::Skipped { reason } => Some(reason.clone()),
                    _ => None,
                }
            });
        Ok(Self {
            test,
            suite: test.suite(),
            metric: metric.into(),
            unit,
            better: test.better(),
            guest: SideFigures::new(test, samples, Side::Guest)?,
            host: SideFigures::new(test, samples, Side::Host)?,
            ratio,
            more,
            skipped,
        })
    }

    /// Why there is no ratio, in words.
    pub fn why_no_ratio(&self) -> Option<String> {
        if self.ratio.is_some() {
            return None;
        }
        let failed = self.guest.messages.values().chain(self.host.messages.values()).next();
        let words = self.skipped.as_ref().map(|reason| format!("skipped: {reason}"));
        words
            .or_else(|| failed.map(|message| format!("failed: {message}")))
            .or_else(|| Some("no block has both sides".into()))
    }

    /// Whether the two sides had the tool in different versions.
    pub fn versions_differ(&self) -> bool {
        matches!((&self.guest.tool_version, &self.host.tool_version), (Some(guest), Some(host)) if guest != host)
    }
}

impl SideFigures {
    fn new(test: Test, samples: &[Sample], side: Side) -> Result<Self, StatsError> {
        let (metric, _) = test.metric();
        let values = values(samples, metric, side);
        let mut messages = BTreeMap::new();
        for sample in of(samples, metric, side) {
            if let Outcome::Failure { message, .. } = &sample.outcome {
                let kind = sample.labels.get("failure_kind").cloned().unwrap_or_default();
                messages.entry(kind).or_insert_with(|| message.clone());
            }
        }
        let failed = of(samples, metric, side).filter_map(|sample| sample.outcome.failure());
        let label =
            |name: &str| of(samples, metric, side).find_map(|sample| sample.labels.get(name).cloned());
        Ok(Self {
            median: figures::summary(&values)?.map(|all| all.median),
            samples: values,
            failures: figures::count(failed),
            messages,
            tool_version: label("tool_version"),
            network: label("network"),
            direct: label("direct").and_then(|text| text.parse().ok()),
            target: label("target"),
        })
    }
}

impl Harness {
    fn new(samples: &[Sample]) -> Result<Self, StatsError> {
        let time_ns = |metric: &str| {
            let sample = samples.iter().find(|sample| sample.metric == metric)?;
            sample.outcome.value().map(|value| value as u64)
        };
        let (tools_ns, harness_ns) = (time_ns("time_tools"), time_ns("time_harness"));
        let share = |harness: u64, tools: u64| harness as f64 / (harness + tools).max(1) as f64;
        Ok(Self {
            prepare_ns: time_ns("time_prepare"),
            tools_ns,
            harness_ns,
            harness_share: harness_ns.zip(tools_ns).map(|(harness, tools)| share(harness, tools)),
            exec_round_trip_ns: medians(samples, "exec_round_trip")?,
        })
    }
}

impl HostLimitFacts {
    fn new(samples: &[Sample]) -> Self {
        let mut facts = Self::default();
        for sample in samples {
            let success = sample.outcome.value();
            match sample.metric.as_str() {
                "host_cpus" if success.is_some() => facts.cpus = sample.labels.get("cpus").cloned(),
                "host_memory_limit" => facts.memory_bytes = success.map(|value| value as u64),
                "host_cpus" => {}
                _ => continue,
            }
            if let Outcome::Skipped { reason } = &sample.outcome {
                facts.lacks.push(reason.clone());
            }
        }
        facts
    }
}

/// The ratio of each block in which both sides have a value, guest by host. Without one of the host's there is none.
pub(super) fn paired(samples: &[Sample], test: Test) -> BTreeMap<u64, f64> {
    let (metric, _) = test.metric();
    let (guest, host) =
        (by_block(of(samples, metric, Side::Guest)), by_block(of(samples, metric, Side::Host)));
    guest
        .into_iter()
        .filter_map(|(block, value)| {
            let ratio = value / host.get(&block)?;
            ratio.is_finite().then_some((block, ratio))
        })
        .collect()
}

/// The value of each block.
pub(super) fn by_block<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<u64, f64> {
    samples
        .filter_map(|sample| Some((sample.labels.get("block")?.parse().ok()?, sample.outcome.value()?)))
        .collect()
}

/// The median of a metric on each side that has one.
fn medians(samples: &[Sample], metric: &str) -> Result<BTreeMap<Side, f64>, StatsError> {
    let mut medians = BTreeMap::new();
    for side in Side::BOTH {
        if let Some(all) = figures::summary(&values(samples, metric, side))? {
            medians.insert(side, all.median);
        }
    }
    Ok(medians)
}

/// The values of a metric on one side, in the order measured.
fn values(samples: &[Sample], metric: &str, side: Side) -> Vec<f64> {
    of(samples, metric, side).filter_map(|sample| sample.outcome.value()).collect()
}

/// The samples of a metric on one side.
fn of<'a>(samples: &'a [Sample], metric: &'a str, side: Side) -> impl Iterator<Item = &'a Sample> {
    samples.iter().filter(move |sample| {
        sample.metric == metric && sample.labels.get("side").is_some_and(|label| label == side.as_str())
    })
}
