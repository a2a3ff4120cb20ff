//! What was reached beside what was meant to be.

use serde::Serialize;
use virtmark_stats::Summary;

use crate::Result;

/// A figure and its target.
#[derive(Serialize)]
pub(crate) struct Verdict {
    what: &'static str,
    unit: &'static str,
    measured: f64,
    spread: Spread,
    limit: f64,
    /// Whether a figure as high as the limit meets it.
    limit_included: bool,
    met: bool,
    /// Whether all of the spread is on the same side of the limit as the figure.
    sure: bool,
}

/// How sure a figure is.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spread {
    /// The 95 % interval.
    Interval95 {
        /// Its lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// All of a few samples, of which the figure is the median.
    Range {
        /// The least of them.
        least: f64,
        /// The most of them.
        most: f64,
    },
}

impl Spread {
    fn ends(&self) -> (f64, f64) {
        match *self {
            Self::Interval95 { low, high } => (low, high),
            Self::Range { least, most } => (least, most),
        }
    }
}

impl Verdict {
    /// Met by the limit itself.
    pub(crate) fn at_most(
        what: &'static str,
        unit: &'static str,
        measured: f64,
        spread: Spread,
        limit: f64,
    ) -> Self {
        Self::new(what, unit, measured, spread, limit, true)
    }

    /// Not met by the limit itself.
    pub(crate) fn below(
        what: &'static str,
        unit: &'static str,
        measured: f64,
        spread: Spread,
        limit: f64,
    ) -> Self {
        Self::new(what, unit, measured, spread, limit, false)
    }

    fn new(
        what: &'static str,
        unit: &'static str,
        measured: f64,
        spread: Spread,
        limit: f64,
        limit_included: bool,
    ) -> Self {
        let meets = |figure: f64| figure < limit || (limit_included && figure == limit);
        let (low, high) = spread.ends();
        let met = meets(measured);
        let sure = meets(low) == met && meets(high) == met;
        Self { what, unit, measured, spread, limit, limit_included, met, sure }
    }

    fn word(&self) -> &'static str {
        match (self.met, self.sure) {
            (true, true) => "met",
            (true, false) => "met, not surely",
            (false, true) => "MISSED",
            (false, false) => "MISSED, not surely",
        }
    }
}

/// The median of a few samples, and their range.
pub(crate) fn few(samples: &[f64]) -> Result<(f64, Spread)> {
    let summary = Summary::from_samples(samples)?;
    Ok((summary.median, Spread::Range { least: summary.min, most: summary.max }))
}

/// The table for people, on standard error.
pub(crate) fn table(starts: &[(&str, Summary)], verdicts: &[Verdict]) {
    eprintln!("\n{:48} {:>10} {:>23}", "time to interactive, ms", "median", "least to most");
    for (name, summary) in starts {
        let range = format!("{:.2} to {:.2}", summary.min / 1e6, summary.max / 1e6);
        eprintln!("{name:48} {:>10.2} {range:>23}", summary.median / 1e6);
    }
    eprintln!("\n{:48} {:>10} {:>23}   target", "", "measured", "95 % or range");
    for verdict in verdicts {
        let spread = match verdict.spread {
            Spread::Interval95 { low, high } => format!("95 % {low:.3} to {high:.3}"),
            Spread::Range { least, most } => format!("{least:.3} to {most:.3}"),
        };
        let sign = if verdict.limit_included { "<=" } else { "<" };
        eprintln!(
            "{:48} {:>10} {spread:>23}   {sign} {} {}: {}",
            verdict.what,
            format!("{:.3} {}", verdict.measured, verdict.unit),
            verdict.limit,
            verdict.unit,
            verdict.word()
        );
    }
}
