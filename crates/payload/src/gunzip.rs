//! The gzip layer: all members to the end, counted, hashed, and within limits.
//!
//! Format: RFC 1952. Members that follow one another are one stream, and zeros after the last one are padding, as
//! gzip(1) has it.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use crate::finding::{Code, Finding};

/// Below this, a high ratio is no danger, and usual for small archives of text.
const RATIO_FROM_BYTES: u64 = 64 << 20;

/// What an archive may unpack to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the unpacked archive.
    pub unpacked_bytes: u64,
    /// Unpacked bytes per packed byte, from 64 MiB of unpacked data on.
    pub ratio: u64,
    /// Entries, directories that are only implied included.
    pub entries: u64,
}

/// 16 GiB, 200 times, 200 000 entries. Deflate reaches a ratio of about 1000 on zeros, and 3 to 5 on programs.
impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 16 << 30, ratio: 200, entries: 200_000 }
    }
}

/// Why the stream cannot be read on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The payload's fault.
    Finding(Finding),
    /// The file could not be read.
    Io(io::Error),
}

impl From<Finding> for Broken {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

/// The unpacked bytes of a gzip file.
#[derive(Debug)]
pub(crate) struct Gunzip<R> {
    state: State<R>,
    limits: Limits,
    unpacked_bytes: u64,
    /// Whether at least one member was sound.
    started: bool,
    /// Whether the whole file was, to its end.
    sound: bool,
}

#[derive(Debug)]
enum State<R> {
    /// Before the first member, or between two.
    Between(Packed<R>),
    Member(Box<GzDecoder<Packed<R>>>),
    /// Nothing more is to be had.
    End(Packed<R>),
    /// Passing from one to another; never seen from outside.
    Moving,
}

impl<R: BufRead> Gunzip<R> {
    pub(crate) fn new(input: R, limits: &Limits) -> Self {
        let packed = Packed { input, bytes: 0, hash: Sha256::new(), failure: None };
        Self {
            state: State::Between(packed),
            limits: limits.clone(),
            unpacked_bytes: 0,
            started: false,
            sound: false,
        }
    }

