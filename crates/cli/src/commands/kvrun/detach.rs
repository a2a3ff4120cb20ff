//! Machines that a process in the background keeps.
//!
//! It is this program again, in a session of its own. Until all machines are ready it speaks through the standard error
//! of whoever waits for it, and gives up when that ends; then it writes one line, and a log.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use virtmark_host::signals::{self, Interrupt};

use super::place::{Place, Shown};
use super::stopped;
use crate::args::{KvrunUpArguments, command_line};
use crate::exit::Exit;
use crate::output;

/// Between two looks at the user's wishes.
const LOOK: Duration = Duration::from_millis(50);

/// Starts the process that keeps the machines, waits until they are ready, and prints their id.
pub(super) fn start(options: &KvrunUpArguments) -> anyhow::Result<Exit> {
    let interrupt = signals::install().context("cannot listen for signals")?;
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    // The same command line, whatever the program was called.
    command.args(command_line(env::args_os()).into_iter().skip(1)).arg("--hold");
    // The pipe to it is open as long as somebody waits for it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().context("cannot start the process that keeps the machines")?;
    let output = holder.stdout.take().context("the process that keeps the machines has no output")?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // An end without a line is told by its exit code.
        if BufReader::new(output).read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let _ = tell.send(line);
        }
    });
    let line = loop {
        if interrupt.requested() {
            drop(holder.stdin.take());
            // One that has become ready in this moment no longer looks there. Its pid is its own until it is waited for.
            if let Some(pid) = i32::try_from(holder.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            holder.wait().context("cannot wait for the process that keeps the machines")?;
            return Ok(stopped(&interrupt));
        }
        match told.recv_timeout(LOOK) {
            Ok(line) => break line,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let status = holder.wait().context("cannot wait for the process that keeps the machines")?;
                // It has said why.
                return Ok(status.code().and_then(Exit::of_code).unwrap_or(Exit::Unexpected));
            }
        }
    };
    let shown: Shown = serde_json::from_str(&line).context("cannot read what the background process says")?;
    match options.json {
        true => output::json(&shown)?,
        false => output::stdout(|output| writeln!(output, "{}", shown.id))?,
    }
    Ok(Exit::Ok)
}

/// The process that keeps machines in the background, as it sees itself.
pub(super) struct Holder {
    ready: Arc<AtomicBool>,
}

impl Holder {
    /// Leaves the terminal behind, and stops when whoever waits ends before the machines are ready.
    pub(super) fn begin(interrupt: &Interrupt) -> anyhow::Result<Self> {
        rustix::process::setsid().context("cannot leave the terminal")?;
        let ready = Arc::new(AtomicBool::new(false));
        let (same, interrupt) = (Arc::clone(&ready), interrupt.clone());
        let watch = move || {
            // Ends with whoever waits.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            if !same.load(Ordering::Acquire) {
                interrupt.request(Signal::INT.as_raw());
            }
        };
        thread::Builder::new().name("waiting".into()).spawn(watch).context("cannot start a thread")?;
        Ok(Self { ready })
    }

    /// Tells whoever waits that the machines are ready, and goes on alone.
    pub(super) fn ready(self, place: &Place) -> anyhow::Result<()> {
        let path = &place.shown().log;
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let log = log.map_err(|error| output::on(error, path))?;
        rustix::stdio::dup2_stderr(&log).context("cannot write the log of the background process")?;
        self.ready.store(true, Ordering::Release);
        let line = serde_json::to_string(place.shown())?;
        output::stdout(|output| writeln!(output, "{line}"))?;
        rustix::stdio::dup2_stdout(&log).context("cannot leave standard output")
    }
}
