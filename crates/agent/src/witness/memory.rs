//! Memory whose content is known, and memory that is written at a set rate.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a write makes dirty, whatever it writes.
const PAGE: usize = 4096;

/// How often the writer writes.
const SLICE: Duration = Duration::from_millis(5);

/// Memory that is filled once and never written again.
pub(super) struct Known(Vec<u64>);

impl Known {
    /// No page of it is like another, so that none can be taken for another or left out.
    pub(super) fn new(bytes: usize) -> Self {
        // xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2014).
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        Self((0..bytes / 8).map(|_| next()).collect())
    }

    /// CRC32C of the words, least significant byte first.
    pub(super) fn checksum(&self) -> u32 {
        black_box(&self.0).iter().fold(0, |sum, word| crc32c::crc32c_append(sum, &word.to_le_bytes()))
    }
}

/// A thread that writes to page after page of its memory, over and over.
#[derive(Debug, Default)]
pub(super) struct Writer {
    written_bytes: AtomicU64,
    elapsed_ns: AtomicU64,
}

impl Writer {
    /// Writes to `rate` bytes of memory a second, counted in whole pages, of `over` bytes.
    pub(super) fn start(rate: u64, over: usize) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Self::default());
        // Every page is there before the first question is answered.
        let memory = vec![1_u8; over.max(PAGE) / PAGE * PAGE];
        thread::Builder::new().name("writer".into()).spawn({
            let writer = Arc::clone(&writer);
            move || writer.write(rate, memory)
        })?;
        Ok(writer)
    }

    fn write(&self, rate: u64, mut memory: Vec<u8>) {
        let started = Instant::now();
        let pages = memory.len() / PAGE;
        let (mut page, mut written) = (0, 0_u64);
        loop {
            let elapsed = started.elapsed();
            let due = due_bytes(rate, elapsed);
            // What could not be written in time is not written later: that would be another rate.
            let behind = due.saturating_sub(written).min(due_bytes(rate, 4 * SLICE).max(PAGE as u64));
            let count = behind / PAGE as u64;
            for _ in 0..count {
                let byte = &mut memory[page * PAGE];
                *byte = byte.wrapping_add(1);
                page = (page + 1) % pages;
            }
            black_box(&mut memory);
            self.written_bytes.fetch_add(count * PAGE as u64, Ordering::Relaxed);
            self.elapsed_ns.store(elapsed.as_nanos() as u64, Ordering::Relaxed);
            written = due - (behind - count * PAGE as u64);
            thread::sleep(SLICE);
        }
    }

    pub(super) fn tell(&self) -> String {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        format!("written_bytes={}\nwriter_elapsed_ns={}\n", load(&self.written_bytes), load(&self.elapsed_ns))
    }
}

fn due_bytes(rate: u64, elapsed: Duration) -> u64 {
    let bytes = u128::from(rate) * elapsed.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_memory_is_known_and_a_bit_of_it_shows() {
        let mut known = Known::new(64 << 10);
        assert_eq!(known.checksum(), Known::new(64 << 10).checksum());
        let before = known.checksum();
        known.0[100] ^= 1;
        assert_ne!(known.checksum(), before);
        // By the definition, over the bytes in one piece.
        let known = Known::new(64);
        let bytes: Vec<u8> = known.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(known.checksum(), crc32c::crc32c(&bytes));
    }

    #[test]
    fn the_writer_keeps_to_its_rate() {
        let rate = 40 << 20;
        let started = Instant::now();
        let writer = Writer::start(rate, 1 << 20).unwrap();
        thread::sleep(Duration::from_millis(300));
        let written = writer.written_bytes.load(Ordering::Relaxed);
        // Less on a host that is busy, and never more than what is due.
        assert!(written > 0 && written <= due_bytes(rate, started.elapsed()), "{written}");
        assert!(written.is_multiple_of(PAGE as u64));
    }
}
