//! What Ctrl-C does to a measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use virtmark_host::process::kill_all_children;
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::Cancel;

use crate::exit::Exit;
use crate::progress::Progress;

/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Between two looks for machines that were being launched when the stop was asked for.
const AGAIN: Duration = Duration::from_millis(100);

/// The user's wish to stop, as a scenario sees it. While this lives, that wish also ends all machines, so that no
/// call waits for a guest that nobody wants any more.
pub(crate) struct Stop {
    interrupt: Interrupt,
    over: Arc<AtomicBool>,
}

impl Stop {
    pub(crate) fn watch(interrupt: Interrupt, progress: Progress) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Self { interrupt: interrupt.clone(), over: Arc::clone(&over) };
        thread::Builder::new().name("stop".into()).spawn(move || {
            while !interrupt.wait_timeout(FOREVER) {}
            if !over.load(Ordering::SeqCst) {
                progress.note("stopping; what was measured is kept (Ctrl-C again ends at once)");
            }
            while !over.load(Ordering::SeqCst) {
                kill_all_children();
                thread::sleep(AGAIN);
            }
        })?;
        Ok(stop)
    }

    /// The exit that the user's signal asks for, if there was one.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.interrupt.signal().map(Exit::Signaled)
    }
}

/// Gives everything up with the first Ctrl-C, and says so.
pub(crate) fn cancel_on(
    interrupt: &Interrupt,
    words: &'static str,
    progress: &Progress,
) -> anyhow::Result<Cancel> {
    let cancel = Cancel::new();
    let (interrupt, progress, same) = (interrupt.clone(), progress.clone(), cancel.clone());
    let watch = move || {
        while !interrupt.wait_timeout(FOREVER) {}
        progress.note(&format!("{words} (Ctrl-C again ends at once)"));
        same.cancel();
    };
    thread::Builder::new().name("stop".into()).spawn(watch).context("cannot listen for signals")?;
    Ok(cancel)
}

impl virtmark_scenarios::Interrupt for Stop {
    fn is_requested(&self) -> bool {
        self.interrupt.requested()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.interrupt.wait_timeout(timeout)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
