//! How long it takes until a restored guest has touched its working set again.
//!
//! The fixture puts four files of one size into the guest's memory file system. A restored guest reads one (25 %),
//! another (50 %), then the other two (100 %), into a buffer: what only passed pages on would touch none of them.

use std::io::{self, Read};
use std::time::Instant;

use virtmark_hypervisor::{Error, GuestLink, Machine, Result};
use virtmark_model::{Outcome, Stopwatch};

use super::{Bench, not_restored};
use crate::Ending;
use crate::command::run;
use crate::pace::{Launch, Measured, Task};
use crate::recorder::Recorder;
use crate::trial::Trial;

/// Shares of the working set in percent, with the files that are read to get from the one before to it.
pub(super) const SHARES: [(u32, &[usize]); 3] = [(25, &[0]), (50, &[1]), (100, &[2, 3])];
/// Their phases.
const PHASES: [&str; 3] = ["touch_25", "touch_50", "touch_100"];
/// Files of the working set.
const PARTS: u64 = 4;
/// What one read of the guest takes, and the grain of a file's size.
const BLOCK_BYTES: u64 = 64 << 10;

/// Bytes in guest memory that a restored guest reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkingSet {
    part_bytes: u64,
}

/// Whether the snapshot's content is in the host's memory when it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    Cold,
    Warm,
}

impl WorkingSet {
    /// The working set that was asked for, as far as it leaves the guest memory to live in; none when nothing is left.
    pub(super) fn fitting(bytes: u64, memory_bytes: u64) -> Option<Self> {
        let part_bytes = bytes.min(memory_bytes / 4) / PARTS / BLOCK_BYTES * BLOCK_BYTES;
        (part_bytes > 0).then_some(Self { part_bytes })
    }

    fn bytes(self) -> u64 {
        self.part_bytes * PARTS
    }

    /// Puts it into the guest.
    pub(super) fn write(self, guest: &dyn GuestLink) -> Result<()> {
        for part in 0..PARTS as usize {
            guest.put(&mut Noise::new(part as u64), self.part_bytes, &file(part), 0o600)?;
        }
        Ok(())
    }
}

impl Cache {
    pub(super) const ALL: [Self; 2] = [Self::Warm, Self::Cold];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }

    /// One metric for each of [`SHARES`].
    pub(super) fn metrics(self) -> [&'static str; 3] {
        match self {
            Self::Cold => ["working_set_25_cold", "working_set_50_cold", "working_set_100_cold"],
            Self::Warm => ["working_set_25_warm", "working_set_50_warm", "working_set_100_warm"],
        }
    }
}

