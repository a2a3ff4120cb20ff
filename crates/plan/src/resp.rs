//! A client for the few commands that plans read Redis with.
//!
//! The protocol is RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>): commands are arrays of bulk
//! strings, any number of them may be sent before the first answer is read, and answers come in their order.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::batch::MAX_ROWS;
use crate::failure::NodeFailure;

/// Longest line of the protocol, without the content of bulk strings: numbers and messages of errors.
const MAX_LINE: usize = 64 * 1024;
/// Longest single value. Redis allows 512 MiB; a plan that reads such values does not measure what it thinks.
const MAX_BULK: usize = 16 * 1024 * 1024;

/// Which Redis, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// `HOST:PORT`.
    pub address: String,
    /// For opening a connection, and for all answers to the commands of one node.
    pub timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { address: "127.0.0.1:6379".into(), timeout: Duration::from_secs(1) }
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Array(Vec<Option<Vec<u8>>>),
    Bulk(Vec<u8>),
    Error(String),
    Int(i64),
    /// There is no such thing.
    Nil,
    Simple(String),
}

/// Commands that are sent together.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    bytes: Vec<u8>,
    commands: usize,
}

impl Pipeline {
    pub(crate) fn push<'a>(&mut self, words: impl Iterator<Item = &'a [u8]> + Clone) {
        // Writing to a vector cannot fail.
        let _ = write!(self.bytes, "*{}\r\n", words.clone().count());
        for word in words {
            let _ = write!(self.bytes, "${}\r\n", word.len());
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.commands += 1;
    }
}

/// A connection to a Redis.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    options: RedisOptions,
}

