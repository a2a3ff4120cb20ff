//! Messages: what the host asks, and what the agent answers.
//!
//! They are encoded with postcard, so the order of variants and fields is the format: new ones go to the end, and any
//! other change needs a new [`VERSION`](crate::VERSION).

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// What the host asks. A frame's request number ties the messages of one request together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Opens the session that the frame names, and ends every other: their running commands are killed, their
    /// transfers dropped. Within its own session it only asks for the facts again.
    Hello,
    /// Runs a command.
    #[serde(borrow)]
    Exec(Exec<'a>),
    /// More standard input for the command.
    Stdin(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// The command's standard input ends.
    StdinEnd,
    /// The receiver took this many bytes of output or file content: the agent may send as many more.
    Credit(u32),
    /// Kills the command's process group; its output and its end are still reported.
    Kill,
    /// The host is no longer interested in the request. A command that still runs is killed.
    Close,
    /// Starts to write a file, which replaces what is at `path` when it is complete.
    Put {
        /// Absolute path in the guest.
        path: &'a str,
        /// Permission bits.
        mode: u32,
        /// Length of the whole file.
        size_bytes: u64,
    },
    /// More content of the file.
    PutData(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// The file is complete.
    PutEnd {
        /// CRC32C of the whole content.
        crc32c: u32,
    },
    /// Reads a file.
    Get {
        /// Path in the guest.
        path: &'a str,
        /// How many bytes the agent may send before the first [`Request::Credit`].
        window_bytes: u32,
    },
    /// Reads the guest's clocks.
    Clock,
    /// Powers the guest off; ends the agent where it is an ordinary service.
    Shutdown,
    /// Makes a guest that goes on from somebody else's state its own. Refused unless the agent is the guest's process 1.
    Personalize {
        /// Its hostname: 1 to 64 letters, digits, hyphens and dots.
        hostname: &'a str,
        /// The content of `/etc/machine-id`, as bytes.
        machine_id: [u8; 16],
        /// What is mixed into the kernel's random pool, every bit of it unknown to anybody else.
        #[serde(serialize_with = "as_bytes")]
        entropy: &'a [u8],
        /// The time to which `CLOCK_REALTIME` is set, since 1970-01-01 UTC.
        realtime_ns: u64,
    },
    /// Sets the wall clock of a guest that stood still, and nothing else. Refused unless the agent is the guest's
    /// process 1.
    SetClock {
        /// The time to which `CLOCK_REALTIME` is set, since 1970-01-01 UTC.
        realtime_ns: u64,
    },
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec<'a> {
    /// What runs.
    #[serde(borrow)]
    pub program: Program<'a>,
    /// Environment variables, beside `PATH` and `HOME`, which they may replace.
    pub env: Vec<(&'a str, &'a str)>,
    /// Working directory; the agent's own when absent.
    pub cwd: Option<&'a str>,
    /// The start of its standard input.
    #[serde(serialize_with = "as_bytes")]
    pub stdin: &'a [u8],
    /// Whether [`Request::Stdin`] and [`Request::StdinEnd`] follow.
    pub stdin_follows: bool,
    /// When it has passed, the process group is killed.
    pub timeout_ns: Option<u64>,
    /// How many bytes of output the agent may send before the first [`Request::Credit`].
    pub window_bytes: u32,
}

/// What a command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program<'a> {
    /// A program, looked up in `PATH`, and its arguments.
    #[serde(borrow)]
    Argv(Vec<&'a str>),
    /// A line for `/bin/sh -c`.
    Shell(&'a str),
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// The agent has opened the line. The only message that nobody asked for; of no session.
    Ready,
    /// Answers [`Request::Hello`].
    #[serde(borrow)]
    Hello(Facts<'a>),
    /// Standard output of a command.
    Stdout(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// Standard error of a command.
    Stderr(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// Both output streams of the command have ended.
    OutputEnd,
    /// The command has ended. Output may follow: its children may hold the streams open.
    Exited {
        /// How.
        status: Status,
        /// What it used.
        resource_use: ResourceUse,
    },
    /// The command took this many bytes of standard input: the host may send as many more.
    StdinCredit(u32),
    /// The file is in place.
    PutDone,
    /// The file to get is open.
    GetStart {
        /// Its permission bits.
        mode: u32,
        /// Its size when it was opened; a file of `/proc` says 0 and has content all the same.
        size_bytes: u64,
    },
    /// Content of the file.
    GetData(#[serde(serialize_with = "as_bytes")] &'a [u8]),
    /// All of the file was sent.
    GetEnd {
        /// CRC32C of the whole content.
        crc32c: u32,
    },
    /// Answers [`Request::Clock`].
    Clock(Clocks),
    /// The guest will power off.
    ShuttingDown,
    /// The request failed, and has ended.
    Error {
        /// Of which kind.
        kind: ErrorKind,
        /// What was attempted and why it failed, in words.
        message: &'a str,
    },
    /// The guest is its own: answers [`Request::Personalize`].
    Personalized,
    /// The wall clock is set: answers [`Request::SetClock`].
    ClockSet,
}

/// What the agent says of itself and its guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts<'a> {
    /// Version of the agent program.
    pub agent_version: &'a str,
    /// Kernel release, as in `uname -r`.
    pub kernel: &'a str,
    /// Guest nanoseconds from the guest's boot to the start of the agent.
    pub init_started_ns: u64,
    /// Guest nanoseconds from the guest's boot to the agent's readiness.
    pub ready_ns: u64,
    /// Whether the agent is the guest's process 1.
    pub is_init: bool,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It exited with this code; with 127 when it was not found, with 126 when it could not be executed.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// Its time limit passed, and its process group was killed.
    TimedOut,
}

/// What a command and the children it waited for used, as the guest kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// CPU time in user mode.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Largest resident set.
    pub max_rss_bytes: u64,
    /// Voluntary and involuntary context switches.
    pub context_switches: u64,
}

/// The guest's clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// `CLOCK_REALTIME`, since 1970-01-01 UTC.
    pub realtime_ns: u64,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The agent does not understand the request, or it makes no sense now.
    BadRequest,
    /// The checksum or the size of a file is not what was announced.
    Checksum,
    /// An input or output operation of the guest failed.
    Io,
    /// The guest's disk is full.
    NoSpace,
    /// No such file.
    NotFound,
    /// The path is not that of a regular file.
    NotRegular,
    /// The guest refused access.
    PermissionDenied,
    /// The frame is of another version of the protocol.
    Version,
}

/// A payload is not a message of this version.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It is not the encoding of any message.
    #[error("cannot decode a message of the guest agent: {0}; host and agent may be of different versions")]
    Malformed(#[from] postcard::Error),
    /// Bytes follow the message.
    #[error(
        "cannot decode a message of the guest agent: {bytes} bytes follow it; host and agent may be of different versions"
    )]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
}

impl<'a> Request<'a> {
    /// Decodes the payload of a frame that the host sent.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        decode(payload)
    }
}

impl<'a> Reply<'a> {
    /// Decodes the payload of a frame that the agent sent.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        decode(payload)
    }
}

fn decode<'a, M: Deserialize<'a>>(payload: &'a [u8]) -> Result<M, DecodeError> {
    match postcard::take_from_bytes(payload)? {
        (message, []) => Ok(message),
        (_, rest) => Err(DecodeError::TrailingBytes { bytes: rest.len() }),
    }
}

/// Serializes in one piece what serde would serialize byte by byte. The encoding is the same.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
