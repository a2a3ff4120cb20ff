//! `virtmark import`

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use virtmark_archive::{Archive, ImportFormat as ArchiveFormat};
use virtmark_scenarios::computesdk;

use crate::args::{ImportArguments, ImportFormat};
use crate::exit::Exit;
use crate::measure::open;
use crate::output;

pub(crate) fn run(options: &ImportArguments) -> anyhow::Result<Exit> {
    let bytes = read(&options.file)?;
    let mut archive = open(&options.archive)?;
    let format = options.format.unwrap_or_else(|| looks_like(&bytes));
    let ids = import(&mut archive, format, &bytes)
        .with_context(|| format!("cannot import {}", options.file.display()))?;
    output::stdout(|output| ids.iter().try_for_each(|id| writeln!(output, "{id}")))?;
    Ok(Exit::Ok)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What tells the formats apart: only one of them is several objects, and only one has results.
fn looks_like(bytes: &[u8]) -> ImportFormat {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(fields)) if fields.contains_key("results") => ImportFormat::Computesdk,
        Ok(_) => ImportFormat::Json,
        // Also what is damaged; it is then told with its line.
        Err(_) => ImportFormat::Jsonl,
    }
}

fn import(archive: &mut Archive, format: ImportFormat, bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    Ok(match format {
        ImportFormat::Computesdk => {
            let runs = computesdk::from_json(bytes)?;
            archive.add(&runs)?;
            runs.iter().map(|(run, _)| run.id.to_string()).collect()
        }
        ImportFormat::Json => vec![archive.import(ArchiveFormat::Json, bytes)?.to_string()],
        ImportFormat::Jsonl => vec![archive.import(ArchiveFormat::Jsonl, bytes)?.to_string()],
    })
}
