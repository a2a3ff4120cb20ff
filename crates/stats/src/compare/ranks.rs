//! Exact p-values of the two rank tests, ties included.
//!
//! Both ask how often chance alone, by handing out the labels A and B, would set the sides at least as far apart as
//! they are. No distribution of the figures is assumed, and a single wild block moves a rank by no more than any other.
//!
//! Sources: F. Wilcoxon, Biometrics Bulletin 1 (1945), for both; J. W. Pratt, JASA 54 (1959), for differences of zero;
//! the distribution given the ties that are there is built up block by block as in R. Streitberg and J. Röhmel,
//! Statistical Software Newsletter 12 (1986).

/// Two-sided p-value of the signed-rank test that the differences lie around 0.
pub(super) fn signed_rank(differences: &[f64]) -> f64 {
    let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    let ranks = doubled_ranks(&sizes);
    let signed: Vec<(usize, bool)> = ranks
        .into_iter()
        .zip(differences)
        .filter(|(_, difference)| **difference != 0.0)
        .map(|(rank, difference)| (rank, *difference > 0.0))
        .collect();
    let total: usize = signed.iter().map(|(rank, _)| rank).sum();
    let found: usize = signed.iter().filter(|(_, positive)| *positive).map(|(rank, _)| rank).sum();
    // Each rank is positive as often as not: the probability of each sum.
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for (rank, _) in signed {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = 0.5 * (probability[sum] + with);
        }
    }
    let distance = |sum: usize| (2 * sum).abs_diff(total);
    let far = |sum: &usize| distance(*sum) >= distance(found);
    (0..=total).filter(far).map(|sum| probability[sum]).sum::<f64>().min(1.0)
}

/// Two-sided p-value of the rank-sum test that both sets come from one distribution.
pub(super) fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let ranks = doubled_ranks(&all);
    let found: usize = ranks[..a.len()].iter().sum();
    let total: usize = ranks.iter().sum();
    // The number of ways to choose so many of the ranks with this sum.
    let mut ways = vec![vec![0.0; total + 1]; a.len() + 1];
    ways[0][0] = 1.0;
    let mut reached = 0;
    for (seen, &rank) in ranks.iter().enumerate() {
        reached += rank;
        for chosen in (1..=a.len().min(seen + 1)).rev() {
            let (fewer, these) = ways.split_at_mut(chosen);
            let (fewer, these) = (&fewer[chosen - 1], &mut these[0]);
            for sum in rank..=reached {
                these[sum] += fewer[sum - rank];
            }
        }
    }
    // Sums lie around (size of a / size of all) · total, which need not be whole.
    let distance = |sum: usize| (sum * all.len()).abs_diff(total * a.len());
    let ways = &ways[a.len()];
    let far: f64 = (0..=total).filter(|sum| distance(*sum) >= distance(found)).map(|sum| ways[sum]).sum();
    (far / ways.iter().sum::<f64>()).min(1.0)
}

/// The least p-value that so many blocks could have, if they have no ties.
pub(super) fn least_signed_rank(blocks: usize) -> f64 {
    2.0 * 0.5f64.powi(blocks as i32)
}

/// The same of two sets.
pub(super) fn least_rank_sum(a: usize, b: usize) -> f64 {
    let ways: f64 = (1..=a).map(|position| (b + position) as f64 / position as f64).product();
    (2.0 / ways).min(1.0)
}

/// Twice the rank of each value, so that the mean ranks of ties are whole numbers.
fn doubled_ranks(values: &[f64]) -> Vec<usize> {
    values
        .iter()
        .map(|value| {
            let below = values.iter().filter(|other| *other < value).count();
            let up_to = values.iter().filter(|other| *other <= value).count();
            below + up_to + 1
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every choice of labels, one by one.
    fn naive(ranks: &[usize], of_a: Option<usize>, found: usize, centre: f64) -> f64 {
        let choices = (0u32..1 << ranks.len())
            .filter(|choice| of_a.is_none_or(|size| choice.count_ones() as usize == size));
        let sums: Vec<usize> = choices
            .map(|choice| (0..ranks.len()).filter(|bit| choice >> bit & 1 == 1).map(|bit| ranks[bit]).sum())
            .collect();
        let far = |sum: &&usize| (**sum as f64 - centre).abs() >= (found as f64 - centre).abs() - 1e-9;
        sums.iter().filter(far).count() as f64 / sums.len() as f64
    }

    /// Tables of the signed-rank test: with 10 pairs, sums of 3 or less have a two-sided probability of 10 in 1024.
    #[test]
    fn published_tail_of_ten_pairs() {
        let differences = [-1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        assert_eq!(signed_rank(&differences), 10.0 / 1024.0);
        assert_eq!(signed_rank(&differences.map(f64::abs)), least_signed_rank(10));
        assert_eq!(least_signed_rank(10), 2.0 / 1024.0);
    }

    /// Tables of the rank-sum test: of 252 ways to share out 10 ranks, one has the least sum.
    #[test]
    fn published_tail_of_five_and_five() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((rank_sum(&low, &high) - 2.0 / 252.0).abs() < 1e-15);
        assert!((least_rank_sum(5, 5) - 2.0 / 252.0).abs() < 1e-15);
        assert!((least_rank_sum(1, 1) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn nothing_but_ties_tells_nothing() {
        assert_eq!(signed_rank(&[0.0; 12]), 1.0);
        assert_eq!(rank_sum(&[3.0; 7], &[3.0; 9]), 1.0);
    }

    proptest! {
        #[test]
        fn signed_ranks_agree_with_every_choice_of_signs(
            differences in prop::collection::vec((-4..=4i32).prop_map(f64::from), 1..10),
        ) {
            let sizes: Vec<f64> = differences.iter().map(|value| value.abs()).collect();
            let ranks = doubled_ranks(&sizes);
            let kept: Vec<usize> =
                (0..ranks.len()).filter(|&i| differences[i] != 0.0).map(|i| ranks[i]).collect();
            let found = (0..ranks.len()).filter(|&i| differences[i] > 0.0).map(|i| ranks[i]).sum();
            let centre = kept.iter().sum::<usize>() as f64 / 2.0;
            prop_assert!((signed_rank(&differences) - naive(&kept, None, found, centre)).abs() < 1e-12);
        }

        #[test]
        fn rank_sums_agree_with_every_choice_of_labels(
            a in prop::collection::vec((0..6i32).prop_map(f64::from), 1..6),
            b in prop::collection::vec((0..6i32).prop_map(f64::from), 1..6),
        ) {
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            let ranks = doubled_ranks(&all);
            let found = ranks[..a.len()].iter().sum();
            let centre = ranks.iter().sum::<usize>() as f64 * a.len() as f64 / all.len() as f64;
            let expected = naive(&ranks, Some(a.len()), found, centre);
            prop_assert!((rank_sum(&a, &b) - expected).abs() < 1e-12);
            prop_assert!((rank_sum(&b, &a) - expected).abs() < 1e-12);
        }
    }
}
