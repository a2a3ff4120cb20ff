//! Ctrl-C and its kin: the first asks a run to stop, the second ends everything at once.

use std::io;
use std::process::exit;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::process::kill_all_children;
use crate::rundir::remove_live;

/// Exit code of a program that was told to stop twice.
pub const STOPPED_TWICE_EXIT_CODE: i32 = 25;

/// Signals this close to the first are the same wish: a closed terminal sends SIGHUP itself, and so does its shell.
const SAME_WISH: Duration = Duration::from_millis(200);

/// Whether the run has been asked to stop; clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The signal that asked first.
    signal: Mutex<Option<i32>>,
    asked: Condvar,
}

/// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the process.
///
/// The first one is told by the returned [`Interrupt`]. The second one kills all children, removes the run
/// directories and exits with [`STOPPED_TWICE_EXIT_CODE`]. A signal that was ignored when the program was started
/// stays ignored, as under nohup(1) and in the background of a script. To be called before other threads care; called
/// again, it gives the same answer.
///
/// # Errors
///
/// When a handler or the thread that acts on signals cannot be made.
pub fn install() -> io::Result<Interrupt> {
    static INSTALLED: Mutex<Option<Interrupt>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*installed {
        Some(interrupt) => Ok(interrupt.clone()),
        None => Ok(installed.insert(take_over()?).clone()),
    }
}

fn take_over() -> io::Result<Interrupt> {
    let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted)?;
    let interrupt = Interrupt::default();
    thread::Builder::new().name("signals".into()).spawn({
        let interrupt = interrupt.clone();
        move || {
            let mut first = None;
            for signal in signals.forever() {
                let first = first.get_or_insert_with(Instant::now);
                interrupt.request(signal);
                if first.elapsed() > SAME_WISH {
                    kill_all_children();
                    remove_live();
                    exit(STOPPED_TWICE_EXIT_CODE);
                }
            }
        }
    })?;
    Ok(interrupt)
}

impl Interrupt {
    /// One that no signal reaches; it can still be asked by [`Interrupt::request`].
    pub fn never() -> Self {
        Self::default()
    }

    /// Whether the run is to stop.
    pub fn requested(&self) -> bool {
        self.signal().is_some()
    }

    /// The number of the signal that asked first.
    pub fn signal(&self) -> Option<i32> {
        *self.lock()
    }

    /// The name of the signal that asked first: `SIGINT`.
    pub fn signal_name(&self) -> Option<&'static str> {
        self.signal().and_then(signal_name)
    }

    /// Asks the run to stop as this signal would; a run that was asked already stays asked by the first.
    pub fn request(&self, signal: i32) {
        self.lock().get_or_insert(signal);
        self.shared.asked.notify_all();
    }

    /// Waits so long, or until the run is to stop, and says whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let asked = &self.shared.asked;
        let result = asked.wait_timeout_while(self.lock(), timeout, |signal| signal.is_none());
        result.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<i32>> {
        self.shared.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bit n-1 for signal n (`SigIgn` of proc_pid_status(5)).
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_asked_and_not_before() {
        let interrupt = Interrupt::never();
        let started = Instant::now();
        assert!(!interrupt.wait_timeout(Duration::from_millis(20)));
        assert!(started.elapsed() >= Duration::from_millis(20));
        let waiter = thread::spawn({
            let interrupt = interrupt.clone();
            move || interrupt.wait_timeout(Duration::from_secs(60))
        });
        interrupt.request(SIGTERM);
        interrupt.request(SIGINT);
        assert!(waiter.join().unwrap());
        assert_eq!(interrupt.signal_name(), Some("SIGTERM"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored_signals("Name:\tx\nSigIgn:\t0000000000000003\nSigCgt:\tff\n"), 0b11);
        assert_eq!(ignored_signals(""), 0);
    }
}
