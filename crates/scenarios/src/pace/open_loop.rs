//! Launches at moments that are fixed beforehand, as users come: whether the machines before are ready or not.
//!
//! As many threads wait as machines may be alive. Each idle one holds the next arrival and sleeps until its moment, so
//! that a launch needs nobody else to be awake; the time counts from the intended moment, and how late the thread was is
//! its first phase, `lag`. A thread is idle again when its machine is gone. An arrival that no thread held at its moment
//! came when all machines were alive: it is a failure, counted as dropped.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::Error;
use virtmark_model::{FailureClass, Stopwatch};

use super::Arrivals;
use super::drive::{Drive, Launch, Measured, Slot, Tally, Task, sleep_until};
use super::report::LAG;
use super::waves::Gate;
use crate::{Ending, Result};

/// Between the last thread's start and the first arrival, so that all of them wait when it comes.
const HEAD_START: Duration = Duration::from_millis(50);

impl<T: Task> Drive<'_, T> {
    pub(super) fn open_loop(&self) -> Result<Ending> {
        let Some(arrivals) = self.pace.arrivals else {
            let message = "cannot launch machines in open-loop mode without a rate and a duration".into();
            return Ok(Ending::Stopped { class: FailureClass::Other, message });
        };
        let mut tally = Tally::default();
        let abandoned = AtomicBool::new(false);
        let mut note = |slot| {
            if tally.note(slot, self.interrupt) {
                abandoned.store(true, Ordering::Relaxed);
            }
        };
        let threads = self.pace.width().get();
        let queue =
            Queue { next: Mutex::new(0), count: self.pace.iterations.get(), arrivals, gate: Gate::default() };
        let (slots, results) = mpsc::channel();
        thread::scope(|scope| {
            for thread in 0..threads {
                let slots = slots.clone();
                let (queue, abandoned) = (&queue, &abandoned);
                let name = format!("arrivals-{thread}");
                let spawned = thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, move || self.serve(queue, abandoned, &slots));
                if let Err(error) = spawned {
                    self.progress.warn(&fewer_threads(thread, threads, &error));
                    if thread == 0 {
                        queue.gate.open();
                        note(Slot::from(self.keep(vec![self.without_any_thread(queue, error)])));
                    }
                    break;
                }
            }
            drop(slots);
            queue.gate.open();
            for event in results {
                note(match event {
                    Event::Slot(slot) => slot,
                    Event::Missed(number) => Slot::from(self.keep(vec![self.missed(number, &queue)])),
                });
            }
        });
        let ending = tally.finish()?;
        Ok(ending.unwrap_or(Ending::Complete))
    }

    /// Takes arrivals until there are no more.
    fn serve(&self, queue: &Queue, abandoned: &AtomicBool, events: &mpsc::Sender<Event>) {
        // The receiver outlives all threads of the scope.
        let tell = |event| {
            let _ = events.send(event);
        };
        let wanted = || !abandoned.load(Ordering::Relaxed);
        while wanted() && !self.interrupt.is_requested() {
            let (missed, taken) = queue.take();
            // Kept by the thread that waits for all of them: this one may have an arrival to wait for.
            missed.for_each(|number| tell(Event::Missed(number)));
            let Some(number) = taken else { return };
            let intended = queue.at(number);
            if !sleep_until(intended, self.interrupt, wanted) {
                break;
            }
            let mut watch = Stopwatch::start_at(intended);
            watch.mark(LAG);
            let attempt = self.task.attempt(Launch::labelled(self.machine_name(number), watch, []));
            tell(Event::Slot(match attempt.samples {
                Some(samples) => Slot::from(self.keep(samples)),
                None => Slot::Dropped,
            }));
            if let Some(mut machine) = attempt.machine
                && let Err(error) = self.end(machine.as_mut())
            {
                tell(Event::Slot(Slot::Unkept(error)));
            }
        }
        tell(Event::Slot(Slot::Dropped));
    }

    /// The failure of an arrival for which there was no room.
    fn missed(&self, number: u32, queue: &Queue) -> Measured {
        let name = self.machine_name(number);
        let action = format!("launch {name} at its moment");
        let alive = self.pace.width();
        let reason =
            format!("as many machines as may be were alive ({alive}); raise --concurrency or lower --rate");
        let error = Error::Io { action, source: io::Error::other(reason) };
        let watch = Stopwatch::start_at(queue.at(number));
        Launch::labelled(name, watch, [("dropped".into(), "true".into())]).refused(self.task.metric(), &error)
    }

    /// The failure of the first arrival when the host refused every thread.
    fn without_any_thread(&self, queue: &Queue, error: io::Error) -> Measured {
        let action = "start a thread for arrivals (use a smaller --concurrency)".into();
        let launch = Launch::labelled(self.machine_name(0), Stopwatch::start_at(queue.at(0)), []);
        launch.refused(self.task.metric(), &Error::Io { action, source: error })
    }
}

/// What a thread tells the one that waits for all.
enum Event {
    Slot(Slot),
    /// The arrival with this number found no thread.
    Missed(u32),
}

/// The arrivals that nobody has taken yet.
struct Queue {
    next: Mutex<u32>,
    count: u32,
    arrivals: Arrivals,
    /// Opens when all threads are started; the first arrival comes [`HEAD_START`] later.
    gate: Gate,
}

impl Queue {
    /// The moment of an arrival; waits for the gate.
    fn at(&self, number: u32) -> Instant {
        self.gate.wait() + HEAD_START + self.arrivals.offset(number)
    }

    /// The arrivals that were to come before now, and the next to come, if there is one.
    fn take(&self) -> (std::ops::Range<u32>, Option<u32>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *next;
        let now = Instant::now();
        while *next < self.count && self.at(*next) < now {
            *next += 1;
        }
        let missed = first..*next;
        let taken = (*next < self.count).then_some(*next);
        *next += u32::from(taken.is_some());
        (missed, taken)
    }
}

fn fewer_threads(started: u32, wanted: u32, error: &io::Error) -> String {
    format!("{started} machines can be alive at once, not {wanted}: cannot start another thread: {error}")
}
