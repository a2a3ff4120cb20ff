//! The tar layer: one entry after the other, strictly, in memory that does not grow.
//!
//! Formats: ustar and pax (POSIX.1-2017, `pax`), and GNU's long names. Where readers of tar disagree on what a header
//! means, it is refused: what is linted here must be what another tar unpacks there.

use std::io::BufRead;

use tar::{Header, PaxExtensions};

use crate::finding::{Code, Finding};
use crate::gunzip::{Broken, Gunzip};

const BLOCK_BYTES: usize = 512;
/// Extended headers hold names; longer ones are no names.
const EXTENSION_LIMIT_BYTES: u64 = 64 << 10;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BlockDevice,
    CharacterDevice,
    Directory,
    Fifo,
    File,
    HardLink,
    Symlink,
    /// With the byte that stands for its type.
    Unsupported(u8),
}

/// A header, its extensions applied. The data follows in the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As written, never empty.
    pub(crate) path: Vec<u8>,
    /// The target of a link, as written.
    pub(crate) target: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions and the three bits above them.
    pub(crate) mode: u32,
    pub(crate) size_bytes: u64,
}

/// Reads entries from a gzip file.
#[derive(Debug)]
pub(crate) struct Tarball<R> {
    input: Gunzip<R>,
    /// Of the entry at hand.
    data_bytes: u64,
    padding_bytes: u64,
    entries: u64,
    marked_end: bool,
}

/// What extended headers said about the entry that follows them.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size_bytes: Option<u64>,
    sparse: bool,
}

impl<R: BufRead> Tarball<R> {
    pub(crate) fn new(input: Gunzip<R>) -> Self {
        Self { input, data_bytes: 0, padding_bytes: 0, entries: 0, marked_end: false }
    }

    /// The layer below, for its figures.
    pub(crate) fn gunzip(&self) -> &Gunzip<R> {
        &self.input
    }

    /// Whether the archive's end was marked as it should be; known after the last entry.
    pub(crate) fn has_marked_end(&self) -> bool {
        self.marked_end
    }

    /// The next entry, past what is left of the one at hand; none at the end, when everything behind the archive was
    /// read too.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Broken> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_data()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size_bytes = header.entry_size().map_err(|_| self.damaged("the size is no number"))?;
            let kind = header.as_bytes()[156];
            match kind {
                b'x' | b'g' | b'L' | b'K' => self.extend(&mut extensions, kind, size_bytes)?,
                _ => {
                    let entry = self.entry(&header, extensions, size_bytes)?;
                    self.begin(entry.size_bytes);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Some bytes of the entry at hand; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let most = buffer.len().min(usize::try_from(self.data_bytes).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..most])? {
            0 => Err(truncated().into()),
            count => {
                self.data_bytes -= count as u64;
                Ok(count)
            }
        }
    }

    fn begin(&mut self, size_bytes: u64) {
        self.data_bytes = size_bytes;
        self.padding_bytes = size_bytes.wrapping_neg() % BLOCK_BYTES as u64;
    }

    fn skip_data(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; 16 << 10];
        while self.read(&mut buffer)? > 0 {}
        self.data_bytes = std::mem::take(&mut self.padding_bytes);
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    /// The next header, its checksum verified; none at the end.
    fn header(&mut self) -> Result<Option<Header>, Broken> {
        let mut header = Header::new_old();
        match self.fill(header.as_mut_bytes())? {
            0 if self.entries > 0 => return Ok(None),
            BLOCK_BYTES => {}
            _ if self.entries > 0 => return Err(truncated().into()),
            0 => return Err(not_tar("there is nothing in it").into()),
            _ => return Err(not_tar("is not compressed tar").into()),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.end()?;
            return Ok(None);
        }
        if !has_checksum(&header) {
            let finding = match self.entries {
                0 => not_tar("what is compressed is no tar archive"),
                _ => self.damaged("its checksum is wrong"),
            };
            return Err(finding.into());
        }
        self.entries += 1;
        Ok(Some(header))
    }

