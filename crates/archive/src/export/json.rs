//! `{"format_version": 1, "run": {…}, "samples": [{…}, …]}`, a sample a line.

use std::io::{self, Write};

use virtmark_model::Sample;

use super::{Exporter, FORMAT_VERSION, RunObject};
use crate::StoredRun;

pub(super) struct Json<'a> {
    output: &'a mut dyn Write,
    is_first: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self { output, is_first: true }
    }
}

impl Exporter for Json<'_> {
    fn begin(&mut self, run: &StoredRun) -> io::Result<()> {
        write!(self.output, "{{\"format_version\":{FORMAT_VERSION},\n\"run\":")?;
        serde_json::to_writer(&mut *self.output, &RunObject::new(run))?;
        self.output.write_all(b",\n\"samples\":[")
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        self.output.write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        Ok(serde_json::to_writer(&mut *self.output, sample)?)
    }

    fn end(&mut self) -> io::Result<()> {
        self.output.write_all(b"\n]}\n")
    }
}
