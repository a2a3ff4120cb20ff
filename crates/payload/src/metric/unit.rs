//! Units as people write them, in those of the archive.

use virtmark_model::Unit;

use super::Reading;

/// Times, in nanoseconds.
const TIMES: [(&str, f64); 6] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9)];

/// Sizes, in bytes: powers of 1000, and with an `i` of 1024.
const SIZES: [(&str, f64); 12] = [
    ("B", 1.0),
    ("bytes", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
    ("PiB", 1125899906842624.0),
];

/// Bits, which only rates are counted in.
const BITS: [(&str, f64); 4] = [("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)];

/// A unit that is not known is the name of what is counted.
pub(super) fn reading(value: f64, unit: &str) -> Reading {
    let plain = |unit, value| Reading { unit, value, of: None };
    if let Some(scale) = scale(&TIMES, unit) {
        return plain(Unit::Ns, value * scale);
    }
    if let Some(scale) = scale(&SIZES, unit) {
        return plain(Unit::Bytes, value * scale);
    }
    match unit {
        "count" => return plain(Unit::Count, value),
        "ratio" => return plain(Unit::Ratio, value),
        "%" => return plain(Unit::Ratio, value / 100.0),
        "/s" | "1/s" | "Hz" => return plain(Unit::PerSecond, value),
        _ => {}
    }
    let Some(counted) = unit.strip_suffix("/s") else {
        return Reading { unit: Unit::Count, value, of: Some(unit.into()) };
    };
    if let Some(scale) = scale(&SIZES, counted) {
        return plain(Unit::BytesPerSecond, value * scale);
    }
    let (scale, of) = match scale(&BITS, counted) {
        Some(scale) => (scale, "bit/s"),
        None => (1.0, unit),
    };
    Reading { unit: Unit::PerSecond, value: value * scale, of: Some(of.into()) }
}

fn scale(table: &[(&str, f64)], unit: &str) -> Option<f64> {
    table.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_become_those_of_the_archive() {
        for (value, unit, expected, expected_value, of) in [
            (1.5, "ms", Unit::Ns, 1_500_000.0, None),
            (2.0, "min", Unit::Ns, 120e9, None),
            (3.0, "KiB", Unit::Bytes, 3072.0, None),
            (3.0, "kB", Unit::Bytes, 3000.0, None),
            (12.0, "%", Unit::Ratio, 0.12, None),
            (7.0, "count", Unit::Count, 7.0, None),
            (7.0, "frames", Unit::Count, 7.0, Some("frames")),
            (5.0, "/s", Unit::PerSecond, 5.0, None),
            (5.0, "events/s", Unit::PerSecond, 5.0, Some("events/s")),
            (2.0, "MB/s", Unit::BytesPerSecond, 2e6, None),
            (2.0, "MiB/s", Unit::BytesPerSecond, 2097152.0, None),
            (2.0, "Gbit/s", Unit::PerSecond, 2e9, Some("bit/s")),
        ] {
            let reading = reading(value, unit);
            assert_eq!((reading.unit, reading.value), (expected, expected_value), "{unit}");
            assert_eq!(reading.of.as_deref(), of, "{unit}");
        }
    }
}
