//! Where to push, and how patiently.

use std::time::Duration;

use ureq::http::Uri;

use super::error::PushError;

/// Where to push, how much at once, and how long to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushOptions {
    /// The receiver, `http://HOST:PORT/api/v1/write` for Prometheus.
    pub url: String,
    /// Most samples of one request.
    pub max_samples: usize,
    /// Most bytes of one request before compression; a series with its labels and one sample is never cut.
    pub max_bytes: usize,
    /// How many slots a slot must be older than the newest, one or more, before [`push`](super::Pusher::push) takes it.
    pub settle_ticks: u64,
    /// How long one try may take, from the name's resolution to the end of the answer.
    pub request_timeout: Duration,
    /// How long after the first try of a request another may begin; then the push gives up.
    pub give_up_after: Duration,
    /// The wait after the first failed try is random, up to this; then up to the double, and so on.
    pub first_backoff: Duration,
    /// The most a wait grows to. Only a `Retry-After` of the server makes it longer.
    pub longest_backoff: Duration,
}

impl PushOptions {
    /// 2,000 samples and 1 MiB a request; 30 s a try, 5 min in all, waits of up to 100 ms growing to 10 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_samples: 2_000,
            max_bytes: 1 << 20,
            settle_ticks: 1,
            request_timeout: Duration::from_secs(30),
            give_up_after: Duration::from_secs(300),
            first_backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(10),
        }
    }

    /// The address, when it is one that can be pushed to.
    pub(super) fn uri(&self) -> Result<Uri, PushError> {
        let bad = |why: String| PushError::BadUrl { url: self.url.clone(), why };
        let uri: Uri = self.url.parse().map_err(|error| bad(format!("{error}")))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) if !host.is_empty() => Ok(uri),
            (Some("https"), _) => {
                Err(bad("https is not supported; push to a proxy on this host that speaks it".into()))
            }
            _ => Err(bad("it does not begin with http:// and a host".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_are_taken() {
        for url in ["http://127.0.0.1:9090/api/v1/write", "http://[::1]:9090/write", "http://prometheus"] {
            assert!(PushOptions::new(url).uri().is_ok(), "{url}");
        }
        for url in
            ["", "prometheus", "localhost:9090", "/api/v1/write", "ftp://host/", "http://", "http://a b/"]
        {
            let error = PushOptions::new(url).uri().unwrap_err().to_string();
            assert!(error.contains("/api/v1/write"), "{error}");
        }
        let error = PushOptions::new("https://host/write").uri().unwrap_err().to_string();
        assert!(error.contains("https is not supported"), "{error}");
    }
}
