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
}

impl RunSamples {
    /// A run whose scenario adds nothing to the figures.
    pub fn new(run: Run, samples: Vec<Sample>) -> Self {
        Self { run, samples, extra: Vec::new(), tables: Vec::new(), figures: Vec::new() }
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
