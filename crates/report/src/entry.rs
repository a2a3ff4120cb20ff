//! A run in a report, with the letter that stands for it.

use virtmark_model::Run;

use crate::metric::Metric;
use crate::{ReportError, RunSamples};

/// A run in the report, with the letter that stands for it in tables.
pub(crate) struct Entry<'a> {
    pub(crate) letter: String,
    pub(crate) samples: &'a RunSamples,
    pub(crate) metrics: Vec<Metric<'a>>,
}

/// The runs of a report, in the order given.
pub(crate) fn entries(runs: &[RunSamples]) -> Result<Vec<Entry<'_>>, ReportError> {
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    runs.iter()
        .enumerate()
        .map(|(position, samples)| {
            let metrics = Metric::of_run(&samples.run.id, &samples.samples)?;
            Ok(Entry { letter: letter(position), samples, metrics })
        })
        .collect()
}

impl Entry<'_> {
    pub(crate) fn run(&self) -> &Run {
        &self.samples.run
    }

    /// What a suite calls the step that the run is; the scenario of other runs.
    pub(crate) fn label(&self) -> &str {
        let run = self.run();
        run.configuration["suite"]["label"].as_str().unwrap_or(&run.scenario)
    }

    /// The run as figures name it: the letter first, when there are others.
    pub(crate) fn name(&self, entries: &[Entry<'_>]) -> String {
        self.named(entries, None)
    }

    /// The run, or what of it was started in one way: `B qemu warm, tti-20260102-030405-a1b2c3 (emulated)`.
    pub(crate) fn named(&self, entries: &[Entry<'_>], start: Option<&str>) -> String {
        let Run { id, environment, .. } = self.run();
        let several = entries.len() > 1;
        let emulated = match (environment.hypervisor.is_emulated(), several) {
            (false, _) => "",
            (true, _) if environment.hypervisor.nested_in_emulation => " (nested in emulation)",
            (true, false) => " (software emulation)",
            // There is less room, and a note says it in full.
            (true, true) => " (emulated)",
        };
        let mut words = Vec::new();
        if several {
            words.extend([self.letter.as_str(), environment.hypervisor.name.as_str()]);
        }
        words.extend(start);
        let words = words.join(" ");
        let comma = if words.is_empty() { "" } else { ", " };
        format!("{words}{comma}{id}{emulated}")
    }
}

/// A to Z, then AA, AB, as spreadsheets name columns.
pub(crate) fn letter(position: usize) -> String {
    let last = char::from(b'A' + (position % 26) as u8);
    if position < 26 { last.into() } else { format!("{}{last}", letter(position / 26 - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_z() {
        let letters: Vec<String> = [0, 25, 26, 51, 52, 701, 702].into_iter().map(letter).collect();
        assert_eq!(letters, ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    }
}
