//! OpenMetrics 1.0: the latest values of a store as text, and a small server for those who scrape.
//!
//! Format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

mod exposition;
mod request;
mod server;

pub use exposition::{CONTENT_TYPE, exposition};
pub use server::{MAX_CONNECTIONS, MAX_REQUEST_BYTES, serve};
