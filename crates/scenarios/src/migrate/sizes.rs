//! Which sizes of memory a host can move.

use serde::{Deserialize, Serialize};

use super::MB_OF_MEMORY;

/// The sizes of the hypervisor guide, in MB ("Migration Performance Benchmarks": `for memory in 1024 2048 …`).
pub const GUIDE_SIZES_MB: [u64; 5] = [1024, 2048, 4096, 8192, 16384];

/// Kept for the host itself and for what QEMU needs beside its guest's memory.
const RESERVE_BYTES: u64 = 1 << 30;

/// A size that this host cannot move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Guest memory, in MB.
    pub size_mb: u64,
    /// Why not.
    pub reason: String,
}

/// Of `sizes_mb`, those of which two machines find room in `available_bytes` of memory, and the others. Both are there
/// at the same time while one moves. All fit where nobody knows what is available.
pub fn that_fit(sizes_mb: &[u64], available_bytes: Option<u64>) -> (Vec<u64>, Vec<LeftOut>) {
    let room = available_bytes.map(|bytes| bytes.saturating_sub(RESERVE_BYTES));
    let fits = |size_mb: &&u64| room.is_none_or(|room| size_mb.saturating_mul(2 * MB_OF_MEMORY) <= room);
    let (fitting, others): (Vec<&u64>, Vec<&u64>) = sizes_mb.iter().partition(fits);
    let reason = |size_mb: u64| {
        let available_mb = available_bytes.unwrap_or(0) / MB_OF_MEMORY;
        format!(
            "two machines of {size_mb} MB are there while one moves, and {available_mb} MB are free on this host"
        )
    };
    let left_out = others.into_iter().map(|size| LeftOut { size_mb: *size, reason: reason(*size) }).collect();
    (fitting.into_iter().copied().collect(), left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_a_size_fit_or_it_is_left_out_with_the_reason() {
        let (fitting, left_out) = that_fit(&GUIDE_SIZES_MB, Some(23 << 30));
        assert_eq!(fitting, [1024, 2048, 4096, 8192]);
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].reason.contains("16384 MB") && left_out[0].reason.contains("23552 MB are free"));
        // To the byte.
        assert_eq!(that_fit(&[1024], Some(3 << 30)).0, [1024]);
        assert!(that_fit(&[1024], Some((3 << 30) - 1)).0.is_empty());
        assert_eq!(that_fit(&GUIDE_SIZES_MB, None).0, GUIDE_SIZES_MB);
    }
}
