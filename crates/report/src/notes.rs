//! The sentences that must stand beside figures, in one wording for terminal and HTML.

use virtmark_model::{Run, RunStatus, Unit};

use virtmark_stats::Summary;

use crate::entry::Entry;
use crate::format;
use crate::metric::Metric;

/// Said where software executed guest code.
const SOFTWARE: &str = "Software emulation (TCG): compare parts and runs on this host only, not with hardware \
                        virtualisation.";

/// Said where KVM did, in a machine that is emulated itself.
const NESTED: &str =
    "KVM, nested in emulation: compare the parts of one run only, not with hardware virtualisation.";

/// Said where there are runs of both kinds.
const SOFTWARE_AND_NESTED: &str = "Software emulation (TCG), and KVM nested in emulation: compare the parts of one run \
                                   only, not with hardware virtualisation.";

/// Said where emulated runs stand beside others.
pub(crate) const MIXED: &str = "Some of these runs used software emulation and some did not: their figures cannot be \
                                compared with each other.";

/// What has to be said wherever figures of these runs are shown: nothing unless one of them was emulated.
pub(crate) fn emulation<'r>(runs: impl IntoIterator<Item = &'r Run>) -> Option<&'static str> {
    let (mut software, mut nested) = (false, false);
    for facts in runs.into_iter().map(|run| &run.environment.hypervisor).filter(|facts| facts.is_emulated()) {
        match facts.nested_in_emulation {
            true => nested = true,
            false => software = true,
        }
    }
    match (software, nested) {
        (false, false) => None,
        (false, true) => Some(NESTED),
        (true, false) => Some(SOFTWARE),
        (true, true) => Some(SOFTWARE_AND_NESTED),
    }
}

/// What executes guest code, in words; nothing where there is no guest.
pub(crate) fn accelerator(run: &Run) -> Option<String> {
    run.environment.hypervisor.execution()
}

