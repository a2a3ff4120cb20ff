//! `virtmark export`

use std::fs::File;
use std::io::{self, Write};

use virtmark_archive::{Archive, Error, Format, StoredRun};
use virtmark_scenarios::computesdk;

use crate::args::{ExportArguments, ExportFormat};
use crate::exit::Exit;
use crate::measure::open_read_only;
use crate::output;

pub(crate) fn run(options: &ExportArguments) -> anyhow::Result<Exit> {
    let archive = open_read_only(&options.archive)?;
    let stored = archive.run(&options.run)?;
    let mut file = options.output.as_deref().map(output::create).transpose()?;
    let exported = match archive_format(options.format) {
        Some(format) => in_archive_format(&archive, &stored, format, file.as_mut()),
        None => in_computesdk_format(&archive, &stored, file.as_mut()),
    };
    match (exported, &options.output) {
        // A reader that has seen enough (`| head`) is no error.
        (Err(error), _) if is_closed_pipe(&error) => Ok(Exit::Ok),
        (Err(error), Some(path)) => Err(output::on(error, path)),
        (result, _) => result.map(|()| Exit::Ok),
    }
}

/// The archive's own format of this name; none for the one that is the scenario's.
fn archive_format(format: ExportFormat) -> Option<Format> {
    match format {
        ExportFormat::Computesdk => None,
        ExportFormat::Csv => Some(Format::Csv),
        ExportFormat::Json => Some(Format::Json),
        ExportFormat::Jsonl => Some(Format::Jsonl),
        ExportFormat::Markdown => Some(Format::Markdown),
    }
}

fn in_archive_format(
    archive: &Archive,
    stored: &StoredRun,
    format: Format,
    file: Option<&mut File>,
) -> anyhow::Result<()> {
    match file {
        Some(file) => archive.export(&stored.run.id, format, file)?,
        None => archive.export(&stored.run.id, format, &mut io::stdout().lock())?,
    }
    Ok(())
}

fn in_computesdk_format(
    archive: &Archive,
    stored: &StoredRun,
    file: Option<&mut File>,
) -> anyhow::Result<()> {
    let result = computesdk::to_file(&stored.run, &archive.samples(&stored.run.id)?)?;
    match file {
        Some(file) => {
            let mut text = serde_json::to_vec_pretty(&result)?;
            text.push(b'\n');
            Ok(file.write_all(&text)?)
        }
        None => output::json(&result),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Output { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe)
}
