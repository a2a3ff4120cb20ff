//! What is on hand about one machine in a stretch of time: the points of its series, wherever they are kept.

use std::path::{Path, PathBuf};

use virtmark_timeseries::{Function, Query, Range, Reader, TierChoice};

use crate::prometheus::Prometheus;

/// Metrics that every machine has from its first tick to its last, on every platform that has a process to look at.
pub const ALWAYS_PRESENT: [&str; 4] =
    ["vcpu_time_seconds_total", "vmm_open_fds", "vmm_resident_bytes", "vmm_uptime_seconds"];
/// The counter that tells how busy a guest's virtual CPU is.
const CPU: &str = "vcpu_time_seconds_total";
/// The counter that tells how much a guest writes to its disks.
const DISK: &str = "blk_bytes_total";

/// Points of a series as `(nanoseconds since 1970, value)`, in order.
pub type Series = Vec<(u64, f64)>;

/// The points of one machine in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachinePoints {
    /// How many points the always-present series has that has the fewest.
    pub fewest: u64,
    /// CPU seconds of virtual CPU 0.
    pub cpu_seconds: Series,
    /// Bytes written to disks; empty without disks.
    pub disk_bytes: Series,
}

/// Where points are looked for.
pub enum Keeper<'a> {
    /// A time-series store.
    Store(PathBuf),
    /// A Prometheus that scraped it.
    Prometheus(&'a Prometheus),
}

impl Keeper<'_> {
    /// The points of a machine between two moments in nanoseconds since 1970; why there are none to be had, in words.
    pub fn machine_points(&self, machine: &str, start_ns: u64, end_ns: u64) -> Result<MachinePoints, String> {
        let points = |metric: &str, label: Option<(&str, &str)>| match self {
            Self::Store(directory) => stored(directory, metric, machine, label, start_ns, end_ns),
            Self::Prometheus(prometheus) => scraped(prometheus, metric, machine, label, start_ns, end_ns),
        };
        let mut found = MachinePoints { fewest: u64::MAX, ..MachinePoints::default() };
        for metric in ALWAYS_PRESENT {
            let count = points(metric, None)?.iter().map(Vec::len).min().unwrap_or(0);
            found.fewest = found.fewest.min(count as u64);
        }
        found.cpu_seconds = points(CPU, Some(("vcpu", "0")))?.into_iter().next().unwrap_or_default();
        found.disk_bytes = points(DISK, Some(("direction", "write")))?.into_iter().next().unwrap_or_default();
        Ok(found)
    }
}

fn stored(
    directory: &Path,
    metric: &str,
    machine: &str,
    label: Option<(&str, &str)>,
    start_ns: u64,
    end_ns: u64,
) -> Result<Vec<Series>, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let reader = Reader::open(directory).map_err(|error| words(&error))?;
    // A slot counts when any of it lies in the stretch: the last one ends after the machine.
    let range = Range::Between { from_ns: start_ns, until_ns: end_ns };
    let query = Query { range, tier: TierChoice::Tier(0), function: Function::Last };
    let wanted = reader.series().iter().filter(|entry| {
        let key = entry.key();
        key.name() == metric
            && key.label("machine") == Some(machine)
            && label.is_none_or(|(name, value)| key.label(name) == Some(value))
    });
    wanted
        .map(|entry| {
            let found = reader.query(entry, &query).map_err(|error| words(&error))?;
            Ok(found.points.into_iter().map(|point| (point.time_ns, point.value)).collect())
        })
        .collect()
}

fn scraped(
    prometheus: &Prometheus,
    metric: &str,
    machine: &str,
    label: Option<(&str, &str)>,
    start_ns: u64,
    end_ns: u64,
) -> Result<Vec<Series>, String> {
    let label = label.map(|(name, value)| format!(",{name}=\"{value}\"")).unwrap_or_default();
    let selector = format!("{metric}{{machine=\"{machine}\"{label}}}");
    prometheus.points(&selector, start_ns, end_ns).map_err(|error| error.to_string())
}