/// The platform of a run in one line: `qemu 7.2.0, tcg (software emulation)`.
pub(crate) fn platform(run: &Run) -> String {
    let facts = &run.environment.hypervisor;
    let named = format!("{} {}", facts.name, facts.version);
    let parts = [Some(named.trim().to_owned()), accelerator(run)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Why the samples of a run may be fewer than asked for; none for a complete run.
pub(crate) fn status(run: &Run) -> Option<String> {
    let why = match run.status {
        RunStatus::Complete => return None,
        RunStatus::Failed => "An error ended this run early",
        RunStatus::Interrupted => "This run was interrupted",
        RunStatus::Running => "This run has not ended, or its process was killed",
    };
    Some(format!("{why}: the figures cover what was measured until then."))
}

/// Failures by class: `2 failed: 1 guest_panic, 1 timeout`; none without failures.
pub(crate) fn failures(metric: &Metric<'_>) -> Option<String> {
    let classes: Vec<String> = metric
        .failures
        .iter()
        .map(|(class, times)| format!("{} {class}", format::count(*times as f64)))
        .collect();
    let failed = format::count(metric.failed() as f64);
    (!classes.is_empty())
        .then(|| format!("{failed} failed: {}. No figure includes them.", classes.join(", ")))
}

/// Skips by reason: `3 skipped: no snapshots (3)`; none without skips.
pub(crate) fn skips(metric: &Metric<'_>) -> Option<String> {
    let reasons: Vec<String> = metric
        .skips
        .iter()
        .map(|(reason, times)| format!("{reason} ({})", format::count(*times as f64)))
        .collect();
    let skipped = format::count(metric.skipped() as f64);
    (!reasons.is_empty()).then(|| format!("{skipped} skipped: {}.", reasons.join("; ")))
}

/// Samples far from the rest; none when there are none.
pub(crate) fn outliers(metric: &Metric<'_>) -> Option<String> {
    let total = metric.summary?.outliers.total();
    let noun = if total == 1 { "outlier" } else { "outliers" };
    let kinds = outlier_kinds(metric)?;
    Some(format!("{total} {noun} by Tukey's fences ({kinds}): counted, not removed."))
}

/// Samples far from the rest by kind: `1 high mild, 2 high severe`.
fn outlier_kinds(metric: &Metric<'_>) -> Option<String> {
    let outliers = metric.summary?.outliers;
    let named = [
        (outliers.low_severe, "low severe"),
        (outliers.low_mild, "low mild"),
        (outliers.high_mild, "high mild"),
        (outliers.high_severe, "high severe"),
    ];
    let parts: Vec<String> =
        named.iter().filter(|(times, _)| *times > 0).map(|(times, name)| format!("{times} {name}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What stands below a table of the metrics of runs. What holds for several metrics of a run is said once.
pub(crate) fn summary(entries: &[Entry<'_>]) -> Vec<String> {
    let mut said = Vec::new();
    for entry in entries {
        let letter = if entries.len() > 1 { format!("{}, ", entry.letter) } else { String::new() };
        let mut skipped: Vec<(String, Vec<&str>)> = Vec::new();
        for metric in &entry.metrics {
            said.extend(failures(metric).map(|note| format!("{letter}{}: {note}", metric.name)));
            let Some(note) = skips(metric) else { continue };
            match skipped.iter_mut().find(|(same, _)| *same == note) {
                Some((_, names)) => names.push(&*metric.name),
                None => skipped.push((note, vec![&*metric.name])),
            }
        }
        said.extend(skipped.into_iter().map(|(note, names)| match names.as_slice() {
            [one] => format!("{letter}{one}: {note}"),
            several => format!("{letter}{}, of each: {note}", several.join(", ")),
        }));
        let with_outliers = || entry.metrics.iter().filter(|metric| outlier_kinds(metric).is_some());
        match with_outliers().count() {
            0 => {}
            1 => said.extend(
                with_outliers()
                    .filter_map(|metric| Some(format!("{letter}{}: {}", metric.name, outliers(metric)?))),
            ),
            _ => {
                let kinds = with_outliers()
                    .filter_map(|metric| Some(format!("{} ({})", metric.name, outlier_kinds(metric)?)));
                let kinds = kinds.collect::<Vec<_>>().join("; ");
                said.push(format!("{letter}outliers by Tukey's fences, counted and not removed: {kinds}."));
            }
        }
    }
    let summaries =
        || entries.iter().flat_map(|entry| &entry.metrics).filter_map(|metric| metric.summary.as_ref());
    let unsupported = |summary: &Summary| {
        [summary.p50, summary.p90, summary.p95, summary.p99].iter().any(|percentile| !percentile.supported)
    };
    if summaries().any(unsupported) {
        said.push(UNSUPPORTED.into());
    }
    if summaries().any(|summary| summary.median_ci95.is_none()) {
        said.push(NO_INTERVAL.into());
    }
    said
}

/// What the mark on a percentile means.
pub(crate) const UNSUPPORTED: &str = "* Too few samples for this percentile: less than one is expected beyond it. p50 needs 2, p90 10, p95 20, p99 100.";

/// Why a median stands without its interval.
pub(crate) const NO_INTERVAL: &str = "A median of fewer than 6 samples has no 95 % interval.";

/// How far the phases of the median sample fall short of its value, when that can be seen.
pub(crate) fn unaccounted(metric: &Metric<'_>) -> Option<String> {
    let median =
        metric.median_sample.filter(|median| !median.phases.is_empty() && metric.unit == Unit::Ns)?;
    let in_phases: f64 = median.phases.iter().map(|phase| phase.duration_ns as f64).sum();
    let outside = median.value - in_phases;
    (outside.abs() > median.value.abs() * 0.001).then(|| {
        format!(
            "The phases add up to {} of {}.",
            format::duration_ns(in_phases),
            format::duration_ns(median.value)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::entries;
    use crate::{RunSamples, fixtures};
    use virtmark_model::FailureClass;

    #[test]
    fn emulation_is_part_of_the_platforms_name() {
        assert_eq!(
            platform(&fixtures::run("tti", 0, fixtures::tcg())),
            "qemu 7.2.0-synthetic, tcg (software emulation)"
        );
        let mut native = fixtures::run("tti", 0, Default::default());
        native.environment.hypervisor.name = "native".into();
        assert_eq!(platform(&native), "native");
    }

    #[test]
    fn failures_and_skips_are_told_by_kind() {
        let run = fixtures::run("tti", 0, fixtures::kvm());
        let samples = [
            fixtures::failure(0, "tti", FailureClass::Timeout, "x"),
            fixtures::failure(1, "tti", FailureClass::GuestPanic, "x"),
            fixtures::failure(2, "tti", FailureClass::Timeout, "x"),
            fixtures::skip(3, "tti", "no vsock"),
        ];
        let metrics = Metric::of_run(&run.id, &samples).unwrap();
        assert_eq!(
            failures(&metrics[0]).unwrap(),
            "3 failed: 1 guest_panic, 2 timeout. No figure includes them."
        );
        assert_eq!(skips(&metrics[0]).unwrap(), "1 skipped: no vsock (1).");
        assert_eq!(outliers(&metrics[0]), None);
    }

    #[test]
    fn what_holds_for_several_metrics_is_said_once() {
        let mut samples = Vec::new();
        for metric in ["a", "b", "c"] {
            let typical = [("x", 1e9)];
            let mut of_metric = fixtures::timed_samples(metric, &typical, 1, 9);
            for sample in &mut of_metric {
                sample.outcome = virtmark_model::Outcome::Success { value: 1e9 + sample.seq as f64 };
            }
            if metric != "c" {
                of_metric[0].outcome = virtmark_model::Outcome::Success { value: 1e15 };
                of_metric.push(fixtures::skip(9, metric, "no vsock"));
            }
            samples.extend(of_metric);
        }
        let run = RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), samples);
        let told = summary(&entries(&[run]).unwrap());
        assert_eq!(told[0], "a, b, of each: 1 skipped: no vsock (1).");
        assert_eq!(
            told[1],
            "outliers by Tukey's fences, counted and not removed: a (1 high severe); b (1 high severe)."
        );
    }

    #[test]
    fn phases_that_do_not_add_up_are_told() {
        let run = fixtures::run("tti", 0, fixtures::kvm());
        let mut samples = fixtures::tti_samples(1, 1);
        assert_eq!(unaccounted(&Metric::of_run(&run.id, &samples).unwrap()[0]), None);
        samples[0].phases.pop();
        assert!(unaccounted(&Metric::of_run(&run.id, &samples).unwrap()[0]).is_some());
    }
}
