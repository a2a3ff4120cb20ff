//! How a service's API is spoken: which requests make a machine, run a command in it and end it, and where the answers
//! say what. A TOML file, described in `docs/endpoint.md`.

pub(crate) mod answer;
mod compile;
mod raw;
pub(crate) mod template;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use ureq::http::{HeaderName, Method};

use answer::{
    ContentAnswer, ErrorAnswer, ExecAnswer, HealthAnswer, NoAnswer, Pointer, SnapshotAnswer, StartAnswer,
    UsageAnswer,
};
use compile::{Wrong, compile};
use raw::RawMapping;
use template::{JsonTemplate, Placeholder, Template};

/// The API of `virtmark serve`.
const VIRTMARK: &str = include_str!("../../mappings/virtmark.toml");

/// A mapping that cannot be used.
#[derive(Debug, Error)]
pub enum MappingError {
    /// Something in it is wrong.
    #[error("cannot use the mapping {origin}, line {line}: {problem}")]
    Invalid {
        /// The file.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// The file cannot be read.
    #[error("cannot read the mapping {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How a service's API is spoken.
#[derive(Debug)]
pub struct Mapping {
    pub(crate) provider: String,
    pub(crate) auth: Auth,
    pub(crate) error: ErrorAnswer,
    pub(crate) health: Option<Operation<HealthAnswer>>,
    pub(crate) create: Operation<StartAnswer>,
    pub(crate) exec: Operation<ExecAnswer>,
    pub(crate) destroy: Operation<NoAnswer>,
    pub(crate) snapshot_create: Option<Operation<SnapshotAnswer>>,
    pub(crate) snapshot_restore: Option<Operation<StartAnswer>>,
    pub(crate) snapshot_delete: Option<Operation<NoAnswer>>,
    pub(crate) inspect: Option<Operation<UsageAnswer>>,
    pub(crate) put_file: Option<Operation<NoAnswer>>,
    /// Without an answer, the body is the file.
    pub(crate) get_file: Option<Operation<Option<ContentAnswer>>>,
}

/// How a token is shown.
#[derive(Debug)]
pub(crate) enum Auth {
    Bearer,
    Header(HeaderName),
    None,
}

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Operation<A> {
    pub(crate) request: Request,
    pub(crate) answer: A,
    pub(crate) poll: Option<Poll>,
}

/// What is sent, and which statuses mean that it worked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: Template,
    pub(crate) body: Option<JsonTemplate>,
    /// Any 2xx when absent.
    pub(crate) success: Option<Vec<u16>>,
}

impl Request {
    pub(crate) fn succeeds_with(&self, status: u16) -> bool {
        match &self.success {
            Some(statuses) => statuses.contains(&status),
            None => (200..300).contains(&status),
        }
    }

    /// Whether it says this, in its path or its body.
    pub(crate) fn names(&self, placeholder: Placeholder) -> bool {
        self.path.holes().any(|hole| hole == placeholder)
            || self.body.as_ref().is_some_and(|body| body.names(placeholder))
    }
}

/// Asking until a field has a value.
#[derive(Debug)]
pub(crate) struct Poll {
    pub(crate) request: Request,
    pub(crate) at: Pointer,
    /// Any value when absent.
    pub(crate) ready: Option<Vec<Value>>,
    pub(crate) failed: Vec<Value>,
    pub(crate) interval: Duration,
    pub(crate) limit: Option<Duration>,
}

impl Mapping {
    /// The API of `virtmark serve`.
    pub fn virtmark() -> Result<Self, MappingError> {
        Self::parse(VIRTMARK, "of virtmark serve")
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, MappingError> {
        let text =
            fs::read_to_string(path).map_err(|source| MappingError::Read { path: path.into(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a file's content; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, MappingError> {
        let invalid = |wrong: Wrong| MappingError::Invalid {
            origin: origin.into(),
            line: 1 + text.bytes().take(wrong.at.start).filter(|byte| *byte == b'\n').count(),
            problem: wrong.problem,
        };
        let raw: RawMapping = toml::from_str(text)
            .map_err(|error| invalid(Wrong::new(error.span().unwrap_or(0..0), error.message())))?;
        compile(raw).map_err(invalid)
    }

    /// The name under which the service goes on record.
    pub fn provider(&self) -> &str {
        &self.provider
    }
}
