//! Child processes that cannot outlive virtmark.
//!
//! Four things hold a child, so that nothing is left whichever way virtmark ends:
//! - a [`Child`] kills its whole process group and reaps when it is dropped;
//! - the kernel kills it when virtmark dies (`PR_SET_PDEATHSIG`). That signal fires when the *thread* that
//!   forked exits, so one thread that lives as long as the process does all the forking;
//! - it writes its own pid and start time into the run directory before it executes the program, so that the
//!   next start of virtmark can find its descendants too;
//! - it carries [`RUN_ID_VARIABLE`] in its environment, by which a descendant is known that has left the group.
//!
//! A child leads a process group of its own, so that Ctrl-C on the terminal reaches virtmark alone. It does not
//! lead a session: each session is an autogroup to the scheduler, and would change what is measured.
//!
//! A child may be locked in before it executes its program ([`Lockdown`]).

mod child;
mod error;
mod landlock;
mod limit;
mod lockdown;
mod registry;
mod spawn;
mod spawner;
mod usage;

pub use child::{Child, describe_exit};
pub use error::ProcessError;
pub use landlock::{Tcp, WriteRules};
pub use limit::raise_descriptor_limit;
pub use lockdown::{FIRST_USER, GROUP, Lockdown, OwnUser};
pub use registry::{LiveChild, kill_all_children, kill_children_named, live_children};
pub use spawn::{Spawn, Stream};
pub use usage::{ProcessUsage, usage};

/// Environment variable by which every descendant of a run is known; its value is the id of the run directory.
pub const RUN_ID_VARIABLE: &str = "VIRTMARK_RUN_ID";
