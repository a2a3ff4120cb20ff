//! Sandboxes over any platform: machines that clients make, use and leave, within limits that the operator sets.
//!
//! [`Service`] is blocking code that knows nothing of HTTP; [`http`] is the door that clients come through. A sandbox
//! starts in one of three ways, and its answer says in which:
//!
//! - *cold*: its guest boots;
//! - *template*: it goes on from a snapshot of a guest that has booted. The snapshot is made on first use, and again
//!   when anything that it depends on changes. Its guest has run one command before it was taken (`/bin/sh -c`, with
//!   output), so that the shell and its libraries are in the guest's page cache: the first command of a sandbox that
//!   starts from it finds them there;
//! - *warm*: it was restored from the template beforehand, has run one such command itself (which under software
//!   emulation has translated the code on the way there), and waited, paused. It is resumed, made its own and handed out.

mod admission;
pub mod api;
mod encode;
mod error;
mod gate;
mod gone;
pub mod http;
mod images;
mod kept;
pub mod metrics;
mod options;
mod pool;
mod sandbox;
mod service;
mod shape;
mod snapshots;
mod starting;
mod state;
mod templates;

pub use error::{Error, Result};
pub use gone::Gone;
pub use images::Images;
pub use metrics::Metrics;
pub use options::{Notice, Options};
pub use service::Service;
