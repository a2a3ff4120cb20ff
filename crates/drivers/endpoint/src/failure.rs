//! From an answer that is none to an error that says what was attempted, on what, why it failed and what to do.

use std::io;
use std::time::Duration;

use serde_json::Value;
use virtmark_hypervisor::Error;
use virtmark_model::FailureClass;

use crate::http::{Reply, Trouble};
use crate::mapping::answer::{ErrorAnswer, Pointer};

/// What an answer without a message says is cut to this many characters.
const SNIPPET_CHARS: usize = 200;

/// One request, in the words of its errors.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// What is done, on what: `create m1`.
    pub(crate) action: String,
    /// Method and URL.
    pub(crate) request: String,
    /// The machine; the service itself where there is none.
    pub(crate) machine: String,
    pub(crate) timeout: Duration,
    /// What an answer that was lost leaves behind.
    pub(crate) leftover: Option<&'static str>,
}

impl Attempt {
    fn told(&self) -> String {
        format!("{} ({})", self.action, self.request)
    }

    fn other(&self, reason: String) -> Error {
        Error::Io { action: self.told(), source: io::Error::other(reason) }
    }

    /// For an answer that may have been lost after the service did what it was asked.
    fn doubtful(&self, reason: String) -> Error {
        match self.leftover {
            Some(leftover) => self.other(format!("{reason}; {leftover}")),
            None => self.other(reason),
        }
    }

    /// No whole answer came.
    pub(crate) fn trouble(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Lost(reason) => self.doubtful(format!("the answer was lost: {reason}")),
            Trouble::NobodyThere(reason) => Error::HypervisorMissing {
                program: format!("{} through {}", self.machine, self.request),
                reason: format!("nothing answers there: {reason}"),
                remedy: "start the service (`virtmark serve`), or give the URL of one with --endpoint".into(),
            },
            Trouble::NoTls(reason) => Error::HypervisorMissing {
                program: format!("{} through {}", self.machine, self.request),
                reason: format!("there is no TLS connection to it: {reason}"),
                remedy: "its certificate must be for this name, and signed by a public authority".into(),
            },
            Trouble::Timeout => Error::Timeout {
                machine: self.machine.clone(),
                request: match self.leftover {
                    Some(leftover) => format!("{} ({}; {leftover})", self.action, self.request),
                    None => self.told(),
                },
                timeout: self.timeout,
                console: String::new(),
            },
            Trouble::TooLarge(bytes) => {
                self.doubtful(format!("the answer is larger than the {bytes} bytes that are read of one"))
            }
        }
    }

    /// An answer came, and does not say what it should.
    pub(crate) fn unreadable(&self, reply: &Reply, reason: &str) -> Error {
        let said = snippet(&reply.body);
        self.doubtful(format!(
            "the service answered {} and {reason}: {said:?}; is this its API, and the right --mapping?",
            reply.status
        ))
    }

    /// The service refused, or could not.
    pub(crate) fn refused(&self, reply: &Reply, fields: &ErrorAnswer) -> Error {
        let said = Said { fields, json: serde_json::from_slice(&reply.body).ok() };
        let reason = said.reason(reply);
        if let Some(class) = said.field(&fields.class).and_then(|name| name.parse().ok()) {
            // What there was no room for may find some later, when others have made some.
            let is_passing = matches!(reply.status, 429 | 503) || reply.retry_after.is_some();
            return Error::Remote { class, is_passing, action: self.told(), reason };
        }
        match class_of_status(reply.status) {
            Some(FailureClass::DiskFull) => self.failed(io::ErrorKind::StorageFull, reason),
            Some(FailureClass::PermissionDenied) => Error::PermissionDenied {
                action: format!("{}: {reason}", self.told()),
                remedy: "give the service's token with --token".into(),
            },
            Some(FailureClass::Timeout) => self.failed(io::ErrorKind::TimedOut, reason),
            Some(FailureClass::VmmExited) => Error::VmmExited {
                machine: self.machine.clone(),
                status: format!("{}: {reason}", self.told()),
                output: String::new(),
            },
            _ if (300..=399).contains(&reply.status) => {
                self.other(format!("{reason}; give the URL that it leads to, no redirect is followed"))
            }
            _ => self.other(reason),
        }
    }

    fn failed(&self, kind: io::ErrorKind, reason: String) -> Error {
        Error::Io { action: self.told(), source: io::Error::new(kind, reason) }
    }
}

/// The class that a status means by itself.
fn class_of_status(status: u16) -> Option<FailureClass> {
    match status {
        401 | 403 => Some(FailureClass::PermissionDenied),
        408 | 504 => Some(FailureClass::Timeout),
        410 => Some(FailureClass::VmmExited),
        507 => Some(FailureClass::DiskFull),
        _ => None,
    }
}

/// What an error's answer says.
struct Said<'a> {
    fields: &'a ErrorAnswer,
    json: Option<Value>,
}

impl Said<'_> {
    fn field(&self, at: &Option<Pointer>) -> Option<String> {
        let value = at.as_ref()?.find(self.json.as_ref()?)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn reason(&self, reply: &Reply) -> String {
        let mut reason = format!("the service answered {}", reply.status);
        if let Some(code) = self.field(&self.fields.code) {
            reason += &format!(" {code}");
        }
        match self.field(&self.fields.message) {
            Some(message) => reason += &format!(": {message}"),
            None if reply.body.is_empty() => {}
            None => reason += &format!(": {:?}", snippet(&reply.body)),
        }
        if let Some(remedy) = self.field(&self.fields.remedy) {
            reason += &format!("; {remedy}");
        }
        if let Some(after) = &reply.retry_after {
            // A number of seconds, or a date.
            let unit = if after.bytes().all(|byte| byte.is_ascii_digit()) { " s" } else { "" };
            reason += &format!(" (Retry-After: {after}{unit})");
        }
        reason
    }
}

/// The beginning of a text, on one line.
fn snippet(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(8 * SNIPPET_CHARS)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SNIPPET_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
