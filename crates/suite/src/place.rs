//! Where in a file something is wrong, and what.

use std::fmt;

/// A place in a text, for people: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset`; the end of the text for one beyond it.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a suite file. Written as compilers write it: `line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what would be right.
    pub message: String,
}

impl Problem {
    /// What is wrong at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\nbü = 1\n";
        let place = |offset| Place::of(text, offset);
        assert_eq!(place(0), Place { line: 1, column: 1 });
        assert_eq!(place(2), Place { line: 2, column: 1 });
        // The letter before it takes two bytes and one column.
        assert_eq!(place(5), Place { line: 2, column: 3 });
        assert_eq!(place(999), Place { line: 3, column: 1 });
    }

    proptest! {
        #[test]
        fn a_place_is_what_counting_says(text in "[ab\n]{0,30}", offset in 0usize..31) {
            let (mut line, mut column) = (1, 1);
            for letter in text.chars().take(offset) {
                if letter == '\n' { line += 1; column = 1 } else { column += 1 }
            }
            prop_assert_eq!(Place::of(&text, offset), Place { line, column });
        }
    }
}
