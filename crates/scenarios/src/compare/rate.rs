//! How often a comparison finds a difference where there is none, from runs of one configuration against itself.

use serde::{Deserialize, Serialize};
use virtmark_model::Sample;
use virtmark_stats::compare::{
    BlockRatio, DEFAULT_BLOCKS, Direction, Judgement, Options, Sides, Verdict, benjamini_hochberg,
    exact_p_value,
};
use virtmark_stats::{Interval, proportion_interval};

use super::figures::paired;
use super::{Recorded, series};

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
    /// Comparisons that found a difference, in one metric or several.
    pub alarms: u64,
    /// All comparisons.
    pub comparisons: u64,
    /// The share of alarms, with its 95 % interval; none without comparisons.
    pub interval: Option<Interval>,
}

impl FalseAlarms {
    /// From pairs of runs of one configuration that took turns with itself.
    ///
    /// Every ten blocks of a pair make a comparison of their own, of all metrics together. Those of side A against the
    /// next ten of side B, which came later, make comparisons of runs one after the other. No sample counts in two
    /// comparisons of a kind.
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
        // Only a metric that is asked for by name can be missing.
        let Ok((metrics, _)) = series::of(a, b, &[]) else { return };
        let metrics: Vec<Vec<(f64, f64)>> =
            metrics.iter().filter_map(|metric| paired(&metric.a, &metric.b).ok().flatten()).collect();
        let ten =
            |number| metrics.iter().filter_map(move |pairs| pairs.chunks_exact(DEFAULT_BLOCKS).nth(number));
        let most = metrics.iter().map(|pairs| pairs.len() / DEFAULT_BLOCKS).max().unwrap_or(0);
        for number in 0..most {
            let sides: Vec<Sides<'_>> = ten(number).map(Sides::Paired).collect();
            self.interleaved.count(&sides, options);
        }
        for number in (1..most).step_by(2) {
            let two = |pairs: &Vec<(f64, f64)>| -> Option<(Vec<f64>, Vec<f64>)> {
                let mut tens = pairs.chunks_exact(DEFAULT_BLOCKS).skip(number - 1);
                let (first, second) = (tens.next()?, tens.next()?);
                Some((first.iter().map(|(a, _)| *a).collect(), second.iter().map(|(_, b)| *b).collect()))
            };
            let twos: Vec<(Vec<f64>, Vec<f64>)> = metrics.iter().filter_map(two).collect();
            let sides: Vec<Sides<'_>> = twos.iter().map(|(a, b)| Sides::Separate { a, b }).collect();
            self.separate.count(&sides, options);
        }
    }
}

impl Rate {
    /// Counts one comparison of all these metrics. What has no ratio is not compared.
    fn count(&mut self, metrics: &[Sides<'_>], options: &Options) {
        let tested: Vec<(Sides<'_>, f64)> =
            metrics.iter().filter_map(|sides| Some((*sides, exact_p_value(*sides).ok()?))).collect();
        let p_values: Vec<f64> = tested.iter().map(|(_, p_value)| *p_value).collect();
        let adjusted = benjamini_hochberg(&p_values);
        let mut found = false;
        for ((sides, _), adjusted) in tested.iter().zip(adjusted) {
            // The interval is most of the work.
            if !options.may_find(adjusted) {
                continue;
            }
            let Ok(ratio) = BlockRatio::new(*sides, options) else { return };
            let judgement = Judgement::new(&ratio, adjusted, tested.len(), Direction::Lower, options);
            found |= matches!(judgement.verdict, Verdict::Better | Verdict::Worse);
        }
        self.comparisons += u64::from(!tested.is_empty());
        self.alarms += u64::from(found);
    }

    fn complete(&mut self) {
        self.interval = proportion_interval(self.alarms, self.comparisons, 0.95).ok();
    }
}
