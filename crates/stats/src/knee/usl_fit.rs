//! Non-linear least squares for the Universal Scalability Law, its coefficients kept in their domain.
//!
//! The law is fitted as X = N / (a + b(N − 1) + cN(N − 1)), with λ = 1/a, σ = b/a and κ = c/a: the domain of the
//! coefficients is a box (a > 0, b ≥ 0, c ≥ 0), and the denominator is positive in all of it. The method is
//! Levenberg–Marquardt with Marquardt's scaling, projected to the box: a parameter at its bound stays out of a step
//! that would push it further. Sources: D. W. Marquardt, SIAM J. 11 (1963); C. Kanzow, N. Yamashita, M. Fukushima,
//! J. Comput. Appl. Math. 172 (2004).

use super::usl::Coefficients;

/// Far more than the 10 to 50 steps that data take.
const MOST_STEPS: usize = 500;

/// A step smaller than this share of each parameter is at the precision of the arithmetic.
const SMALLEST_STEP: f64 = 1e-13;

/// Damped beyond this, a step no longer changes anything.
const MOST_DAMPING: f64 = 1e16;

/// `a` cannot be 0, or the throughput of one request would be infinite. Throughput is scaled to at most 1.
const LOWEST: [f64; 3] = [1e-9, 0.0, 0.0];

/// One throughput with the weight of its squared residual.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) concurrency: f64,
    pub(super) throughput: f64,
    pub(super) weight: f64,
}

impl Observation {
    pub(super) fn new(concurrency: u32, throughput: f64) -> Self {
        Self { concurrency: f64::from(concurrency), throughput, weight: 1.0 }
    }
}

/// The coefficients of least squares; none when no throughput is above 0.
///
/// Starts from `start` alone where there is one, which is quicker, and otherwise from several points.
pub(super) fn fit(observations: &[Observation], start: Option<&Coefficients>) -> Option<Coefficients> {
    let scale = observations.iter().map(|seen| seen.throughput).fold(0.0, f64::max);
    if scale <= 0.0 {
        return None;
    }
    let scaled: Vec<Observation> = observations
        .iter()
        .map(|seen| Observation { throughput: seen.throughput / scale, ..*seen })
        .collect();
    let starts = match start {
        Some(known) => {
            let a = scale / known.lambda;
            vec![[a, known.sigma * a, known.kappa * a]]
        }
        None => starts(&scaled),
    };
    let fits = starts.into_iter().map(|start| minimise(&scaled, start));
    let [a, b, c] = fits.min_by(|left, right| left.1.total_cmp(&right.1))?.0;
    Some(Coefficients { lambda: scale / a, sigma: b / a, kappa: c / a })
}

/// For each κ of a coarse grid the σ that fits best, each with its best λ: data far from the law can have several
/// minima, some with all the cost in contention and some in coherency.
fn starts(scaled: &[Observation]) -> Vec<[f64; 3]> {
    let kappas = [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0];
    let sigmas = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
    let best_of = |kappa: f64| {
        let fits = sigmas.iter().map(|&sigma| with_best_lambda(scaled, sigma, kappa));
        fits.min_by(|left, right| left.1.total_cmp(&right.1)).map(|fit| fit.0)
    };
    kappas.into_iter().filter_map(best_of).collect()
}

/// The parameters for this σ and κ with the λ of least squares, in which the law is linear, and their squares.
fn with_best_lambda(scaled: &[Observation], sigma: f64, kappa: f64) -> ([f64; 3], f64) {
    let mut products = 0.0;
    let mut squares = 0.0;
    for Observation { concurrency, throughput, weight } in scaled {
        let shape = modelled(&[1.0, sigma, kappa], *concurrency);
        products += weight * shape * throughput;
        squares += weight * shape * shape;
    }
    let a = squares / products;
    let at = [a, sigma * a, kappa * a];
    (at, sum_of_squares(scaled, &at))
}

