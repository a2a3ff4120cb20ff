//! A thread of the generator: it makes calls for the length of a window.

use std::thread;
use std::time::Instant;

use crate::tally::Slot;
use crate::target::{Limit, SLICE, Worker};
use crate::window::Window;

/// What runs on a thread of its own, once for each window.
pub(crate) trait Lane: Send {
    /// Makes calls until the window has no more.
    fn run(&mut self, window: &Window, slot: &Slot);
}

/// A worker, which makes one call after the other.
pub(crate) struct Caller(pub(crate) Box<dyn Worker>);

impl Lane for Caller {
    fn run(&mut self, window: &Window, slot: &Slot) {
        let mut limit = Limit { until: window.end(), cancel: window.cancel.clone() };
        let mut now = Instant::now();
        while let Some(due) = window.next_due(now) {
            if due != now {
                let waited = due > now;
                now = Instant::now();
                while due > now && !window.cancel.is_cancelled() {
                    thread::sleep((due - now).min(SLICE));
                    now = Instant::now();
                }
                // Its time may have been up while it waited, if it was told to stop.
                if due > now || now >= window.end() {
                    return;
                }
                slot.take(due, now, waited);
            }
            limit.until = window.limit(now);
            slot.begin(window, due);
            let result = self.0.call(&limit);
            let ended = Instant::now();
            slot.end(window, due, limit.until, ended, result);
            now = Instant::now();
        }
    }
}
