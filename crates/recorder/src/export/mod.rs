//! What a store holds, for others: pushed as Prometheus remote-write, or read as OpenMetrics text.

mod metrics;
pub mod openmetrics;
pub mod remote_write;

pub use metrics::{METRICS, Metric};
