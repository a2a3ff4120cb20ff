//! Sizes as people write them: `256M`, `1G`, powers of 1024.

const UNITS: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
/// Smaller than any kernel; what is below is a forgotten unit.
const SMALLEST_BYTES: u64 = 1 << 20;

/// Reads the size of a machine's memory.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    match parse(text)? {
        bytes if bytes >= SMALLEST_BYTES => Ok(bytes),
        _ => Err(format!("{text:?} is less than 1M: no guest starts with that")),
    }
}

/// Reads a size: a whole number and a unit, `B` or `iB` behind it allowed.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let expected = "expected a number and a unit (K, M, G, T), such as 256M or 1G";
    let at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    if unit.is_empty() && !number.is_empty() {
        return Err(format!("{text:?} has no unit: {expected}"));
    }
    let short = unit.trim_end_matches("iB").trim_end_matches('B');
    let scale = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(short)).map(|(_, bytes)| *bytes);
    let (Some(scale), Ok(number)) = (scale, number.parse::<u64>()) else {
        return Err(format!("{text:?} is not a size: {expected}"));
    };
    number.checked_mul(scale).ok_or_else(|| format!("{text:?} is more than any machine can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("256M", 256 << 20),
            ("1G", 1 << 30),
            ("1g", 1 << 30),
            ("128MiB", 128 << 20),
            ("2048KB", 2 << 20),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_with_an_example() {
        for text in ["", "M", "256", "1.5G", "-1G", "12X", "99999999999T", "1K"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
        assert!(parse_memory("256").unwrap_err().contains("256M"));
    }
}
