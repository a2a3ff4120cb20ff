//! Payloads on many machines at once: which machines ([`map`]), how to log in ([`auth`]), and running, here
//! ([`local`]) and on all of them ([`run`]).
//!
//! A machine is reached through a [`Transport`]: SSH ([`ssh`]), or its agent ([`AgentTransport`]). The stages are the
//! same over each: wait until it is ready, upload, unpack, run, collect.
//!
//! Machines are somebody else's, or come from a [`provider`], which sets up as many as are wanted and tears them down.

pub mod auth;
pub mod bench;
mod cksum;
mod failure;
mod far;
mod fleet;
mod gate;
mod job;
mod life;
mod limit;
mod link;
pub mod local;
pub mod map;
mod outcome;
pub mod provider;
mod report;
mod results;
mod script;
mod source;
pub mod ssh;
mod summary;
mod transport;

pub use failure::{Failure, FailureKind};
pub use fleet::{Verdict, Watch, all_at_once, run};
pub use job::{Job, Need};
pub use limit::Limit;
pub use link::AgentTransport;
pub use outcome::{EXIT_CODE_LABEL, MachineRun, RUN_METRIC, Stage, StageTime};
pub use report::{FleetReport, MachineReport, SCENARIO};
pub use results::ResultsDir;
pub use source::Source;
pub use summary::{MachineValue, MetricSummary, summarize};
pub use transport::{End, Output, Session, Stream, Transport};
