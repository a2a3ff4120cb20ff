//! The real agent at the other end of the real link, on this host and over a socket pair.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod commands;
mod files;
mod sessions;
mod support;
mod transports;
