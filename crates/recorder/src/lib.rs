//! Samples running machines into a time-series store, and exports it.

pub mod export;
