//! How often a comparison finds a difference where there is none, from runs of one configuration against itself.

use serde::{Deserialize, Serialize};
use virtmark_model::Sample;
use virtmark_stats::compare::{BlockRatio, DEFAULT_BLOCKS, Direction, Judgement, Options, Sides, Verdict};
use virtmark_stats::{Interval, proportion_interval};

use super::Recorded;
use super::figures::paired;

/// False alarms of an installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FalseAlarms {
    /// Of configurations that took turns.
    pub interleaved: Rate,
    /// Of runs one after the other.
    pub separate: Rate,
    /// The smallest difference that mattered.
    pub min_effect: f64,
    /// The confidence that was asked for.
    pub confidence: f64,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Comparisons that found a difference.
    pub alarms: u64,
    /// All comparisons.
    pub comparisons: u64,
    /// The share of alarms, with its 95 % interval; none without comparisons.
    pub interval: Option<Interval>,
}

impl FalseAlarms {
    /// From pairs of runs of one configuration that took turns with itself.
    ///
    /// Every ten blocks of a pair make a comparison of their own. Those of side A against the next ten of side B, which
    /// came later, make comparisons of runs one after the other. No sample counts in two comparisons of a kind.
    pub fn of(pairs: &[[Recorded<'_>; 2]], options: &Options) -> Self {
        let mut alarms =
            Self { min_effect: options.min_effect, confidence: options.confidence, ..Self::default() };
        for [a, b] in pairs {
            alarms.add(a.samples, b.samples, options);
        }
        alarms.interleaved.complete();
        alarms.separate.complete();
        alarms
    }

    fn add(&mut self, a: &[Sample], b: &[Sample], options: &Options) {
        let mut metrics: Vec<&str> = a.iter().map(|sample| sample.metric.as_str()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        for metric in metrics {
            let of = |samples: &'_ [Sample]| -> Vec<Sample> {
                samples.iter().filter(|sample| sample.metric == metric).cloned().collect()
            };
            let (a, b) = (of(a), of(b));
            let (a, b): (Vec<&Sample>, Vec<&Sample>) = (a.iter().collect(), b.iter().collect());
            let Ok(Some(pairs)) = paired(&a, &b) else { continue };
            let tens: Vec<&[(f64, f64)]> = pairs.chunks_exact(DEFAULT_BLOCKS).collect();
            for ten in &tens {
                self.interleaved.count(Sides::Paired(ten), options);
            }
            for two in tens.chunks_exact(2) {
                let a: Vec<f64> = two[0].iter().map(|(a, _)| *a).collect();
                let b: Vec<f64> = two[1].iter().map(|(_, b)| *b).collect();
                self.separate.count(Sides::Separate { a: &a, b: &b }, options);
            }
        }
    }
}

impl Rate {
    fn count(&mut self, sides: Sides<'_>, options: &Options) {
        let Ok(ratio) = BlockRatio::new(sides, options) else { return };
        let verdict = Judgement::new(&ratio, ratio.p_value, 1, Direction::Lower, options).verdict;
        self.comparisons += 1;
        self.alarms += u64::from(matches!(verdict, Verdict::Better | Verdict::Worse));
    }

    fn complete(&mut self) {
        self.interval = proportion_interval(self.alarms, self.comparisons, 0.95).ok();
    }
}
