//! Durations as people write them: `90s`, `200ms`, `1.5m`, `7d`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
/// No measurement needs longer; beyond, sums of durations would have to be checked everywhere.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads a duration of at most a week: a number, with a fraction if need be, and a unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match parse_any(text)? {
        duration if duration > LONGEST => Err(format!("{text:?} is longer than a week: give less")),
        duration => Ok(duration),
    }
}

/// Reads a duration, however long.
pub(crate) fn parse_any(text: &str) -> Result<Duration, String> {
    let expected = "expected a number and a unit (ns, us, ms, s, m, h, d), such as 90s, 200ms or 1.5m";
    let at =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    if unit.is_empty() && !number.is_empty() {
        return Err(format!("{text:?} has no unit: {expected}"));
    }
    let scale_ns = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ns)| *ns);
    let (Some(scale_ns), Ok(number)) = (scale_ns, number.parse::<f64>()) else {
        return Err(format!("{text:?} is not a duration: {expected}"));
    };
    // What is beyond the largest number is as long as that: 584 years.
    Ok(Duration::from_nanos((number * scale_ns as f64).round() as u64))
}

/// Reads a duration that must not be zero.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all: give more than zero")),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ns) in [
            ("90s", 90_000_000_000),
            ("200ms", 200_000_000),
            ("1.5m", 90_000_000_000),
            ("0s", 0),
            ("3h", 10_800_000_000_000),
            ("7us", 7_000),
            ("12ns", 12),
            (".5s", 500_000_000),
            ("7d", 604_800_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_with_an_example() {
        for text in ["", "s", "90", "90 s", "1.2.3s", "-1s", "90sec", "1e3s", "9999h", "NaNs"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("such as 90s") || error.contains("week"), "{text}: {error}");
        }
        assert!(parse("90").unwrap_err().contains("no unit"));
        assert!(parse_positive("0ms").is_err());
        assert!(parse("8d").is_err());
        assert_eq!(parse_any("8d"), Ok(Duration::from_secs(8 * 86_400)));
        assert_eq!(parse_any("1000000d"), Ok(Duration::from_nanos(u64::MAX)));
    }
}
