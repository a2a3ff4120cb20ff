//! Values with their units, as people read them: four significant digits, a space, the unit.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use virtmark_model::Unit;

/// A value in the unit that suits its size: `1.234 s`, `12.30 MiB`, `1,234`.
///
/// Four significant digits; whole numbers too small for a larger unit keep all their digits and no more. The value
/// shown is within half a unit of its last digit of the value given.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => bytes_per_second(value),
        Unit::Count => count(value),
        Unit::Ns => duration_ns(value),
        Unit::PerSecond => per_second(value),
        Unit::Ratio => significant(value),
    }
}

/// Two values of one unit, which is said once when both are shown in it: `1.201–1.260 s`, `985.2 ms – 1.021 s`.
pub fn range(low: f64, high: f64, unit: Unit, dash: &str) -> String {
    let (low, high) = (value(low, unit), value(high, unit));
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        (Some((number, low_symbol)), Some((_, high_symbol))) if low_symbol == high_symbol => {
            format!("{number}{dash}{high}")
        }
        (None, None) => format!("{low}{dash}{high}"),
        _ => format!("{low} {dash} {high}"),
    }
}

/// A duration given in nanoseconds: `85 ns`, `12.30 ms`, `1.234 s`.
pub fn duration_ns(ns: f64) -> String {
    scaled(ns, &DURATIONS)
}

/// How long something took, given in nanoseconds, for people who waited for it: `12.30 s`, `21 min 14 s`, `1 h 02 min`.
pub fn took_ns(ns: f64) -> String {
    // Beyond the largest number is as good as any.
    let seconds = (ns / 1e9).round() as u64;
    match seconds {
        0..100 => duration_ns(ns),
        100..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A size in bytes, in powers of 1024: `512 B`, `1.500 MiB`.
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, &SIZES)
}

/// A rate of bytes, in powers of 1024: `1.500 MiB/s`.
pub fn bytes_per_second(rate: f64) -> String {
    scaled(rate, &BYTE_RATES)
}

/// A rate: `12.30 k/s`.
pub fn per_second(rate: f64) -> String {
    scaled(rate, &RATES)
}

/// A number of things: `7`, `1,234`, and with a fraction `2.500`.
pub fn count(count: f64) -> String {
    if count.fract() != 0.0 || count.abs() >= 1e15 {
        return significant(count);
    }
    let digits = format!("{:.0}", count.abs());
    let mut grouped = String::from(if count < 0.0 { "-" } else { "" });
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share of a whole, from 0 to 1, in percent to one decimal: `12.3 %`. What is there but rounds to nothing is
/// `<0.1 %`.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.000_5 { "<0.1 %".into() } else { format!("{:.1} %", share * 100.0) }
}

/// A moment in universal time, to the second: `2026-01-02 03:04:05 UTC`.
pub fn timestamp(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A unit to show values in, with the size of one of it in the unit they are kept in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) size: f64,
    pub(crate) symbol: &'static str,
}

/// The unit that suits an axis that reaches up to `largest`.
pub(crate) fn scale(unit: Unit, largest: f64) -> Scale {
    let scales: &[Scale] = match unit {
        Unit::Bytes => &SIZES,
        Unit::BytesPerSecond => &BYTE_RATES,
        Unit::Count => &[Scale { size: 1.0, symbol: "" }],
        Unit::Ns => &DURATIONS,
        Unit::PerSecond => &RATES,
        Unit::Ratio => &[Scale { size: 1.0, symbol: "" }],
    };
    *scales.iter().rev().find(|scale| largest.abs() >= scale.size).unwrap_or(&scales[0])
}

const DURATIONS: [Scale; 4] = [
    Scale { size: 1.0, symbol: "ns" },
    Scale { size: 1e3, symbol: "µs" },
    Scale { size: 1e6, symbol: "ms" },
    Scale { size: 1e9, symbol: "s" },
];

const SIZES: [Scale; 5] = [
    Scale { size: 1.0, symbol: "B" },
    Scale { size: 1024.0, symbol: "KiB" },
    Scale { size: 1_048_576.0, symbol: "MiB" },
    Scale { size: 1_073_741_824.0, symbol: "GiB" },
    Scale { size: 1_099_511_627_776.0, symbol: "TiB" },
];

const BYTE_RATES: [Scale; 5] = [
    Scale { size: 1.0, symbol: "B/s" },
    Scale { size: 1024.0, symbol: "KiB/s" },
    Scale { size: 1_048_576.0, symbol: "MiB/s" },
    Scale { size: 1_073_741_824.0, symbol: "GiB/s" },
    Scale { size: 1_099_511_627_776.0, symbol: "TiB/s" },
];

const RATES: [Scale; 4] = [
    Scale { size: 1.0, symbol: "/s" },
    Scale { size: 1e3, symbol: "k/s" },
    Scale { size: 1e6, symbol: "M/s" },
    Scale { size: 1e9, symbol: "G/s" },
];

