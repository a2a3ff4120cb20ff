//! What a bench has to say.

use serde::Serialize;
use virtmark_archive::Archive;
use virtmark_fleet::bench::{Machines, StepReport, StepStatus, Via};
use virtmark_fleet::{MetricSummary, summarize};
use virtmark_model::Sample;
use virtmark_report::html::{self, Options};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, Tone};

use super::plan::Bench;
use super::work::Setup;
use crate::commands::present::with_judgement;
use crate::commands::vmrun::{FIGURES, figures, name_of};
use crate::exit::Exit;
use crate::output;
use crate::progress::Progress;

/// The page in the directory of results.
const PAGE: &str = "report.html";

/// What a bench has to say, for machines.
#[derive(Serialize)]
pub(super) struct BenchReport {
    /// Whether anything was run now.
    changed: bool,
    /// Whether anything that is wanted is not done.
    failed: bool,
    /// In one line.
    msg: String,
    exit_code: u8,
    name: String,
    file: std::path::PathBuf,
    results: std::path::PathBuf,
    via: Via,
    machines: Machines,
    /// How long it took until all machines were ready; null where none were needed.
    ready_ns: Option<u64>,
    steps: Vec<StepReport>,
    payloads: Vec<PayloadReport>,
}

/// What came of a payload, over all of its runs.
#[derive(Serialize)]
struct PayloadReport {
    payload: String,
    /// Its runs whose results there are.
    runs: Vec<String>,
    /// Each metric, over the machines, of which each has the mean of its runs.
    metrics: Vec<MetricSummary>,
}

/// The exit that the steps ask for.
pub(super) fn exit_of_steps(steps: &[StepReport]) -> Exit {
    let failed = steps.iter().filter(|step| step.failed).count();
    let partly = steps.iter().any(|step| step.status == StepStatus::Partly);
    match failed {
        0 => Exit::Ok,
        all if all == steps.len() && !partly => Exit::NothingSucceeded,
        _ => Exit::SomeFailed,
    }
}

impl BenchReport {
    pub(super) fn new(
        bench: &Bench,
        archive: &Archive,
        steps: Vec<StepReport>,
        setup: Option<Setup>,
        exit: Exit,
        error: Option<String>,
    ) -> anyhow::Result<Self> {
        let names = (0..bench.payloads.len()).map(|at| (at, bench.payload_name(at)));
        let mut payloads = Vec::new();
        for (at, payload) in names {
            let of_it = steps.iter().zip(&bench.steps).filter(|(_, step)| step.payload == at);
            let with_results = of_it.filter_map(|(report, _)| report.run.clone());
            let runs: Vec<String> = with_results.collect();
            let mut samples: Vec<Sample> = Vec::new();
            for run in &runs {
                // Results that were removed from the archive are still in their directory.
                if let Ok(id) = run.parse() {
                    samples.extend(archive.samples(&id).unwrap_or_default());
                }
            }
            payloads.push(PayloadReport { payload, runs, metrics: summarize(&samples) });
        }
        let good = steps.iter().filter(|step| !step.failed).count();
        let now = steps.iter().filter(|step| step.changed).count();
        let counted = format!("{good} of {} steps are done, {now} were run now", steps.len());
        let first = steps.iter().find_map(|step| step.msg.clone());
        let msg = match error.or(first) {
            Some(why) => format!("{counted}; {why}"),
            None => counted,
        };
        Ok(Self {
            changed: now > 0,
            failed: exit != Exit::Ok,
            msg,
            exit_code: exit.code(),
            name: bench.name.clone(),
            file: bench.path.clone(),
            results: bench.results.clone(),
            via: bench.via,
            machines: bench.file.machines.clone(),
            ready_ns: setup.map(|setup| u64::try_from(setup.took.as_nanos()).unwrap_or(u64::MAX)),
            steps,
            payloads,
        })
    }

    /// Writes the page about all runs whose results there are, where anything is new.
    pub(super) fn write_page(
        &self,
        bench: &Bench,
        archive: &Archive,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let mut runs = Vec::new();
        for run in self.payloads.iter().flat_map(|payload| &payload.runs) {
            // One that was removed from the archive is still in its directory.
            if let Ok(stored) = archive.run(run) {
                let samples = archive.samples(&stored.run.id)?;
                runs.push(with_judgement(stored.run, samples)?);
            }
        }
        let title = Some(format!("virtmark: {}", bench.name));
        let page = html::report(&runs, &Options { title, ..Options::default() })?;
        let path = bench.results.join(PAGE);
        std::fs::write(&path, page).map_err(|error| output::on(error, &path))?;
        progress.note(&format!("wrote {}", path.display()));
        Ok(())
    }

    /// A table for people, JSON for machines.
    pub(super) fn present(&self, quiet: bool) -> anyhow::Result<()> {
        if !quiet {
            output::people(&format!("\n{}", self.table().render(Style::for_stderr())));
        }
        output::json(self)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(format!("{}: {}", self.name, self.msg));
        table.column("payload", Column::Name);
        table.column("metric", Column::Name);
        for heading in ["machines", "values"].into_iter().chain(FIGURES) {
            table.column(heading, Column::Figure);
        }
        for PayloadReport { payload, metrics, .. } in &self.payloads {
            for metric in metrics {
                let mut row = vec![payload.as_str().into(), name_of(metric).into()];
                row.extend([metric.machines, metric.values].map(|count| Cell::from(count.to_string())));
                row.extend(figures(metric));
                table.row(row);
            }
        }
        for step in self.steps.iter().filter(|step| step.failed) {
            let why = step.msg.as_deref().unwrap_or("it was not run");
            table.note(format!("{} #{}: {why}", step.payload, step.repetition), Tone::Bad);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_tells_all_some_and_none_apart() {
        let step = |status, failed| StepReport {
            payload: "p".into(),
            repetition: 1,
            status,
            changed: false,
            failed,
            run: None,
            msg: None,
        };
        let (good, was) = (step(StepStatus::Done, false), step(StepStatus::AlreadyDone, false));
        let (bad, partly) = (step(StepStatus::Failed, true), step(StepStatus::Partly, true));
        assert_eq!(exit_of_steps(&[good.clone(), was.clone()]), Exit::Ok);
        assert_eq!(exit_of_steps(&[was, bad.clone()]), Exit::SomeFailed);
        assert_eq!(exit_of_steps(&[partly, bad.clone()]), Exit::SomeFailed);
        assert_eq!(exit_of_steps(&[bad.clone(), bad]), Exit::NothingSucceeded);
    }
}
