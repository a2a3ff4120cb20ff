//! `virtmark runs`

use serde_json::{Value, json};
use virtmark_archive::{Archive, Error, RunFilter, StoredRun};
use virtmark_model::Unit;
use virtmark_report::Metric;
use virtmark_report::terminal::{RunRow, runs_list};

use crate::args::RunsArguments;
use crate::exit::Exit;
use crate::measure::open_read_only;
use crate::output;

pub(crate) fn run(options: &RunsArguments) -> anyhow::Result<Exit> {
    let filter = RunFilter { scenario: options.scenario.clone(), since: None, limit: options.limit };
    let runs = match open_read_only(&options.archive) {
        Ok(archive) => listed(&archive, &filter)?,
        // Nothing was ever measured, which is an empty list.
        Err(error) if matches!(error.downcast_ref(), Some(Error::Missing { .. })) => Vec::new(),
        Err(error) => return Err(error),
    };
    if options.json {
        let objects: Vec<Value> = runs.iter().map(object).collect();
        output::json(&objects)?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<RunRow<'_>> = runs
        .iter()
        .map(|listed| RunRow {
            run: &listed.stored.run,
            state: listed.stored.state.as_str(),
            succeeded: listed.stored.samples.successes,
            failed: listed.stored.samples.failures,
            headline: listed.headline,
        })
        .collect();
    let text = runs_list(&rows, output::stdout_style());
    output::stdout(|output| output.write_all(text.as_bytes()))?;
    Ok(Exit::Ok)
}

struct Listed {
    stored: StoredRun,
    /// Median of the run's first metric.
    headline: Option<(f64, Unit)>,
}

fn listed(archive: &Archive, filter: &RunFilter) -> anyhow::Result<Vec<Listed>> {
    let describe = |stored: StoredRun| {
        let samples = archive.samples(&stored.run.id)?;
        let metrics = Metric::of_run(&stored.run.id, &samples)?;
        let headline = metrics.iter().find_map(|metric| Some((metric.summary?.median, metric.unit)));
        Ok(Listed { stored, headline })
    };
    archive.runs(filter)?.into_iter().map(describe).collect()
}

fn object(listed: &Listed) -> Value {
    let StoredRun { run, state, samples } = &listed.stored;
    json!({
        "id": run.id,
        "scenario": run.scenario,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "status": run.status,
        "state": state.as_str(),
        "hypervisor": run.environment.hypervisor.name,
        "accelerator": run.environment.hypervisor.accelerator,
        "emulated": run.environment.hypervisor.is_emulated(),
        "successes": samples.successes,
        "failures": samples.failures,
        "skips": samples.skips,
        "median": listed.headline.map(|(median, _)| median),
        "median_unit": listed.headline.map(|(_, unit)| unit),
    })
}
