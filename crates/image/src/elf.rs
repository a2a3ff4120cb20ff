//! The parts of ELF64 little-endian files that kernels and modules need (System V ABI, chapters 4 and 5).
//!
//! Every read is checked: the bytes come from outside.

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_INTERP: u32 = 3;
pub(crate) const PT_NOTE: u32 = 4;
pub(crate) const SHT_NULL: u32 = 0;
pub(crate) const SHT_NOBITS: u32 = 8;
pub(crate) const SHF_ALLOC: u64 = 2;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const PROGRAM_HEADER_BYTES: usize = 56;
pub(crate) const SECTION_HEADER_BYTES: usize = 64;

/// An ELF64 file held in memory.
#[derive(Clone, Copy)]
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
}

/// One program header: a piece of the file that is loaded or described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) virtual_address: u64,
    pub(crate) physical_address: u64,
    pub(crate) file_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) align: u64,
}

/// One section header, with the place of the header itself so that it can be rewritten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) header_at: usize,
    pub(crate) name: &'a [u8],
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
    pub(crate) align: u64,
}

impl<'a> Elf<'a> {
    /// Takes `bytes` as an ELF64 little-endian file, or says what they are instead.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err("not an ELF file".to_owned());
        }
        if bytes.len() < HEADER_BYTES {
            return Err("an ELF file cut off in its header".to_owned());
        }
        if bytes[4] != 2 || bytes[5] != 1 {
            return Err("an ELF file that is not 64-bit little-endian".to_owned());
        }
        Ok(Self { bytes })
    }

    /// The whole file.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// `e_machine`.
    pub(crate) fn machine(self) -> u16 {
        read_u16(self.bytes, 18).unwrap_or(0)
    }

    /// `e_shoff`.
    pub(crate) fn section_table_at(self) -> u64 {
        read_u64(self.bytes, 40).unwrap_or(0)
    }

    /// Program headers, in file order; an error when they lie outside the file.
    pub(crate) fn segments(self) -> Result<Vec<Segment>, String> {
        let table = read_u64(self.bytes, 32).unwrap_or(0);
        let size = usize::from(read_u16(self.bytes, 54).unwrap_or(0));
        let count = usize::from(read_u16(self.bytes, 56).unwrap_or(0));
        if count > 0 && size != PROGRAM_HEADER_BYTES {
            return Err(format!("program headers of {size} bytes"));
        }
        (0..count)
            .map(|index| {
                let at = position(table, index, size)?;
                let header =
                    self.bytes.get(at..at.saturating_add(size)).ok_or("program headers outside the file")?;
                Ok(Segment {
                    kind: word(header, 0),
                    flags: word(header, 4),
                    offset: double(header, 8),
                    virtual_address: double(header, 16),
                    physical_address: double(header, 24),
                    file_bytes: double(header, 32),
                    memory_bytes: double(header, 40),
                    align: double(header, 48),
                })
            })
            .collect()
    }

    /// Section headers, in file order; an error when they or their names lie outside the file.
    pub(crate) fn sections(self) -> Result<Vec<Section<'a>>, String> {
        let table = self.section_table_at();
        let size = usize::from(read_u16(self.bytes, 58).unwrap_or(0));
        let count = usize::from(read_u16(self.bytes, 60).unwrap_or(0));
        let names_index = usize::from(read_u16(self.bytes, 62).unwrap_or(0));
        if count > 0 && size != SECTION_HEADER_BYTES {
            return Err(format!("section headers of {size} bytes"));
        }
        let headers = (0..count)
            .map(|index| {
                let at = position(table, index, size)?;
                let header =
                    self.bytes.get(at..at.saturating_add(size)).ok_or("section headers outside the file")?;
                Ok((at, header))
            })
            .collect::<Result<Vec<_>, String>>()?;
        let names = match headers.get(names_index) {
            Some((_, header)) => {
                self.slice(double(header, 24), double(header, 32)).ok_or("section names outside the file")?
            }
            None => &[],
        };
        Ok(headers
            .into_iter()
            .map(|(header_at, header)| Section {
                header_at,
                name: c_string(names, word(header, 0) as usize),
                kind: word(header, 4),
                flags: double(header, 8),
                offset: double(header, 24),
                size_bytes: double(header, 32),
                align: double(header, 48),
            })
            .collect())
    }

    /// Bytes of the file, or nothing when they reach outside it.
    pub(crate) fn slice(self, offset: u64, size_bytes: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(offset.checked_add(size_bytes)?).ok()?;
        self.bytes.get(start..end)
    }
}

/// Little-endian 16-bit word at `at`, if the bytes reach so far.
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(raw.try_into().ok()?))
}

/// Little-endian 32-bit word at `at`, if the bytes reach so far.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(raw.try_into().ok()?))
}

/// Little-endian 64-bit word at `at`, if the bytes reach so far.
pub(crate) fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let raw = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(raw.try_into().ok()?))
}

/// The bytes from `at` up to the next zero byte; empty when `at` is outside.
pub(crate) fn c_string(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or(&[])
}

// Callers have checked the length of the header, so zero is never made up here.
fn word(header: &[u8], at: usize) -> u32 {
    read_u32(header, at).unwrap_or(0)
}

fn double(header: &[u8], at: usize) -> u64 {
    read_u64(header, at).unwrap_or(0)
}

fn position(table: u64, index: usize, size: usize) -> Result<usize, String> {
    usize::try_from(table)
        .ok()
        .and_then(|start| start.checked_add(index * size))
        .ok_or_else(|| "a header table outside the file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for (at, value) in b"\x7fELF\x02\x01".iter().enumerate() {
                if let Some(byte) = bytes.get_mut(at) { *byte = *value; }
            }
            if let Ok(elf) = Elf::parse(&bytes) {
                let _ = elf.segments();
                let _ = elf.sections();
                let _ = elf.machine();
            }
        }
    }
}
