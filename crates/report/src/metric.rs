//! The samples of one metric of one run, counted and summarised.

use std::borrow::Cow;
use std::collections::BTreeMap;

use virtmark_model::{FailureClass, Outcome, Phase, RunId, Sample, Unit};
use virtmark_stats::Summary;

use crate::ReportError;

/// The label that says whether something was measured in the machine or beside it.
pub(crate) const SIDE: &str = "side";

/// Everything one run has to say about one metric.
#[derive(Clone, Debug)]
pub struct Metric<'a> {
    /// Name of the metric, with the side behind it where the run has two: `sysbench (guest)`.
    pub name: Cow<'a, str>,
    /// Unit of its values.
    pub unit: Unit,
    /// Values of all successes, in the order they were measured.
    pub values: Vec<f64>,
    /// Failures, by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Attempts not made, by reason.
    pub skips: BTreeMap<&'a str, u64>,
    /// Figures of the successes; none when nothing succeeded.
    pub summary: Option<Summary>,
    /// The success whose value is the nearest-rank median; the first measured one when several share it.
    pub median_sample: Option<MedianSample<'a>>,
    successes: Vec<&'a Sample>,
}

/// The real sample that stands in the middle of its metric.
#[derive(Clone, Copy, Debug)]
pub struct MedianSample<'a> {
    /// Its position in the run.
    pub seq: u64,
    /// Its value, in the metric's unit.
    pub value: f64,
    /// Its phases; empty when it was not taken apart.
    pub phases: &'a [Phase],
}

impl<'a> Metric<'a> {
    /// Sorts the samples of a run into metrics, in the order in which each metric first occurs. One name with two
    /// units makes two metrics, and so does one that was measured on two sides, as their label `side` says: their values
    /// cannot stand in one set.
    ///
    /// # Errors
    /// [`ReportError::Summary`] when a value is not finite or beyond ±1e150.
    pub fn of_run(run: &RunId, samples: &'a [Sample]) -> Result<Vec<Self>, ReportError> {
        let mut metrics: Vec<Self> = Vec::new();
        let mut positions: BTreeMap<(&str, Unit, Option<&str>), usize> = BTreeMap::new();
        for sample in samples {
            let side = sample.labels.get(SIDE).map(String::as_str);
            let position = *positions.entry((&sample.metric, sample.unit, side)).or_insert_with(|| {
                let name = match side {
                    Some(side) => Cow::Owned(format!("{} ({side})", sample.metric)),
                    None => Cow::Borrowed(sample.metric.as_str()),
                };
                metrics.push(Self::empty(name, sample.unit));
                metrics.len() - 1
            });
            metrics[position].count(sample);
        }
        for metric in &mut metrics {
            metric.summarise(run)?;
        }
        Ok(metrics)
    }

    /// Number of successes.
    pub fn succeeded(&self) -> u64 {
        self.values.len() as u64
    }

    /// Number of failures of every class.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Number of attempts not made.
    pub fn skipped(&self) -> u64 {
        self.skips.values().sum()
    }

    /// Time spent in each phase, in nanoseconds: for each phase name of the median sample, in the order in which
    /// they occur there, what every success spent in it. Successes without that phase are absent from it.
    pub fn phase_times_ns(&self) -> Vec<(&'a str, Vec<f64>)> {
        let Some(median) = self.median_sample else { return Vec::new() };
        let mut names: Vec<&str> = Vec::new();
        for phase in median.phases {
            if !names.contains(&phase.name.as_ref()) {
                names.push(&phase.name);
            }
        }
        names
            .into_iter()
            .map(|name| {
                let times = self.successes.iter().filter_map(|sample| phase_ns(&sample.phases, name));
                (name, times.collect())
            })
            .collect()
    }

    /// The successes by the value of a label, in the order in which each value first occurs: one metric for each, with
    /// figures of its own; failures and skips, which have no value to show, are in none of them. The whole metric, under
    /// the one value that there is, when they do not differ.
    pub(crate) fn split(
        &self,
        label: &str,
        run: &RunId,
    ) -> Result<Vec<(Option<&'a str>, Self)>, ReportError> {
        let value = |sample: &'a Sample| sample.labels.get(label).map(String::as_str);
        let mut parts: Vec<(Option<&'a str>, Self)> = Vec::new();
        for sample in &self.successes {
            let position = parts.iter().position(|(of, _)| *of == value(sample)).unwrap_or_else(|| {
                parts.push((value(sample), Self::empty(self.name.clone(), self.unit)));
                parts.len() - 1
            });
            parts[position].1.count(sample);
        }
        if parts.len() < 2 {
            let value = parts.first().and_then(|(value, _)| *value);
            return Ok(vec![(value, self.clone())]);
        }
        for (_, part) in &mut parts {
            part.summarise(run)?;
        }
        Ok(parts)
    }

    /// The same metric of several runs as one; `run` is named when it has no figures.
    ///
    /// # Errors
    /// As [`Metric::of_run`].
    pub(crate) fn pooled(metrics: &[&Self], run: &RunId) -> Result<Self, ReportError> {
        let mut pooled = metrics.first().map_or_else(
            || Self::empty(Cow::Borrowed(""), Unit::Count),
            |first| Self::empty(first.name.clone(), first.unit),
        );
        for metric in metrics {
            pooled.values.extend(&metric.values);
            pooled.successes.extend(&metric.successes);
            for (class, count) in &metric.failures {
                *pooled.failures.entry(*class).or_default() += count;
            }
            for (reason, count) in &metric.skips {
                *pooled.skips.entry(*reason).or_default() += count;
            }
        }
        pooled.summarise(run)?;
        Ok(pooled)
    }

    fn empty(name: Cow<'a, str>, unit: Unit) -> Self {
        Self {
            name,
            unit,
            values: Vec::new(),
            failures: BTreeMap::new(),
            skips: BTreeMap::new(),
            summary: None,
            median_sample: None,
            successes: Vec::new(),
        }
    }

    fn count(&mut self, sample: &'a Sample) {
        match &sample.outcome {
            Outcome::Failure { class, .. } => *self.failures.entry(*class).or_default() += 1,
            Outcome::Skipped { reason } => *self.skips.entry(reason).or_default() += 1,
            Outcome::Success { value } => {
                self.values.push(*value);
                self.successes.push(sample);
            }
        }
    }

    fn summarise(&mut self, run: &RunId) -> Result<(), ReportError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let summary = Summary::from_samples(&self.values).map_err(|source| ReportError::Summary {
            run: run.to_string(),
            metric: self.name.to_string(),
            source,
        })?;
        self.median_sample =
            self.values.iter().position(|value| *value == summary.median).map(|position| MedianSample {
                seq: self.successes[position].seq,
                value: summary.median,
                phases: &self.successes[position].phases,
            });
        self.summary = Some(summary);
        Ok(())
    }
}

