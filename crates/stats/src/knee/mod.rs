//! Where a service saturates, from measurements at several levels of concurrency.
//!
//! [`analyse`] asks four methods and the assessment of each level at once; summary, pictures and report all show what
//! it says. Each method may find nothing, and then says why.
//!
//! - [`rule`]: throughput gains less than 5 % while p99 grows over 1.5 times.
//! - [`kneedle`]: where the throughput curve bends most.
//! - [`UslFit`]: the Universal Scalability Law, its peak and an interval of it.
//! - [`Slo`]: the highest level that keeps an objective such as `p99<20ms,errors<0.1%`.
//!
//! `docs/knee.md` has the definitions, their sources and their limits.

mod analysis;
mod assess;
mod figures;
mod finding;
mod kneedle;
mod levels;
mod objective;
mod rule;
mod slo;
mod usl;
mod usl_fit;
mod usl_peak;

pub use analysis::{Analysis, Method, Options, Recommendation, analyse};
pub use assess::{Assessed, Assessment, assess};
pub use finding::Finding;
pub use kneedle::{DEFAULT_SENSITIVITY, KneedleKnee, kneedle};
pub use levels::{Latency, Level, LevelRun, Levels, LevelsError};
pub use objective::{Bound, Metric, Objective, Slo, SloError};
pub use rule::{GAIN_LIMIT, P99_GROWTH_LIMIT, RuleKnee, rule};
pub use slo::{Breach, SloLevel, highest_keeping};
pub use usl::{Coefficients, UslFit, UslPoint};
pub use usl_peak::{IntervalMethod, UslPeak};
