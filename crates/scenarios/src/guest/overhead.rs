//! Overhead in the fields of the hypervisor guide, from the samples of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::Sample;
use virtmark_stats::{Interval, StatsError};

use super::report::{by_block, paired};
use super::{Grade, Test};

/// Bytes of a megabyte, in which the guide counts.
const MEGABYTE: f64 = 1e6;

/// One field of the guide's resource metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `cpu_overhead_percent`
    Cpu,
    /// `memory_overhead_mb`
    Memory,
    /// `storage_overhead_mb`
    Storage,
    /// `network_overhead_percent`
    Network,
    /// `iops_native_ratio`
    Iops,
}

impl Field {
    /// All fields, in the guide's order.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Storage, Self::Network, Self::Iops];

    /// The guide's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_overhead_percent",
            Self::Iops => "iops_native_ratio",
            Self::Memory => "memory_overhead_mb",
            Self::Network => "network_overhead_percent",
            Self::Storage => "storage_overhead_mb",
        }
    }
}

/// What running inside costs. A field is `null` inside where it was not measured, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// What is lost of the host's events per second in `sysbench cpu`, in percent.
    pub cpu_overhead_percent: Graded,
    /// What the VMM holds (PSS) beyond what its guest uses, in megabytes; graded as a share of the guest's memory.
    pub memory_overhead_mb: Graded,
    /// What the machine's files have grown by beyond what the guest wrote, in megabytes; graded as a share of that.
    pub storage_overhead_mb: Graded,
    /// What is lost of the host's bytes per second over TCP, in percent.
    pub network_overhead_percent: Graded,
    /// Operations per second of the guest by those of the host: the geometric mean of random reads and writes.
    pub iops_native_ratio: Graded,
}

/// An overhead with its grade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// Median over blocks, in the unit of the field's name.
    pub value: Option<f64>,
    /// Interval between two blocks that holds the median with at least 95 % confidence; `null` with fewer than 6 blocks.
    pub ci95: Option<Interval>,
    /// The same in percent, which is graded; `null` where the field has no percentage.
    pub percent: Option<f64>,
    /// Its interval.
    pub percent_ci95: Option<Interval>,
    /// Blocks that it comes from.
    pub blocks: u64,
    /// By the guide's table.
    pub grade: Grade,
    /// The grade in words; emulation is said.
    pub grade_text: String,
    /// Whether guest code ran in software emulation, for which the targets were not meant.
    pub emulated: bool,
}

impl Overhead {
    /// Computes all fields. `memory_bytes` is the guest's memory.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(
        samples: &[Sample],
        memory_bytes: Option<f64>,
        emulated: bool,
    ) -> Result<Self, StatsError> {
        let (reads, writes) = (paired(samples, Test::FioRandRead), paired(samples, Test::FioRandWrite));
        let iops: Vec<f64> =
            reads.iter().filter_map(|(block, read)| Some((read * writes.get(block)?).sqrt())).collect();
        let memory = values(samples, "memory_overhead_bytes");
        let (storage, written) =
            (values(samples, "storage_overhead_bytes"), values(samples, "storage_guest_bytes"));
        let megabytes = memory.values().map(|bytes| bytes / MEGABYTE).collect::<Vec<_>>();
        let storage_megabytes = storage.values().map(|bytes| bytes / MEGABYTE).collect::<Vec<_>>();
        let of_memory = |bytes: f64| Some(bytes / memory_bytes.filter(|all| *all > 0.0)? * 100.0);
        let memory_percent: Vec<f64> = memory.values().filter_map(|bytes| of_memory(*bytes)).collect();
        let of_written =
            |block, bytes: f64| Some(bytes / written.get(block).filter(|all| **all > 0.0)? * 100.0);
        let storage_percent: Vec<f64> =
            storage.iter().filter_map(|(block, bytes)| of_written(block, *bytes)).collect();
        let cpu = Estimate::lost(samples, Test::SysbenchCpu)?;
        let network = Estimate::lost(samples, Test::IperfTcp)?;
        let graded = |field, value, percent| Graded::new(field, value, percent, emulated);
        Ok(Self {
            cpu_overhead_percent: graded(Field::Cpu, cpu, cpu),
            memory_overhead_mb: graded(
                Field::Memory,
                Estimate::of(&megabytes)?,
                Estimate::of(&memory_percent)?,
            ),
            storage_overhead_mb: graded(
                Field::Storage,
                Estimate::of(&storage_megabytes)?,
                Estimate::of(&storage_percent)?,
            ),
            network_overhead_percent: graded(Field::Network, network, network),
            iops_native_ratio: graded(Field::Iops, Estimate::of(&iops)?, None),
        })
    }

    /// One field.
    pub fn field(&self, field: Field) -> &Graded {
        match field {
            Field::Cpu => &self.cpu_overhead_percent,
            Field::Iops => &self.iops_native_ratio,
            Field::Memory => &self.memory_overhead_mb,
            Field::Network => &self.network_overhead_percent,
            Field::Storage => &self.storage_overhead_mb,
        }
    }
}

/// A median over blocks with its interval.
#[derive(Clone, Copy)]
struct Estimate {
    point: f64,
    ci95: Option<Interval>,
    blocks: u64,
}

impl Estimate {
    /// None where there are no values.
    fn of(values: &[f64]) -> Result<Option<Self>, StatsError> {
        let all = crate::figures::summary(values)?;
        Ok(all.map(|all| Self { point: all.median, ci95: all.median_ci95_exact, blocks: all.count }))
    }

    /// What is lost of the host's rate, in percent: of the ratio that the test shows, not of another block's.
    fn lost(samples: &[Sample], test: Test) -> Result<Option<Self>, StatsError> {
        let ratios: Vec<f64> = paired(samples, test).into_values().collect();
        let lost = |ratio: f64| (1.0 - ratio) * 100.0;
        let turned = |ci: Interval| Interval { low: lost(ci.high), high: lost(ci.low), ..ci };
        let estimate = Self::of(&ratios)?;
        Ok(estimate.map(|it| Self { point: lost(it.point), ci95: it.ci95.map(turned), ..it }))
    }
}

impl Graded {
    fn new(field: Field, value: Option<Estimate>, percent: Option<Estimate>, emulated: bool) -> Self {
        let interval = |estimate: Option<Estimate>| estimate.and_then(|estimate| estimate.ci95);
        let point = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.point);
        let grade = Grade::new(field, point(percent).or(point(value)), interval(percent));
        let note = if emulated && value.is_some() { ", emulated" } else { "" };
        Self {
            value: point(value),
            ci95: interval(value),
            percent: point(percent),
            percent_ci95: interval(percent),
            blocks: value.map_or(0, |estimate| estimate.blocks),
            grade,
            grade_text: format!("{}{note}", grade.text(field)),
            emulated,
        }
    }
}

/// The values of a metric by block.
fn values(samples: &[Sample], metric: &str) -> BTreeMap<u64, f64> {
    by_block(samples.iter().filter(|sample| sample.metric == metric))
}
