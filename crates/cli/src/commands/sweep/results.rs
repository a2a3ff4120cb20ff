//! The files of a sweep, and what is said of it.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use virtmark_model::{Run, Sample};
use virtmark_report::format;
use virtmark_report::sweep::{PlotOptions, plots};
use virtmark_scenarios::sweep::{Error, Row, Sweep, SweepFiles, SweepPlan, SweepReport, Time, summary};
use virtmark_stats::knee::{self, Slo};

use crate::output;

/// The least that an interval of the law's peak is computed from. Between two runs it is computed from that, so that
/// nobody waits; at the end from as much as ever.
const QUICK_RESAMPLES: u32 = 40;

/// What a sweep writes. Names that were taken for nothing are free again when this is dropped.
pub(super) struct Results {
    files: SweepFiles,
    rows: Vec<Row>,
    knee: knee::Options,
    /// Runs of the whole sweep.
    planned: usize,
    is_new: bool,
}

/// Opens the files of a sweep that is to be gone on with.
pub(super) fn reopen(path: &Path) -> anyhow::Result<(SweepFiles, Vec<Row>)> {
    Ok(SweepFiles::resume(path).map_err(Error::from)?)
}

impl Results {
    /// Makes the files: what cannot be written is known before anything is measured.
    pub(super) fn create(directory: &Path, plan: &SweepPlan) -> anyhow::Result<Self> {
        let files = SweepFiles::create(directory, Timestamp::now()).map_err(Error::from)?;
        Ok(Self {
            files,
            rows: Vec::new(),
            knee: knee_options(plan),
            planned: plan.steps().len(),
            is_new: true,
        })
    }

    /// Goes on with files that have rows.
    pub(super) fn resume(files: SweepFiles, rows: Vec<Row>, plan: &SweepPlan) -> Self {
        Self { files, rows, knee: knee_options(plan), planned: plan.steps().len(), is_new: false }
    }

    /// The table.
    pub(super) fn csv(&self) -> PathBuf {
        self.files.csv_path()
    }

    /// Keeps one row in all files.
    pub(super) fn keep(&mut self, row: Row) -> Result<(), Error> {
        self.files.append(&row)?;
        self.rows.push(row);
        let quick = knee::Options { resamples: QUICK_RESAMPLES, ..self.knee.clone() };
        Ok(self.files.write_summary(&text(&self.rows, &quick))?)
    }

    /// Prints what there is to say: the summary of all rows for people, the report of this run for machines.
    pub(super) fn tell(&self, run: &Run, samples: &[Sample], quiet: bool) -> anyhow::Result<()> {
        let report = SweepReport::from_samples(run, samples);
        if !quiet && !self.rows.is_empty() {
            output::people(&format!("\n{}\n{}", text(&self.rows, &self.knee), footer(&report)));
        }
        output::json(&report)
    }

    /// Draws the pictures and says where everything is.
    pub(super) fn finish(&self, quiet: bool) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.files.write_summary(&text(&self.rows, &self.knee)).map_err(Error::from)?;
        let directory = self.files.plots_directory();
        let options = PlotOptions { knee: self.knee.clone(), ..PlotOptions::default() };
        let drawn = plots(&self.rows, &directory, &options);
        if !quiet {
            let paths = [self.files.csv_path(), self.files.jsonl_path(), self.files.summary_path()];
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let pictures =
                if drawn.is_ok() { format!(", pictures in {}", directory.display()) } else { String::new() };
            output::people(&format!("files: {}{pictures}\n", names.join(", ")));
            if self.rows.len() < self.planned {
                let (done, planned, jsonl) = (self.rows.len(), self.planned, self.files.jsonl_path());
                output::people(&format!(
                    "{done} of {planned} runs are done; go on: virtmark sweep --resume {}\n",
                    jsonl.display()
                ));
            }
        }
        Ok(drawn.map(drop)?)
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        if self.is_new && self.rows.is_empty() {
            for path in [self.files.csv_path(), self.files.jsonl_path()] {
                // An empty file that stays does no harm.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The summary of rows, or why there is none.
pub(in crate::commands) fn text(rows: &[Row], options: &knee::Options) -> String {
    match Sweep::from_rows(rows, options) {
        Ok(sweep) => summary::text(&sweep),
        Err(error) => format!("there is no summary: {error}\n"),
    }
}

/// How the knee of a sweep with this objective is looked for.
pub(in crate::commands) fn knee_with(slo: Option<&str>) -> knee::Options {
    let slo: Option<Slo> = slo.and_then(|slo| slo.parse().ok());
    knee::Options { slo, ..knee::Options::default() }
}

/// Where the time went, and where to find the run again.
pub(in crate::commands) fn footer(report: &SweepReport) -> String {
    let Time { total_ns, boot_ns, measure_ns, warmup_ns, own_ns } = report.time;
    let time = |ns: u64| format::duration_ns(ns as f64);
    let ratio = report
        .time
        .overhead_ratio()
        .map_or_else(String::new, |ratio| format!(" ({})", format::percent(ratio)));
    format!(
        "time: {} in all: {} measuring, {} warming up, {} for machines to be ready, and {}{ratio} of virtmark's own\n\
         again: virtmark show {}\n",
        time(total_ns),
        time(measure_ns),
        time(warmup_ns),
        time(boot_ns),
        time(own_ns),
        report.run_id
    )
}

fn knee_options(plan: &SweepPlan) -> knee::Options {
    knee_with(plan.slo.as_deref())
}
