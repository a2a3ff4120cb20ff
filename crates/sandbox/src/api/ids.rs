//! Ids of sandboxes and snapshots: a prefix that tells them apart, and 128 random bits.

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::InvalidText;

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new one, from the random numbers of the host's kernel.
            ///
            /// # Errors
            /// The kernel gives none.
            pub fn random() -> io::Result<Self> {
                random_digits().map(|digits| Self(format!(concat!($prefix, "{}"), digits)))
            }

            /// As it goes over the wire. Letters, digits and hyphens only: it is safe as a file name and a host name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                let is_id = text.strip_prefix($prefix).is_some_and(is_digits);
                if is_id {
                    Ok(Self(text))
                } else {
                    Err(InvalidText::new($what, concat!("it is `", $prefix, "` and 32 lower-case hexadecimal digits")))
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a sandbox: `sb-` and 32 hexadecimal digits.
    SandboxId,
    "sb-",
    "sandbox_id"
);
id!(
    /// Names a snapshot: `sn-` and 32 hexadecimal digits.
    SnapshotId,
    "sn-",
    "snapshot_id"
);

fn is_digits(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// 32 hexadecimal digits from the random numbers of the host's kernel.
pub(crate) fn random_digits() -> io::Result<String> {
    let mut bytes = [0u8; DIGITS / 2];
    // Requests of up to 256 bytes are never cut short (getrandom(2)).
    rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()))?;
    Ok(bytes.iter().fold(String::with_capacity(DIGITS), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_random_and_read_back() {
        let (first, second) = (SandboxId::random().unwrap(), SandboxId::random().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.as_str().parse::<SandboxId>().unwrap(), first);
        assert!(first.as_str().parse::<SnapshotId>().is_err(), "a sandbox is no snapshot");
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<SandboxId>(&json).unwrap(), first);
    }

    proptest! {
        #[test]
        fn nothing_but_an_id_is_one(text in "(sb-)?[0-9a-fA-F/.]{0,40}") {
            let digits = text.strip_prefix("sb-").unwrap_or("");
            let expected = digits.len() == 32
                && digits.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit));
            prop_assert_eq!(text.parse::<SandboxId>().is_ok(), expected);
        }
    }
}
