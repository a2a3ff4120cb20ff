//! The service over HTTP, on a platform without machines: what clients send, and the bad days that they can make.

mod client;
mod contract;
mod crowd;
mod fake;
mod files;
mod house;
mod rubbish;
mod stream;
mod token;
mod vanishing;
