//! What is to be done on every machine.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::Source;

/// What is to be done on every machine.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name of the run; part of a far file name.
    pub id: String,
    /// The payload, which lint has passed.
    pub source: Source,
    /// Where it is unpacked on the machines.
    pub root: String,
    /// Environment variables for it, beside `BENCH_ROOT`.
    pub variables: BTreeMap<String, String>,
    /// Programs that it needs there.
    pub tools: Vec<String>,
    /// Whether it has files with absolute paths, which are written where they say: tar has to be asked for that.
    pub absolute_paths: bool,
    /// How many machines must be ready.
    pub need: Need,
    /// How long machines are waited for; without one, each is tried once.
    pub ready_time: Option<Duration>,
    /// How long the upload, and after it unpacking, may take; none for as long as they take.
    pub transfer_time: Option<Duration>,
    /// How long the payload may run; none for as long as it takes.
    pub run_time: Option<Duration>,
    /// How often the upload and unpacking are tried again on a new connection. The payload itself never is.
    pub retries: u32,
    /// Machines that are worked on at the same time.
    pub parallel: NonZeroUsize,
}

/// As it is said in messages: `all`, `3`.
impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::AtLeast(count) => count.fmt(formatter),
        }
    }
}

/// How many machines must be ready, or the payload is run nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All of them.
    All,
    /// This many.
    AtLeast(NonZeroUsize),
}

impl Need {
    /// The number, of so many machines.
    pub fn count(self, machines: usize) -> usize {
        match self {
            Self::All => machines,
            Self::AtLeast(count) => count.get(),
        }
    }
}
