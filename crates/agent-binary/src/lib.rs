//! The guest agent, built static for the host's architecture, as bytes: to go into an image as `/init`, or to run on
//! the host itself.

/// The agent program, an ELF executable.
pub static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/virtmark-agent"));

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise of the product's description.
    const LIMIT_BYTES: usize = 1_500_000;

    #[test]
    fn it_is_a_small_executable() {
        assert_eq!(&AGENT[..4], b"\x7fELF");
        // e_type ET_EXEC: not relocatable.
        assert_eq!(u16_at(16), 2);
        assert!(AGENT.len() < LIMIT_BYTES, "{} bytes", AGENT.len());
    }

    #[test]
    fn it_needs_no_interpreter() {
        let headers_at = u64::from_le_bytes(AGENT[32..40].try_into().unwrap()) as usize;
        let (size, count) = (u16_at(54) as usize, u16_at(56) as usize);
        let kinds: Vec<u32> = (0..count)
            .map(|index| {
                let at = headers_at + index * size;
                u32::from_le_bytes(AGENT[at..at + 4].try_into().unwrap())
            })
            .collect();
        // PT_LOAD is there, PT_DYNAMIC and PT_INTERP are not.
        assert!(kinds.contains(&1) && !kinds.contains(&2) && !kinds.contains(&3), "{kinds:?}");
    }

    fn u16_at(at: usize) -> u16 {
        u16::from_le_bytes(AGENT[at..at + 2].try_into().unwrap())
    }
}
