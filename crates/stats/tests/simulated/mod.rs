//! Measurements as a noisy machine makes them, with a difference of known size between two sides.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use virtmark_stats::compare::{
    BlockRatio, Direction, Judgement, Options, Sides, Verdict, block_medians, exact_p_value,
};

/// Samples of each block.
const BLOCK_LENGTH: usize = 5;
/// What a sample is without any noise.
const LEVEL: f64 = 1.3e9;

/// How the machine disturbs what is measured on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    pub(crate) name: &'static str,
    /// Standard deviation of the logarithm of every sample by itself.
    pub(crate) spread: f64,
    /// Standard deviation of the logarithm of what wanders slowly: each sample keeps nine tenths of the one before.
    pub(crate) wander: f64,
    /// How much slower the end is than the beginning, as a share; only where the sides take turns.
    pub(crate) drift: f64,
    /// Share of samples with a heavy tail: Pareto of exponent 1.5, so without a variance.
    pub(crate) outliers: f64,
    /// Share of whole blocks that a neighbour slows down by half.
    pub(crate) disturbed: f64,
}

/// A machine of its own.
pub(crate) const QUIET: Noise =
    Noise { name: "quiet", spread: 0.03, wander: 0.0, drift: 0.0, outliers: 0.0, disturbed: 0.0 };
/// A shared machine on an ordinary day.
pub(crate) const NOISY: Noise =
    Noise { name: "noisy", spread: 0.05, wander: 0.02, drift: 0.2, outliers: 0.05, disturbed: 0.0 };
/// The same, with a neighbour that spoils some blocks from end to end.
pub(crate) const DISTURBED: Noise = Noise { name: "disturbed", disturbed: 0.03, ..NOISY };
/// A machine that nobody should measure on.
pub(crate) const WILD: Noise =
    Noise { name: "wild", spread: 0.3, wander: 0.15, drift: 0.5, outliers: 0.15, disturbed: 0.1 };

/// How the two sides were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// In blocks that take turns: A B, B A, A B, …
    Interleaved,
    /// One after the other, on a machine that is the same for both.
    Separate,
}

/// What so many comparisons of the shipped defaults came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) better: u64,
    pub(crate) worse: u64,
}

/// Compares again and again; side B takes `1 + effect` times as long.
pub(crate) fn tally(noise: Noise, order: Order, effect: f64, blocks: usize, comparisons: u64) -> Tally {
    let rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut machine = Machine { rng, noise, blocks, slow: 0.0, spare: None };
    let mut tally = Tally::default();
    for _ in 0..comparisons {
        match machine.compare(order, effect) {
            Verdict::Better => tally.better += 1,
            Verdict::Worse => tally.worse += 1,
            Verdict::CannotTell | Verdict::NoDifference => {}
        }
    }
    tally
}

struct Machine {
    rng: Xoshiro256PlusPlus,
    noise: Noise,
    blocks: usize,
    /// What wanders slowly.
    slow: f64,
    spare: Option<f64>,
}

impl Machine {
    fn compare(&mut self, order: Order, effect: f64) -> Verdict {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        match order {
            Order::Interleaved => {
                for pair in 0..self.blocks {
                    let mut sides = [(&mut a, 1.0), (&mut b, 1.0 + effect)];
                    if pair % 2 == 1 {
                        sides.reverse();
                    }
                    for (half, (side, factor)) in sides.into_iter().enumerate() {
                        let progress = (2 * pair + half) as f64 / (2 * self.blocks) as f64;
                        side.extend(self.block(factor * (1.0 + self.noise.drift * progress)));
                    }
                }
            }
            Order::Separate => {
                for (side, factor) in [(&mut a, 1.0), (&mut b, 1.0 + effect)] {
                    for _ in 0..self.blocks {
                        // What wanders does so within a block: blocks of separate runs must not depend on each other.
                        self.slow = self.noise.wander * self.normal();
                        side.extend(self.block(factor));
                    }
                }
            }
        }
        let medians = |samples: &[f64]| block_medians(samples, self.blocks).expect("samples are finite");
        let (a, b) = (medians(&a), medians(&b));
        let pairs: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).collect();
        judge(match order {
            Order::Interleaved => Sides::Paired(&pairs),
            Order::Separate => Sides::Separate { a: &a, b: &b },
        })
    }

    fn block(&mut self, factor: f64) -> Vec<f64> {
        let factor = if self.uniform() < self.noise.disturbed { 1.5 * factor } else { factor };
        (0..BLOCK_LENGTH)
            .map(|_| {
                self.slow = 0.9 * self.slow + (1.0f64 - 0.81).sqrt() * self.noise.wander * self.normal();
                let tail =
                    if self.uniform() < self.noise.outliers { self.uniform().powf(-1.0 / 1.5) } else { 1.0 };
                LEVEL * factor * tail * (self.slow + self.noise.spread * self.normal()).exp()
            })
            .collect()
    }

    /// Above 0 and at most 1.
    fn uniform(&mut self) -> f64 {
        ((self.rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal: G. E. P. Box and M. E. Muller, Annals of Mathematical Statistics 29 (1958).
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

/// The verdict of the shipped defaults. The interval, which is most of the work, is drawn only where the p-value, which it
/// has no part in, leaves a verdict open.
fn judge(sides: Sides<'_>) -> Verdict {
    let options = Options::default();
    if !options.may_find(exact_p_value(sides).expect("all figures are positive")) {
        return Verdict::CannotTell;
    }
    let ratio = BlockRatio::new(sides, &options).expect("all figures are positive");
    Judgement::new(&ratio, ratio.p_value, 1, Direction::Lower, &options).verdict
}
