//! A client outside of a guest that is moved: it asks the guest's agent every millisecond.
//!
//! It asks through the link that the machine has before it moves, which ends with the process that the machine leaves. The
//! first answer from where the machine went is heard by the platform, which opens the next link.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use virtmark_hypervisor::GuestLink;

const EVERY: Duration = Duration::from_millis(1);

/// Asks until it is told to stop, or its link ends.
pub(super) struct Outside {
    over: Arc<AtomicBool>,
    asking: JoinHandle<Heard>,
}

/// What it heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) answers: u64,
    /// None when nothing was ever answered.
    pub(super) last_at: Option<Instant>,
    /// Between two answers.
    pub(super) largest_gap: Duration,
}

impl Outside {
    pub(super) fn start(guest: Arc<dyn GuestLink>) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let asking = thread::Builder::new().name("outside".into()).spawn({
            let over = Arc::clone(&over);
            move || ask(&*guest, &over)
        })?;
        Ok(Self { over, asking })
    }

    /// Ends it, and gives what it heard.
    pub(super) fn finish(self) -> Heard {
        self.over.store(true, Ordering::SeqCst);
        // It has nothing to panic at; one that did has heard nothing.
        self.asking.join().unwrap_or_default()
    }
}

fn ask(guest: &dyn GuestLink, over: &AtomicBool) -> Heard {
    let mut heard = Heard::default();
    let mut due = Instant::now();
    while !over.load(Ordering::SeqCst) && guest.clock().is_ok() {
        let now = Instant::now();
        if let Some(last) = heard.last_at {
            heard.largest_gap = heard.largest_gap.max(now - last);
        }
        heard.answers += 1;
        heard.last_at = Some(now);
        // A question that comes late does not make the next one come earlier.
        due = (due + EVERY).max(now);
        thread::sleep(due.saturating_duration_since(now));
    }
    heard
}
