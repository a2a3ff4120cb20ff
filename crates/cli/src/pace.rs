//! From the options to how machines follow each other.

use std::num::NonZeroU32;
use std::time::Duration;

use virtmark_scenarios::pace::{Arrivals, Mode, Pace};

use crate::args::PaceArguments;
use crate::failure::Failure;

const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(50).expect("50 is not zero");
const DEFAULT_STAGGER: Duration = Duration::from_millis(200);

/// The pace that the options ask for.
pub(crate) fn pace(options: &PaceArguments) -> Result<Pace, Failure> {
    let mode = match (Mode::from(options.mode), options.rate) {
        (Mode::Sequential | Mode::OpenLoop, Some(_)) => Mode::OpenLoop,
        (Mode::OpenLoop, None) => {
            return Err(Failure::usage("--mode open-loop launches at a rate: add --rate and --duration"));
        }
        (_, Some(_)) => {
            return Err(Failure::usage("--rate is for --mode open-loop: leave one of them out"));
        }
        (mode, None) => mode,
    };
    if options.stagger.is_some() && mode != Mode::Staggered {
        return Err(Failure::usage("--stagger is for --mode staggered: add that, or leave --stagger out"));
    }
    let warmup = options.warmup;
    if let (Some(rate_per_second), Some(duration)) = (options.rate, options.duration) {
        let arrivals = Arrivals { rate_per_second, duration };
        let pace = arrivals
            .count()
            .and_then(|count| Pace::open_loop(arrivals, warmup, options.concurrency.unwrap_or(count)));
        return pace
            .ok_or_else(|| Failure::usage("--rate and --duration make more launches than can be counted"));
    }
    let iterations = options.iterations.unwrap_or(DEFAULT_ITERATIONS);
    let concurrency = options.concurrency.unwrap_or(iterations);
    match mode {
        Mode::Sequential if options.concurrency.is_some_and(|more| more.get() > 1) => {
            let message =
                "--concurrency is for several machines at once: add --mode burst or --mode staggered";
            Err(Failure::usage(message))
        }
        Mode::Sequential | Mode::OpenLoop => Ok(Pace::sequential(iterations, warmup)),
        Mode::Burst => Ok(Pace::burst(iterations, warmup, concurrency)),
        Mode::Staggered => {
            let stagger = options.stagger.unwrap_or(DEFAULT_STAGGER);
            Ok(Pace::staggered(iterations, warmup, concurrency, stagger))
        }
    }
}

/// Machines that a run of this pace has, warm-ups included.
pub(crate) fn machines(pace: &Pace) -> u32 {
    pace.iterations.get().saturating_add(pace.warmup)
}
