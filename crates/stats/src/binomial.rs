//! The upper tail of the binomial distribution, for any number of trials.

use statrs::function::factorial::ln_binomial;

/// P(X ≥ r) for X the number of successes in `n` trials of probability `p`.
///
/// Sums the terms of the shorter tail, starting at its largest, until they no longer count: about √n of them.
/// Relative error grows with the logarithm of n!, to about 1e-9 at a hundred thousand trials.
pub(crate) fn at_least(n: u64, p: f64, r: u64) -> f64 {
    if r == 0 || (p >= 1.0 && r <= n) {
        return 1.0;
    }
    if r > n || p <= 0.0 {
        return 0.0;
    }
    let odds = p / (1.0 - p);
    let (trials, mean) = (n as f64, n as f64 * p);
    let total = if r as f64 > mean {
        tail(mass(n, p, r), (r..n).map(|j| (trials - j as f64) / (j as f64 + 1.0) * odds))
    } else {
        let below = (1..r).rev().map(|j| j as f64 / (trials - j as f64 + 1.0) / odds);
        1.0 - tail(mass(n, p, r - 1), below)
    };
    total.clamp(0.0, 1.0)
}

/// Sum of a term and its successors, each given by its quotient to the one before.
fn tail(largest: f64, quotients: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut term) = (largest, largest);
    for quotient in quotients {
        term *= quotient;
        if term <= total * 1e-18 {
            break;
        }
        total += term;
    }
    total
}

fn mass(n: u64, p: f64, j: u64) -> f64 {
    (ln_binomial(n, j) + j as f64 * p.ln() + (n - j) as f64 * (-p).ln_1p()).exp()
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Binomial, DiscreteCDF};

    use super::*;

    #[test]
    fn agrees_with_the_regularised_beta_function() {
        for n in [1u64, 2, 5, 30, 171, 1000] {
            for p in [0.001, 0.1, 0.5, 0.9, 0.999] {
                let reference = Binomial::new(p, n).unwrap();
                for r in [1, n / 3, n / 2, n - n / 10, n] {
                    let expected = if r == 0 { 1.0 } else { reference.sf(r - 1) };
                    let found = at_least(n, p, r);
                    assert!((found - expected).abs() < 1e-11, "n {n} p {p} r {r}: {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn certain_and_impossible_outcomes() {
        assert_eq!(at_least(10, 0.3, 0), 1.0);
        assert_eq!(at_least(10, 0.3, 11), 0.0);
        assert_eq!(at_least(10, 0.0, 1), 0.0);
        assert_eq!(at_least(10, 1.0, 10), 1.0);
    }

    /// By symmetry the median of an odd number of fair trials splits the probability exactly.
    #[test]
    fn many_trials_keep_their_digits() {
        for n in [99_999u64, 9_999_999] {
            let found = at_least(n, 0.5, n.div_ceil(2));
            assert!((found - 0.5).abs() < 1e-6, "{n}: {found}");
        }
    }
}