impl Connection {
    pub(crate) fn open(options: &RedisOptions) -> Result<Self, NodeFailure> {
        let unreachable = |source| NodeFailure::RedisUnreachable { address: options.address.clone(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in options.address.to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, options.timeout) {
                Ok(stream) => {
                    // Commands of a pipeline leave together; the last one shall not wait for an acknowledgement.
                    stream.set_nodelay(true).map_err(unreachable)?;
                    return Ok(Self { stream: BufReader::new(stream), options: options.clone() });
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    /// Sends all commands and reads as many answers. After an error the connection is of no more use.
    pub(crate) fn run(&mut self, pipeline: &Pipeline) -> Result<Vec<Reply>, NodeFailure> {
        let deadline = Instant::now() + self.options.timeout;
        self.exchange(pipeline, deadline).map_err(|error| self.failure(error))
    }

    fn exchange(&mut self, pipeline: &Pipeline, deadline: Instant) -> io::Result<Vec<Reply>> {
        let left = || Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        self.stream.get_ref().set_write_timeout(left())?;
        self.stream.get_mut().write_all(&pipeline.bytes)?;
        let mut replies = Vec::with_capacity(pipeline.commands);
        for _ in 0..pipeline.commands {
            // Setting the limit is a system call, which an answer that is here already need not pay.
            if self.stream.buffer().is_empty() {
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.stream.get_ref().set_read_timeout(left())?;
            }
            replies.push(read_reply(&mut self.stream)?);
        }
        Ok(replies)
    }

    fn failure(&self, error: io::Error) -> NodeFailure {
        let address = self.options.address.clone();
        match error.kind() {
            io::ErrorKind::InvalidData => NodeFailure::RedisProtocol { address, what: error.to_string() },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                NodeFailure::RedisTimeout { address, timeout: self.options.timeout }
            }
            _ => NodeFailure::RedisLost { address, source: error },
        }
    }
}

/// Reads one answer; what is not the protocol is an error of the kind `InvalidData`.
pub(crate) fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(stream)?;
    let Some((kind, rest)) = line.split_first() else { return Err(invalid("an empty line")) };
    let text = || String::from_utf8_lossy(rest).into_owned();
    match kind {
        b'+' => Ok(Reply::Simple(text())),
        b'-' => Ok(Reply::Error(text())),
        b':' => Ok(Reply::Int(number(rest)?)),
        b'$' => Ok(read_bulk(stream, rest)?.map_or(Reply::Nil, Reply::Bulk)),
        b'*' => {
            let Some(length) = length(rest, MAX_ROWS)? else { return Ok(Reply::Nil) };
            // Grows with what really comes: the announced length is only a claim.
            let mut elements = Vec::new();
            for _ in 0..length {
                let line = read_line(stream)?;
                match line.split_first() {
                    Some((b'$', rest)) => elements.push(read_bulk(stream, rest)?),
                    _ => return Err(invalid("an array of something else than texts")),
                }
            }
            Ok(Reply::Array(elements))
        }
        _ => Err(invalid(&format!("an answer that begins with {:?}", char::from(*kind)))),
    }
}

fn read_bulk(stream: &mut impl BufRead, announced: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = length(announced, MAX_BULK)? else { return Ok(None) };
    let mut bulk = Vec::new();
    stream.take(length as u64 + 2).read_to_end(&mut bulk)?;
    if bulk.len() < length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !bulk.ends_with(b"\r\n") {
        return Err(invalid("a text that is longer than announced"));
    }
    bulk.truncate(length);
    Ok(Some(bulk))
}

fn read_line(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if line.len() == MAX_LINE {
        return Err(invalid("a line without an end"));
    }
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(invalid("a line that ends otherwise"));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

/// A length, or none for -1: there is no such thing.
fn length(digits: &[u8], max: usize) -> io::Result<Option<usize>> {
    let length = number(digits)?;
    if length == -1 {
        return Ok(None);
    }
    let fitting = usize::try_from(length).ok().filter(|length| *length <= max);
    fitting.map(Some).ok_or_else(|| invalid(&format!("a length of {length}, where at most {max} is taken")))
}

fn number(digits: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| invalid("something that should be a number"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("there came {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The worked examples of the protocol's specification.
    #[test]
    fn answers_are_read() {
        let read = |mut text: &[u8]| read_reply(&mut text).unwrap();
        assert_eq!(read(b"+OK\r\n"), Reply::Simple("OK".into()));
        assert_eq!(
            read(b"-ERR unknown command 'asdf'\r\n"),
            Reply::Error("ERR unknown command 'asdf'".into())
        );
        assert_eq!(read(b":-42\r\n"), Reply::Int(-42));
        assert_eq!(read(b"$5\r\nhello\r\n"), Reply::Bulk(b"hello".to_vec()));
        assert_eq!(read(b"$0\r\n\r\n"), Reply::Bulk(Vec::new()));
        assert_eq!(read(b"$-1\r\n"), Reply::Nil);
        assert_eq!(read(b"*-1\r\n"), Reply::Nil);
        assert_eq!(read(b"*0\r\n"), Reply::Array(Vec::new()));
        let mixed = Reply::Array(vec![Some(b"hello".to_vec()), None, Some(b"\r\n".to_vec())]);
        assert_eq!(read(b"*3\r\n$5\r\nhello\r\n$-1\r\n$2\r\n\r\n\r\n"), mixed);
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut pipeline = Pipeline::default();
        pipeline.push(["LLEN", "mylist"].iter().map(|word| word.as_bytes()));
        assert_eq!(pipeline.bytes, b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n");
    }

    #[test]
    fn what_is_no_answer_is_told_from_an_end() {
        let kind = |mut text: &[u8]| read_reply(&mut text).unwrap_err().kind();
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"$x\r\n",
            b"$-2\r\n",
            b"+OK\n",
            b"\r\n",
            b"*1\r\n:1\r\n",
            b"$1\r\nabc",
        ] {
            assert_eq!(kind(bad), io::ErrorKind::InvalidData, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(kind(b"$99999999999\r\n"), io::ErrorKind::InvalidData);
        for cut in [&b""[..], b"$5\r\nhel", b"*2\r\n$1\r\na\r\n", b"+O"] {
            assert_eq!(kind(cut), io::ErrorKind::UnexpectedEof, "{}", String::from_utf8_lossy(cut));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64), kind in "[-+:$*]") {
            let bytes = [kind.as_bytes(), &bytes].concat();
            let mut rest = &bytes[..];
            while let Ok(_reply) = read_reply(&mut rest) {
                prop_assert!(rest.len() < bytes.len());
            }
        }
    }
}
