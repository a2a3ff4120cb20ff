//! A run together with everything that was measured in it.

use std::collections::BTreeMap;

use virtmark_model::{Run, Sample};

use crate::figure::Figure;
use crate::table::Table;

/// One run with all its raw samples.
#[derive(Clone, Debug)]
pub struct RunSamples {
    /// The run.
    pub run: Run,
    /// Everything measured in it, in order, failures and skips included.
    pub samples: Vec<Sample>,
    /// What its scenario has to say about each metric beyond the figures: a grade, a target. Usually empty.
    pub extra: Vec<ExtraColumn>,
    /// What its scenario has to say beyond metrics: see [`sections`](crate::sections). Usually empty.
    pub tables: Vec<Table>,
    /// Its figures beyond those of metrics: see [`sweep`](crate::sweep). Usually empty.
    pub figures: Vec<Figure>,
    /// What running inside costs, where it was measured: see [`overview`](crate::overview). Usually empty.
    pub overheads: Vec<Overhead>,
}

/// What one resource costs inside a machine, as a share of what the host alone has.
#[derive(Clone, Debug, PartialEq)]
pub struct Overhead {
    /// The resource: `CPU`, `memory`, `storage`, `network`.
    pub name: String,
    /// The overhead in percent; below zero where the guest was faster.
    pub percent: f64,
    /// Its 95 % interval, in percent.
    pub interval: Option<(f64, f64)>,
    /// What it comes to by the guide's table, in words; empty where it is not graded.
    pub grade: String,
}

impl RunSamples {
    /// A run whose scenario adds nothing to the figures.
    pub fn new(run: Run, samples: Vec<Sample>) -> Self {
        Self {
            run,
            samples,
            extra: Vec::new(),
            tables: Vec::new(),
            figures: Vec::new(),
            overheads: Vec::new(),
        }
    }
}

/// A column beside the figures of a metric, filled by the scenario that knows what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraColumn {
    /// Heading.
    pub title: String,
    /// Text of each metric, by the metric's name; metrics not named stay empty.
    pub by_metric: BTreeMap<String, String>,
}
