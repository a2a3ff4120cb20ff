//! HTTP/1.1 by hand, so that a test can be as rude as it likes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// What is left of `bytes` after the first answer in it, and that answer; `None` when it is not whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Self { status, headers, body: Vec::new() };
        let mut rest = &bytes[end + 4..];
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = rest.windows(2).position(|two| two == b"\r\n")?;
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
                let chunk = rest.get(line + 2..line + 2 + size)?;
                reply.body.extend_from_slice(chunk);
                rest = rest.get(line + 4 + size..)?;
                if size == 0 {
                    return Some((reply, rest));
                }
            }
        }
        let size = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        reply.body = rest.get(..size)?.to_vec();
        Some((reply, &rest[size..]))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of an error, which has everything that errors have.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let error = &self.json()["error"];
        for field in ["code", "message", "remedy"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {error}");
        }
        error["code"].as_str().unwrap().into()
    }
}

/// A connection whose reads do not wait forever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends these bytes and reads what comes until the connection ends.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // A service that has heard enough may have closed the connection already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The bytes of a request, with `Connection: close`.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let answer = exchange(address, &request(method, target, headers, body));
    let parsed = if method == "HEAD" {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answer.len(), end, "HEAD has no body");
        let head = String::from_utf8_lossy(&answer).replace("content-length", "said-length");
        Reply::parse(head.as_bytes()).map(|(reply, _)| reply)
    } else {
        Reply::parse(&answer).map(|(reply, _)| reply)
    };
    parsed.unwrap_or_else(|| panic!("{method} {target}: {}", String::from_utf8_lossy(&answer)))
}

pub(crate) fn get(address: SocketAddr, target: &str) -> Reply {
    ask(address, "GET", target, &[], b"")
}

pub(crate) fn post(address: SocketAddr, target: &str, body: &Value) -> Reply {
    ask(address, "POST", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}