    /// Fills as much of the buffer as one step gives; 0 at the sound end of the file.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        loop {
            match std::mem::replace(&mut self.state, State::Moving) {
                State::Between(packed) => self.next_member(packed)?,
                State::Member(mut member) => match member.read(buffer) {
                    Ok(0) => {
                        self.started = true;
                        self.state = State::Between(member.into_inner());
                    }
                    Ok(count) => {
                        let packed_bytes = member.get_ref().bytes;
                        self.state = State::Member(member);
                        self.count(count, packed_bytes)?;
                        return Ok(count);
                    }
                    Err(error) => {
                        let in_header = member.header().is_none();
                        let mut packed = member.into_inner();
                        let broken = self.broken(&mut packed, in_header, error);
                        self.state = State::End(packed);
                        return Err(broken);
                    }
                },
                State::End(packed) => {
                    self.state = State::End(packed);
                    return Ok(0);
                }
                State::Moving => return Ok(0),
            }
        }
    }

    /// Bytes read from the file so far.
    pub(crate) fn packed_bytes(&self) -> u64 {
        match &self.state {
            State::Between(packed) | State::End(packed) => packed.bytes,
            State::Member(member) => member.get_ref().bytes,
            State::Moving => 0,
        }
    }

    /// Bytes unpacked so far.
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// SHA-256 of the file, in hexadecimal, when it was read to its end.
    pub(crate) fn sha256(&self) -> Option<String> {
        let State::End(packed) = &self.state else { return None };
        if !self.sound {
            return None;
        }
        let digest = packed.hash.clone().finalize();
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What comes after a member, or first: another one, the end, or what does not belong there.
    fn next_member(&mut self, mut packed: Packed<R>) -> Result<(), Broken> {
        let looked = if self.started { packed.skip_zeros() } else { Ok(()) };
        let start =
            looked.and_then(|()| packed.fill_buf().map(|start| start.get(..512).unwrap_or(start).to_vec()));
        match start.as_deref() {
            Ok([0x1f, ..]) => self.state = State::Member(Box::new(GzDecoder::new(packed))),
            Ok([]) if self.started => {
                self.sound = true;
                self.state = State::End(packed);
            }
            Ok(start) => {
                self.state = State::End(packed);
                let finding = if self.started { trailing() } else { not_gzip(start) };
                return Err(finding.into());
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                let failure = packed.failure.take().unwrap_or(told);
                self.state = State::End(packed);
                return Err(Broken::Io(failure));
            }
        }
        Ok(())
    }

    fn count(&mut self, count: usize, packed_bytes: u64) -> Result<(), Broken> {
        self.unpacked_bytes += count as u64;
        let Limits { unpacked_bytes: most, ratio, .. } = self.limits;
        if self.unpacked_bytes > most {
            let message = format!("unpacks to more than {most} bytes");
            return Err(Finding::new(Code::TooLarge, message, "raise the limit if it is meant to").into());
        }
        let allowed = packed_bytes.saturating_mul(ratio);
        if self.unpacked_bytes > RATIO_FROM_BYTES && self.unpacked_bytes > allowed {
            let message =
                format!("unpacks to more than {ratio} times its size: a decompression bomb, or mostly zeros");
            let remedy = "make such files in payload.sh instead, or raise the limit";
            return Err(Finding::new(Code::Ratio, message, remedy).into());
        }
        Ok(())
    }

    fn broken(&self, packed: &mut Packed<R>, in_header: bool, error: io::Error) -> Broken {
        if let Some(failure) = packed.failure.take() {
            return Broken::Io(failure);
        }
        let at = packed.bytes;
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                let message = format!("the file ends after {at} bytes, in the middle of the compressed data");
                Finding::new(Code::GzipTruncated, message, "copy or pack it again").into()
            }
            _ if in_header && self.started => trailing().into(),
            _ if in_header => not_gzip(&[0x1f]).into(),
            _ => {
                let message = format!("the compressed data is damaged before byte {at}: {error}");
                Finding::new(Code::GzipDamaged, message, "copy or pack it again").into()
            }
        }
    }
}

fn trailing() -> Finding {
    let message = "something that is not gzip follows the compressed data";
    Finding::new(Code::GzipTrailing, message, "pack it again; unpackers disagree on such files")
}

fn not_gzip(start: &[u8]) -> Finding {
    let kinds: [(&[u8], &str); 6] = [
        (b"BZh", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"\x7fELF", "a program"),
        (b"#!", "a script"),
    ];
    let message = match kinds.iter().find(|(magic, _)| start.starts_with(magic)) {
        _ if start.is_empty() => "the file is empty".into(),
        _ if start.get(257..262) == Some(b"ustar") => "is a tar archive that is not compressed".into(),
        Some((_, kind)) => format!("is not compressed by gzip: it looks like {kind}"),
        None => "is not compressed by gzip".into(),
    };
    Finding::new(Code::NotGzip, message, "make it with `virtmark payload pack DIR` or `tar czf`")
}

/// The file as it is, with what is told about it.
#[derive(Debug)]
struct Packed<R> {
    input: R,
    bytes: u64,
    hash: Sha256,
    /// What the file's own reader said; the decoder would tell it as one of its own errors.
    failure: Option<io::Error>,
}

impl<R: BufRead> Packed<R> {
    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.fill_buf()?;
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return Ok(());
            }
            self.consume(zeros);
        }
    }
}

impl<R: BufRead> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.input.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let told = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(error);
                    return Err(told);
                }
            }
        }
        // What was filled above is given again.
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // At most what `fill_buf` gave, so it is there without reading.
        if let Ok(buffer) = self.input.fill_buf() {
            self.hash.update(&buffer[..count.min(buffer.len())]);
        }
        self.bytes += count as u64;
        self.input.consume(count);
    }
}
