//! `spin`: a fixed amount of calculation, and hands its input on. The amount is in rounds and not in time, so that a
//! processor that is shared or slow takes longer for it, as for any work.

use std::hint::black_box;

use super::Site;
use crate::batch::Schema;
use crate::json::Fault;

/// Most rounds: some seconds.
const MAX_ROUNDS: u64 = 10_000_000_000;

#[derive(Debug)]
pub(crate) struct Spin {
    rounds: u64,
}

impl Spin {
    pub(super) fn read(site: &Site<'_>) -> Result<(Self, Schema), Fault> {
        site.only(&["rounds"])?;
        let schema = site.input_or_none("spin")?;
        let rounds = site.at.required("rounds", "how many rounds of calculation")?.count(0, MAX_ROUNDS)?;
        Ok((Self { rounds }, schema))
    }

    /// Each round is a step of SplitMix64 whose input is the output of the one before it, so no round can be left out
    /// and no two can overlap.
    pub(super) fn run(&self) {
        let mut state = black_box(self.rounds);
        for _ in 0..self.rounds {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^= state >> 31;
        }
        black_box(state);
    }
}
