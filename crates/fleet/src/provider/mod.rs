//! Where machines come from: set up so many, all or none, and torn down again.
//!
//! A [`Provider`] makes one machine at a time and knows when it is ready. Everything that is the same for all of them is
//! in [`set_up`]: several at once, the time that all share, and undoing a part when the whole cannot be.

mod files;
mod hosted;
mod replicas;
mod setup;

use std::sync::Arc;

use virtmark_hypervisor::{GuestLink, Result};

use crate::Limit;
use crate::map::Machine;

pub use files::Login;
pub use hosted::{Door, Hosted, NetworkChoice};
pub use replicas::Replicas;
pub use setup::{SetUpError, SetUpPlan, SetUpWatch, set_up};

/// A place that gives machines: a hypervisor of this host ([`Hosted`]), a cluster.
pub trait Provider: Send + Sync {
    /// Makes a machine of this name, starts it, and waits until it is ready, which is when it can be worked with: its
    /// agent has answered, and where it is entered by SSH the server has greeted.
    ///
    /// What cannot be ready by the deadline is an error, and so is what nobody wants any more. Whichever error it is,
    /// nothing of the machine is left. Called from several threads at once.
    fn set_up(&self, name: &str, limit: &Limit) -> Result<Box<dyn Replica>>;
}

/// A machine that was set up. Dropping it tears it down.
pub trait Replica: Send {
    /// Its name, and where it is reached.
    fn machine(&self) -> &Machine;

    /// The lines of a known_hosts file (sshd(8)) by which it proves who it is, learned by a way that needs no trust in
    /// the network; empty where it has none.
    fn known_hosts(&self) -> &str;

    /// The way to its agent, where this process has one.
    fn link(&self) -> Option<Arc<dyn GuestLink>>;

    /// Why it does not run any more, where it has ended by itself.
    fn ended(&self) -> Option<String>;

    /// Ends it and frees everything that it holds. Calling it again does nothing.
    fn tear_down(&mut self) -> Result<()>;
}
