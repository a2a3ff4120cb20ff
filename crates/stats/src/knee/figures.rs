//! Figures as people read them.

/// At most four significant digits, but every digit before the point: `1586`, `14.35`, `0.3125`.
pub(super) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || !size.is_finite() => 0.0,
        size => (3.0 - size.log10().floor()).clamp(0.0, 12.0),
    };
    let text = format!("{value:.0$}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn large_and_small_figures_are_both_told() {
        for (value, text) in [
            (79_832.135_376, "79832"),
            (1_586.485, "1586"),
            (14.348, "14.35"),
            (0.3125, "0.3125"),
            (0.000_123_456, "0.0001235"),
            (35.0, "35"),
            (120.0, "120"),
            (0.0, "0"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(significant(value), text);
        }
    }
}
