//! What is measured: each scenario a module, all of one shape.
//!
//! A scenario drives any [`Hypervisor`](virtmark_hypervisor::Hypervisor) through a [`Context`], hands every sample to
//! a [`Sink`] before the next measurement starts, and says how it ended ([`Ending`]). Its report is computed from
//! stored samples and nothing else, so that `virtmark show` prints the same figures as the run itself.

mod block;
pub mod capture;
mod command;
pub mod compare;
pub mod computesdk;
mod destroy;
pub mod figures;
pub mod guest;
mod kept;
pub mod lifecycle;
pub mod migrate;
mod nanoseconds;
pub mod pace;
mod port;
mod recorder;
pub mod restore;
mod run;
pub mod sweep;
mod trial;
pub mod tti;
mod verdict;
mod watch;

pub use block::{Block, Blockwise};
pub use run::{Context, Ending, Error, Interrupt, Plan, Progress, Result, Sink, is_permanent};
pub use verdict::Verdict;
