//! Doors for fuzz targets: what an HTTP/2 server sends comes in by a connection only.

pub use crate::http::read_http2;
