//! The door for clients: HTTP/1.1 over the blocking [`Service`](crate::Service).
//!
//! The only asynchronous code of the house, and all of it is in here: threads of its own move bytes, and every call of
//! the service runs on one of a limited number of threads for blocking calls. What finds none free is refused at once.
//! Requests are dispatched from one table of routes, from which the OpenAPI document is written too.

mod blocking;
mod body;
mod dispatch;
mod exposition;
mod files;
mod input;
mod metrics;
mod openapi;
mod options;
mod refusal;
mod route;
mod sandboxes;
mod server;
mod stalling;
mod stream;
mod token;

pub use options::{HttpOptions, ServeError};
pub use server::{Server, serve};
pub use token::Token;
