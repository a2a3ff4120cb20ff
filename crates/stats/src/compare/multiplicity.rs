//! Several metrics at once.

/// The p-values as they count when all of them are looked at, in their order.
///
/// Of the differences found where these are at most α, at most the share α is expected to be none; where nothing
/// differs, that is the probability of finding anything. An adjusted value is never below its own. Source: Y. Benjamini
/// and Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995), which holds for independent metrics and those
/// that rise and fall together (Y. Benjamini and D. Yekutieli, Annals of Statistics 29, 2001).
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len() as f64;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[right].total_cmp(&p_values[left]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0f64;
    for (above, index) in order.into_iter().enumerate() {
        let rank = count - above as f64;
        least = least.min(p_values[index] * (count / rank));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fifteen p-values of the original paper, section 3.2: at 5 % the first four are found.
    #[test]
    fn published_example() {
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0000,
        ];
        let adjusted = benjamini_hochberg(&p_values);
        assert_eq!(adjusted.iter().filter(|p| **p <= 0.05).count(), 4, "{adjusted:?}");
        assert!((adjusted[0] - 0.0015).abs() < 1e-12 && adjusted[14] == 1.0, "{adjusted:?}");
    }

    #[test]
    fn a_single_metric_is_as_it_is() {
        assert_eq!(benjamini_hochberg(&[0.03]), [0.03]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    proptest! {
        /// The paper's own words: find the largest k with p(k) ≤ k·α/m, and reject the k smallest.
        #[test]
        fn what_is_found_is_what_the_step_up_finds(
            p_values in prop::collection::vec(0.0..=1.0f64, 1..20),
            alpha in 0.001..0.999f64,
        ) {
            let adjusted = benjamini_hochberg(&p_values);
            let mut sorted = p_values.clone();
            sorted.sort_by(f64::total_cmp);
            let m = sorted.len() as f64;
            let limit = (1..=sorted.len()).rev().find(|&k| sorted[k - 1] * (m / k as f64) <= alpha);
            for (p, adjusted) in p_values.iter().zip(adjusted) {
                let found = limit.is_some_and(|k| *p <= sorted[k - 1]);
                prop_assert_eq!(adjusted <= alpha, found, "{} {}", p, adjusted);
                prop_assert!(adjusted >= *p && adjusted <= 1.0);
            }
        }
    }
}
