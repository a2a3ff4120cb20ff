//! What comes in with a request: path, query, body.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// How much of an unwanted body is read and dropped, so that the client gets to read the answer.
const DRAIN_BYTES: u64 = 16 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);
const JSON: &str = "application/json";

/// Whether a request was meant for this host as a loopback service is reached: by an address or by `localhost`. A web
/// page whose own name was made to lead here (DNS rebinding) asks by that name.
pub(super) fn is_meant_for_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let authority = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => return false,
        (Some(authority), ..) => Some(authority.clone()),
        (None, Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Some(authority),
            Err(_) => return false,
        },
        // HTTP/1.0; no browser speaks it.
        (None, None, _) => None,
    };
    authority.is_none_or(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

/// A segment of a path as the text that it encodes.
pub(super) fn segment(encoded: &str) -> Result<String, Refusal> {
    decoded(encoded).ok_or_else(|| {
        Refusal::InvalidRequest("the path has a percent sign that encodes nothing, or is not UTF-8".into())
    })
}

/// The parameters of a query, each of which must be one of `known` and come once.
pub(super) fn query(
    query: Option<&str>,
    known: &[&'static str],
) -> Result<BTreeMap<&'static str, String>, Refusal> {
    let mut parameters = BTreeMap::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |encoded: &str| {
            decoded(&encoded.replace('+', " ")).ok_or_else(|| {
                let reason = "the query has a percent sign that encodes nothing, or is not UTF-8";
                Refusal::InvalidRequest(reason.into())
            })
        };
        let (name, value) = (text(name)?, text(value)?);
        let known = known.iter().find(|known| **known == name).ok_or_else(|| {
            Refusal::InvalidRequest(format!("the query has {name:?}, which means nothing here"))
        })?;
        if parameters.insert(*known, value).is_some() {
            return Err(Refusal::InvalidRequest(format!("the query has {name:?} twice")));
        }
    }
    Ok(parameters)
}

/// What a percent-encoded text stands for; `None` for rubbish and for what is not UTF-8.
fn decoded(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        // Two hexadecimal digits fit a byte.
        bytes.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Reads a JSON body of at most `limit_bytes`.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &mut Incoming,
    limit_bytes: u64,
    timeout: Duration,
) -> Result<T, Refusal> {
    let given = headers
        .get(CONTENT_TYPE)
        .map_or(Cow::Borrowed(""), |given| String::from_utf8_lossy(given.as_bytes()));
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        let given = if given.is_empty() { "of no stated type".into() } else { format!("{given:?}") };
        return Err(Refusal::UnsupportedMediaType { given, wanted: JSON });
    }
    parsed(&whole(headers, body, limit_bytes, timeout).await?)
}

/// The value that a JSON text stands for.
pub(super) fn parsed<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    // A list would be read as the fields of an object in order, which nobody was promised.
    if text.trim_ascii_start().first() == Some(&b'[') {
        let reason = "it is a list, and an object is wanted".into();
        return Err(Refusal::InvalidJson { place: String::new(), reason });
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| Refusal::InvalidJson {
        place: error.path().to_string(),
        reason: error.inner().to_string(),
    })?;
    parser.end().map_err(|error| Refusal::InvalidJson { place: String::new(), reason: error.to_string() })?;
    Ok(value)
}

async fn whole(
    headers: &HeaderMap,
    body: &mut Incoming,
    limit_bytes: u64,
    timeout: Duration,
) -> Result<Vec<u8>, Refusal> {
    let too_large = Refusal::BodyTooLarge { limit_bytes };
    if content_length(headers).is_some_and(|length| length > limit_bytes) {
        return Err(too_large);
    }
    let deadline = Instant::now() + timeout;
    let mut bytes = Vec::new();
    while let Some(piece) = piece(body, deadline, timeout).await? {
        if (bytes.len() + piece.len()) as u64 > limit_bytes {
            return Err(too_large);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The next piece of a body, `None` at its end; it fails at `deadline`, when `timeout` has passed.
pub(super) async fn piece(
    body: &mut Incoming,
    deadline: Instant,
    timeout: Duration,
) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout_at(deadline, poll_fn(|context| Pin::new(&mut *body).poll_frame(context)));
        match frame.await.map_err(|_| Refusal::BodyTooSlow(timeout))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refusal::BodyBroken(error.to_string())),
            // Trailers say nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// How long the body is said to be.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads what is left of an unwanted body. A connection that is closed while bytes are on their way to it is reset, and
/// the client may never see the answer. One that waits for leave to send gets none.
pub(super) async fn drain(headers: &HeaderMap, body: &mut Incoming) {
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let deadline = Instant::now() + DRAIN_TIME;
    let mut left_bytes = DRAIN_BYTES;
    while let Ok(Some(piece)) = piece(body, deadline, DRAIN_TIME).await {
        left_bytes = left_bytes.saturating_sub(piece.len() as u64);
        if left_bytes == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(text in any::<String>()) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decoded(&encoded), Some(text));
        }

        #[test]
        fn rubbish_is_refused_and_never_panics(text in any::<String>()) {
            let whole = text.split('%').skip(1).all(|after| {
                after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            });
            prop_assert!(whole || decoded(&text).is_none());
            let _ = query(Some(&text), &["path"]);
        }
    }

    #[test]
    fn a_service_on_loopback_is_asked_by_address_or_as_localhost() {
        let meant = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().unwrap());
            }
            is_meant_for_loopback(&uri.parse().unwrap(), &headers)
        };
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "[::1]"] {
            assert!(meant("/", &[host]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "", "a b", "@"] {
            assert!(!meant("/", &[host]), "{host}");
        }
        assert!(meant("/", &[]));
        assert!(!meant("/", &["localhost", "localhost"]));
        assert!(!meant("http://evil.example/", &["localhost"]));
        assert!(meant("http://127.0.0.1:1/", &["localhost"]));
    }

    #[test]
    fn a_query_has_known_parameters_once() {
        let parameters = query(Some("path=%2Ftmp%2Fa+b&mode=0644"), &["path", "mode"]).unwrap();
        assert_eq!(parameters["path"], "/tmp/a b");
        assert_eq!(parameters["mode"], "0644");
        for refused in ["path=1&path=2", "paths=1", "path=%", "path=%f", "path=%zz", "path=%ff"] {
            let error = query(Some(refused), &["path"]).unwrap_err();
            assert_eq!(error.code(), "invalid_request", "{refused}");
        }
        assert!(query(None, &[]).unwrap().is_empty());
    }

    #[test]
    fn wrong_json_is_told_with_its_place() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[serde(rename = "sizes")]
            _sizes: Vec<u8>,
        }
        let message = |text: &[u8]| parsed::<Asked>(text).unwrap_err().to_string();
        let wrong = message(br#"{"sizes": [1, "x"]}"#);
        assert!(wrong.contains("sizes[1]") && wrong.contains("line 1 column"), "{wrong}");
        assert!(message(br#"{"sizes": [], "more": 1}"#).contains("more"));
        assert!(message(br#"{"sizes": []} x"#).contains("trailing"));
        assert!(message(b"").contains("EOF"));
        assert!(message(b" [[1]]").contains("list"));
        let deep = format!(r#"{{"sizes": {}"#, "[".repeat(100_000));
        assert!(message(deep.as_bytes()).contains("line 1"));
    }
}
