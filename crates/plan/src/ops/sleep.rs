//! `sleep`: waits, and hands its input on. Stands for waiting as such, in plans that measure the scheduler.

use std::thread;
use std::time::Duration;

use super::Site;
use crate::batch::Schema;
use crate::json::Fault;
use crate::problem::Problem;

/// Longest sleep, in milliseconds.
const MAX_MS: f64 = 60_000.0;

#[derive(Debug)]
pub(crate) struct Sleep {
    duration: Duration,
}

impl Sleep {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["duration_ms"])?;
        let schema = site.input_or_none("sleep")?;
        let at = site.at.required("duration_ms", "milliseconds")?;
        let duration_ms = at.number()?;
        if !(0.0..=MAX_MS).contains(&duration_ms) {
            let expected = format!("milliseconds from 0 to {MAX_MS}");
            return Err(at.fault(Problem::OutOfRange { found: at.value.to_string(), expected }));
        }
        Ok((Self { duration: Duration::from_secs_f64(duration_ms / 1e3) }, schema))
    }

    pub(super) fn run(&self) {
        thread::sleep(self.duration);
    }
}
