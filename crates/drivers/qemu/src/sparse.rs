//! Files with holes: copied and checksummed by what they hold.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Copies the first `length` bytes to `target`, which is empty, leaving holes where the source has holes or zeros. Gives
/// the CRC32C of all of them.
pub(crate) fn copy(source: &File, target: &File, length: u64) -> io::Result<u32> {
    target.set_len(length)?;
    read(source, length, |position, bytes| {
        if bytes.iter().any(|byte| *byte != 0) { target.write_all_at(bytes, position) } else { Ok(()) }
    })
}

/// The CRC32C of the first `length` bytes.
pub(crate) fn checksum(source: &File, length: u64) -> io::Result<u32> {
    read(source, length, |_, _| Ok(()))
}

/// Gives `take` everything that is not in a hole, in order. Gives the CRC32C of all bytes, holes included.
fn read(source: &File, length: u64, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<u32> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut position, mut crc) = (0, 0);
    while position < length {
        let start = match rustix::fs::seek(source, SeekFrom::Data(position)) {
            Ok(start) => start.min(length),
            // There is no more data behind this position.
            Err(Errno::NXIO) => length,
            Err(error) => return Err(error.into()),
        };
        crc = append_zeros(crc, start - position);
        position = start;
        if position == length {
            break;
        }
        let end = rustix::fs::seek(source, SeekFrom::Hole(start))?.min(length);
        while position < end {
            let wanted = chunk.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
            source.read_exact_at(&mut chunk[..wanted], position)?;
            crc = crc32c::crc32c_append(crc, &chunk[..wanted]);
            take(position, &chunk[..wanted])?;
            position += wanted as u64;
        }
    }
    Ok(crc)
}

/// What the register of a checksum becomes: bit n of the register contributes word n.
type Step = [u32; 32];

/// The steps over 1, 2, 4, … bytes of zeros. A checksum is linear, so each is the one before applied to itself.
static STEPS: LazyLock<[Step; 64]> = LazyLock::new(|| {
    // Over one byte, from the checksum itself, which keeps its register inverted.
    let mut step: Step = std::array::from_fn(|bit| !crc32c::crc32c_append(!(1 << bit), &[0]));
    std::array::from_fn(|_| {
        let this = step;
        step = this.map(|word| apply(&this, word));
        this
    })
});

fn apply(step: &Step, register: u32) -> u32 {
    let bits = (0..32).filter(|bit| register >> bit & 1 == 1);
    bits.fold(0, |sum, bit| sum ^ step[bit])
}

/// The CRC32C of what `crc` is of, followed by `count` zeros.
fn append_zeros(crc: u32, count: u64) -> u32 {
    let bits = (0..64).filter(|bit| count >> bit & 1 == 1);
    !bits.fold(!crc, |register, bit| apply(&STEPS[bit], register))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_count_without_being_read() {
        let crc = crc32c::crc32c(b"virtmark");
        for count in [0, 1, 2, 3, 31, 4096, 1_000_003] {
            assert_eq!(
                append_zeros(crc, count),
                crc32c::crc32c_append(crc, &vec![0; count as usize]),
                "{count}"
            );
        }
        assert_eq!(append_zeros(append_zeros(crc, 1 << 40), 5), append_zeros(crc, (1 << 40) + 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn files_are_copied_byte_for_byte(
            pieces in prop::collection::vec((0u64..3_000_000, prop::collection::vec(any::<u8>(), 1..5000)), 0..6),
        ) {
            let length = 3_100_000;
            let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            source.set_len(length).unwrap();
            let mut model = vec![0; length as usize];
            for (position, bytes) in &pieces {
                source.write_all_at(bytes, *position).unwrap();
                model[*position as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            prop_assert_eq!(copy(&source, &target, length).unwrap(), crc32c::crc32c(&model));
            let mut copied = vec![1; length as usize];
            target.read_exact_at(&mut copied, 0).unwrap();
            prop_assert!(copied == model);
            prop_assert_eq!(checksum(&target, length).unwrap(), crc32c::crc32c(&model));
        }
    }
}