fn scaled(value: f64, scales: &[Scale]) -> String {
    let mut chosen = scales[0];
    for next in &scales[1..] {
        // What rounds up to the next unit is written in it: 999.96 µs is 1.000 ms.
        if rounded(value / chosen.size) >= next.size / chosen.size {
            chosen = *next;
        }
    }
    let smallest = chosen.size == scales[0].size;
    let number = if smallest && value.fract() == 0.0 {
        format!("{:.0}", value + 0.0)
    } else {
        significant(value / chosen.size)
    };
    format!("{number} {}", chosen.symbol)
}

/// The size of a number as four significant digits show it.
fn rounded(number: f64) -> f64 {
    significant(number.abs()).parse().unwrap_or(number.abs())
}

/// Four significant digits, without an exponent where it can be helped.
fn significant(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{}", number + 0.0);
    }
    if number.abs() < 1e-4 || number.abs() >= 1e15 {
        return format!("{number:.3e}");
    }
    // Rounding may add a digit in front: 9.9996 is 10.00.
    let exponential = format!("{number:.3e}");
    let magnitude: i32 = exponential.rsplit('e').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    format!("{number:.*}", usize::try_from(3 - magnitude).unwrap_or(0))
}

/// An argument as a POSIX shell reads it back, so that a command that is shown can be pasted.
pub fn shell_word(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return argument.into();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_times_are_in_minutes_and_hours() {
        for (seconds, text) in [
            (0.5, "500.0 ms"),
            (99.4, "99.40 s"),
            (100.0, "1 min 40 s"),
            (1274.4, "21 min 14 s"),
            (3599.9, "1 h 00 min"),
            (7384.0, "2 h 03 min"),
        ] {
            assert_eq!(took_ns(seconds * 1e9), text);
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (-0.0, "0 ns"),
            (85.0, "85 ns"),
            (85.25, "85.25 ns"),
            (85_000.0, "85.00 µs"),
            (999_960.0, "1.000 ms"),
            (12_300_000.0, "12.30 ms"),
            (999.96e6, "1.000 s"),
            (1_234_000_000.0, "1.234 s"),
            (12_345e9, "12345 s"),
            (-12_300_000.0, "-12.30 ms"),
            (0.5, "0.5000 ns"),
        ] {
            assert_eq!(duration_ns(ns), text, "{ns}");
        }
    }

    #[test]
    fn sizes_counts_rates_and_shares() {
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1_572_864.0), "1.500 MiB");
        assert_eq!(bytes(1023.96 * 1024.0), "1.000 MiB");
        assert_eq!(bytes(25_165_824.0 * 1024.0), "24.00 GiB");
        assert_eq!(count(7.0), "7");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(count(2.5), "2.500");
        assert_eq!(per_second(12_300.0), "12.30 k/s");
        assert_eq!(value(1.5, Unit::Ratio), "1.500");
        assert_eq!(percent(0.123), "12.3 %");
        assert_eq!(percent(0.0001), "<0.1 %");
        assert_eq!(percent(0.0), "0.0 %");
    }

    #[test]
    fn a_range_says_a_shared_unit_once() {
        assert_eq!(range(1.201e9, 1.26e9, Unit::Ns, "–"), "1.201–1.260 s");
        assert_eq!(range(985.2e6, 1.021e9, Unit::Ns, "–"), "985.2 ms – 1.021 s");
        assert_eq!(range(3.0, 5.0, Unit::Count, "-"), "3-5");
    }

    #[test]
    fn an_axis_is_written_in_the_unit_of_its_far_end() {
        assert_eq!(scale(Unit::Ns, 2.5e9).symbol, "s");
        assert_eq!(scale(Unit::Ns, 2.5e8).symbol, "ms");
        assert_eq!(scale(Unit::Ns, 0.2).symbol, "ns");
        assert_eq!(scale(Unit::Bytes, 3e6).symbol, "MiB");
    }

    /// Reads a text of [`value`] back.
    fn parse(text: &str) -> f64 {
        let (number, symbol) = text.split_once(' ').unwrap_or((text, ""));
        let all = DURATIONS.iter().chain(&SIZES).chain(&BYTE_RATES).chain(&RATES);
        let size =
            if symbol.is_empty() { 1.0 } else { all.clone().find(|s| s.symbol == symbol).unwrap().size };
        number.replace(',', "").parse::<f64>().unwrap() * size
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn values_read_back_to_four_digits(mantissa in -9.999f64..9.999, exponent in -3i32..14) {
            let original = mantissa * 10f64.powi(exponent);
            for unit in Unit::ALL {
                let text = value(original, unit);
                let read = parse(&text);
                prop_assert!((read - original).abs() <= original.abs() * 5.001e-4, "{original} as {text}");
            }
        }

        #[test]
        fn larger_durations_never_read_as_smaller(a in 0u64..10_000_000_000, b in 0u64..10_000_000_000) {
            let (low, high) = (a.min(b) as f64, a.max(b) as f64);
            prop_assert!(parse(&duration_ns(low)) <= parse(&duration_ns(high)));
        }

        #[test]
        fn whole_counts_are_exact(number in 0u64..1_000_000_000_000) {
            prop_assert_eq!(count(number as f64).replace(',', ""), number.to_string());
        }
    }
}
