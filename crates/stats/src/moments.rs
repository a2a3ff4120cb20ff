//! Mean and standard deviation that keep their digits.

use crate::sorted::Sorted;

/// Mean and sample standard deviation (divisor n − 1; none for a single sample).
///
/// Two passes over compensated sums, so that a small spread on a large mean survives. Samples are added in
/// ascending order, so the order of measurement cannot change the last digit.
pub(crate) fn mean_and_stddev(sorted: &Sorted) -> (f64, Option<f64>) {
    let n = sorted.len() as f64;
    let rough = sum(sorted.values().iter().copied()) / n;
    let left_over = sum(sorted.values().iter().map(|value| value - rough)) / n;
    // Rounding may step over an extreme by one unit in the last place when all samples are nearly equal.
    let mean = (rough + left_over).clamp(sorted.min(), sorted.max());
    if sorted.len() < 2 {
        return (mean, None);
    }
    let squares = sum(sorted.values().iter().map(|value| (value - mean).powi(2)));
    let drift = sum(sorted.values().iter().map(|value| value - mean));
    let variance = (squares - drift * drift / n).max(0.0) / (n - 1.0);
    (mean, Some(variance.sqrt()))
}

/// Sum with Neumaier's compensation: the error does not grow with the number of terms.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0f64);
    for term in terms {
        let next = total + term;
        lost += if total.abs() >= term.abs() { (total - next) + term } else { (term - next) + total };
        total = next;
    }
    total + lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(samples: &[f64]) -> (f64, f64) {
        let (mean, stddev) = mean_and_stddev(&Sorted::new(samples).unwrap());
        (mean, stddev.unwrap())
    }

    #[track_caller]
    fn assert_close(found: f64, certified: f64, relative: f64) {
        assert!((found - certified).abs() <= relative * certified.abs(), "{found} is not {certified}");
    }

    /// NumAcc1 to NumAcc4 of NIST's Statistical Reference Datasets (univariate): a first value, then two that
    /// alternate, with certified mean and standard deviation. The data are decimal, so the tolerance is what
    /// rounding them to binary costs.
    #[test]
    fn nist_numerical_accuracy_sets() {
        assert_eq!(figures(&[10_000_001.0, 10_000_003.0, 10_000_002.0]), (10_000_002.0, 1.0));
        for (base, relative) in [(1.0, 1e-14), (1_000_000.0, 1e-9), (10_000_000.0, 1e-7)] {
            let alternating = [base + 0.1, base + 0.3];
            let samples: Vec<f64> =
                std::iter::once(base + 0.2).chain(alternating.into_iter().cycle().take(1000)).collect();
            let (mean, stddev) = figures(&samples);
            assert_close(mean, base + 0.2, 1e-15);
            assert_close(stddev, 0.1, relative);
        }
    }

    #[test]
    fn a_cancelled_sum_keeps_its_small_term() {
        assert_eq!(sum([1.0, 1e100, 1.0, -1e100].into_iter()), 2.0);
    }

    #[test]
    fn one_sample_has_no_deviation() {
        assert_eq!(mean_and_stddev(&Sorted::new(&[7.5]).unwrap()), (7.5, None));
    }

    #[test]
    fn the_largest_samples_stay_finite() {
        let (mean, stddev) = figures(&[1e150, -1e150, 1e150, -1e150]);
        assert_eq!(mean, 0.0);
        assert_close(stddev, 1e150 * (4.0f64 / 3.0).sqrt(), 1e-15);
    }
}
