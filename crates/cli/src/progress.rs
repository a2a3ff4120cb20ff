//! How far a run is: a bar on a terminal, otherwise a line now and then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use virtmark_model::{FailureClass, Outcome, Sample};
use virtmark_report::format;
use virtmark_scenarios::Plan;

use crate::output;

/// Between two lines where there is no bar.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two lines about what is going on, where there is no bar.
const LIVE_INTERVAL: Duration = Duration::from_secs(5);

const TEMPLATE: &str = "{bar:30.cyan} {pos}/{len} {elapsed} (eta {eta}) {msg}";
const LIVE_TEMPLATE: &str = "{bar:30.cyan} {pos}/{len} {elapsed} {msg}";

/// Metrics of which every machine has exactly one.
const MACHINE_METRICS: [&str; 6] =
    ["life", "restore_tti", "tti", "vm_creation", "working_set_25_cold", "working_set_25_warm"];
/// What the names of metrics of machines that moved start with.
const MIGRATION: &str = "migration_duration_";

/// What the user sees of a run while it lasts; clones show the same. It is drawn when something was measured and at no
/// other time: nothing of it runs during a measurement that is alone.
#[derive(Clone)]
pub(crate) struct Progress {
    shared: Arc<Mutex<State>>,
}

struct State {
    scenario: &'static str,
    quiet: bool,
    bar: Option<ProgressBar>,
    planned: u64,
    warmups: u64,
    warmed_up: u64,
    recorded: u64,
    failed: u64,
    classes: BTreeSet<FailureClass>,
    machines: u64,
    last_line: Option<Instant>,
    /// Whether the measurement itself says what time is left.
    tells_time: bool,
}

impl Progress {
    pub(crate) fn new(scenario: &'static str, quiet: bool) -> Self {
        let state = State {
            scenario,
            quiet,
            bar: None,
            planned: 0,
            warmups: 0,
            warmed_up: 0,
            recorded: 0,
            failed: 0,
            classes: BTreeSet::new(),
            machines: 0,
            last_line: None,
            tells_time: false,
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// A line that is no part of the counting.
    pub(crate) fn note(&self, line: &str) {
        self.with(|state| {
            if !state.quiet {
                state.print(&format!("virtmark: {line}"));
            }
        });
    }

    /// Ends the drawing.
    pub(crate) fn finish(&self) {
        self.with(|state| {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    /// Machines taken through the scenario, warm-ups included.
    pub(crate) fn machines(&self) -> u64 {
        self.with(|state| state.machines)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl virtmark_scenarios::Progress for Progress {
    fn begin(&self, plan: Plan) {
        self.with(|state| {
            state.planned = plan.samples;
            state.warmups = plan.warmups;
            if !state.quiet && output::bars() {
                state.bar = Some(bar(plan));
            }
            state.show(None);
        });
    }

    fn warmed_up(&self) {
        self.with(|state| {
            state.warmed_up += 1;
            state.machines += 1;
            state.show(None);
        });
    }

    fn recorded(&self, sample: &Sample) {
        self.with(|state| {
            state.recorded += 1;
            let moved =
                sample.metric.starts_with(MIGRATION) && !matches!(sample.outcome, Outcome::Skipped { .. });
            if MACHINE_METRICS.contains(&sample.metric.as_str()) || moved {
                state.machines += 1;
            }
            if let Outcome::Failure { class, message } = &sample.outcome {
                state.failed += 1;
                // The first of a class is told in full, with the guest's last words; more of them in a line each.
                let first_of_class = state.classes.insert(*class);
                let told = if first_of_class { message } else { brief(message) };
                if !state.quiet {
                    state.print(&format!(
                        "virtmark: {} #{} failed ({class}): {told}",
                        sample.metric, sample.seq
                    ));
                }
            }
            state.show(Some(sample));
        });
    }

    fn live(&self, words: &str) {
        self.with(|state| {
            if let Some(bar) = &state.bar {
                if !std::mem::replace(&mut state.tells_time, true) {
                    bar.set_style(style(LIVE_TEMPLATE));
                }
                bar.set_message(words.to_owned());
            } else if !state.quiet && state.last_line.is_none_or(|at| at.elapsed() >= LIVE_INTERVAL) {
                state.last_line = Some(Instant::now());
                output::people(&format!(
                    "{}: {}/{} {words}\n",
                    state.scenario, state.recorded, state.planned
                ));
            }
        });
    }

    fn warn(&self, message: &str) {
        self.with(|state| state.print(&format!("virtmark: {message}")));
    }
}

impl State {
    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::people(&format!("{line}\n"))),
            None => output::people(&format!("{line}\n")),
        }
    }

    fn show(&mut self, sample: Option<&Sample>) {
        if self.quiet {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.warmed_up + self.recorded);
            bar.set_message(self.message(sample));
            return;
        }
        let last = self.recorded == self.planned && sample.is_some();
        if !last && self.last_line.is_some_and(|at| at.elapsed() < LINE_INTERVAL) {
            return;
        }
        self.last_line = Some(Instant::now());
        output::people(&format!(
            "{}: {}/{} {}\n",
            self.scenario,
            self.recorded,
            self.planned,
            self.message(sample)
        ));
    }

    fn message(&self, sample: Option<&Sample>) -> String {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        match sample.and_then(|sample| Some((sample, sample.outcome.value()?))) {
            Some((sample, value)) => {
                format!("{} {}{failed}", sample.metric, format::value(value, sample.unit))
            }
            None if self.warmed_up < self.warmups => {
                format!("warming up ({}/{}){failed}", self.warmed_up, self.warmups)
            }
            None => format!("measuring{failed}"),
        }
    }
}

/// The first line, without the announcement of what follows it.
fn brief(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.strip_suffix(':').and_then(|line| line.rsplit_once("; ")).map_or(line, |(before, _)| before)
}

fn bar(plan: Plan) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(plan.warmups + plan.samples), ProgressDrawTarget::stderr());
    bar.with_style(style(TEMPLATE))
}

/// The templates are constants, and tried by every run on a terminal; a plain bar serves as well.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_console_is_cut_before_it() {
        assert_eq!(brief("m panicked; its last output was:\n  | x"), "m panicked");
        assert_eq!(brief("no such program; install it"), "no such program; install it");
    }
}
