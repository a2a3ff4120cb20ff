//! Texts from clients, each with what it may be.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest single argument or variable of a program, its final NUL included (`MAX_ARG_STRLEN` of Linux, 32 pages).
const ARGUMENT_LIMIT_BYTES: usize = 128 << 10;
/// Variables of one environment.
const ENV_LIMIT: usize = 256;
/// All names and values of one environment.
const ENV_LIMIT_BYTES: usize = 128 << 10;
/// Entries of one sandbox's metadata.
const METADATA_LIMIT: usize = 64;
/// A key of metadata.
const KEY_LIMIT_BYTES: usize = 128;
/// A value of metadata.
const VALUE_LIMIT_BYTES: usize = 4096;
/// A path in the guest (`PATH_MAX` of Linux, its final NUL included).
const PATH_LIMIT_BYTES: usize = 4096;
/// The name of a snapshot or an image.
const NAME_LIMIT_BYTES: usize = 64;

/// A text that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is not valid: {reason}")]
pub struct InvalidText {
    field: &'static str,
    reason: String,
}

impl InvalidText {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// As the client wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text!(
    /// A line for the guest's shell: 1 to 131071 bytes, without NUL.
    CommandText,
    check_command
);
text!(
    /// An absolute path in the guest: at most 4095 bytes, without NUL.
    GuestPath,
    check_path
);
text!(
    /// The name of an image: as that of a snapshot.
    ImageName,
    check_image
);
text!(
    /// The name of a snapshot: 1 to 64 of `A-Z a-z 0-9 . _ -`, a letter or digit first.
    SnapshotName,
    check_snapshot
);