/// The parameters of least squares that the start leads to, with their weighted sum of squares.
fn minimise(seen: &[Observation], start: [f64; 3]) -> ([f64; 3], f64) {
    let mut at: [f64; 3] = std::array::from_fn(|index| start[index].max(LOWEST[index]));
    let mut cost = sum_of_squares(seen, &at);
    let mut damping = 1e-3;
    for _ in 0..MOST_STEPS {
        let (mut normal, mut gradient) = normal_equations(seen, &at);
        for index in 0..3 {
            if at[index] <= LOWEST[index] && gradient[index] > 0.0 {
                gradient[index] = 0.0;
                (0..3).for_each(|other| (normal[index][other], normal[other][index]) = (0.0, 0.0));
            }
        }
        let next = loop {
            if let Some(step) = damped_step(&normal, &gradient, damping) {
                let next = std::array::from_fn(|index| (at[index] + step[index]).max(LOWEST[index]));
                let next_cost = sum_of_squares(seen, &next);
                if next_cost < cost {
                    damping = (damping / 10.0).max(1e-14);
                    break Some((next, next_cost));
                }
            }
            damping *= 10.0;
            if damping > MOST_DAMPING {
                break None;
            }
        };
        let Some((next, next_cost)) = next else { break };
        let moved = (0..3).any(|index| (next[index] - at[index]).abs() > SMALLEST_STEP * at[index].abs());
        (at, cost) = (next, next_cost);
        if !moved {
            break;
        }
    }
    (at, cost)
}

fn modelled([a, b, c]: &[f64; 3], concurrency: f64) -> f64 {
    let others = concurrency - 1.0;
    concurrency / (a + b * others + c * concurrency * others)
}

fn sum_of_squares(seen: &[Observation], at: &[f64; 3]) -> f64 {
    seen.iter().map(|seen| seen.weight * (modelled(at, seen.concurrency) - seen.throughput).powi(2)).sum()
}

