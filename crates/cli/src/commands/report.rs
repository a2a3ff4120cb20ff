//! `virtmark report`

use std::io::Write;

use anyhow::Context;
use virtmark_report::html::{self, Options};

use super::present::with_judgement;
use crate::args::ReportArguments;
use crate::exit::Exit;
use crate::measure::open_read_only;
use crate::output;

pub(crate) fn run(options: &ReportArguments) -> anyhow::Result<Exit> {
    let archive = open_read_only(&options.archive)?;
    let mut runs = Vec::new();
    for selector in &options.runs {
        let run = archive.run(selector)?.run;
        let samples = archive.samples(&run.id)?;
        runs.push(with_judgement(run, samples)?);
    }
    let page = html::report(&runs, &Options { title: options.title.clone(), ..Options::default() })?;
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
