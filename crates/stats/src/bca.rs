//! The two corrections of a BCa interval, shared by every bootstrap in this crate.
//!
//! Source: B. Efron, "Better bootstrap confidence intervals", JASA 82 (1987); the acceleration for several
//! independent samples is that of A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997),
//! section 5.3, which for one sample is Efron's.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::interval::Level;

/// The probabilities at which the bootstrap distribution is read for the low and the high end.
///
/// `below` is the bootstrap's probability of less than the observed statistic plus half that of exactly the
/// observed one: statistics such as medians repeat, and counting their ties on one side would pass for bias.
/// It must lie strictly between 0 and 1.
pub(crate) fn ends(below: f64, acceleration: f64, level: Level) -> (f64, f64) {
    let normal = Normal::standard();
    let bias = normal.inverse_cdf(below);
    let end = |probability: f64| {
        let shifted = bias + normal.inverse_cdf(probability);
        let stretch = 1.0 - acceleration * shifted;
        // Past the pole of the transformation the end runs off to the extreme of the bootstrap distribution.
        if stretch <= 0.0 {
            return if shifted > 0.0 { 1.0 } else { 0.0 };
        }
        normal.cdf(bias + shifted / stretch)
    };
    (end(level.tail()), end(1.0 - level.tail()))
}

/// What leaving out each observation of one sample in turn does to the statistic.
#[derive(Debug, Clone)]
pub(crate) struct Jackknife {
    observations: f64,
    /// Mean left-out statistic minus each one, and how often it occurs.
    deviations: Vec<(f64, f64)>,
}

impl Jackknife {
    /// From the left-out statistics as `(value, times it occurs)`, whose times add up to the sample count.
    pub(crate) fn new(left_out: &[(f64, usize)]) -> Self {
        let observations = left_out.iter().map(|&(_, times)| times as f64).sum::<f64>();
        // Relative to the first, so that equal values differ from their mean by exactly nothing.
        let origin = left_out.first().map_or(0.0, |&(value, _)| value);
        let mean = left_out
            .iter()
            .map(|&(value, times)| (value - origin) * (times as f64 / observations))
            .sum::<f64>();
        let deviations =
            left_out.iter().map(|&(value, times)| (mean - (value - origin), times as f64)).collect();
        Self { observations, deviations }
    }

    /// Weighted sum of a power of the deviations, each divided by `scale`.
    fn moment(&self, power: i32, scale: f64) -> f64 {
        let weight = (self.observations - 1.0) / self.observations;
        self.deviations
            .iter()
            .map(|&(deviation, times)| times * (weight * deviation / scale).powi(power))
            .sum()
    }
}

/// The acceleration from the jackknife of each independent sample; 0 when the statistic never moved.
pub(crate) fn acceleration(samples: &[Jackknife]) -> f64 {
    let deviations = samples.iter().flat_map(|sample| &sample.deviations);
    let scale = deviations.fold(0.0f64, |largest, &(deviation, _)| largest.max(deviation.abs()));
    if scale == 0.0 {
        return 0.0;
    }
    // The unit cancels; dividing by the largest deviation first keeps its cube within range.
    let moment = |power| samples.iter().map(|sample| sample.moment(power, scale)).sum::<f64>();
    moment(3) / (6.0 * moment(2).powf(1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_bias_or_acceleration_the_ends_are_the_plain_percentiles() {
        let (low, high) = ends(0.5, 0.0, Level::NINETY_FIVE);
        assert!((low - 0.025).abs() < 1e-11 && (high - 0.975).abs() < 1e-11, "{low} {high}");
    }

    /// z0 = 0.146 and a = 0.061 at 90 %: Efron and Tibshirani, An Introduction to the Bootstrap, section 14.3,
    /// reads the bootstrap distribution at 0.110 and 0.985.
    #[test]
    fn published_ends_of_the_spatial_test_data() {
        let below = Normal::standard().cdf(0.146);
        let (low, high) = ends(below, 0.061, Level::new(0.90).unwrap());
        assert!((low - 0.110).abs() < 1e-3 && (high - 0.985).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn past_the_pole_the_ends_are_the_extremes() {
        assert_eq!(ends(0.9, 0.5, Level::NINETY_FIVE).1, 1.0);
        assert_eq!(ends(0.1, -0.5, Level::NINETY_FIVE).0, 0.0);
    }

    #[test]
    fn a_statistic_that_never_moves_has_no_acceleration() {
        assert_eq!(acceleration(&[Jackknife::new(&[(0.1, 7)]), Jackknife::new(&[(0.3, 2), (0.3, 3)])]), 0.0);
    }

    #[test]
    fn repeated_values_count_as_often_as_they_occur() {
        let once_each = acceleration(&[Jackknife::new(&[(1.0, 1), (1.0, 1), (4.0, 1), (1.0, 1)])]);
        let grouped = acceleration(&[Jackknife::new(&[(1.0, 3), (4.0, 1)])]);
        assert!((once_each - grouped).abs() < 1e-15 && grouped != 0.0);
    }
}
