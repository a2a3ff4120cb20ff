//! HTTP servers, called from a few threads with many connections each.
//!
//! A client of our own: what a generator needs of HTTP is little, its cost must be small beside the server's, and a
//! latency must begin and end where we say.

mod frame;
mod h1;
mod h2;
mod hpack;
mod lane;
pub(crate) mod request;
pub(crate) mod response;
mod socket;
mod url;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

#[cfg(feature = "fuzzing")]
pub use h2::fuzzing::read_http2;

use crate::http::h1::H1;
use crate::http::h2::{H2, Prepared};
use crate::http::lane::HttpLane;
use crate::http::request::Request;
use crate::http::url::Url;
use crate::job::{HttpSpec, HttpVersion};
use crate::lane::Lane;
use crate::target::CallFailure;

/// The threads that call a server, which together make at most `concurrency` calls at once.
pub(crate) fn lanes(spec: &HttpSpec, concurrency: NonZeroUsize) -> Result<Vec<Box<dyn Lane>>, CallFailure> {
    let bad_url = |why| CallFailure::new("bad_url", why);
    let url = Url::parse(&spec.url).map_err(bad_url)?;
    let request = Request::new(&url, spec).map_err(|why| CallFailure::new("bad_request", why))?;
    let address = url.resolve().map_err(|why| CallFailure::new("no_address", why))?;
    let threads = spec.threads.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let threads = threads.min(concurrency.get());
    let share = |index: usize| concurrency.get() / threads + usize::from(index < concurrency.get() % threads);
    let no_epoll = |error: rustix::io::Errno| {
        CallFailure::new("io", format!("cannot make an epoll descriptor: {}", std::io::Error::from(error)))
    };
    let lane = |index| -> Result<Box<dyn Lane>, CallFailure> {
        match spec.version {
            HttpVersion::V1 => {
                let bytes: Arc<[u8]> = request.to_bytes().into();
                let is_head = request.method == "HEAD";
                let connection = |token| H1::new(address, Arc::clone(&bytes), is_head, token);
                let connections = (0..share(index) as u64).map(connection).collect();
                Ok(Box::new(HttpLane::new(connections).map_err(no_epoll)?))
            }
            HttpVersion::V2 => {
                let prepared = Prepared::new(&request).map_err(|why| CallFailure::new("bad_request", why))?;
                let connection = H2::new(address, Arc::new(prepared), share(index), 0);
                Ok(Box::new(HttpLane::new(vec![connection]).map_err(no_epoll)?))
            }
        }
    };
    (0..threads).map(lane).collect()
}
