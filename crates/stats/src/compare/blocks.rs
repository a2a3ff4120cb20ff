//! From samples to blocks.

use super::MOST_BLOCKS;
use crate::StatsError;
use crate::sorted::Sorted;

/// Smaller figures cannot be divided by; with the largest sample of 1e150 every quotient stays finite.
const SMALLEST: f64 = 1e-150;

/// The median of each block, in the order of measurement.
///
/// The samples are cut into `blocks` stretches whose lengths differ by one at most, the longer ones first; fewer
/// samples than blocks make blocks of one sample. Medians are nearest rank, as everywhere.
///
/// # Errors
/// When there are no samples or no blocks to make, or a sample is not finite or beyond ±1e150.
pub fn block_medians(samples: &[f64], blocks: usize) -> Result<Vec<f64>, StatsError> {
    if samples.is_empty() || blocks == 0 {
        return Err(StatsError::Empty);
    }
    let blocks = blocks.min(samples.len());
    let (length, longer) = (samples.len() / blocks, samples.len() % blocks);
    let mut rest = samples;
    (0..blocks)
        .map(|block| {
            let (these, others) = rest.split_at(length + usize::from(block < longer));
            rest = others;
            Ok(Sorted::new(these)?.median())
        })
        .collect()
}

/// The blocks of both sides, each told by one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sides<'a> {
    /// The sides took turns: each pair is a block of A and the block of B beside it in time. What the machine did
    /// meanwhile is in both and falls out of their quotient.
    Paired(&'a [(f64, f64)]),
    /// Each side was measured by itself.
    Separate {
        /// Blocks of side A.
        a: &'a [f64],
        /// Blocks of side B.
        b: &'a [f64],
    },
}

impl Sides<'_> {
    /// Blocks of the smaller side.
    pub fn blocks(&self) -> usize {
        match self {
            Self::Paired(pairs) => pairs.len(),
            Self::Separate { a, b } => a.len().min(b.len()),
        }
    }

    /// The figures' logarithms, once they are known to have some.
    pub(super) fn logarithms(&self) -> Result<Logarithms, StatsError> {
        let found = self.blocks();
        if found < 2 {
            return Err(StatsError::TooFewSamples { found, needed: 2 });
        }
        match *self {
            Self::Paired(pairs) => {
                check_count(pairs.len())?;
                let quotients = pairs.iter().enumerate().map(|(index, &(a, b))| {
                    check(index, a)?;
                    check(index, b)?;
                    // Of the quotient, so that equal figures come to exactly nothing.
                    Ok((b / a).ln())
                });
                Ok(Logarithms::Paired(quotients.collect::<Result<_, StatsError>>()?))
            }
            Self::Separate { a, b } => {
                check_count(a.len().max(b.len()))?;
                let logarithms = |side: &[f64]| {
                    side.iter()
                        .enumerate()
                        .map(|(index, &figure)| check(index, figure).map(|()| figure.ln()))
                        .collect::<Result<_, StatsError>>()
                };
                Ok(Logarithms::Separate { a: logarithms(a)?, b: logarithms(b)? })
            }
        }
    }
}

/// Checked blocks on the scale where ratios are differences.
#[derive(Debug, Clone)]
pub(super) enum Logarithms {
    /// Of each B divided by its A.
    Paired(Vec<f64>),
    Separate {
        a: Vec<f64>,
        b: Vec<f64>,
    },
}

fn check(index: usize, value: f64) -> Result<(), StatsError> {
    if !value.is_finite() {
        Err(StatsError::NotFinite { index, value })
    } else if value > 1e150 {
        Err(StatsError::TooLarge { index, value })
    } else if value < SMALLEST {
        Err(StatsError::NotPositive { index, value })
    } else {
        Ok(())
    }
}

fn check_count(found: usize) -> Result<(), StatsError> {
    if found > MOST_BLOCKS { Err(StatsError::TooManyBlocks { found, most: MOST_BLOCKS }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_cut_in_their_order() {
        let samples: Vec<f64> = [5.0, 1.0, 3.0, 10.0, 30.0, 20.0, 7.0].to_vec();
        assert_eq!(block_medians(&samples, 3).unwrap(), [3.0, 10.0, 7.0]);
        assert_eq!(block_medians(&samples, 1).unwrap(), [7.0]);
        assert_eq!(block_medians(&samples, 100).unwrap(), samples);
        assert_eq!(block_medians(&[], 3), Err(StatsError::Empty));
        assert_eq!(block_medians(&samples, 0), Err(StatsError::Empty));
    }

    #[test]
    fn figures_without_a_ratio_are_refused() {
        let error = |a: &[f64], b: &[f64]| Sides::Separate { a, b }.logarithms().unwrap_err();
        assert_eq!(error(&[1.0, 0.0], &[1.0, 2.0]), StatsError::NotPositive { index: 1, value: 0.0 });
        assert_eq!(error(&[1.0, 2.0], &[1.0, 2e150]), StatsError::TooLarge { index: 1, value: 2e150 });
        assert_eq!(error(&[1.0, 2.0], &[1.0]), StatsError::TooFewSamples { found: 1, needed: 2 });
        assert_eq!(error(&[1.0; 51], &[1.0; 9]), StatsError::TooManyBlocks { found: 51, most: 50 });
        let error = Sides::Paired(&[(1.0, 1.0), (f64::NAN, 1.0)]).logarithms().unwrap_err();
        assert!(matches!(error, StatsError::NotFinite { index: 1, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn each_sample_is_in_one_block_and_lengths_differ_by_one(
            samples in prop::collection::vec(-1e3..1e3f64, 1..200),
            blocks in 1..60usize,
        ) {
            let medians = block_medians(&samples, blocks).unwrap();
            prop_assert_eq!(medians.len(), blocks.min(samples.len()));
            // The naive model: the block of a sample by its position alone.
            let count = medians.len();
            let mut model = vec![Vec::new(); count];
            let mut sizes: Vec<usize> = vec![samples.len() / count; count];
            sizes.iter_mut().take(samples.len() % count).for_each(|size| *size += 1);
            let mut samples = samples.into_iter();
            for (block, size) in sizes.into_iter().enumerate() {
                model[block].extend(samples.by_ref().take(size));
            }
            prop_assert_eq!(samples.next(), None);
            for (block, median) in model.iter_mut().zip(medians) {
                block.sort_by(f64::total_cmp);
                prop_assert_eq!(block[(block.len() - 1) / 2], median);
            }
        }
    }
}
