//! The table that `openssl speed` prints, of 1.0 to 3.x.

use super::{ParseError, Reader, after};

const READER: Reader = Reader("openssl");

/// Bytes in a second of the row `algorithm`, in its last column: the largest blocks. The table is in thousands of bytes,
/// each figure with a `k` behind it.
///
/// # Errors
/// When there is no such row, or no figure in it.
pub fn speed(text: &str, algorithm: &str) -> Result<f64, ParseError> {
    // With several processes (-multi) there are no headings.
    let row = text.lines().filter(|line| !line.starts_with("Doing ")).collect::<Vec<_>>().join("\n");
    let row = after(&row, &format!("{algorithm} "))
        .ok_or_else(|| READER.unreadable(format!("there is no row {algorithm:?}")))?;
    let last = row.split_whitespace().next_back().unwrap_or_default();
    let thousands = last.strip_suffix('k').ok_or_else(|| {
        READER.unreadable(format!("the row {algorithm:?} does not end with thousands of bytes"))
    })?;
    Ok(READER.number(thousands, "the last column")? * 1e3)
}
