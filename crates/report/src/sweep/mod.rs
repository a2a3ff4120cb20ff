//! A sweep in pictures: throughput and latency by level, one against the other, and by size of machine.

mod figures;
mod files;

pub use figures::{NamedFigure, figures};
pub use files::{PictureFormat, PlotOptions, PlotsError, plots};
