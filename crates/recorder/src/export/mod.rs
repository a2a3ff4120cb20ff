//! What a store holds, for others: pushed as Prometheus remote-write, or read as OpenMetrics text.

pub mod openmetrics;
pub mod remote_write;