/// Nanoseconds spent in all phases of this name; `None` when there is none.
pub(crate) fn phase_ns(phases: &[Phase], name: &str) -> Option<f64> {
    let mut found = None;
    for phase in phases.iter().filter(|phase| phase.name == name) {
        *found.get_or_insert(0.0) += phase.duration_ns as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn successes_failures_and_skips_are_counted_apart() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let mut samples = fixtures::tti_samples(7, 5);
        samples.push(fixtures::failure(5, "tti", FailureClass::GuestPanic, "panic"));
        samples.push(fixtures::failure(6, "tti", FailureClass::GuestPanic, "panic"));
        samples.push(fixtures::skip(7, "restore", "no snapshots"));
        let metrics = Metric::of_run(&run.id, &samples).unwrap();
        assert_eq!(metrics.iter().map(|metric| &*metric.name).collect::<Vec<_>>(), ["tti", "restore"]);
        assert_eq!((metrics[0].succeeded(), metrics[0].failed(), metrics[0].skipped()), (5, 2, 0));
        assert_eq!((metrics[1].succeeded(), metrics[1].failed(), metrics[1].skipped()), (0, 0, 1));
        assert!(metrics[1].summary.is_none() && metrics[1].median_sample.is_none());
    }

    #[test]
    fn the_median_sample_is_a_real_one_with_its_own_phases() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let samples = fixtures::tti_samples(3, 9);
        let metrics = Metric::of_run(&run.id, &samples).unwrap();
        let median = metrics[0].median_sample.unwrap();
        let sample = samples.iter().find(|sample| sample.seq == median.seq).unwrap();
        assert_eq!(sample.outcome.value(), Some(median.value));
        assert_eq!(sample.phases, median.phases);
        let below = metrics[0].values.iter().filter(|value| **value < median.value).count();
        assert_eq!(below, 4);
    }

    #[test]
    fn one_name_in_two_units_is_two_metrics() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let mut samples = fixtures::tti_samples(3, 2);
        samples[1].unit = Unit::Bytes;
        assert_eq!(Metric::of_run(&run.id, &samples).unwrap().len(), 2);
    }

    #[test]
    fn one_name_on_two_sides_is_two_metrics_that_say_which() {
        let run = fixtures::run("guest", 0, fixtures::tcg());
        let mut samples = fixtures::tti_samples(3, 5);
        for sample in &mut samples {
            let side = if sample.seq % 2 == 0 { "guest" } else { "host" };
            sample.labels.insert(SIDE.into(), side.into());
        }
        samples.push(fixtures::failure(5, "tti", FailureClass::Timeout, "on neither side"));
        let metrics = Metric::of_run(&run.id, &samples).unwrap();
        let figures: Vec<_> =
            metrics.iter().map(|metric| (&*metric.name, metric.succeeded(), metric.failed())).collect();
        assert_eq!(figures, [("tti (guest)", 3, 0), ("tti (host)", 2, 0), ("tti", 0, 1)]);
        assert!(samples.iter().all(|sample| sample.metric == "tti"), "what is stored has its own name");
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error_that_names_it() {
        let run = fixtures::run("tti", 0, fixtures::tcg());
        let mut samples = fixtures::tti_samples(3, 2);
        samples[1].outcome = Outcome::Success { value: f64::NAN };
        let error = Metric::of_run(&run.id, &samples).unwrap_err();
        assert!(error.to_string().contains("\"tti\""), "{error}");
    }

    #[test]
    fn phases_that_occur_twice_are_added_within_a_sample() {
        let phase = |name: &'static str, duration_ns| Phase { name: name.into(), start_ns: 0, duration_ns };
        let phases = [phase("boot", 3), phase("wait", 1), phase("boot", 4)];
        assert_eq!(phase_ns(&phases, "boot"), Some(7.0));
        assert_eq!(phase_ns(&phases, "stop"), None);
    }
}
