//! How a call of a plan can fail.

use std::io;
use std::time::Duration;

use crate::request::RequestError;

/// A call that has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request does not fit the plan.
    #[error(transparent)]
    BadInput(#[from] RequestError),
    /// A node could not do its work.
    #[error("node {node:?} failed: {failure}")]
    Node {
        /// Its name.
        node: String,
        /// Why.
        #[source]
        failure: NodeFailure,
    },
}

impl CallError {
    /// How it is counted.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::BadInput(_) => FailureClass::BadInput,
            Self::Node { failure, .. } => failure.class(),
        }
    }
}

/// Why a node could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum NodeFailure {
    /// The code of the node panicked: a defect of this program.
    #[error("it panicked; this is a defect of virtmark, please report it with the plan")]
    Panicked,
    /// Redis answered with something that the plan does not expect.
    #[error("Redis at {address} has {what}; fill it with the data that the plan reads")]
    RedisData {
        /// Where.
        address: String,
        /// What was found, for what.
        what: String,
    },
    /// The connection ended in the middle of a read.
    #[error("Redis at {address} went away in the middle of a read: {source}; see whether it still runs")]
    RedisLost {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// What came back is not the protocol of Redis.
    #[error("{address} does not speak the protocol of Redis: {what}; name the address of a Redis")]
    RedisProtocol {
        /// Where.
        address: String,
        /// What came.
        what: String,
    },
    /// Redis refused a command.
    #[error("Redis at {address} refuses: {message}")]
    RedisRefused {
        /// Where.
        address: String,
        /// Its own words.
        message: String,
    },
    /// Redis did not answer in time.
    #[error("Redis at {address} did not answer within {timeout:?}; see what keeps it, or allow more time")]
    RedisTimeout {
        /// Where.
        address: String,
        /// How long it had.
        timeout: Duration,
    },
    /// No connection could be opened.
    #[error("cannot connect to Redis at {address}: {source}; start it, or name another address")]
    RedisUnreachable {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// More rows than a batch may have.
    #[error("{rows} rows are more than the {max} that a node may hand on", max = crate::batch::MAX_ROWS)]
    TooManyRows {
        /// How many there would have been, at least.
        rows: usize,
    },
}

impl NodeFailure {
    fn class(&self) -> FailureClass {
        match self {
            Self::Panicked => FailureClass::Panicked,
            Self::RedisData { .. } => FailureClass::RedisData,
            Self::RedisLost { .. } => FailureClass::RedisLost,
            Self::RedisProtocol { .. } => FailureClass::RedisProtocol,
            Self::RedisRefused { .. } => FailureClass::RedisRefused,
            Self::RedisTimeout { .. } => FailureClass::RedisTimeout,
            Self::RedisUnreachable { .. } => FailureClass::RedisUnreachable,
            Self::TooManyRows { .. } => FailureClass::TooManyRows,
        }
    }
}

/// How a failed call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The request does not fit the plan.
    BadInput,
    /// A defect of this program.
    Panicked,
    /// Redis holds other data than the plan expects.
    RedisData,
    /// The connection ended in the middle of a read.
    RedisLost,
    /// The other side is no Redis.
    RedisProtocol,
    /// Redis refused a command.
    RedisRefused,
    /// Redis did not answer in time.
    RedisTimeout,
    /// No connection could be opened.
    RedisUnreachable,
    /// A node had more rows than it may hand on.
    TooManyRows,
}
