//! Files with holes: copied, compared and checksummed by what they hold.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::thread;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How much is compared at once: two of these stay in a processor's cache.
const COMPARED_BYTES: usize = 128 << 10;

/// What is written where a copy differs, at least.
const PAGE_BYTES: usize = 4096;

/// A copy is compared by no more threads than this, as memory is not faster for more.
const MOST_THREADS: usize = 4;

/// Copies the first `length` bytes to `target`, which is empty, leaving holes where the source has holes or zeros. Gives
/// the CRC32C of all of them.
pub(crate) fn copy(source: &File, target: &File, length: u64) -> io::Result<u32> {
    target.set_len(length)?;
    read(source, length, |position, bytes| {
        if bytes.iter().any(|byte| *byte != 0) { target.write_all_at(bytes, position) } else { Ok(()) }
    })
}

/// Makes `copy` equal to `source` again, which has changed since it was copied: the first `length` bytes of both are
/// compared, and only pages that differ are written. Neither changes meanwhile otherwise.
pub(crate) fn refresh(source: &File, copy: &File, length: u64) -> io::Result<()> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS) as u64;
    let part = length.div_ceil(threads).next_multiple_of(COMPARED_BYTES as u64);
    let parts = (0..threads).map(|number| (number * part).min(length)..((number + 1) * part).min(length));
    thread::scope(|scope| {
        let workers: Vec<_> =
            parts.map(|part| scope.spawn(move || refresh_part(source, copy, part.start, part.end))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread that compares memory panicked")))
        })
    })
}

fn refresh_part(source: &File, copy: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut wanted, mut found) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut position = start;
    while position < end {
        // What is a hole in both is equal.
        let data = [next_data(source, position, end)?, next_data(copy, position, end)?];
        position = data[0].min(data[1]);
        if position == end {
            break;
        }
        let filled = if position == data[0] { source } else { copy };
        let hole = rustix::fs::seek(filled, SeekFrom::Hole(position))?.min(end);
        while position < hole {
            let length = COMPARED_BYTES.min(usize::try_from(hole - position).unwrap_or(usize::MAX));
            let (wanted, found) = (&mut wanted[..length], &mut found[..length]);
            source.read_exact_at(wanted, position)?;
            copy.read_exact_at(found, position)?;
            write_differences(copy, position, wanted, found)?;
            position += length as u64;
        }
    }
    Ok(())
}

fn write_differences(copy: &File, position: u64, wanted: &[u8], found: &[u8]) -> io::Result<()> {
    if wanted == found {
        return Ok(());
    }
    let pages = wanted.chunks(PAGE_BYTES).zip(found.chunks(PAGE_BYTES)).enumerate();
    for (number, (wanted, _)) in pages.filter(|(_, (wanted, found))| wanted != found) {
        copy.write_all_at(wanted, position + (number * PAGE_BYTES) as u64)?;
    }
    Ok(())
}

/// Where the next byte that is not in a hole is, `end` if there is none before it.
fn next_data(file: &File, position: u64, end: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(start) => Ok(start.min(end)),
        // There is no more data behind this position.
        Err(Errno::NXIO) => Ok(end),
        Err(error) => Err(error.into()),
    }
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
        let start = next_data(source, position, length)?;
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
    use rustix::fs::{FallocateFlags, fallocate};

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

        #[test]
        fn a_copy_follows_what_it_is_of(
            changes in prop::collection::vec((0u64..3_000_000, prop::collection::vec(any::<u8>(), 1..5000), 0u8..4), 1..12),
            copied_after in 0usize..12,
        ) {
            let length = 3_100_001;
            let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            source.set_len(length).unwrap();
            let mut model = vec![0; length as usize];
            target.set_len(length).unwrap();
            for (number, (position, bytes, kind)) in changes.iter().enumerate() {
                if number == copied_after {
                    copy(&source, &target, length).unwrap();
                }
                let at = *position as usize;
                match kind {
                    // Memory that the guest gives back: a hole, whole pages of it.
                    0 => {
                        let (start, size) = (position & !4095, 3 * 4096);
                        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                        fallocate(&source, flags, start, size).unwrap();
                        model[start as usize..][..size as usize].fill(0);
                    }
                    // Zeros that are not a hole.
                    1 => {
                        source.write_all_at(&vec![0; bytes.len()], *position).unwrap();
                        model[at..][..bytes.len()].fill(0);
                    }
                    _ => {
                        source.write_all_at(bytes, *position).unwrap();
                        model[at..][..bytes.len()].copy_from_slice(bytes);
                    }
                }
            }
            refresh(&source, &target, length).unwrap();
            let mut found = vec![1; length as usize];
            target.read_exact_at(&mut found, 0).unwrap();
            prop_assert!(found == model);
            prop_assert_eq!(checksum(&target, length).unwrap(), crc32c::crc32c(&model));
        }
    }

    #[test]
    fn what_is_equal_is_not_written() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::NamedTempFile::new().unwrap());
        source.set_len(1 << 20).unwrap();
        source.write_all_at(&[7; 9000], 5000).unwrap();
        copy(&source, target.as_file(), 1 << 20).unwrap();
        let readable = File::open(target.path()).unwrap();
        // A descriptor that cannot write is enough.
        refresh(&source, &readable, 1 << 20).unwrap();
        source.write_all_at(&[8], 900_000).unwrap();
        assert!(refresh(&source, &readable, 1 << 20).is_err());
    }
}
