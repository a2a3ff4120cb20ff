//! The checksum of POSIX `cksum`: the CRC of Ethernet, most significant bit first, over the bytes and their count.

const POLYNOMIAL: u32 = 0x04c1_1db7;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// One in the making.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cksum {
    crc: u32,
    bytes: u64,
}

impl Cksum {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc = bytes.iter().fold(self.crc, |crc, byte| step(crc, *byte));
    }

    /// The count follows the bytes, least significant byte first, without leading zeros.
    pub(crate) fn finish(self) -> u32 {
        let (mut crc, mut count) = (self.crc, self.bytes);
        while count > 0 {
            crc = step(crc, count as u8);
            count >>= 8;
        }
        !crc
    }
}

fn step(crc: u32, byte: u8) -> u32 {
    (crc << 8) ^ TABLE[(crc >> 24) as usize ^ usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> u32 {
        let mut cksum = Cksum::default();
        cksum.update(bytes);
        cksum.finish()
    }

    /// As coreutils' `cksum` prints them.
    #[test]
    fn known_values() {
        assert_eq!(of(b""), 4_294_967_295);
        assert_eq!(of(b"123456789"), 930_766_865);
        assert_eq!(of(b"hello\n"), 3_015_617_425);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0_usize..600) {
            let (first, rest) = bytes.split_at(cut.min(bytes.len()));
            let mut cksum = Cksum::default();
            cksum.update(first);
            cksum.update(rest);
            prop_assert_eq!(cksum.finish(), of(&bytes));
        }
    }
}
