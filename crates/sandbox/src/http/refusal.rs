//! What the HTTP layer itself refuses, before the service is asked.

use std::time::Duration;

use thiserror::Error;
use virtmark_model::FailureClass;

/// A request that was not carried out.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The body did not come in whole.
    #[error("cannot read the body of the request: {0}")]
    BodyBroken(String),
    /// The body is larger than is taken.
    #[error("the body of the request is larger than the {limit_bytes} bytes that are taken here")]
    BodyTooLarge { limit_bytes: u64 },
    /// The body took too long to come.
    #[error("the body of the request did not come within {0:?}")]
    BodyTooSlow(Duration),
    /// The service refused.
    #[error(transparent)]
    Core(#[from] crate::Error),
    /// The request was meant for a host of another name.
    #[error("the request's Host is neither an address nor localhost")]
    HostForeign,
    /// The service failed in a way nobody foresaw.
    #[error("the service failed while it worked on {0}; the cause is on its standard error")]
    Internal(String),
    /// The body is not the JSON that is wanted.
    #[error("the body of the request is not what is wanted here: {reason}{}", place_note(place))]
    InvalidJson { place: String, reason: String },
    /// The path or query is not what is wanted.
    #[error("{0}")]
    InvalidRequest(String),
    /// A file came without its size.
    #[error("the size of the file is not known: the request has no Content-Length")]
    LengthRequired,
    /// The path has other methods.
    #[error("{path} does not know {method}")]
    MethodNotAllowed { method: String, path: String, allowed: String },
    /// No such path.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// Too much is going on.
    #[error("{limit} {what} are being worked on, which is the limit")]
    Overloaded { what: &'static str, limit: usize },
    /// The token is missing or wrong.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The body is not said to be what is wanted.
    #[error("the body of the request is {given}, not {wanted}")]
    UnsupportedMediaType { given: String, wanted: &'static str },
    /// The path and query are too long.
    #[error("the path and query have {given_bytes} bytes, more than the {limit_bytes} that are taken here")]
    UriTooLong { given_bytes: usize, limit_bytes: usize },
}

impl Refusal {
    /// A word that does not change, for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::BodyBroken(_) | Self::InvalidRequest(_) => "invalid_request",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow(_) => "request_timeout",
            Self::Core(error) => error.code(),
            Self::HostForeign => "host_foreign",
            Self::Internal(_) => "internal",
            Self::InvalidJson { .. } => "invalid_json",
            Self::LengthRequired => "length_required",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotFound(_) => "not_found",
            Self::Overloaded { .. } => "overloaded",
            Self::Unauthorized(_) => "unauthorized",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::UriTooLong { .. } => "uri_too_long",
        }
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::BodyBroken(_) | Self::InvalidJson { .. } | Self::InvalidRequest(_) => 400,
            Self::BodyTooLarge { .. } => 413,
            Self::BodyTooSlow(_) => 408,
            Self::Core(error) => error.status(),
            Self::HostForeign => 403,
            Self::Internal(_) => 500,
            Self::LengthRequired => 411,
            Self::MethodNotAllowed { .. } => 405,
            Self::NotFound(_) => 404,
            Self::Overloaded { .. } => 503,
            Self::Unauthorized(_) => 401,
            Self::UnsupportedMediaType { .. } => 415,
            Self::UriTooLong { .. } => 414,
        }
    }

    /// What the client can do.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::BodyBroken(_) => "send it again, with as many bytes as its Content-Length says".into(),
            Self::BodyTooLarge { .. } => {
                "send less; what is large goes in by PUT /sandboxes/{sandbox_id}/files".into()
            }
            Self::BodyTooSlow(_) => "send the whole body at once".into(),
            Self::Core(error) => error.remedy().to_string(),
            Self::HostForeign => {
                "ask by the address, as in http://127.0.0.1:8080; a service with a token answers to any name"
                    .into()
            }
            Self::Internal(_) => "report it, with the output of the service".into(),
            Self::InvalidJson { .. } | Self::InvalidRequest(_) => {
                "see GET /openapi.json for what is taken".into()
            }
            Self::LengthRequired => "send a Content-Length instead of a chunked body".into(),
            Self::MethodNotAllowed { allowed, .. } => format!("use one of {allowed}"),
            Self::NotFound(_) => "see GET /openapi.json for what there is".into(),
            Self::Overloaded { .. } => "try again after the seconds in Retry-After".into(),
            Self::Unauthorized(_) => {
                "send the header `Authorization: Bearer TOKEN` with the token of this service".into()
            }
            Self::UnsupportedMediaType { wanted, .. } => format!("send the header `Content-Type: {wanted}`"),
            Self::UriTooLong { .. } => "send a shorter one".into(),
        }
    }

    /// The class of the failure of a machine; `None` for the others.
    pub(super) fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Core(error) => error.class(),
            _ => None,
        }
    }

    /// After how many seconds it is worth trying again.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Core(error) => error.retry_after_s(),
            Self::Overloaded { .. } => Some(1),
            _ => None,
        }
    }
}

fn place_note(place: &str) -> String {
    if place.is_empty() || place == "." { String::new() } else { format!(" (at {place})") }
}
