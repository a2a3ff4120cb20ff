//! The service over HTTP, on a platform without machines: what clients send, and the bad days that they can make.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod classes;
mod client;
mod contract;
mod cost;
mod crowd;
mod fake;
mod files;
mod house;
mod rubbish;
mod schema;
mod stream;
mod token;
mod vanishing;
