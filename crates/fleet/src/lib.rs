//! Payloads on many machines at once: which machines ([`map`]), how to log in ([`auth`]), and running ([`local`]).

pub mod auth;
pub mod local;
pub mod map;
