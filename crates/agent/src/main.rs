//! The program inside the guest: runs commands, moves files and tells the time for a host at the other end of a line.
//!
//! As PID 1 without arguments it sets up the tiny image and is its init; with arguments, or as any other process, it
//! is an ordinary service. One thread and one poll loop do all of it: a command's first output does not wait for a
//! thread to start, and nothing is buffered that the host has not asked for.

mod clock;
mod exec;
mod files;
mod guard;
mod identity;
mod inherited;
mod init;
mod line;
mod modules;
mod network;
mod options;
mod power;
mod reap;
mod root;
mod serve;
mod service;
mod transport;
mod witness;

use std::process::ExitCode;

use crate::options::Options;

fn main() -> ExitCode {
    let started_ns = clock::boottime_ns();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 && !Options::are_given(&arguments) {
        init::run(started_ns)
    }
    if arguments == ["--version"] {
        println!("virtmark-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if arguments.first().is_some_and(|first| first == "witness") {
        return witness::run(&arguments[1..]);
    }
    let Some(options) = Options::parse(&arguments) else {
        eprint!("{}", options::USAGE);
        return ExitCode::from(2);
    };
    let served = if options.guard { guard::run(&options) } else { service::run(started_ns, &options) };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtmark-agent: cannot serve {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}
