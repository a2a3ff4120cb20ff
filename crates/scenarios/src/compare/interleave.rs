//! Two configurations that take turns, each with a run of its own.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use virtmark_model::{Run, RunId, Sample};

use super::figures::BLOCK;
use crate::{Block, Ending, Interrupt, Plan, Progress, Result, Sink};

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
    /// Which block it is.
    pub block: Block,
    /// Where its samples go: each gets the number of its block as label, and its place in the run.
    pub sink: &'a mut dyn Sink,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// The start of both runs.
    pub started: Instant,
}

/// Lets two sides take turns: A B, B A, A B, …, so that a machine that grows slower evenly favours neither.
///
/// `blocks` are those of each side, at least one; `plan` is what both sides are going to do.
///
/// # Errors
/// When a sample cannot be kept.
pub fn interleave(
    blocks: u32,
    plan: Plan,
    sinks: [&mut dyn Sink; 2],
    progress: &dyn Progress,
    interrupt: &dyn Interrupt,
    mut turn: impl FnMut(Side, Turn<'_>) -> Result<Ending>,
) -> Result<Ending> {
    progress.begin(plan);
    let inner = Continued(progress);
    let started = Instant::now();
    let [mut a, mut b] = sinks.map(|sink| Blocks { sink, block: Block::WHOLE, next_seq: 0 });
    for block in Block::all(blocks) {
        let mut order = [Side::A, Side::B];
        if block.number() % 2 == 1 {
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
            let ending = turn(side, Turn { block, sink, progress: &inner, started })?;
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
    block: Block,
    next_seq: u64,
}

impl Sink for Blocks<'_> {
    fn record(&mut self, sample: &Sample) -> virtmark_archive::Result<()> {
        let mut sample = Sample { seq: self.next_seq, ..sample.clone() };
        sample.labels.insert(BLOCK.into(), self.block.number().to_string());
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
