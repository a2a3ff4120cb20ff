//! `virtmark plot`

use std::path::{Path, PathBuf};

use anyhow::Context;
use virtmark_report::sweep::{PictureFormat, PlotOptions, PlotsError, plots};
use virtmark_scenarios::sweep::{self, SweepError};
use virtmark_stats::knee;

use crate::args::{PlotArguments, PlotFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(options: &PlotArguments, quiet: bool) -> anyhow::Result<Exit> {
    let rows = sweep::read(&options.input)?;
    let directory = options.output.clone().unwrap_or_else(|| beside(&options.input));
    let formats = match options.format {
        PlotFormat::Both => vec![PictureFormat::Png, PictureFormat::Svg],
        PlotFormat::Png => vec![PictureFormat::Png],
        PlotFormat::Svg => vec![PictureFormat::Svg],
    };
    let knee = knee::Options { slo: options.slo.clone(), ..knee::Options::default() };
    let written = match plots(&rows, &directory, &PlotOptions { formats, width: options.width, knee }) {
        // The objective is what does not fit the file.
        Err(PlotsError::Rows(error @ SweepError::NotMeasured { .. })) => {
            let message = format!("cannot draw {}: {error}", options.input.display());
            return Err(Failure::usage(message).into());
        }
        written => written.with_context(|| format!("cannot draw {}", options.input.display()))?,
    };
    if !quiet {
        output::people(&said(&written)?);
    }
    output::stdout(|output| written.iter().try_for_each(|path| writeln!(output, "{}", path.display())))?;
    Ok(Exit::Ok)
}

/// `plots_20260125_120000` for `sweep_20260125_120000.csv`.
fn beside(input: &Path) -> PathBuf {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    input.with_file_name(format!("plots_{}", stem.strip_prefix("sweep_").unwrap_or(&stem)))
}

/// What is said of the knee.
fn said(written: &[PathBuf]) -> anyhow::Result<String> {
    let Some(summary) =
        written.iter().find(|path| path.extension().is_some_and(|extension| extension == "txt"))
    else {
        return Ok(String::new());
    };
    std::fs::read_to_string(summary).with_context(|| format!("cannot read {}", summary.display()))
}
