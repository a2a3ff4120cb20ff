//! The order in which steps and their repetitions are run.

use rand_core::Rng;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Order, Suite};

/// One repetition of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// Position of the step in the file, from 1.
    pub step: u32,
    /// Which time it is run, from 1.
    pub repetition: u32,
}

impl Suite {
    /// Every step as often as asked, in the suite's order. `drawn_seed` decides where the order is random and the file
    /// names no seed; the same seed gives the same order.
    pub fn schedule(&self, drawn_seed: u64) -> Vec<Turn> {
        let steps = || (1..).zip(&self.steps);
        let mut turns: Vec<Turn> = steps()
            .flat_map(|(step, of)| {
                (1..=of.repetitions.get()).map(move |repetition| Turn { step, repetition })
            })
            .collect();
        match self.order {
            Order::Given => {}
            Order::Interleaved => turns.sort_by_key(|turn| (turn.repetition, turn.step)),
            Order::Random { seed } => shuffle(&mut turns, seed.unwrap_or(drawn_seed)),
        }
        turns
    }
}

/// Fisher and Yates, from the end.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, below(&mut rng, last as u64 + 1) as usize);
    }
}

/// A number below `bound`, each equally likely: draws beyond the last whole multiple are thrown away.
fn below(rng: &mut Xoshiro256PlusPlus, bound: u64) -> u64 {
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn < limit {
            return drawn % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::Step;
    use proptest::prelude::*;

    fn suite(order: Order, repetitions: &[u32]) -> Suite {
        let step = |(number, times): (usize, &u32)| Step {
            label: number.to_string(),
            arguments: vec!["tti".into()],
            repetitions: NonZeroU32::new(*times).unwrap(),
            cool_down: Duration::ZERO,
        };
        let steps = repetitions.iter().enumerate().map(step).collect();
        Suite { name: "x".into(), order, stop_on_failure: false, time_limit: None, steps }
    }

    fn turns(order: Order, repetitions: &[u32]) -> Vec<(u32, u32)> {
        suite(order, repetitions).schedule(7).iter().map(|turn| (turn.step, turn.repetition)).collect()
    }

    #[test]
    fn the_given_order_ends_a_step_before_the_next_and_the_interleaved_one_alternates() {
        assert_eq!(turns(Order::Given, &[2, 1, 2]), [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)]);
        assert_eq!(turns(Order::Interleaved, &[2, 1, 2]), [(1, 1), (2, 1), (3, 1), (1, 2), (3, 2)]);
    }

    #[test]
    fn a_seed_of_the_file_is_stronger_than_a_drawn_one() {
        let named = suite(Order::Random { seed: Some(3) }, &[9, 9]);
        assert_eq!(named.schedule(1), named.schedule(2));
        let drawn = suite(Order::Random { seed: None }, &[9, 9]);
        assert_ne!(drawn.schedule(1), drawn.schedule(2));
        assert_eq!(drawn.schedule(3), named.schedule(0));
    }

    proptest! {
        #[test]
        fn every_order_has_every_turn_once(repetitions in prop::collection::vec(1u32..6, 1..6), seed: u64) {
            let given = turns(Order::Given, &repetitions);
            prop_assert_eq!(given.len() as u32, repetitions.iter().sum::<u32>());
            for order in [Order::Interleaved, Order::Random { seed: Some(seed) }] {
                let mut other = turns(order, &repetitions);
                other.sort_unstable();
                prop_assert_eq!(&other, &given);
            }
        }
    }
}
