//! How the service is offered.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::Token;

/// How the service is offered over HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// What clients must show. It may only be absent where the address is a loopback one.
    pub token: Option<Token>,
    /// Connections at a time. Whoever comes when they are taken is answered 503 and sent away.
    pub connections: usize,
    /// Requests at a time that boot machines, run commands or move files. One more is answered 503.
    pub requests: usize,
    /// How long a client may take to send the head of a request, and be silent between two requests.
    pub head_timeout: Duration,
    /// How long it may take to send a JSON body.
    pub body_timeout: Duration,
    /// How long it may take nothing of an answer, or send nothing of a file, before it is given up.
    pub stall_timeout: Duration,
    /// How long a file may take in all.
    pub transfer_timeout: Duration,
    /// How long a stream of events is silent at most: then it has a comment, by which both sides see that the other is
    /// still there.
    pub comment_interval: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            token: None,
            connections: 512,
            requests: 256,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            transfer_timeout: Duration::from_secs(600),
            comment_interval: Duration::from_secs(15),
        }
    }
}

impl HttpOptions {
    /// Whether the service may be offered at this address; to be asked before listening there.
    ///
    /// # Errors
    /// [`ServeError::TokenMissing`] for an address that others can reach, when there is no token.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        if self.token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::TokenMissing { address });
        }
        Ok(())
    }
}

/// The service cannot be offered.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listening socket or the threads for it are not to be had.
    #[error("cannot {action} to serve HTTP: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Everybody on the network could run commands.
    #[error(
        "cannot serve on {address} without a token: everybody who reaches it could run machines here; \
         give a token, or listen on a loopback address such as 127.0.0.1"
    )]
    TokenMissing {
        /// The address.
        address: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_a_token() {
        let check = |options: &HttpOptions, address: &str| options.check(address.parse().unwrap()).is_ok();
        let (open, closed) =
            (HttpOptions::default(), HttpOptions { token: Token::new("t"), ..HttpOptions::default() });
        for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(check(&open, address) && check(&closed, address), "{address}");
        }
        for address in ["0.0.0.0:80", "[::]:80", "192.168.1.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(!check(&open, address) && check(&closed, address), "{address}");
        }
    }
}
