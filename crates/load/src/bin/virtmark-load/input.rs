//! Where the job comes from, and what ends the run early.

use std::fs;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use virtmark_load::Cancel;

/// Longest job; a plan is a part of it.
const MAX_JOB_BYTES: u64 = 64 * 1024 * 1024;

/// A job, still as text.
pub(crate) struct Input {
    pub(crate) job: String,
    /// The end of standard input ends the run.
    is_stdin: bool,
}

impl Input {
    /// The first line of standard input.
    pub(crate) fn stdin() -> Result<Self, String> {
        let mut job = String::new();
        let read = io::stdin().lock().take(MAX_JOB_BYTES).read_line(&mut job);
        read.map_err(|error| format!("cannot read the job from standard input: {error}"))?;
        Ok(Self { job, is_stdin: true })
    }

    /// A whole file.
    pub(crate) fn file(path: &str) -> Result<Self, String> {
        let job =
            fs::read_to_string(path).map_err(|error| format!("cannot read the job from {path}: {error}"))?;
        Ok(Self { job, is_stdin: false })
    }

    /// Has the run told to stop by SIGTERM, by SIGINT, or by the end of standard input.
    pub(crate) fn watch(&self, cancel: &Cancel) -> io::Result<()> {
        let signalled: Arc<AtomicBool> = cancel.flag();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        if self.is_stdin {
            let cancel = cancel.clone();
            thread::Builder::new().name("stdin".into()).spawn(move || {
                wait_for_end(&mut io::stdin().lock());
                cancel.cancel();
            })?;
        }
        Ok(())
    }
}

/// What follows the job says nothing.
fn wait_for_end(stdin: &mut impl Read) {
    let mut ignored = [0; 4096];
    loop {
        match stdin.read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(20))
            }
            Err(_) => return,
        }
    }
}
