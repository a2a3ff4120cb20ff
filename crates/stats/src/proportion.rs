//! How well counts know a share.

use statrs::distribution::{Beta, ContinuousCDF};

use crate::interval::Level;
use crate::{Interval, StatsError};

/// The exact interval of the probability of something that happened `successes` times in `trials`.
///
/// It encloses the true probability at least as often as its level says, for few trials more often. Source: C. J. Clopper
/// and E. S. Pearson, Biometrika 26 (1934).
///
/// # Errors
/// Without trials, with more successes than trials, and when the level is not above 0 and at most 0.999999.
pub fn proportion_interval(successes: u64, trials: u64, level: f64) -> Result<Interval, StatsError> {
    let level = Level::new(level)?;
    if trials == 0 {
        return Err(StatsError::Empty);
    }
    if successes > trials {
        let needed = usize::try_from(successes).unwrap_or(usize::MAX);
        return Err(StatsError::TooFewSamples {
            found: usize::try_from(trials).unwrap_or(usize::MAX),
            needed,
        });
    }
    let (failures, successes) = ((trials - successes) as f64, successes as f64);
    let quantile = |a: f64, b: f64, probability: f64| {
        // Both shapes are positive, which is all that is asked of them.
        Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(probability))
    };
    let low = if successes == 0.0 { 0.0 } else { quantile(successes, failures + 1.0, level.tail()) };
    let high = if failures == 0.0 { 1.0 } else { quantile(successes + 1.0, failures, 1.0 - level.tail()) };
    Ok(level.interval(low, high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::binomial::at_least;

    /// The rule of three, exactly: of nothing in n, the upper end is 1 − 0.025^(1/n).
    #[test]
    fn nothing_in_many_trials() {
        let interval = proportion_interval(0, 30, 0.95).unwrap();
        assert_eq!(interval.low, 0.0);
        assert!((interval.high - (1.0 - 0.025f64.powf(1.0 / 30.0))).abs() < 1e-9, "{interval:?}");
        assert_eq!(proportion_interval(7, 7, 0.95).unwrap().high, 1.0);
        assert_eq!(proportion_interval(0, 0, 0.95), Err(StatsError::Empty));
        assert!(proportion_interval(2, 1, 0.95).is_err());
    }

    proptest! {
        /// At each end the count that was found is as improbable as the tail says: the definition.
        #[test]
        fn ends_make_the_count_improbable(trials in 1u64..200, share in 0.0..1.0f64) {
            let successes = (trials as f64 * share) as u64;
            let interval = proportion_interval(successes, trials, 0.95).unwrap();
            if successes > 0 {
                prop_assert!((at_least(trials, interval.low, successes) - 0.025).abs() < 1e-6);
            }
            if successes < trials {
                prop_assert!((1.0 - at_least(trials, interval.high, successes + 1) - 0.025).abs() < 1e-6);
            }
        }
    }
}
