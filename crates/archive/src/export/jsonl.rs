//! The run as an object with `"type":"run"`, then each sample as one with `"type":"sample"`, a line each.

use std::io::{self, Write};

use serde::Serialize;
use virtmark_model::Sample;

use super::{Exporter, FORMAT_VERSION, RunObject};
use crate::StoredRun;

pub(super) struct Jsonl<'a> {
    output: &'a mut dyn Write,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Run {
        format_version: u32,
        #[serde(flatten)]
        run: RunObject<'a>,
    },
    Sample(&'a Sample),
}

impl<'a> Jsonl<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self { output }
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *self.output, line)?;
        self.output.write_all(b"\n")
    }
}

impl Exporter for Jsonl<'_> {
    fn begin(&mut self, run: &StoredRun) -> io::Result<()> {
        self.line(&Line::Run { format_version: FORMAT_VERSION, run: RunObject::new(run) })
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        self.line(&Line::Sample(sample))
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
