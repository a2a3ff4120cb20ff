//! What recording took.

use std::fmt;
use std::time::Duration;

/// What was recorded of one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineSummary {
    /// Its name.
    pub name: String,
    /// From attaching to detaching.
    pub followed: Duration,
    /// Values that it told.
    pub values: u64,
    /// Questions that were not asked because the answer to the one before was still due.
    pub skipped_questions: u64,
}

/// What recording took, all in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Ticks at which machines were looked at.
    pub ticks: u64,
    /// Ticks that were left out because the recording thread did not run in time.
    pub missed_ticks: u64,
    /// Machines that were followed.
    pub machines: u64,
    /// For how long, added up over all machines.
    pub followed: Duration,
    /// Samples that the store took.
    pub samples: u64,
    /// Samples that it did not take.
    pub rejected: u64,
    /// Questions that were not asked because the answer to the one before was still due.
    pub skipped_questions: u64,
    /// CPU time of the recording thread and of those that ask. The work of those who answer is not in it.
    pub cpu: Duration,
    /// Bytes of the store.
    pub store_bytes: u64,
}

impl Summary {
    /// The share of one CPU that following one machine took: CPU time for each second that a machine was followed. `None`
    /// when there was no machine.
    pub fn cpu_per_machine(&self) -> Option<f64> {
        let seconds = self.followed.as_secs_f64();
        (seconds > 0.0).then(|| self.cpu.as_secs_f64() / seconds)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines = if self.machines == 1 { "machine" } else { "machines" };
        write!(
            f,
            "recorded {} {machines} for {:.1} machine-seconds in {} ticks: {} samples into {:.1} MiB, {:.1} ms of CPU",
            self.machines,
            self.followed.as_secs_f64(),
            self.ticks,
            self.samples,
            self.store_bytes as f64 / f64::from(1 << 20),
            self.cpu.as_secs_f64() * 1e3,
        )?;
        if let Some(share) = self.cpu_per_machine() {
            write!(f, " ({:.3} % of one for each machine)", share * 100.0)?;
        }
        for (count, what) in [
            (self.missed_ticks, "ticks missed"),
            (self.rejected, "samples rejected"),
            (self.skipped_questions, "questions skipped, answers being late"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_a_machine_costs_and_what_went_wrong() {
        let mut summary = Summary {
            ticks: 45,
            machines: 1,
            followed: Duration::from_secs(45),
            samples: 1350,
            cpu: Duration::from_millis(9),
            store_bytes: 3 << 20,
            ..Summary::default()
        };
        assert_eq!(
            summary.to_string(),
            "recorded 1 machine for 45.0 machine-seconds in 45 ticks: 1350 samples into 3.0 MiB, 9.0 ms of CPU \
             (0.020 % of one for each machine)"
        );
        summary.missed_ticks = 2;
        assert!(summary.to_string().ends_with("; 2 ticks missed"));
        assert_eq!(Summary::default().cpu_per_machine(), None);
    }
}
