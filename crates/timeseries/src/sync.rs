//! What the slot protocol is written in; the loom test compiles the same protocol over loom's.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
pub(crate) use std::thread::yield_now;

/// How often a reader looks again at a slot that is being written.
pub(crate) const SPINS: u32 = 128;
/// How often it then yields, before it takes the slot for one whose writer died.
pub(crate) const YIELDS: u32 = 64;
