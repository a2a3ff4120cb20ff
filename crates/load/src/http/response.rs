//! Reads responses of HTTP/1.1 (RFC 9112) from bytes that come in any pieces, without keeping any.

/// Longest line of a head, and most bytes of a head.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// A response whose last byte is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Whether the connection can carry another request.
    pub keeps_alive: bool,
}

/// What came is no response of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no HTTP/1.1: {0}")]
pub struct Malformed(&'static str);

/// Reads one response after the other.
#[derive(Clone, Debug)]
pub struct ResponseReader {
    /// The request was a HEAD: its response has no body whatever its head says.
    is_head: bool,
    state: State,
    head: Head,
    head_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    StatusLine,
    Fields,
    Body {
        left: u64,
    },
    ChunkSize,
    ChunkData {
        left: u64,
    },
    /// The line break behind a chunk.
    ChunkEnd,
    Trailers,
    /// The body ends with the connection.
    UntilClose,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: u16,
    is_http_1_0: bool,
    length: Option<u64>,
    /// It has a transfer coding; the last one is `chunked`.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl ResponseReader {
    /// Expects the responses to requests of one kind.
    pub fn new(is_head: bool) -> Self {
        Self { is_head, state: State::StatusLine, head: Head::default(), head_bytes: 0 }
    }

    /// Forgets what it has read: what comes next is another connection.
    pub fn reset(&mut self) {
        *self = Self::new(self.is_head);
    }

    /// Takes bytes: how many it took, and the response if one is complete. Bytes that were not taken, the beginning of
    /// a line, are to be given again with those that follow; behind a response, they belong to the next.
    ///
    /// # Errors
    /// When the bytes are no response.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Response>), Malformed> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            match &mut self.state {
                State::Body { left } | State::ChunkData { left } => {
                    let now = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= now as u64;
                    taken += now;
                    if *left > 0 {
                        return Ok((taken, None));
                    }
                    if matches!(self.state, State::ChunkData { .. }) {
                        self.state = State::ChunkEnd;
                    } else {
                        return Ok((taken, Some(self.finish())));
                    }
                }
                State::UntilClose => return Ok((bytes.len(), None)),
                _ => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        return if self.head_bytes + rest.len() > MAX_HEAD_BYTES {
                            Err(Malformed("its head has no end"))
                        } else {
                            Ok((taken, None))
                        };
                    };
                    let line = &rest[..end];
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    taken += end + 1;
                    self.head_bytes += end + 1;
                    if self.head_bytes > MAX_HEAD_BYTES {
                        return Err(Malformed("its head has no end"));
                    }
                    if self.line(line)? {
                        return Ok((taken, Some(self.finish())));
                    }
                }
            }
        }
    }

    /// The connection has ended: the response if that completes it.
    pub fn end(&mut self) -> Option<Response> {
        (self.state == State::UntilClose).then(|| self.finish())
    }

    /// Whether the response is complete.
    fn line(&mut self, line: &[u8]) -> Result<bool, Malformed> {
        match self.state {
            State::StatusLine => {
                // An empty line in front of it is tolerated, as by other clients.
                if !line.is_empty() {
                    self.head = Head::of_status_line(line)?;
                    self.state = State::Fields;
                }
            }
            State::Fields if line.is_empty() => return self.head_ended(),
            State::Fields => self.head.field(line)?,
            State::ChunkSize => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let left = number(digits, 16).ok_or(Malformed("the size of a chunk is no number"))?;
                // Chunks are no head: only their trailers count again.
                self.head_bytes = 0;
                self.state = if left == 0 { State::Trailers } else { State::ChunkData { left } };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(Malformed("a chunk is longer than its size")),
            State::Trailers => return Ok(line.is_empty()),
            State::Body { .. } | State::ChunkData { .. } | State::UntilClose => {}
        }
        Ok(false)
    }

    fn head_ended(&mut self) -> Result<bool, Malformed> {
        let head = self.head;
        match head.status {
            101 => return Err(Malformed("it changes to another protocol")),
            // Informational: the response itself follows.
            100..200 => {
                self.state = State::StatusLine;
                return Ok(false);
            }
            204 | 304 => return Ok(true),
            _ if self.is_head => return Ok(true),
            _ => {}
        }
        self.state = match (head.chunked, head.length) {
            (Some(true), _) => State::ChunkSize,
            (Some(false), _) | (None, None) => State::UntilClose,
            (None, Some(0)) => return Ok(true),
            (None, Some(left)) => State::Body { left },
        };
        Ok(false)
    }

    fn finish(&mut self) -> Response {
        let head = self.head;
        // A head with both could be read in two ways, so nothing behind it is trusted.
        let is_ambiguous = head.chunked.is_some() && head.length.is_some();
        let keeps_alive = !head.close
            && (!head.is_http_1_0 || head.keep_alive)
            && !is_ambiguous
            && self.state != State::UntilClose;
        self.reset();
        Response { status: head.status, keeps_alive }
    }
}

impl Head {
    fn of_status_line(line: &[u8]) -> Result<Self, Malformed> {
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(Malformed("it does not begin with HTTP/1."))?;
        let [minor @ (b'0' | b'1'), b' ', status @ ..] = rest else {
            return Err(Malformed("its version is neither 1.0 nor 1.1"));
        };
        let (status, reason) = status.split_at_checked(3).ok_or(Malformed("it has no status"))?;
        let status = number(status, 10).filter(|status| (100..1000).contains(status));
        let (Some(status), true) = (status, reason.is_empty() || reason[0] == b' ') else {
            return Err(Malformed("its status is no number of three digits"));
        };
        Ok(Self { status: status as u16, is_http_1_0: *minor == b'0', ..Self::default() })
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Malformed> {
        // The first letter tells nearly all of them apart from those that matter.
        if !matches!(line[0] | 0x20, b'c' | b't') {
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10).ok_or(Malformed("its length is no number"))?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Malformed("it has two lengths"));
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.split(|byte| *byte == b',').next_back().unwrap_or_default();
            self.chunked = Some(last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case(b"connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }
}

/// Digits and nothing else.
fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        number.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}