impl Bench<'_> {
    /// Restores machines one after the other and has each read the working set. Gives an ending when there is no point
    /// in going on.
    pub(super) fn read_cached(
        &self,
        recorder: &Recorder<'_>,
        working_set: WorkingSet,
        cache: Cache,
    ) -> crate::Result<Option<Ending>> {
        for number in self.block.share(self.restore.plan.working_set_iterations) {
            if self.interrupt.is_requested() {
                return Ok(Some(Ending::Interrupted));
            }
            let launch = Launch::now(format!("working-set-{}-{number}", cache.as_str()));
            let (samples, machine) = self.read_once(launch, working_set, cache);
            let interrupted = self.interrupt.is_requested();
            let permanent = samples.iter().find_map(|sample| sample.trial.permanent_failure());
            // What fails while machines are being ended is no failure of theirs.
            let kept = samples.into_iter().filter(|sample| !(interrupted && sample.failed()));
            let recorded = kept.map(|sample| recorder.record(sample.metric, sample.trial));
            let recorded = recorded.collect::<crate::Result<Vec<()>>>();
            if let Some(mut machine) = machine {
                for sample in self.end(machine.as_mut()) {
                    recorder.record(sample.metric, sample.trial)?;
                }
            }
            recorded?;
            match permanent {
                _ if interrupted => return Ok(Some(Ending::Interrupted)),
                Some((class, message)) => return Ok(Some(Ending::Stopped { class, message })),
                None => {}
            }
        }
        Ok(None)
    }

    fn read_once(
        &self,
        launch: Launch,
        working_set: WorkingSet,
        cache: Cache,
    ) -> (Vec<Measured>, Option<Box<dyn Machine>>) {
        let Launch { name, mut labels, .. } = launch;
        labels.insert("cache".into(), cache.as_str().into());
        labels.insert("working_set_bytes".into(), working_set.bytes().to_string());
        let mut samples = Vec::new();
        // Of a failure, every share that was not reached.
        let fail = |samples: &mut Vec<Measured>, watch: &Stopwatch, step: &str, error: &Error| {
            for metric in &cache.metrics()[samples.len()..] {
                let trial = Trial::failure(watch.clone(), labels.clone(), step, error);
                samples.push(Measured::time(metric, trial));
            }
        };
        if cache == Cache::Cold
            && let Err(error) = self.hypervisor.cool(self.snapshot)
        {
            // No failure of the restore: what was to be measured cannot be had here.
            let skip = |metric| {
                let outcome = Outcome::Skipped { reason: error.to_string() };
                let labels = labels.clone();
                let started = Instant::now();
                let trial = Trial { started, outcome, phases: Vec::new(), labels, is_passing: false };
                Measured::time(metric, trial)
            };
            return (cache.metrics().map(skip).into(), None);
        }
        let mut watch = Stopwatch::start();
        let machine = match self.restore_one(&name, &mut watch) {
            Ok(machine) => machine,
            Err(error) => {
                fail(&mut samples, &watch, "restore", &error);
                return (samples, None);
            }
        };
        for (position, (_, parts)) in SHARES.iter().enumerate() {
            if let Err(error) = self.touch(machine.as_ref(), parts, working_set, &mut watch) {
                fail(&mut samples, &watch, PHASES[position], &error);
                break;
            }
            watch.mark(PHASES[position]);
            let trial = Trial::success(watch.clone(), labels.clone());
            samples.push(Measured::time(cache.metrics()[position], trial));
        }
        (samples, Some(machine))
    }

    fn touch(
        &self,
        machine: &dyn Machine,
        parts: &[usize],
        working_set: WorkingSet,
        watch: &mut Stopwatch,
    ) -> Result<()> {
        let blocks = working_set.part_bytes / BLOCK_BYTES;
        let reads: Vec<String> = parts
            .iter()
            .map(|part| format!("dd if={} of=/dev/null bs={BLOCK_BYTES} count={blocks}", file(*part)))
            .collect();
        let what = || "restoring it and reading its working set".into();
        let output = run(machine, &reads.join(" && "), self.restore.plan.timeout, watch, what)?;
        if output.success() {
            return Ok(());
        }
        let reason = format!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
        Err(not_restored(machine.name(), "read its working set", reason))
    }
}

fn file(part: usize) -> String {
    format!("/dev/shm/virtmark-working-set-{part}")
}

/// Bytes that no page has twice and none of which is zero, the same in every run: xorshift64.
struct Noise {
    state: u64,
    word: [u8; 8],
    left: usize,
}

impl Noise {
    fn new(part: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 ^ (part + 1), word: [0; 8], left: 0 }
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            if self.left == 0 {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.word = self.state.to_le_bytes();
                self.left = self.word.len();
            }
            self.left -= 1;
            *byte = self.word[self.left].max(1);
        }
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_working_set_is_bounded_by_the_guest_and_comes_in_whole_blocks() {
        let bytes = |wanted, memory| WorkingSet::fitting(wanted, memory).map(WorkingSet::bytes);
        assert_eq!(bytes(64 << 20, 1 << 30), Some(64 << 20));
        assert_eq!(bytes(64 << 20, 128 << 20), Some(32 << 20));
        assert_eq!(bytes((1 << 20) + 1, 1 << 30), Some(1 << 20));
        assert_eq!(bytes(0, 1 << 30), None);
        assert_eq!(bytes(1000, 1 << 30), None);
    }

    #[test]
    fn the_files_are_read_once_each() {
        let read: Vec<usize> = SHARES.iter().flat_map(|(_, parts)| parts.iter().copied()).collect();
        assert_eq!(read, (0..PARTS as usize).collect::<Vec<_>>());
        let mut so_far = 0;
        for (percent, parts) in SHARES {
            so_far += parts.len() as u32;
            assert_eq!(percent, so_far * 100 / PARTS as u32);
        }
    }

    #[test]
    fn no_page_is_like_another_and_no_byte_is_zero() {
        let mut pages = BTreeSet::new();
        for part in 0..PARTS {
            let mut bytes = vec![0; 64 << 10];
            Noise::new(part).read_exact(&mut bytes).unwrap();
            assert!(!bytes.contains(&0));
            for page in bytes.chunks(4096) {
                assert!(pages.insert(page.to_vec()), "a page occurs twice");
            }
        }
    }
}
