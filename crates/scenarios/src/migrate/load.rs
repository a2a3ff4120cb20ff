//! What a guest does while it is moved.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a guest does while it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Load {
    /// The agent's writer writes to so many bytes of memory a second, counted in whole pages.
    Dirty {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Nothing but the witness.
    None,
    /// stress-ng on 80 % of the memory, which is in the image `bench`.
    Stress,
}

const UNITS: [(&str, u64); 4] = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

impl Load {
    /// Its name in metrics: letters, digits and hyphens.
    pub fn name(&self) -> String {
        self.to_string().replace('=', "-")
    }

    /// What its guest runs for it beside the witness, if anything. Started by a shell, it stays in the background.
    pub(super) fn command(&self, memory_bytes: u64) -> Option<String> {
        let bytes = memory_bytes / 10 * 8;
        match self {
            Self::Stress => Some(format!(
                "command -v stress-ng >/dev/null || exit 127; \
                 (stress-ng --vm 1 --vm-bytes {bytes} --vm-keep --timeout 0 >/dev/null 2>&1 &)"
            )),
            Self::Dirty { .. } | Self::None => None,
        }
    }
}

/// As in `none`, `stress`, `dirty=50M`.
impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dirty { bytes_per_second } => {
                let whole = UNITS.iter().rev().find(|(_, unit)| bytes_per_second % unit == 0);
                let (name, unit) = whole.copied().unwrap_or(("", 1));
                formatter.pad(&format!("dirty={}{name}", bytes_per_second / unit))
            }
            Self::None => formatter.pad("none"),
            Self::Stress => formatter.pad("stress"),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no load: use none, stress, or dirty=RATE in bytes a second, such as dirty=50M"
            )
        };
        match text.split_once('=') {
            None if text == "none" => Ok(Self::None),
            None if text == "stress" => Ok(Self::Stress),
            Some(("dirty", rate)) => {
                let digits = rate.trim_end_matches(|character: char| !character.is_ascii_digit());
                let unit = UNITS.iter().find(|(name, _)| *name == &rate[digits.len()..]);
                let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
                match (number, unit) {
                    (Some(number), Some((_, unit))) => {
                        let bytes_per_second = number.checked_mul(*unit).ok_or_else(wrong)?;
                        Ok(Self::Dirty { bytes_per_second })
                    }
                    _ => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }
}

impl From<Load> for String {
    fn from(load: Load) -> Self {
        load.to_string()
    }
}

impl TryFrom<String> for Load {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn loads_are_read_as_they_are_written(bytes_per_second in 1_u64..) {
            let load = Load::Dirty { bytes_per_second };
            prop_assert_eq!(load.to_string().parse(), Ok(load));
        }
    }

    #[test]
    fn loads_are_told_apart_and_what_is_none_is_refused() {
        assert_eq!("dirty=50M".parse(), Ok(Load::Dirty { bytes_per_second: 50 << 20 }));
        assert_eq!("dirty=4096".parse::<Load>().map(|load| load.to_string()), Ok("dirty=4K".into()));
        assert_eq!(("none".parse(), "stress".parse()), (Ok(Load::None), Ok(Load::Stress)));
        for text in ["", "dirty", "dirty=", "dirty=0", "dirty=x", "dirty=5X", "dirty=-1", "none=1", "dirty=ü"]
        {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
        assert!(Load::Stress.command(1 << 30).is_some_and(|line| line.contains("--vm-bytes 858993456 ")));
        assert_eq!(Load::Dirty { bytes_per_second: 50 << 20 }.name(), "dirty-50M");
    }
}
