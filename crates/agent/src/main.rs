//! The program inside the guest: runs commands, moves files and tells the time for a host at the other end of a line.
//!
//! As PID 1 without arguments it sets up the tiny image and is its init; with arguments, or as any other process, it
//! is an ordinary service. One thread and one poll loop do all of it: a command's first output does not wait for a
//! thread to start, and nothing is buffered that the host has not asked for.

mod clock;
mod exec;
mod files;
mod init;
mod line;
mod modules;
mod power;
mod reap;
mod serve;
mod service;
mod transport;

use std::process::ExitCode;

fn main() -> ExitCode {
    let started_ns = clock::boottime_ns();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 && !service::is_asked_for(&arguments) {
        init::run(started_ns)
    }
    service::run(started_ns, &arguments)
}