/// JᵀWJ and JᵀWr, with r the modelled less the observed throughput.
fn normal_equations(seen: &[Observation], at: &[f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
    let mut normal = [[0.0; 3]; 3];
    let mut gradient = [0.0; 3];
    for Observation { concurrency, throughput, weight } in seen {
        let value = modelled(at, *concurrency);
        let others = concurrency - 1.0;
        let slope = -value * value / concurrency;
        let slopes = [slope, slope * others, slope * concurrency * others];
        for row in 0..3 {
            gradient[row] += weight * slopes[row] * (value - throughput);
            (0..3).for_each(|column| normal[row][column] += weight * slopes[row] * slopes[column]);
        }
    }
    (normal, gradient)
}

/// Solves (H + μ diag H) d = −g by Cholesky; rows of H that are all 0 give no step. None when H is not definite.
fn damped_step(normal: &[[f64; 3]; 3], gradient: &[f64; 3], damping: f64) -> Option<[f64; 3]> {
    let mut factor = [[0.0; 3]; 3];
    let mut step = [0.0; 3];
    for row in 0..3 {
        for column in 0..=row {
            let mut rest = normal[row][column];
            if row == column {
                rest = if rest > 0.0 { rest * (1.0 + damping) } else { 1.0 };
            }
            rest -= (0..column).map(|k| factor[row][k] * factor[column][k]).sum::<f64>();
            factor[row][column] = if row == column {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / factor[column][column]
            };
        }
        let known: f64 = (0..row).map(|k| factor[row][k] * step[k]).sum();
        step[row] = (-gradient[row] - known) / factor[row][row];
    }
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|k| factor[k][row] * step[k]).sum();
        step[row] = (step[row] - known) / factor[row][row];
    }
    Some(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observations(law: &Coefficients, levels: &[u32]) -> Vec<Observation> {
        levels.iter().map(|&n| Observation::new(n, law.throughput(f64::from(n)))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn coefficients_without_noise_are_found_again(
            lambda in 0.01f64..1e7, sigma in 0.0f64..0.9, kappa in prop_oneof![Just(0.0), 1e-6f64..0.05],
        ) {
            let law = Coefficients { lambda, sigma, kappa };
            let found = fit(&observations(&law, &[1, 2, 4, 8, 16, 32, 64, 128]), None).unwrap();
            prop_assert!((found.lambda / lambda - 1.0).abs() < 1e-6, "{:?} {:?}", found, law);
            prop_assert!((found.sigma - sigma).abs() < 1e-6, "{:?} {:?}", found, law);
            prop_assert!((found.kappa - kappa).abs() < 1e-8 + 1e-5 * kappa, "{:?} {:?}", found, law);
        }

        /// Against the naive model: no other coefficients in the domain, near or far, fit better.
        #[test]
        fn nothing_else_in_the_domain_fits_better(
            throughputs in prop::collection::vec(1.0f64..100.0, 4..10),
            others in prop::collection::vec((0.0f64..3.0, 0.0f64..2.0, 0.0f64..0.2), 64),
            nudge in 1e-6f64..0.1,
        ) {
            let seen: Vec<Observation> =
                throughputs.iter().enumerate().map(|(i, &x)| Observation::new(1 << i, x)).collect();
            let best = fit(&seen, None).unwrap();
            prop_assert!(best.lambda > 0.0 && best.sigma >= 0.0 && best.kappa >= 0.0);
            let cost = |law: &Coefficients| -> f64 {
                seen.iter().map(|seen| (law.throughput(seen.concurrency) - seen.throughput).powi(2)).sum()
            };
            // Where the residuals are large the last steps gain less than this.
            let least = cost(&best) * (1.0 - 1e-7) - 1e-9;
            for (lambda, sigma, kappa) in others {
                let far = Coefficients { lambda: lambda * 100.0 + 1e-3, sigma, kappa };
                prop_assert!(least <= cost(&far), "{:?} {:?}", best, far);
                let near = Coefficients {
                    lambda: best.lambda * (1.0 + nudge * (lambda - 1.5)),
                    sigma: (best.sigma * (1.0 + nudge * (sigma - 1.0)) + nudge * (kappa - 0.1)).max(0.0),
                    kappa: (best.kappa + nudge * nudge * (kappa - 0.1)).max(0.0),
                };
                prop_assert!(least <= cost(&near), "{:?} {:?}", best, near);
            }
        }

        #[test]
        fn a_weight_of_two_is_the_observation_twice(
            throughputs in prop::collection::vec(50.0f64..100.0, 5), twice in 0usize..5,
        ) {
            let seen: Vec<Observation> =
                throughputs.iter().enumerate().map(|(i, &x)| Observation::new(1 << i, x)).collect();
            let mut weighted = seen.clone();
            weighted[twice].weight = 2.0;
            let doubled: Vec<Observation> = seen.iter().copied().chain([seen[twice]]).collect();
            let (weighted, doubled) = (fit(&weighted, None).unwrap(), fit(&doubled, None).unwrap());
            for n in [1.0, 4.0, 16.0] {
                prop_assert!((weighted.throughput(n) / doubled.throughput(n) - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn better_than_linear_scaling_is_fitted_by_a_line() {
        let seen: Vec<Observation> = (1..8).map(|n| Observation::new(n, f64::from(n * n))).collect();
        let found = fit(&seen, None).unwrap();
        assert_eq!((found.sigma, found.kappa), (0.0, 0.0));
        // Least squares through the origin: Σn³ / Σn².
        assert!((found.lambda - 784.0 / 140.0).abs() < 1e-7, "{found:?}");
    }

    #[test]
    fn nothing_succeeded_is_no_fit() {
        let seen: Vec<Observation> = (1..8).map(|n| Observation::new(n, 0.0)).collect();
        assert!(fit(&seen, None).is_none());
    }
}
