//! The ramps of runs whose machines were launched together or at fixed moments.

use virtmark_model::{Sample, Unit};

use super::Entry;
use crate::figure::{Figure, Plot, Ramp, RampStrip};

/// Modes in which a machine is launched while others are not ready.
const CONCURRENT: [&str; 3] = ["burst", "open_loop", "staggered"];
/// Metrics that are the whole time of a machine, from its launch until it was ready.
const WHOLE: [&str; 2] = ["tti", "restore_tti"];

/// A figure for each run that has a ramp in this metric.
pub(super) fn ramps(entries: &[Entry<'_>], name: &str, unit: Unit) -> Vec<Figure> {
    if unit != Unit::Ns || !WHOLE.contains(&name) {
        return Vec::new();
    }
    entries.iter().filter_map(|entry| ramp(entry, entries, name)).collect()
}

fn ramp(entry: &Entry<'_>, entries: &[Entry<'_>], name: &str) -> Option<Figure> {
    let mode = entry.run().configuration.get("mode")?.as_str()?;
    if !CONCURRENT.contains(&mode) {
        return None;
    }
    let is_launch = |sample: &&Sample| {
        sample.metric == name
            && (sample.outcome.value().is_some() || sample.outcome.failure().is_some())
            && !sample.labels.contains_key("warmup")
    };
    let mut samples: Vec<&Sample> = entry.samples.samples.iter().filter(is_launch).collect();
    samples.sort_by_key(|sample| sample.started_ns);
    let first_ns = samples.first()?.started_ns;
    let strip = |sample: &&Sample| {
        let launched_ns = (sample.started_ns - first_ns) as f64;
        RampStrip {
            name: sample.labels.get("machine").cloned().unwrap_or_else(|| format!("#{}", sample.seq)),
            launched_ns,
            ready_ns: sample.outcome.value().map(|value| launched_ns + value),
        }
    };
    let waves = |sample: &&Sample| sample.labels.get("wave") != samples[0].labels.get("wave");
    let between = if samples.iter().any(waves) { " Between waves, machines are destroyed." } else { "" };
    let meant = if mode == "open_loop" { " A launch is the moment that was intended for it." } else { "" };
    Some(Figure {
        title: format!("Ramp of {}: {}", entry.name(entries), mode.replace('_', " ")),
        notes: vec![format!(
            "Each strip is a machine, from its launch until its first output was in hand.{meant}{between}"
        )],
        plot: Plot::Ramp(Ramp { strips: samples.iter().map(strip).collect() }),
    })
}
