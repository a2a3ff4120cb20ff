//! The Universal Scalability Law, fitted to what was measured.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figures::significant;
use super::finding::Finding;
use super::levels::Levels;
use super::usl_fit::{Observation, fit};
use super::usl_peak::{self, UslPeak};

/// Three coefficients pass through three levels exactly; a fourth is needed to say how well they fit.
const FEWEST_LEVELS: usize = 4;

/// The coefficients of X(N) = λN / (1 + σ(N − 1) + κN(N − 1)).
///
/// Sources: N. J. Gunther, Guerrilla Capacity Planning (2007), and A General Theory of Computational Scalability Based on
/// Rational Functions, arXiv:0808.1431.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coefficients {
    /// λ: throughput of one request at a time, per second; above 0.
    pub lambda: f64,
    /// σ: contention, the share of the work that requests queue for; at least 0.
    pub sigma: f64,
    /// κ: coherency, the cost that each pair of requests adds; at least 0.
    pub kappa: f64,
}

impl Coefficients {
    /// X(N): throughput per second at a concurrency of at least 1.
    pub fn throughput(&self, concurrency: f64) -> f64 {
        let others = concurrency - 1.0;
        self.lambda * concurrency / (1.0 + self.sigma * others + self.kappa * concurrency * others)
    }

    /// N* = √((1 − σ)/κ): the concurrency of most throughput, wherever it lies.
    ///
    /// None without coherency cost, when throughput never falls. 1 at the least: with that much contention or
    /// coherency cost throughput falls from the start.
    pub fn peak(&self) -> Option<f64> {
        let peak = ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().max(1.0);
        (self.kappa > 0.0 && peak.is_finite()).then_some(peak)
    }
}

/// One run and what the law says of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPoint {
    /// Requests in flight at once.
    pub concurrency: u32,
    /// Observed throughput, per second.
    pub throughput: f64,
    /// Throughput by the law, per second.
    pub fitted: f64,
}

impl UslPoint {
    /// Observed less fitted throughput, per second.
    pub fn residual(&self) -> f64 {
        self.throughput - self.fitted
    }
}

/// The law fitted to every run, with how well it fits and where it peaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UslFit {
    /// The fitted coefficients.
    pub coefficients: Coefficients,
    /// Share of the variance of throughput that the law explains, at most 1; below 0 where it does worse than the
    /// mean; none when throughput does not vary.
    pub r_squared: Option<f64>,
    /// Standard deviation of the residuals, per second, with as many degrees of freedom as runs less 3.
    pub residual_stddev: f64,
    /// Every run in ascending order of concurrency.
    pub points: Vec<UslPoint>,
    /// Where the law peaks, if it does among the levels measured.
    pub peak: Finding<UslPeak>,
}

impl UslFit {
    /// Fits the law by non-linear least squares to the throughput of every run, each of the same weight.
    ///
    /// σ and κ stay at 0 or above and λ above 0, so data that scale better than linearly are fitted by a straight line
    /// and worse by `r_squared`. The interval of the peak takes `resamples` bootstrap resamples (at least 40) drawn
    /// from a generator started from `seed`; the rest does not depend on them. None in range with fewer than 4 levels,
    /// or when nothing succeeded at any level.
    pub fn new(levels: &Levels, resamples: u32, seed: u64) -> Finding<Self> {
        let count = levels.as_slice().len();
        if count < FEWEST_LEVELS {
            return Finding::none(format!(
                "the law has 3 coefficients and is not fitted to fewer than {FEWEST_LEVELS} levels; there {}",
                if count == 1 { "is 1".to_owned() } else { format!("are {count}") }
            ));
        }
        let runs = || levels.as_slice().iter().flat_map(|level| level.runs());
        let observations: Vec<Observation> =
            runs().map(|run| Observation::new(run.concurrency, run.throughput)).collect();
        let Some(coefficients) = fit(&observations, None) else {
            return Finding::none("no request succeeded at any level");
        };
        let points: Vec<UslPoint> = runs()
            .map(|run| UslPoint {
                concurrency: run.concurrency,
                throughput: run.throughput,
                fitted: coefficients.throughput(f64::from(run.concurrency)),
            })
            .collect();
        let unexplained: f64 = points.iter().map(|point| point.residual().powi(2)).sum();
        Finding::Found(Self {
            coefficients,
            r_squared: r_squared(&points, unexplained),
            residual_stddev: (unexplained / (points.len() - 3) as f64).sqrt(),
            peak: usl_peak::find(levels, &coefficients, &points, resamples, seed),
            points,
        })
    }
}

impl fmt::Display for UslFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Coefficients { lambda, sigma, kappa } = self.coefficients;
        let lambda = significant(lambda);
        write!(f, "{}; λ = {lambda}/s, σ = {sigma:.6}, κ = {kappa:.3e}", self.peak)?;
        match self.r_squared {
            Some(r_squared) => write!(f, ", R² = {r_squared:.4}"),
            None => Ok(()),
        }
    }
}

fn r_squared(points: &[UslPoint], unexplained: f64) -> Option<f64> {
    let mean = points.iter().map(|point| point.throughput).sum::<f64>() / points.len() as f64;
    let total: f64 = points.iter().map(|point| (point.throughput - mean).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - unexplained / total)
}
