//! Samples in, figures out: percentiles, intervals, spread, outliers, comparisons, the knee of a load curve.
//!
//! Every function takes raw samples in any order and never trims them. A figure presented as observed is one of
//! the samples: percentiles, quartiles and medians are nearest-rank, nothing is interpolated. The unit of a figure
//! is the unit of its samples.
//!
//! - [`Summary`]: everything a table shows about one set of samples.
//! - [`percentile`], [`ecdf`]: single figures and the whole distribution.
//! - [`ratio_of_medians`]: how much slower one set is than another, with an interval.
//! - [`bca`]: a bootstrap interval for any statistic of any kind of observation.
//! - [`compare`]: whether two runs differ, block by block, and what that comes to.
//! - [`knee`]: where a service saturates, from throughput and latency at several levels of concurrency.
//!
//! The same samples give the same figures in every run: medians and their ratios use the bootstrap's exact
//! distribution and draw nothing at random, [`bca`] draws from a generator with the caller's seed.

mod bca;
mod binomial;
mod bootstrap;
pub mod compare;
mod ecdf;
mod error;
mod interval;
pub mod knee;
mod median;
mod moments;
mod outliers;
mod percentile;
mod proportion;
mod ratio;
mod sorted;
mod summary;

pub use bootstrap::{DEFAULT_RESAMPLES, DEFAULT_SEED, bca};
pub use ecdf::ecdf;
pub use error::StatsError;
pub use interval::Interval;
pub use median::MedianMethod;
pub use outliers::Outliers;
pub use percentile::{Percentile, percentile};
pub use proportion::proportion_interval;
pub use ratio::{Ratio, ratio_of_medians};
pub use summary::Summary;
