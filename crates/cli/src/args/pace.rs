//! Options of how machines follow each other.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_scenarios::pace::Mode;

/// How many machines there are, and how they follow each other.
#[derive(Debug, Args)]
pub(crate) struct PaceArguments {
    /// Machines to measure [default: 50; in open-loop mode what --rate and --duration make]
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "duration")]
    pub(crate) iterations: Option<NonZeroU32>,

    /// Machines before them that are not recorded
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) warmup: u32,

    /// How machines follow each other
    #[arg(long, value_enum, default_value_t = ModeChoice::Sequential)]
    pub(crate) mode: ModeChoice,

    /// Machines alive at once, at most, in all modes but sequential [default: all of them]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) concurrency: Option<NonZeroU32>,

    /// Between two launches in staggered mode [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) stagger: Option<Duration>,

    /// Launches each second in open-loop mode, whether machines before are ready or not
    #[arg(long, value_name = "PER-SECOND", requires = "duration", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// For how long machines are launched in open-loop mode
    #[arg(long, value_name = "TIME", requires = "rate", value_parser = crate::duration::parse_positive)]
    pub(crate) duration: Option<Duration>,
}

/// How machines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeChoice {
    /// Each after the one before it is destroyed
    Sequential,
    /// Each a fixed time after the one before it
    Staggered,
    /// All at once
    Burst,
    /// At a fixed rate, timed from the intended launch; implied by --rate
    OpenLoop,
}

impl From<ModeChoice> for Mode {
    fn from(choice: ModeChoice) -> Self {
        match choice {
            ModeChoice::Burst => Self::Burst,
            ModeChoice::OpenLoop => Self::OpenLoop,
            ModeChoice::Sequential => Self::Sequential,
            ModeChoice::Staggered => Self::Staggered,
        }
    }
}

/// A count of which there must be one.
pub(super) fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", u32::MAX))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err(format!("{text:?} is not a rate: expected launches each second, such as 5 or 0.5")),
    }
}
