//! The identity of a series: its name and labels, and the text form `name{key="value"}`.

use std::fmt;

/// Longest name of a series or of a label, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest value of a label, in bytes: 10 kB.
pub const MAX_VALUE_BYTES: usize = 10_240;
/// Most labels of one series.
pub const MAX_LABELS: usize = 64;

/// Name and labels of a series, labels sorted by key.
///
/// Names follow Prometheus: `[a-zA-Z_:][a-zA-Z0-9_:]*`, for label keys without the colon, and `__name__` is reserved.
/// Values are any UTF-8 text, newlines and quotes included, of up to [`MAX_VALUE_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    name: String,
    labels: Vec<(String, String)>,
}

impl SeriesKey {
    /// A key without labels.
    ///
    /// # Errors
    ///
    /// The name is empty, too long, or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        check_name(&name, true)?;
        Ok(Self { name, labels: Vec::new() })
    }

    /// The key with one more label.
    ///
    /// # Errors
    ///
    /// The label's key is no label name or is there already, its value is too long, or there are too many labels.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Result<Self, KeyError> {
        let (key, value) = (key.into(), value.into());
        check_name(&key, false)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(KeyError::ValueTooLong { key, bytes: value.len() });
        }
        if self.labels.len() >= MAX_LABELS {
            return Err(KeyError::TooManyLabels { name: self.name });
        }
        match self.labels.binary_search_by(|(held, _)| held.as_str().cmp(&key)) {
            Ok(_) => Err(KeyError::LabelTwice { key }),
            Err(place) => {
                self.labels.insert(place, (key, value));
                Ok(self)
            }
        }
    }

    /// The name, for example `vcpu_exits_total`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keys and values, sorted by key.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of one label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let place = self.labels.binary_search_by(|(held, _)| held.as_str().cmp(key)).ok()?;
        Some(&self.labels[place].1)
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        write_labels(f, self.labels())
    }
}

/// A name or label that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A label was given two times.
    #[error("label {key:?} was given twice; a series has each label once")]
    LabelTwice {
        /// The label.
        key: String,
    },
    /// A name has a character it may not have, or none at all.
    #[error("{name:?} is not a name: letters, digits and _ (for series also :), and no digit first")]
    NotAName {
        /// What was given.
        name: String,
    },
    /// A name is longer than [`MAX_NAME_BYTES`].
    #[error("a name of {bytes} bytes is too long; {MAX_NAME_BYTES} is the limit")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// `__name__` as a label.
    #[error("the label __name__ is reserved for the name of the series; name it otherwise")]
    Reserved,
    /// More than [`MAX_LABELS`].
    #[error("series {name:?} has more than {MAX_LABELS} labels")]
    TooManyLabels {
        /// Name of the series.
        name: String,
    },
    /// A value is longer than [`MAX_VALUE_BYTES`].
    #[error("the value of label {key:?} has {bytes} bytes; {MAX_VALUE_BYTES} is the limit")]
    ValueTooLong {
        /// The label.
        key: String,
        /// Its length.
        bytes: usize,
    },
}

/// Checks a series name (`colons`) or a label key.
pub(crate) fn check_name(name: &str, colons: bool) -> Result<(), KeyError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(KeyError::NameTooLong { bytes: name.len() });
    }
    if name == "__name__" {
        return Err(KeyError::Reserved);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
        return Err(KeyError::NotAName { name: name.to_owned() });
    }
    Ok(())
}

/// Writes `{key="value",…}`, or nothing for no labels.
pub(crate) fn write_labels<'a>(
    f: &mut fmt::Formatter<'_>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    let mut opened = false;
    for (key, value) in labels {
        f.write_str(if opened { "," } else { "{" })?;
        opened = true;
        write!(f, "{key}=\"")?;
        for c in value.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")?;
    }
    if opened { f.write_str("}") } else { Ok(()) }
}
