//! The knee by Kneedle: where the normalised curve rises furthest above its diagonal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::levels::Levels;

/// The sensitivity that the paper recommends.
pub const DEFAULT_SENSITIVITY: f64 = 1.0;

/// Three points are the fewest that can bend.
const FEWEST_LEVELS: usize = 3;

/// The knee by [`kneedle`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KneedleKnee {
    /// The knee: a measured level.
    pub concurrency: u32,
    /// Height of the curve above its diagonal there, both axes normalised to 0 to 1.
    pub difference: f64,
    /// Height that a later level had to fall below for this to be a knee.
    pub threshold: f64,
    /// The sensitivity S used.
    pub sensitivity: f64,
}

impl fmt::Display for KneedleKnee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, difference, sensitivity, .. } = self;
        write!(f, "{concurrency} ({difference:.2} above the diagonal, S = {sensitivity})")
    }
}

/// The first knee of throughput over concurrency, taken as a concave, increasing curve.
///
/// Both axes are normalised to 0 to 1, linearly. A level where the curve is highest above the diagonal among its
/// neighbours is a knee once a later level falls more than `sensitivity` mean steps below it, before the curve turns
/// up again. Larger sensitivities ask for a flatter curve after the knee. The levels are used as they are: a sweep has
/// too few for a smoothing spline. Source: V. Satopaa, J. Albrecht, D. Irwin, B. Raghavan, ICDCS Workshops (2011).
pub fn kneedle(levels: &Levels, sensitivity: f64) -> Finding<KneedleKnee> {
    let levels = levels.as_slice();
    let points: Vec<(f64, f64)> =
        levels.iter().map(|level| (f64::from(level.concurrency()), level.throughput())).collect();
    if points.len() < FEWEST_LEVELS {
        return Finding::none(format!(
            "a curve needs {FEWEST_LEVELS} levels to bend; there {}",
            if points.len() == 1 { "is 1".to_owned() } else { format!("are {}", points.len()) }
        ));
    }
    if !(sensitivity >= 0.0 && sensitivity.is_finite()) {
        return Finding::none(format!("a sensitivity of {sensitivity} is not a number from 0"));
    }
    let Some(differences) = difference_curve(&points) else {
        return Finding::none("throughput is the same at every level");
    };
    if points.iter().all(|point| point.1 <= points[0].1) {
        return Finding::none(format!(
            "throughput is highest at the lowest level, {}; the curve does not rise",
            points[0].0
        ));
    }
    let step = 1.0 / (points.len() - 1) as f64;
    match first_knee(&differences, sensitivity * step) {
        Some(index) => Finding::Found(KneedleKnee {
            concurrency: levels[index].concurrency(),
            difference: differences[index],
            threshold: differences[index] - sensitivity * step,
            sensitivity,
        }),
        None => Finding::none(format!(
            "the curve does not bend away from a straight line by more than {:.2} of its height (S = {sensitivity})",
            sensitivity * step
        )),
    }
}

/// Height of each point above the diagonal of the unit square; none for a level curve.
fn difference_curve(points: &[(f64, f64)]) -> Option<Vec<f64>> {
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (left, right) = range(&mut points.iter().map(|point| point.0));
    let (low, high) = range(&mut points.iter().map(|point| point.1));
    let difference = |point: &(f64, f64)| (point.1 - low) / (high - low) - (point.0 - left) / (right - left);
    (high > low).then(|| points.iter().map(difference).collect())
}

/// The first local maximum that the curve falls more than `drop` below before its next local minimum.
fn first_knee(differences: &[f64], drop: f64) -> Option<usize> {
    let mut candidate = None;
    for index in 1..differences.len() {
        let (before, here) = (differences[index - 1], differences[index]);
        if let Some(knee) = candidate
            && here < differences[knee] - drop
            // The diagonal is never left downwards by a concave curve: below it there is no knee to confirm.
            && differences[knee] - drop > 0.0
        {
            return Some(knee);
        }
        let Some(&after) = differences.get(index + 1) else { break };
        if here > before && here >= after {
            candidate = Some(index);
        } else if here <= before && here < after {
            candidate = None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knee(points: &[(f64, f64)], sensitivity: f64) -> Option<f64> {
        let differences = difference_curve(points)?;
        let index = first_knee(&differences, sensitivity / (points.len() - 1) as f64)?;
        Some(points[index].0)
    }

    /// Figure 2 of the paper: y = −1 / (x + 0.1) + 5 at ten even steps, knee at 0.22.
    #[test]
    fn published_knee_of_figure_2() {
        let points: Vec<(f64, f64)> =
            (0..10).map(|i| f64::from(i) / 9.0).map(|x| (x, -1.0 / (x + 0.1) + 5.0)).collect();
        assert!((knee(&points, 1.0).unwrap() - 0.222).abs() < 1e-3);
        let differences = difference_curve(&points).unwrap();
        assert!((differences[2] - 0.536_398_47).abs() < 1e-8);
    }

    /// Computed with the Python package kneed 0.9.0.
    #[test]
    fn knees_of_another_implementation() {
        let bent: Vec<(f64, f64)> = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.25, 6.5, 6.75, 7.0]
            .iter()
            .enumerate()
            .map(|(index, &y)| (index as f64, y))
            .collect();
        assert_eq!(knee(&bent, 1.0), Some(5.0));
        let guide = [
            (1.0, 1200.0),
            (4.0, 4500.0),
            (8.0, 8200.0),
            (16.0, 12_500.0),
            (32.0, 14_000.0),
            (64.0, 14_200.0),
            (128.0, 14_100.0),
        ];
        for (sensitivity, expected) in [(0.5, Some(16.0)), (1.0, Some(16.0)), (2.0, Some(16.0)), (5.0, None)]
        {
            assert_eq!(knee(&guide, sensitivity), expected, "{sensitivity}");
        }
    }

    #[test]
    fn a_dip_before_the_threshold_starts_the_search_again() {
        // The bump at 2 falls by less than a mean step (0.1) before it rises again; the knee at 5 does not.
        let differences = [0.0, 0.2, 0.3, 0.25, 0.4, 0.6, 0.45, 0.3, 0.2, 0.1, 0.0];
        assert_eq!(first_knee(&differences, 0.1), Some(5));
        assert_eq!(first_knee(&differences, 0.04), Some(2));
    }

    #[test]
    fn what_does_not_bend_has_no_knee() {
        let line: Vec<(f64, f64)> = (1..20).map(|n| (f64::from(n), 7.0 * f64::from(n))).collect();
        assert_eq!(knee(&line, 1.0), None);
        let convex: Vec<(f64, f64)> = (1..20).map(|n| (f64::from(n), f64::from(n * n))).collect();
        assert_eq!(knee(&convex, 1.0), None);
        assert_eq!(difference_curve(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]), None);
    }
}
