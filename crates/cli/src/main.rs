//! Measure virtual machines: boot, restore, overhead, load, density, migration.
//!
//! Arguments in, calls out. What is measured, and how, is in the crates below; this one turns options into their
//! types, and what they give back into output and an exit code.

mod args;
mod commands;
mod duration;
mod endpoint;
mod environment;
mod exit;
mod failure;
mod measure;
mod output;
mod pace;
mod payload_run;
mod platform;
mod progress;
mod recording;
mod replicas;
mod size;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use exit::Exit;

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(args::command_line(std::env::args_os()));
    let result = run(arguments);
    let exit = result.unwrap_or_else(|error| {
        failure::tell(&error);
        failure::exit_of(&error)
    });
    ExitCode::from(exit.code())
}

fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    if arguments.command.touches_host() {
        virtmark_host::process::raise_descriptor_limit();
        commands::clean_leftovers();
    }
    dispatch(arguments.command, arguments.quiet)
}

/// Does what a command says; a suite's steps are commands as well.
fn dispatch(command: Command, quiet: bool) -> anyhow::Result<Exit> {
    match command {
        Command::Completions(options) => commands::completions::run(&options),
        Command::Aa(options) => commands::compare::run_aa(&options, quiet),
        Command::Capture(options) => commands::capture::run(&options, quiet),
        Command::Compare(options) => commands::compare::run(&options, quiet),
        Command::Doctor(options) => commands::doctor::run(&options),
        Command::Export(options) => commands::export::run(&options),
        Command::Guest(options) => commands::guest::run(*options, quiet),
        Command::Import(options) => commands::import::run(&options),
        Command::Image(options) => commands::image::run(&options),
        Command::Kvbench(options) => commands::kvbench::run(&options, quiet),
        Command::Kvrun(options) => commands::kvrun::run(*options, quiet),
        Command::Lab(options) => commands::lab::run(&options, quiet),
        Command::Lifecycle(options) => commands::lifecycle::run(&options, quiet),
        Command::Man(options) => commands::man::run(&options),
        Command::Migrate(options) => commands::migrate::run(&options, quiet),
        Command::Payload(options) => commands::payload::run(&options, quiet),
        Command::Plan(options) => commands::plan::run(&options),
        Command::Plot(options) => commands::plot::run(&options, quiet),
        Command::Remove(options) => commands::remove::run(&options),
        Command::Restore(options) => commands::restore::run(&options, quiet),
        Command::Serve(options) => commands::serve::run(&options, quiet),
        Command::Report(options) => commands::report::run(&options),
        Command::Runs(options) => commands::runs::run(&options),
        Command::Series(options) => commands::series::run(&options, quiet),
        Command::Show(options) => commands::show::run(&options, quiet),
        Command::Suite(options) => commands::suite::run(&options, quiet),
        Command::Sweep(options) => commands::sweep::run(*options, quiet),
        Command::Tune(options) => commands::compare::run_tune(&options, quiet),
        Command::Tti(options) => commands::tti::run(&options, quiet),
        Command::Vmrun(options) => commands::vmrun::run(&options, quiet),
    }
}
