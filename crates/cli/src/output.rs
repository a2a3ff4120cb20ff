//! Where text goes: results for machines to standard output, what people read to standard error.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde::Serialize;
use virtmark_report::Style;

/// Whether standard output is kept for another result.
static WITHHELD: AtomicBool = AtomicBool::new(false);

/// While this lives, results go nowhere: those of a suite's steps are in the archive, and standard output is the suite's.
pub(crate) struct Withheld(());

/// Keeps standard output for what comes after.
pub(crate) fn withhold() -> Withheld {
    WITHHELD.store(true, Ordering::SeqCst);
    Withheld(())
}

impl Drop for Withheld {
    fn drop(&mut self) {
        WITHHELD.store(false, Ordering::SeqCst);
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub(crate) fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    if WITHHELD.load(Ordering::SeqCst) {
        return write(&mut io::sink()).context("cannot write a result");
    }
    let mut output = BufWriter::new(io::stdout().lock());
    match write(&mut output).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Writes one JSON object to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    stdout(|output| {
        serde_json::to_writer_pretty(&mut *output, value)?;
        writeln!(output)
    })
}

/// Writes text for people to standard error.
pub(crate) fn people(text: &str) {
    // Nobody is left who could be told.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// How tables on standard output are drawn.
pub(crate) fn stdout_style() -> Style {
    let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col);
    let variable = |name| std::env::var_os(name);
    Style::for_stream(
        io::stdout().is_terminal(),
        width,
        variable("NO_COLOR").as_deref(),
        variable("TERM").as_deref(),
    )
}

/// Whether bars may be drawn on standard error: a terminal that can move its cursor, and nobody who wants it plain.
pub(crate) fn bars() -> bool {
    Style::for_stderr().colour
}

/// Makes a file that the user asked for with `-o`.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    create_as(path, "-o")
}

/// Makes a file that the user asked for with an option.
pub(crate) fn create_as(path: &Path, option: &str) -> anyhow::Result<File> {
    let message = || format!("cannot write {}; name another file with {option}", path.display());
    File::create(path).with_context(message)
}

/// Says which file an error is about.
pub(crate) fn on(error: impl Into<anyhow::Error>, path: &Path) -> anyhow::Error {
    error.into().context(format!("cannot write {}", path.display()))
}
