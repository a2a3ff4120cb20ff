//! What host and guest agent say to each other over one byte stream: [`frame`]s that survive a damaged or interrupted
//! line, and the [`message`]s they carry. Pure data: no input or output happens here.
//!
//! The byte layout, and what happens when something goes wrong, is in `docs/protocol.md`.

pub mod frame;
pub mod message;

pub use frame::{Decoder, EncodeError, Frame, Header, encode};
pub use message::{
    Clocks, DecodeError, ErrorKind, Exec, Facts, Program, Reply, Request, ResourceUse, Status,
};

/// Version of frames and messages. It grows with every change that an older peer would misread.
pub const VERSION: u16 = 1;

/// Name of the virtio-serial port that the line to a guest's agent has.
pub const PORT_NAME: &str = "virtmark.agent";

/// What the agent as init writes on the console, as a line of its own, when user space begins.
pub const INIT_MARK: &str = "virtmark-init";

/// Largest piece of a stream (output, standard input, file content) in one message. A frame around it stays within
/// 32 KiB, which a virtio-serial port takes in one transfer.
pub const CHUNK_BYTES: usize = 32 * 1024 - 64;

/// Bytes of standard input that may be on their way to a command and not yet taken by it.
pub const STDIN_WINDOW_BYTES: usize = 64 * 1024;

/// The session of frames that belong to none: [`Reply::Ready`].
pub const NO_SESSION: u64 = 0;

/// The checksum of a file's content so far, given that of what came before `bytes`; 0 before the first.
pub fn checksum_append(checksum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(checksum, bytes)
}
