//! As much of HTTP as a scrape needs.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::server::MAX_REQUEST_BYTES;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Metrics,
    /// Another method on `/metrics`.
    OtherMethod,
    OtherPath,
    Nonsense,
    TooLong,
}

/// Reads up to the end of the header, within the time and size that a request may have; `None` when none came.
pub(super) fn read(stream: &mut TcpStream, within: Duration) -> Option<Asked> {
    let until = Instant::now() + within;
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while !ends_header(&bytes) {
        if bytes.len() >= MAX_REQUEST_BYTES {
            return Some(Asked::TooLong);
        }
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
    Some(parse(&bytes))
}

fn ends_header(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n") || bytes.windows(2).any(|window| window == b"\n\n")
}

/// What the first line says; the rest of the header changes nothing.
fn parse(bytes: &[u8]) -> Asked {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Asked::Nonsense };
    let words: Vec<&str> = line.trim_end_matches('\r').split(' ').collect();
    let [method, target, version] = words[..] else { return Asked::Nonsense };
    if !version.starts_with("HTTP/1.") {
        return Asked::Nonsense;
    }
    let path = target.split('?').next().unwrap_or_default();
    match (path, method) {
        ("/metrics", "GET") => Asked::Metrics,
        ("/metrics", _) => Asked::OtherMethod,
        _ => Asked::OtherPath,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_get_metrics_is_answered() {
        for (text, asked) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Metrics),
            ("GET /metrics?x=1 HTTP/1.0\n\n", Asked::Metrics),
            ("POST /metrics HTTP/1.1\r\n\r\n", Asked::OtherMethod),
            ("GET / HTTP/1.1\r\n\r\n", Asked::OtherPath),
            ("GET /metrics/../secret HTTP/1.1\r\n\r\n", Asked::OtherPath),
            ("GET /metrics HTTP/2\r\n\r\n", Asked::Nonsense),
            ("GET /metrics\r\n\r\n", Asked::Nonsense),
            ("\r\n\r\n", Asked::Nonsense),
        ] {
            assert_eq!(parse(text.as_bytes()), asked, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_something(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(!bytes.starts_with(b"GET /metrics"));
            prop_assert!(parse(&bytes) != Asked::Metrics);
        }
    }
}
