//! How long something may take, and whether anybody still wants it.

use std::time::{Duration, Instant};

use virtmark_hypervisor::Cancel;

/// How long something may take, and whether anybody still wants it.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// When it is given up; none for never.
    pub deadline: Option<Instant>,
    /// The user's wish to stop.
    pub cancel: Cancel,
}

impl Limit {
    /// From now on so long; none for as long as it takes.
    pub fn within(time: Option<Duration>, cancel: &Cancel) -> Self {
        // A time beyond what the clock can tell is no limit.
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Self { deadline, cancel: cancel.clone() }
    }

    /// What is left of it; none where there is no limit.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the time has passed.
    pub fn passed(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// The same, but not beyond `time` from now.
    pub fn at_most(&self, time: Duration) -> Self {
        let cap = Instant::now().checked_add(time);
        let deadline = match (self.deadline, cap) {
            (Some(deadline), Some(cap)) => Some(deadline.min(cap)),
            (deadline, cap) => deadline.or(cap),
        };
        Self { deadline, cancel: self.cancel.clone() }
    }
}