/// Environment variables: at most 256; names of letters, digits and underscores that do not start with a digit; values
/// without NUL; 128 KiB in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The variables.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These variables, and those of `over`, which win.
    pub(crate) fn overlaid(&self, over: &Self) -> BTreeMap<String, String> {
        let mut all = self.0.clone();
        all.extend(over.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

impl TryFrom<BTreeMap<String, String>> for Env {
    type Error = InvalidText;

    fn try_from(env: BTreeMap<String, String>) -> Result<Self, InvalidText> {
        let invalid = |reason: String| Err(InvalidText::new("env", reason));
        if env.len() > ENV_LIMIT {
            return invalid(format!("it has {} variables, the limit is {ENV_LIMIT}", env.len()));
        }
        let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if bytes > ENV_LIMIT_BYTES {
            return invalid(format!("it has {bytes} bytes, the limit is {ENV_LIMIT_BYTES}"));
        }
        for (name, value) in &env {
            let mut characters = name.bytes();
            let starts = characters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            if !starts || !characters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return invalid(format!(
                    "{name:?} is no name; letters, digits and underscores, no digit first"
                ));
            }
            if value.contains('\0') {
                return invalid(format!("the value of {name} holds a NUL"));
            }
        }
        Ok(Self(env))
    }
}

impl From<Env> for BTreeMap<String, String> {
    fn from(env: Env) -> Self {
        env.0
    }
}

/// What a client notes with a sandbox: at most 64 entries, keys of 1 to 128 bytes, values of at most 4096.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// The entries.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = InvalidText;

    fn try_from(metadata: BTreeMap<String, String>) -> Result<Self, InvalidText> {
        let invalid = |reason: String| Err(InvalidText::new("metadata", reason));
        if metadata.len() > METADATA_LIMIT {
            return invalid(format!("it has {} entries, the limit is {METADATA_LIMIT}", metadata.len()));
        }
        for (key, value) in &metadata {
            if key.is_empty() || key.len() > KEY_LIMIT_BYTES {
                return invalid(format!(
                    "a key has {} bytes; 1 to {KEY_LIMIT_BYTES} are possible",
                    key.len()
                ));
            }
            if value.len() > VALUE_LIMIT_BYTES {
                return invalid(format!(
                    "a value has {} bytes, the limit is {VALUE_LIMIT_BYTES}",
                    value.len()
                ));
            }
        }
        Ok(Self(metadata))
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

fn check_command(text: &str) -> Result<(), InvalidText> {
    check_plain("cmd", text, ARGUMENT_LIMIT_BYTES - 1)
}

fn check_path(text: &str) -> Result<(), InvalidText> {
    check_plain("path", text, PATH_LIMIT_BYTES - 1)?;
    if text.starts_with('/') { Ok(()) } else { Err(InvalidText::new("path", "it does not start with /")) }
}

fn check_plain(field: &'static str, text: &str, limit: usize) -> Result<(), InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::new(field, "it is empty"));
    }
    if text.len() > limit {
        return Err(InvalidText::new(field, format!("it has {} bytes, the limit is {limit}", text.len())));
    }
    if text.contains('\0') {
        return Err(InvalidText::new(field, "it holds a NUL"));
    }
    Ok(())
}

fn check_image(text: &str) -> Result<(), InvalidText> {
    check_name("image", text)
}

fn check_snapshot(text: &str) -> Result<(), InvalidText> {
    check_name("name", text)
}

fn check_name(field: &'static str, text: &str) -> Result<(), InvalidText> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && text.len() <= NAME_LIMIT_BYTES && text.bytes().all(plain) {
        return Ok(());
    }
    Err(InvalidText::new(field, "it is 1 to 64 of A-Z a-z 0-9 . _ - with a letter or digit first"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    proptest! {
        #[test]
        fn a_name_cannot_leave_its_directory(text in "[a-z./\\\\_ -]{0,70}") {
            if let Ok(name) = text.parse::<SnapshotName>() {
                prop_assert!(!name.as_str().contains(['/', '\\', ' ']));
                prop_assert!(!name.as_str().starts_with(['.', '-', '_']));
                prop_assert!((1..=64).contains(&name.as_str().len()));
            }
        }
    }

    #[test]
    fn texts_are_what_they_say() {
        for path in ["", "a", "etc/passwd", "/a\0b", &format!("/{}", "x".repeat(4095))] {
            assert!(path.parse::<GuestPath>().is_err(), "{path:?}");
        }
        assert!("/tmp/../a b".parse::<GuestPath>().is_ok());
        assert!("".parse::<CommandText>().is_err());
        assert!("x".repeat(131_071).parse::<CommandText>().is_ok());
        assert!("x".repeat(131_072).parse::<CommandText>().is_err());
        assert!("x".repeat(64).parse::<SnapshotName>().is_ok());
        assert!("x".repeat(65).parse::<SnapshotName>().is_err());
    }

    #[test]
    fn variables_have_names_and_the_later_ones_win() {
        for name in ["", "1A", "A-B", "A=B", "Ä", "A\0"] {
            assert!(Env::try_from(map(&[(name, "x")])).is_err(), "{name:?}");
        }
        assert!(Env::try_from(map(&[("A", "a\0b")])).is_err());
        assert!(Env::try_from(map(&[("A", &"x".repeat(128 << 10))])).is_err());
        let of_sandbox = Env::try_from(map(&[("A", "1"), ("B", "1")])).unwrap();
        let of_command = Env::try_from(map(&[("B", "2"), ("C", "2")])).unwrap();
        assert_eq!(of_sandbox.overlaid(&of_command), map(&[("A", "1"), ("B", "2"), ("C", "2")]));
    }

    #[test]
    fn metadata_is_bounded() {
        assert!(Metadata::try_from(map(&[("", "x")])).is_err());
        assert!(Metadata::try_from(map(&[("k", &"x".repeat(4097))])).is_err());
        let many: BTreeMap<_, _> = (0..65).map(|index| (index.to_string(), String::new())).collect();
        assert!(Metadata::try_from(many).is_err());
        assert!(Metadata::try_from(map(&[("user", "Ada Ü")])).is_ok());
    }
}
