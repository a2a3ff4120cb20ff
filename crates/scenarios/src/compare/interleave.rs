//! Two configurations that take turns, each with a run of its own.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use virtmark_model::{Run, RunId, Sample};

use super::figures::BLOCK;
use crate::{Ending, Interrupt, Plan, Progress, Result, Sink};

/// Which side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    A,
    /// What is compared.
    B,
}

/// Why two runs took turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// One configuration against itself.
    Aa,
    /// Two configurations.
    Compare,
}

/// What a run's configuration says, under `interleaved`, of the run that it took turns with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interleaved {
    /// The other run.
    pub partner: RunId,
    /// Which side this run is.
    pub side: Side,
    /// Blocks of each side.
    pub blocks: u32,
    /// Why they took turns.
    pub purpose: Purpose,
}

impl Interleaved {
    /// What a run says of its partner, if it has one.
    pub fn of(run: &Run) -> Option<Self> {
        Self::deserialize(run.configuration.get("interleaved")?).ok()
    }

    /// The record of run A, if the two took turns with each other.
    pub fn pair(a: &Run, b: &Run) -> Option<Self> {
        let (of_a, of_b) = (Self::of(a)?, Self::of(b)?);
        (of_a.partner == b.id && of_b.partner == a.id).then_some(of_a)
    }
}

/// What one side does in one of its blocks.
pub struct Turn<'a> {
    /// Where its samples go: each gets the number of its block as label, and its place in the run.
    pub sink: &'a mut dyn Sink,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// Machines of this block.
    pub iterations: u32,
    /// Machines before them that are not recorded; only a side's first block has any.
    pub warmup: u32,
    /// The start of both runs.
    pub started: Instant,
}

/// Lets two sides take turns: A B, B A, A B, …, so that a machine that grows slower evenly favours neither.
///
/// `iterations` and `warmup` are those of each side; blocks differ in length by one at most, and there are no more of
/// them than iterations.
///
/// # Errors
/// When a sample cannot be kept.
pub fn interleave(
    (blocks, iterations, warmup): (u32, u32, u32),
    sinks: [&mut dyn Sink; 2],
    progress: &dyn Progress,
    interrupt: &dyn Interrupt,
    mut turn: impl FnMut(Side, Turn<'_>) -> Result<Ending>,
) -> Result<Ending> {
    let blocks = blocks.clamp(1, iterations.max(1));
    let (length, longer) = (iterations / blocks, iterations % blocks);
    progress.begin(Plan { warmups: 2 * u64::from(warmup), samples: 2 * u64::from(iterations) });
    let inner = Continued(progress);
    let started = Instant::now();
    let [mut a, mut b] = sinks.map(|sink| Blocks { sink, block: 0, next_seq: 0 });
    for block in 0..blocks {
        let mut order = [Side::A, Side::B];
        if block % 2 == 1 {
            order.reverse();
        }
        for side in order {
            if interrupt.is_requested() {
                return Ok(Ending::Interrupted);
            }
            let sink = match side {
                Side::A => &mut a,
                Side::B => &mut b,
            };
            sink.block = block;
            let ending = turn(
                side,
                Turn {
                    sink,
                    progress: &inner,
                    iterations: length + u32::from(block < longer),
                    warmup: if block == 0 { warmup } else { 0 },
                    started,
                },
            )?;
            if ending != Ending::Complete {
                return Ok(ending);
            }
        }
    }
    Ok(Ending::Complete)
}

/// One run's samples, out of many blocks that each count from 0.
struct Blocks<'a> {
    sink: &'a mut dyn Sink,
    block: u32,
    next_seq: u64,
}

impl Sink for Blocks<'_> {
    fn record(&mut self, sample: &Sample) -> virtmark_archive::Result<()> {
        let mut sample = Sample { seq: self.next_seq, ..sample.clone() };
        sample.labels.insert(BLOCK.into(), self.block.to_string());
        self.sink.record(&sample)?;
        self.next_seq += 1;
        Ok(())
    }
}

/// The progress of a part, which begins nothing anew.
struct Continued<'a>(&'a dyn Progress);

impl Progress for Continued<'_> {
    fn begin(&self, _: Plan) {}

    fn warmed_up(&self) {
        self.0.warmed_up();
    }

    fn recorded(&self, sample: &Sample) {
        self.0.recorded(sample);
    }

    fn live(&self, words: &str) {
        self.0.live(words);
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}
