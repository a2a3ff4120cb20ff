//! What drives a task through its machines, and what it needs of the task.

use std::collections::BTreeMap;
use std::time::Instant;

use virtmark_hypervisor::{Error, Machine};
use virtmark_model::{FailureClass, Outcome, Stopwatch, Unit};

use super::{Mode, Pace};
use crate::recorder::Recorder;
use crate::trial::Trial;
use crate::{Block, Ending, Interrupt, Progress, Result};

/// What is done with each machine; how the machines follow each other is not its business. Called from many threads.
pub(crate) trait Task: Sync {
    /// What machines are called before their number.
    fn name(&self) -> &'static str;

    /// The metric that stands for a whole attempt, and so for one that could not even begin.
    fn metric(&self) -> &'static str;

    /// Makes a machine and measures it, without its end.
    fn attempt(&self, launch: Launch) -> Attempt;

    /// Ends a machine, outside of any time; gives what is to be kept of it.
    fn end(&self, machine: &mut dyn Machine) -> Vec<Measured>;
}

/// The beginning of an attempt.
pub(crate) struct Launch {
    /// The machine's name.
    pub(crate) name: String,
    /// Runs since the attempt was to begin.
    pub(crate) watch: Stopwatch,
    /// What tells the attempt from others: its machine, its wave.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What an attempt leaves behind.
pub(crate) struct Attempt {
    /// What was measured; none when the user stopped it in the middle.
    pub(crate) samples: Option<Vec<Measured>>,
    /// The machine, as far as one was made and is still there.
    pub(crate) machine: Option<Box<dyn Machine>>,
}

/// One value on its way to the sink.
pub(crate) struct Measured {
    pub(crate) metric: &'static str,
    pub(crate) unit: Unit,
    pub(crate) trial: Trial,
}

impl Launch {
    /// An attempt that begins now.
    pub(crate) fn now(name: String) -> Self {
        Self::labelled(name, Stopwatch::start(), [])
    }

    pub(super) fn labelled<const N: usize>(
        name: String,
        watch: Stopwatch,
        labels: [(String, String); N],
    ) -> Self {
        let mut labels = BTreeMap::from(labels);
        labels.insert("machine".into(), name.clone());
        Self { name, watch, labels }
    }

    /// An attempt that fails before it can begin.
    pub(super) fn refused(self, metric: &'static str, error: &Error) -> Measured {
        Measured::time(metric, Trial::failure(self.watch, self.labels, "launch", error))
    }
}

impl Measured {
    /// A time.
    pub(crate) fn time(metric: &'static str, trial: Trial) -> Self {
        Self { metric, unit: Unit::Ns, trial }
    }

    pub(crate) fn failed(&self) -> bool {
        self.trial.outcome.failure().is_some()
    }
}

/// Drives a task through its machines.
pub(crate) struct Drive<'a, T> {
    pub(crate) task: &'a T,
    pub(crate) pace: &'a Pace,
    /// Which of the machines; part of them only in sequential mode.
    pub(crate) block: Block,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) interrupt: &'a dyn Interrupt,
    pub(crate) recorder: &'a Recorder<'a>,
}

impl<T: Task> Drive<'_, T> {
    /// The warm-ups and then all machines of the block. Every sample is kept before its machine ends, and no machine is
    /// left when this returns.
    pub(crate) fn run(&self) -> Result<Ending> {
        if self.pace.mode.is_concurrent() && self.block != Block::WHOLE {
            let message = "cannot measure machines in blocks that are to be alive at once".into();
            return Ok(Ending::Stopped { class: FailureClass::Other, message });
        }
        if self.block.is_first()
            && let Some(ending) = self.warm_up()?
        {
            return Ok(ending);
        }
        match self.pace.mode {
            Mode::Burst | Mode::Staggered => self.waves(),
            Mode::OpenLoop => self.open_loop(),
            Mode::Sequential => self.sequential(),
        }
    }

    /// Keeps what was measured; gives the failure that the next attempt could not but repeat.
    pub(super) fn keep(&self, samples: Vec<Measured>) -> Result<Option<(FailureClass, String)>> {
        let permanent = permanent(&samples);
        for sample in samples {
            let Trial { started, outcome, phases, labels, .. } = sample.trial;
            self.recorder.keep(sample.metric, sample.unit, started, outcome, phases, labels)?;
        }
        Ok(permanent)
    }

    /// Ends a machine and keeps what that came to.
    pub(super) fn end(&self, machine: &mut dyn Machine) -> Result<()> {
        self.keep(self.task.end(machine)).map(|_| ())
    }

    pub(super) fn machine_name(&self, number: u32) -> String {
        format!("{}-{number}", self.task.name())
    }
}

/// The failure among them that the next attempt could not but repeat.
pub(super) fn permanent(samples: &[Measured]) -> Option<(FailureClass, String)> {
    samples.iter().find_map(|sample| sample.trial.permanent_failure())
}

/// The message of the first failure among them.
pub(super) fn failure(samples: &[Measured]) -> Option<&str> {
    samples.iter().find_map(|sample| match &sample.trial.outcome {
        Outcome::Failure { message, .. } => Some(message.as_str()),
        Outcome::Skipped { .. } | Outcome::Success { .. } => None,
    })
}

/// How several threads tell the one that waits for them what became of their machines.
pub(super) enum Slot {
    /// Measured or failed, and recorded; what the failure was when the next could not but repeat it.
    Recorded { permanent: Option<(FailureClass, String)> },
    /// Never launched, or stopped by the user.
    Dropped,
    /// Its sample could not be kept.
    Unkept(crate::Error),
}

impl From<Result<Option<(FailureClass, String)>>> for Slot {
    fn from(kept: Result<Option<(FailureClass, String)>>) -> Self {
        match kept {
            Ok(permanent) => Self::Recorded { permanent },
            Err(error) => Self::Unkept(error),
        }
    }
}

/// What the slots seen so far mean for the run.
#[derive(Default)]
pub(super) struct Tally {
    ending: Option<Ending>,
    unkept: Option<crate::Error>,
}

impl Tally {
    /// Notes a slot, and says whether there is no point in further launches.
    pub(super) fn note(&mut self, slot: Slot, interrupt: &dyn Interrupt) -> bool {
        match slot {
            Slot::Dropped => {
                if interrupt.is_requested() {
                    self.ending = Some(Ending::Interrupted);
                }
                false
            }
            Slot::Recorded { permanent: Some((class, message)) } => {
                self.ending.get_or_insert(Ending::Stopped { class, message });
                true
            }
            Slot::Recorded { permanent: None } => false,
            Slot::Unkept(error) => {
                self.unkept.get_or_insert(error);
                true
            }
        }
    }

    /// The ending that it comes to; none when the run can go on.
    pub(super) fn finish(self) -> Result<Option<Ending>> {
        match self.unkept {
            Some(error) => Err(error),
            None => Ok(self.ending),
        }
    }
}

/// Sleeps until `at` or until nobody wants the launch any more, and says whether it is still wanted.
///
/// The last piece is a plain sleep: whatever the interrupt waits with is woken later than the kernel's timer.
pub(super) fn sleep_until(at: Instant, interrupt: &dyn Interrupt, wanted: impl Fn() -> bool) -> bool {
    use std::time::Duration;
    const LONGEST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_millis(5);
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if !wanted() || interrupt.is_requested() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        if left > LAST {
            interrupt.wait((left - LAST).min(LONGEST));
        } else {
            std::thread::sleep(left);
        }
    }
}
