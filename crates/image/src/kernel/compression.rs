//! The compressions that kernels and modules come in, told apart by their first bytes.

use std::io::Read;

use super::{lz4_legacy, xz};

/// More than any kernel; keeps a broken stream from filling memory.
const LIMIT_BYTES: u64 = 1 << 30;

/// Unpacks `stream`, which is exactly one compressed file.
///
/// The error says which compression was seen and what is wrong with it.
pub(crate) fn decompress(stream: &[u8]) -> Result<Vec<u8>, String> {
    match Compression::of(stream) {
        Some(Compression::Gzip) => read_all("gzip", flate2::read::GzDecoder::new(stream)),
        Some(Compression::Lz4Legacy) => lz4_legacy::decompress(stream),
        Some(Compression::Lzma) => {
            let mut output = Vec::new();
            let options =
                lzma_rs::decompress::Options { memlimit: Some(LIMIT_BYTES as usize), ..Default::default() };
            lzma_rs::lzma_decompress_with_options(&mut &*stream, &mut output, &options)
                .map_err(|error| format!("its lzma stream is broken: {error:?}"))?;
            Ok(output)
        }
        Some(Compression::Xz) => xz::decompress(stream),
        Some(Compression::Zstd) => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(stream)
                .map_err(|error| format!("its zstd stream is broken: {error}"))?;
            read_all("zstd", decoder)
        }
        None => Err(format!("it is packed in a way that is not supported ({})", describe(stream))),
    }
}

/// Whether the bytes start as a gzip file.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    Compression::of(bytes) == Some(Compression::Gzip)
}

/// What bytes that are not a kernel look like, in words for an error.
pub(crate) fn describe(bytes: &[u8]) -> String {
    match bytes {
        [] => "an empty file".to_owned(),
        [b'\x7f', b'E', b'L', b'F', ..] => "an ELF file".to_owned(),
        [b'#', b'!', ..] => "a script".to_owned(),
        [b'B', b'Z', b'h', ..] => "a bzip2 stream".to_owned(),
        [0x89, b'L', b'Z', b'O', ..] => "an lzo stream".to_owned(),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "a Debian package or an archive".to_owned(),
        [b'0', b'7', b'0', b'7', b'0', ..] => "a cpio archive".to_owned(),
        [b'M', b'Z', ..] => "a Windows or EFI program".to_owned(),
        _ => match Compression::of(bytes) {
            Some(compression) => format!("{compression:?} data").to_lowercase(),
            None => {
                let first = &bytes[..bytes.len().min(8)];
                format!("bytes that start with {first:02x?}")
            }
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Lz4Legacy,
    Lzma,
    Xz,
    Zstd,
}

impl Compression {
    /// Magic numbers of RFC 1952, the LZ4 frame format (legacy frame), the xz file format 1.1, RFC 8878; lzma has none
    /// and is known by its usual properties byte and dictionary size.
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4Legacy),
            [0x5d, 0x00, 0x00, ..] => Some(Self::Lzma),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

fn read_all(name: &str, decoder: impl Read) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    decoder
        .take(LIMIT_BYTES)
        .read_to_end(&mut output)
        .map_err(|error| format!("its {name} stream is broken: {error}"))?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAGICS: [&[u8]; 6] = [
        &[0x1f, 0x8b, 8, 0],
        &[0x02, 0x21, 0x4c, 0x18],
        &[0x5d, 0, 0, 0x80, 0],
        &[0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1],
        &[0x28, 0xb5, 0x2f, 0xfd],
        &[],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn arbitrary_bytes_never_panic(
            magic in 0..MAGICS.len(),
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [MAGICS[magic], &tail].concat();
            let _ = decompress(&bytes);
            prop_assert!(!describe(&bytes).is_empty());
        }

        #[test]
        fn every_compression_gives_back_what_went_in(
            data in proptest::collection::vec(0u8..4, 0..3000),
        ) {
            for (name, packed) in crate::testing::compressions(&data) {
                prop_assert_eq!(decompress(&packed).map_err(|e| format!("{name}: {e}")), Ok(data.clone()));
            }
        }
    }

    #[test]
    fn a_cut_off_stream_is_an_error() {
        let data: Vec<u8> = (0..5000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        for (name, packed) in crate::testing::compressions(&data) {
            let cut = &packed[..packed.len() / 2];
            assert_ne!(decompress(cut).as_deref().ok(), Some(&data[..]), "{name}");
        }
    }
}
