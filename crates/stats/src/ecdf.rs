//! The whole distribution of the samples, as steps.

use crate::StatsError;
use crate::sorted::Sorted;

/// The empirical distribution function of the samples, one step `(value, fraction)` for each distinct value.
///
/// Values ascend; `fraction` is the share of samples at or below the value, count/n, and ends at exactly 1.
/// Between two steps the function is flat: do not join them with a slope.
///
/// # Errors
/// When there are no samples, or one is not finite or beyond ±1e150.
pub fn ecdf(samples: &[f64]) -> Result<Vec<(f64, f64)>, StatsError> {
    let sorted = Sorted::new(samples)?;
    let n = sorted.len() as f64;
    let mut at_or_below = 0;
    let steps = sorted.values().chunk_by(|a, b| a == b).map(|ties| {
        at_or_below += ties.len();
        (ties[0], at_or_below as f64 / n)
    });
    Ok(steps.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_are_one_step() {
        assert_eq!(ecdf(&[3.0, 1.0, 3.0, 2.0]).unwrap(), [(1.0, 0.25), (2.0, 0.5), (3.0, 1.0)]);
        assert_eq!(ecdf(&[-0.0, 0.0]).unwrap(), [(0.0, 1.0)]);
        assert_eq!(ecdf(&[]).unwrap_err(), StatsError::Empty);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_step_counts_what_is_at_or_below_it(samples in prop::collection::vec(-9i32..9, 1..80)) {
            let samples: Vec<f64> = samples.into_iter().map(f64::from).collect();
            let steps = ecdf(&samples).unwrap();
            prop_assert!(steps.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
            prop_assert_eq!(steps.last().unwrap().1, 1.0);
            for sample in &samples {
                prop_assert!(steps.iter().any(|step| step.0 == *sample));
            }
            for (value, fraction) in steps {
                let count = samples.iter().filter(|&&sample| sample <= value).count();
                prop_assert_eq!(fraction, count as f64 / samples.len() as f64);
            }
        }
    }
}
