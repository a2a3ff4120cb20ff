//! The load generator `virtmark-load`, built static for the host's architecture, as bytes: to be put into a guest, or
//! to run on the host itself under limits. `docs/load.md` describes what it reads and writes.

/// The program, an ELF executable.
pub static LOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/virtmark-load"));