    /// Behind the first of the two empty blocks: everything else must be empty as well.
    fn end(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; 16 << 10];
        let mut behind = 0;
        loop {
            let count = self.input.read(&mut buffer)?;
            if buffer[..count].iter().any(|byte| *byte != 0) {
                let message = "something follows the end of the archive, and no tar would unpack it";
                let remedy = "pack everything as one archive; archives cannot be appended to one another";
                return Err(Finding::new(Code::TarTrailing, message, remedy).into());
            }
            behind += count;
            if count == 0 {
                self.marked_end = behind >= BLOCK_BYTES;
                return Ok(());
            }
        }
    }

    /// Fills the buffer as far as there is something to fill it with.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn extend(&mut self, extensions: &mut Extensions, kind: u8, size_bytes: u64) -> Result<(), Broken> {
        if size_bytes > EXTENSION_LIMIT_BYTES {
            return Err(self.damaged("an extended header is longer than any name").into());
        }
        self.begin(size_bytes);
        // Bounded above.
        let mut data = vec![0; size_bytes as usize];
        let mut filled = 0;
        while filled < data.len() {
            filled += self.read(&mut data[filled..])?;
        }
        match kind {
            b'L' => extensions.path = Some(until_nul(data)),
            b'K' => extensions.target = Some(until_nul(data)),
            _ => self.apply_pax(extensions, &data, kind == b'g')?,
        }
        Ok(())
    }

    fn apply_pax(&self, extensions: &mut Extensions, data: &[u8], global: bool) -> Result<(), Broken> {
        for record in PaxExtensions::new(data) {
            let record = record.map_err(|_| self.damaged("an extended header is no list of key=value"))?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" | b"linkpath" | b"size" if global => {
                    return Err(self
                        .damaged("an extended header gives all entries the same name or size")
                        .into());
                }
                b"path" => extensions.path = Some(value.to_vec()),
                b"linkpath" => extensions.target = Some(value.to_vec()),
                b"size" => {
                    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    extensions.size_bytes = Some(
                        number.ok_or_else(|| self.damaged("the size in an extended header is no number"))?,
                    );
                }
                key if key.starts_with(b"GNU.sparse.") => extensions.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&self, header: &Header, extensions: Extensions, size_bytes: u64) -> Result<Entry, Broken> {
        let size_bytes = extensions.size_bytes.unwrap_or(size_bytes);
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = extensions.target.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let target = target.unwrap_or_default();
        if path.is_empty() || path.contains(&0) || target.contains(&0) {
            return Err(self.damaged("an entry has no name that a file could have").into());
        }
        let mode = header.mode().map_err(|_| self.damaged("the mode is no number"))? & 0o7777;
        let kind = match header.as_bytes()[156] {
            _ if extensions.sparse => Kind::Unsupported(b'S'),
            // Before 1988 a directory was a file with a slash at its end.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Unsupported(other),
        };
        if size_bytes > 0 && !matches!(kind, Kind::File | Kind::Unsupported(_)) {
            return Err(self
                .damaged("an entry that is no file has a size, on which readers disagree")
                .into());
        }
        Ok(Entry { path, target, kind, mode, size_bytes })
    }

    fn damaged(&self, why: &str) -> Finding {
        let message = format!("header {} of the archive is damaged: {why}", self.entries);
        Finding::new(Code::TarDamaged, message, "pack it again")
    }
}

/// The sum of all bytes, those of the checksum itself taken as spaces; old tars summed them as signed.
fn has_checksum(header: &Header) -> bool {
    let Ok(expected) = header.cksum() else { return false };
    let bytes = header.as_bytes().iter().enumerate();
    let bytes = bytes.map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: u32 = bytes.clone().map(u32::from).sum();
    let signed: i32 = bytes.map(|byte| i32::from(byte.cast_signed())).sum();
    expected == unsigned || i32::try_from(expected) == Ok(signed)
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

fn not_tar(message: &str) -> Finding {
    Finding::new(Code::NotTar, message, "make it with `virtmark payload pack DIR` or `tar czf`")
}

fn truncated() -> Finding {
    let message = "the archive ends in the middle of an entry, and the file does not";
    Finding::new(
        Code::TarTruncated,
        message,
        "pack it again; something cut the archive before it was compressed",
    )
}
