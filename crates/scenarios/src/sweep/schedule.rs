//! Which runs a sweep has, and in which order.

use serde::{Deserialize, Serialize};

use super::plan::{Load, SweepPlan};

/// One run of a sweep: one repeat of one level at one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Virtual CPUs of the machine.
    pub vcpus: u32,
    /// Requests in flight at once; in an open loop, at most.
    pub concurrency: u32,
    /// Requests each second, whether those before have ended or not; none in a closed loop.
    pub rate_per_second: Option<f64>,
    /// Which repeat of its level, from 1.
    pub run_idx: u32,
}

impl Step {
    /// What tells it from all others of a sweep: numbers alone, a rate as its bits.
    pub fn key(&self) -> (u32, u32, Option<u64>, u32) {
        (self.vcpus, self.concurrency, self.rate_per_second.map(f64::to_bits), self.run_idx)
    }
}

/// All runs in order: one size after the other, since each needs a machine; within a size all levels, and then all of
/// them again for each repeat, so that a slow hour of the host hits no level alone. With a seed, the levels of each
/// repeat are in random order.
pub(super) fn steps(plan: &SweepPlan) -> Vec<Step> {
    let mut random = plan.order_seed.map(SplitMix);
    let levels: Vec<(u32, Option<f64>)> = match &plan.load {
        Load::Closed { concurrency } => concurrency.iter().map(|level| (*level, None)).collect(),
        Load::Open { rates_per_second, in_flight } => {
            rates_per_second.iter().map(|rate| (*in_flight, Some(*rate))).collect()
        }
    };
    let mut steps = Vec::new();
    for &vcpus in &plan.vcpus {
        for run_idx in 1..=plan.runs {
            let mut levels = levels.clone();
            if let Some(random) = &mut random {
                random.shuffle(&mut levels);
            }
            let of_level =
                |(concurrency, rate_per_second)| Step { vcpus, concurrency, rate_per_second, run_idx };
            steps.extend(levels.into_iter().map(of_level));
        }
    }
    steps
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same order from the same seed, whatever version of whatever library.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher and Yates. The bias of the remainder is below 2^-50 for any list of levels.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::tests::small;
    use super::*;

    fn plan(sizes: &[u32], levels: &[u32], runs: u32, order_seed: Option<u64>) -> SweepPlan {
        let load = Load::Closed { concurrency: levels.to_vec() };
        SweepPlan { vcpus: sizes.to_vec(), load, runs, order_seed, ..small() }
    }

    #[test]
    fn sizes_come_one_after_the_other_and_repeats_around_the_levels() {
        let steps = steps(&plan(&[2, 4], &[1, 8], 2, None));
        let short: Vec<_> = steps.iter().map(|step| (step.vcpus, step.run_idx, step.concurrency)).collect();
        let size = |vcpus| [(vcpus, 1, 1), (vcpus, 1, 8), (vcpus, 2, 1), (vcpus, 2, 8)];
        assert_eq!(short, [size(2), size(4)].concat());
    }

    #[test]
    fn rates_are_levels_of_their_own() {
        let load = Load::Open { rates_per_second: vec![10.0, 0.5], in_flight: 7 };
        let steps = steps(&SweepPlan { load, ..small() });
        assert_eq!(steps[0].rate_per_second, Some(10.0));
        assert_eq!(steps[1].rate_per_second, Some(0.5));
        assert!(steps.iter().all(|step| step.concurrency == 7));
        assert_ne!(steps[0].key(), steps[1].key());
    }

    proptest! {
        #[test]
        fn a_random_order_is_a_permutation_that_its_seed_decides(
            levels in prop::collection::btree_set(1_u32..200, 1..9),
            runs in 1_u32..4,
            seed: u64,
        ) {
            let levels: Vec<u32> = levels.into_iter().collect();
            let ordered = steps(&plan(&[1, 2], &levels, runs, None));
            let shuffled = steps(&plan(&[1, 2], &levels, runs, Some(seed)));
            prop_assert_eq!(&shuffled, &steps(&plan(&[1, 2], &levels, runs, Some(seed))));
            let sorted = |steps: &[Step]| {
                let mut keys: Vec<_> = steps.iter().map(Step::key).collect();
                keys.sort_unstable();
                keys
            };
            prop_assert_eq!(sorted(&shuffled), sorted(&ordered));
            // Whole sizes and whole repeats stay together.
            let frame = |steps: &[Step]| steps.iter().map(|s| (s.vcpus, s.run_idx)).collect::<Vec<_>>();
            prop_assert_eq!(frame(&shuffled), frame(&ordered));
        }
    }

    #[test]
    fn seeds_differ() {
        let levels = [1, 2, 4, 8, 16, 32, 64, 128];
        let orders: std::collections::BTreeSet<Vec<u32>> = (0..20)
            .map(|seed| steps(&plan(&[1], &levels, 1, Some(seed))).iter().map(|s| s.concurrency).collect())
            .collect();
        assert!(orders.len() > 15, "{} orders of 20 seeds", orders.len());
    }
}
