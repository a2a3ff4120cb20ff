//! Scenarios in parts: blocks of their samples, with something else in between.

use std::ops::Range;

use virtmark_hypervisor::Hypervisor;

use crate::{Context, Ending, Plan, Result};

/// A part of a scenario. Blocks of one scenario follow each other in their order, the first one before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    number: u32,
    count: u32,
}

/// A scenario that can be measured in blocks. What a machine needs before it can be measured, such as a snapshot, each
/// block makes for itself and leaves nothing of: blocks share no more than two runs would.
pub trait Blockwise {
    /// How much there is to do in all blocks together, as far as it is known beforehand.
    fn size(&self, hypervisor: &dyn Hypervisor) -> Plan;

    /// Measures one block. Every sample is in the sink before the next measurement starts, and nothing is left of the
    /// machines when this returns.
    ///
    /// The first block has the warm-ups, and says what cannot be measured on this platform.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    fn measure(&self, block: Block, context: Context<'_>) -> Result<Ending>;

    /// Measures everything.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    fn run(&self, context: Context<'_>) -> Result<Ending> {
        context.progress.begin(self.size(context.hypervisor));
        self.measure(Block::WHOLE, context)
    }
}

impl Block {
    /// The only block of a scenario that is not cut.
    pub const WHOLE: Self = Self { number: 0, count: 1 };

    /// So many blocks in their order, at least one.
    pub fn all(count: u32) -> impl Iterator<Item = Self> {
        let count = count.max(1);
        (0..count).map(move |number| Self { number, count })
    }

    /// Its place, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// Whether no other comes before it.
    pub fn is_first(self) -> bool {
        self.number == 0
    }

    /// Which of so many attempts are made in it. Blocks differ in length by one at most, the longer ones first.
    pub fn share(self, attempts: u32) -> Range<u32> {
        let (length, longer) = (attempts / self.count, attempts % self.count);
        let first = self.number * length + self.number.min(longer);
        first..first + length + u32::from(self.number < longer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_is_one_block() {
        assert_eq!(Block::WHOLE.share(7), 0..7);
        assert_eq!(Block::all(0).collect::<Vec<_>>(), [Block::WHOLE]);
        assert!(Block::WHOLE.is_first());
    }

    proptest! {
        #[test]
        fn every_attempt_is_in_one_block_and_none_is_much_longer(count in 1..60u32, attempts in 0..500u32) {
            let shares: Vec<_> = Block::all(count).map(|block| block.share(attempts)).collect();
            prop_assert_eq!(shares.len(), count as usize);
            prop_assert_eq!(shares.iter().cloned().flatten().collect::<Vec<_>>(), (0..attempts).collect::<Vec<_>>());
            let lengths: Vec<usize> = shares.into_iter().map(|share| share.len()).collect();
            prop_assert!(lengths.is_sorted_by(|one, next| one >= next) && lengths[0] - lengths[lengths.len() - 1] <= 1);
        }
    }
}
