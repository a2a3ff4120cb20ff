//! One request to the receiver, sent until it is taken, refused, or no longer worth it.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ureq::http::{HeaderMap, Uri};
use ureq::{Agent, Body, Timeout};
use virtmark_host::signals::Interrupt;

use super::error::PushError;
use super::options::PushOptions;
use super::retry::{Backoff, random, retry_after};

/// What is read of an answer: its first line is all that is told.
const MOST_ANSWER_BYTES: u64 = 4096;
/// A first line is cut to this many characters.
const MOST_LINE_CHARS: usize = 300;

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    uri: Uri,
    options: PushOptions,
    interrupt: Interrupt,
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct Sent {
    /// Tries, the last one included.
    pub(super) tries: u32,
    /// Whether an earlier try may have arrived although it failed.
    pub(super) doubtful: bool,
    /// `None` when the request was taken.
    pub(super) refusal: Option<Refusal>,
}

/// An answer that no other try will change.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) line: String,
}

/// How one try ended.
enum Reply {
    Accepted,
    Failed(Failure),
    Refused(Refusal),
}

/// A try that is worth another.
struct Failure {
    what: String,
    /// Whether the samples may have been taken all the same.
    doubtful: bool,
    /// How long the server wants to be left alone.
    retry_after: Option<Duration>,
}

impl Client {
    pub(super) fn new(options: &PushOptions, interrupt: &Interrupt) -> Result<Self, PushError> {
        let uri = options.uri()?;
        let config = Agent::config_builder()
            .user_agent(concat!("virtmark/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy of the environment is for the web, not for a receiver on this host.
            .proxy(None);
        let agent = Agent::new_with_config(config.build());
        Ok(Self { agent, uri, options: options.clone(), interrupt: interrupt.clone() })
    }

    /// Sends a body until it is taken or refused.
    pub(super) fn send(&self, body: &[u8], samples: usize) -> Result<Sent, PushError> {
        let url = || self.options.url.clone();
        let mut backoff = Backoff::new(self.options.first_backoff, self.options.longest_backoff);
        let started = Instant::now();
        let (mut tries, mut doubtful) = (0, false);
        loop {
            if self.interrupt.requested() {
                return Err(PushError::Interrupted { url: url() });
            }
            tries += 1;
            let failure = match self.attempt(body) {
                Reply::Accepted => return Ok(Sent { tries, doubtful, refusal: None }),
                Reply::Refused(refusal) => return Ok(Sent { tries, doubtful, refusal: Some(refusal) }),
                Reply::Failed(failure) => failure,
            };
            doubtful |= failure.doubtful;
            let wait = backoff.next(random()).max(failure.retry_after.unwrap_or_default());
            let waited = started.elapsed();
            if waited.saturating_add(wait) >= self.options.give_up_after {
                return Err(PushError::GaveUp { url: url(), samples, tries, waited, last: failure.what });
            }
            self.interrupt.wait_timeout(wait);
        }
    }

    fn attempt(&self, body: &[u8]) -> Reply {
        let timeout = self.options.request_timeout;
        let request = self
            .agent
            .post(&self.uri)
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .config()
            .timeout_global(Some(timeout))
            .build();
        let response = match request.send(body) {
            Ok(response) => response,
            Err(error) => {
                let doubtful = may_have_arrived(&error);
                return Reply::Failed(Failure { what: told(&error, timeout), doubtful, retry_after: None });
            }
        };
        let (status, asked) = (response.status().as_u16(), asked_wait(response.headers()));
        let line = first_line(response.into_body());
        match status {
            200..=299 => Reply::Accepted,
            429 | 500..=599 => {
                let what = format!("the server answered {status}: {line}");
                Reply::Failed(Failure { what, doubtful: status != 429, retry_after: asked })
            }
            _ => Reply::Refused(Refusal { status, line }),
        }
    }
}

/// Whether the server can have got the request: not when there never was a connection.
fn may_have_arrived(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => false,
        ureq::Error::Io(error) => error.kind() != ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(timeout) => !matches!(timeout, Timeout::Connect | Timeout::Resolve),
        _ => true,
    }
}

fn told(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("there was no answer within {timeout:.1?}"),
        error => error.to_string(),
    }
}

fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get("Retry-After")?.to_str().ok()?, Timestamp::now())
}

/// The first line of an answer, as far as it came.
fn first_line(body: Body) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is in the buffer, and more is not needed.
    let _ = body.into_reader().take(MOST_ANSWER_BYTES).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("(nothing else)").trim();
    match line.char_indices().nth(MOST_LINE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
