//! `virtmark report`

use std::io::Write;

use anyhow::Context;
use virtmark_archive::{Archive, RunFilter};
use virtmark_model::{Run, RunStatus};
use virtmark_report::html::{self, Options};
use virtmark_report::markdown;
use virtmark_report::overview::Suite;
use virtmark_suite::{SCENARIO, named_again, suite_of};

use super::present::with_judgement;
use super::suite::{self, Part, parts};
use crate::args::{ArchiveArguments, ReportArguments, ReportFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::open_read_only;
use crate::output;

pub(crate) fn run(options: &ReportArguments) -> anyhow::Result<Exit> {
    let archive = open_read_only(&options.archive)?;
    let Named { runs, suites } = named(&archive, &options.runs)?;
    let mut judged = Vec::new();
    for run in runs {
        let samples = archive.samples(&run.id)?;
        judged.push(with_judgement(run, samples)?);
    }
    // Of several suites, none is what the report is about.
    let suite = match suites.as_slice() {
        [id] => Some(suite(&archive, id, &options.archive)?),
        _ => None,
    };
    let of = Options { title: options.title.clone(), suite, ..Options::default() };
    let page = match options.format {
        ReportFormat::Html => html::report(&judged, &of)?,
        ReportFormat::Markdown => markdown::report(&judged, &of)?,
    };
    match &options.output {
        Some(path) => {
            let write_error = || format!("cannot write the report to {}", path.display());
            output::create(path)?.write_all(page.as_bytes()).with_context(write_error)?;
            output::people(&format!("virtmark: wrote {}\n", path.display()));
        }
        None => output::stdout(|output| output.write_all(page.as_bytes()))?,
    }
    Ok(Exit::Ok)
}

/// What the user named.
struct Named {
    /// The runs, and those of the steps of suites.
    runs: Vec<Run>,
    /// Ids of the suites.
    suites: Vec<String>,
}

fn named(archive: &Archive, selectors: &[String]) -> anyhow::Result<Named> {
    let mut named = Named { runs: Vec::new(), suites: Vec::new() };
    for selector in selectors {
        let run = archive.run(selector)?.run;
        let Some(id) = suite_of(&run).filter(|_| run.scenario == SCENARIO).map(str::to_owned) else {
            named.runs.push(run);
            continue;
        };
        let steps = steps(archive, &id)?;
        if steps.is_empty() {
            let message = format!("no step of suite {id} made a run: `virtmark show {id}` says why");
            return Err(Failure { exit: Exit::UnknownName, message }.into());
        }
        named.runs.extend(steps);
        if !named.suites.contains(&id) {
            named.suites.push(id);
        }
    }
    Ok(named)
}

/// The runs of a suite's steps, oldest first.
fn steps(archive: &Archive, id: &str) -> anyhow::Result<Vec<Run>> {
    let since = parts(archive, id)?.first().map(|part| part.run.started_at);
    let filter = RunFilter { since, ..RunFilter::default() };
    let runs = archive.runs(&filter)?.into_iter().map(|stored| stored.run);
    let mut steps: Vec<Run> =
        runs.filter(|run| suite_of(run) == Some(id) && run.scenario != SCENARIO).collect();
    steps.reverse();
    Ok(steps)
}

fn suite(archive: &Archive, id: &str, archive_options: &ArchiveArguments) -> anyhow::Result<Suite> {
    let parts = parts(archive, id)?;
    let report = suite::report(&parts).with_context(|| format!("suite {id} has no parts"))?;
    let of = |name: &str| {
        let text = parts.first().and_then(|first| first.run.configuration["suite"][name].as_str());
        text.unwrap_or_default().to_owned()
    };
    let mut remarks = Vec::new();
    if parts.iter().any(Part::goes_on) {
        remarks.push("It is still being run.".into());
    } else if parts.iter().any(Part::is_out_of_sight) {
        remarks.push("It has not ended, and its process cannot be seen from here.".into());
    } else if report.status != RunStatus::Complete {
        remarks.push("It was stopped before its end.".into());
    }
    if parts.len() > 1 {
        remarks.push(format!("It was made in {} parts.", parts.len()));
    }
    let goes_on = suite::is_unfinished(&parts, &report) && !parts.iter().any(Part::goes_on);
    let (file, text) = (of("file"), of("text"));
    Ok(Suite {
        id: id.into(),
        name: of("name"),
        go_on: goes_on.then(|| suite::resume(&named_again(&file, &text), id, archive_options)),
        left: report.left,
        steps: report.steps,
        remarks,
        file,
        text,
    })
}
