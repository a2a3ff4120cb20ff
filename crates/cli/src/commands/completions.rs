//! `virtmark completions`

use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArguments};
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(options: &CompletionsArguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "virtmark", &mut script);
    output::stdout(|output| output.write_all(&script))?;
    Ok(Exit::Ok)
}
