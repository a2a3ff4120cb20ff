//! `virtmark man`

use std::fs;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Arguments, ManArguments};
use crate::exit::Exit;
use crate::output;

pub(crate) fn run(options: &ManArguments) -> anyhow::Result<Exit> {
    let directory = &options.directory;
    let message = || format!("cannot write man pages to {}; name another directory", directory.display());
    fs::create_dir_all(directory).with_context(message)?;
    clap_mangen::generate_to(Arguments::command(), directory).with_context(message)?;
    output::people(&format!("virtmark: wrote man pages to {}\n", directory.display()));
    Ok(Exit::Ok)
}
