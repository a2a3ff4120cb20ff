//! The load generator as a program, for places where the library cannot be called: inside a guest.
//!
//! It reads a job and writes events (`docs/load.md`).

mod descendants;
mod guard;
mod input;

use std::io::{self, Write};
use std::process::{ExitCode, exit};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use virtmark_load::{Cancel, Event, Job, TargetSpec, run};

use crate::input::Input;

const USAGE: &str = "\
usage: virtmark-load [JOB.json]

Calls a target as the job says, and writes events as lines of JSON; the last one is the outcome. Without a file, the
job is the first line of standard input, and the end of standard input ends the run, as SIGTERM and SIGINT do.

  echo '{\"target\": {\"kind\": \"command\", \"argv\": [\"true\"]}, \"arrivals\": {\"kind\": \"closed\", \"concurrency\": 1},
    \"duration_ns\": 1000000000, \"request_timeout_ns\": 1000000000}' > job.json; virtmark-load job.json

Exit codes: 0 there is an outcome, 1 nothing could be measured, 2 the job cannot be used.
";

/// The generator behind its guard.
const GUARDED: &str = "--guarded";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--version"] => {
            println!("virtmark-load {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => start(Input::stdin(), false),
        [GUARDED] => start(Input::stdin(), true),
        [file] if !file.starts_with('-') => start(Input::file(file), false),
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn start(input: Result<Input, String>, is_guarded: bool) -> ExitCode {
    let job = input.and_then(|input| match Job::parse(&input.job) {
        Ok(job) => Ok((input, job)),
        Err(error) => Err(error.to_string()),
    });
    let (input, job) = match job {
        Ok(job) => job,
        Err(message) => return fail(message, 2),
    };
    let cancel = Cancel::new();
    if let Err(error) = input.watch(&cancel) {
        return fail(format!("cannot watch for the signal to stop: {error}"), 1);
    }
    let has_processes = matches!(job.target, TargetSpec::Command(_));
    if has_processes && !is_guarded {
        let guarded = guard::run(&input.job, &cancel);
        return guarded.unwrap_or_else(|error| fail(format!("cannot start the generator: {error}"), 1));
    }
    if is_guarded && let Err(error) = descendants::adopt() {
        return fail(format!("cannot look after the processes of commands: {error}"), 1);
    }
    raise_descriptors();
    let outcome = run(&job, &mut |progress| write(&Event::Progress(progress), &cancel), &cancel);
    if is_guarded {
        descendants::end_all();
    }
    let code = match outcome {
        Ok(outcome) => {
            write(&Event::Outcome(Box::new(outcome)), &cancel);
            0
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            write(&Event::Failed { message: format!("{error}{}", cause.unwrap_or_default()) }, &cancel);
            1
        }
    };
    // Calls that could not be ended have threads that are still in them.
    exit(code)
}

fn fail(message: String, code: u8) -> ExitCode {
    write(&Event::Failed { message }, &Cancel::new());
    ExitCode::from(code)
}

/// Without a reader there is no use in going on.
fn write(event: &Event, cancel: &Cancel) {
    let mut stdout = io::stdout().lock();
    let written = serde_json::to_writer(&mut stdout, event).map_err(io::Error::from);
    if written.and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()).is_err() {
        cancel.cancel();
    }
}

/// A connection each: as many as the hard limit allows. What is missing then shows as failed calls.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
