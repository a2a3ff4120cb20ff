//! Where an answer says what.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A place in JSON, as RFC 6901 writes it: `/data/0/id`; the empty text is the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer(String);

impl Pointer {
    /// What is there; nothing where there is `null`.
    pub(crate) fn find<'a>(&self, answer: &'a Value) -> Option<&'a Value> {
        answer.pointer(&self.0).filter(|value| !value.is_null())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "the whole answer" } else { &self.0 })
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.is_empty() && !text.starts_with('/') {
            return Err(D::Error::custom(format!(
                "{text:?} is no place in an answer: write it like \"/data/id\""
            )));
        }
        Ok(Self(text))
    }
}

/// A time in an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Duration {
    at: Pointer,
    unit: Unit,
}

impl Duration {
    /// In nanoseconds; nothing where there is no such number, or a negative one.
    pub(crate) fn ns(&self, answer: &Value) -> Option<u64> {
        self.unit.ns(self.at.find(answer)?)
    }
}

/// The unit of a time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Ms,
    Ns,
    S,
    Us,
}

impl Unit {
    fn ns(self, number: &Value) -> Option<u64> {
        let factor: u32 = match self {
            Self::Ms => 1_000_000,
            Self::Ns => 1,
            Self::S => 1_000_000_000,
            Self::Us => 1_000,
        };
        match number.as_u64() {
            Some(whole) => whole.checked_mul(factor.into()),
            None => number.as_f64().map(|number| number * f64::from(factor)).and_then(|ns| {
                // The bound is 584 years; beyond it is no time that a machine took.
                (0.0..=u64::MAX as f64).contains(&ns).then(|| ns.round() as u64)
            }),
        }
    }
}

/// A list of named times in an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phases {
    at: Pointer,
    /// In an element of the list.
    name: Pointer,
    /// In an element of the list.
    duration: Pointer,
    unit: Unit,
}

impl Phases {
    /// Names and nanoseconds; nothing unless all of them are there.
    pub(crate) fn read(&self, answer: &Value) -> Option<Vec<(String, u64)>> {
        let phase = |phase: &Value| {
            let name = self.name.find(phase)?.as_str().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), self.unit.ns(self.duration.find(phase)?)?))
        };
        self.at.find(answer)?.as_array()?.iter().map(phase).collect()
    }
}

/// How the bytes of an output or a file are written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    Base64,
    #[default]
    Text,
}

/// What the service says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthAnswer {
    pub(crate) version: Option<Pointer>,
    pub(crate) hypervisor: Option<Pointer>,
    pub(crate) hypervisor_version: Option<Pointer>,
    pub(crate) accelerator: Option<Pointer>,
    pub(crate) accelerator_reason: Option<Pointer>,
    pub(crate) configuration: Option<Pointer>,
    pub(crate) emulated: Option<Pointer>,
    pub(crate) image: Option<Pointer>,
}

/// What it says of a machine that it made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartAnswer {
    pub(crate) sandbox_id: Pointer,
    /// How it came by the machine, in its words.
    pub(crate) start: Option<Pointer>,
    pub(crate) duration: Option<Duration>,
    pub(crate) phases: Option<Phases>,
}

/// What it says of a command that ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecAnswer {
    pub(crate) stdout: Pointer,
    pub(crate) stderr: Option<Pointer>,
    #[serde(default)]
    pub(crate) encoding: Encoding,
    pub(crate) exit_code: Pointer,
    pub(crate) timed_out: Option<Pointer>,
    pub(crate) stdout_bytes: Option<Pointer>,
    pub(crate) stderr_bytes: Option<Pointer>,
    pub(crate) duration: Option<Duration>,
}

/// What it says of a snapshot that it took.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotAnswer {
    pub(crate) snapshot_id: Pointer,
    pub(crate) disk_bytes: Option<Pointer>,
    pub(crate) duration: Option<Duration>,
    pub(crate) phases: Option<Phases>,
}

/// What it says of what a machine uses.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageAnswer {
    pub(crate) cpu_ns: Option<Pointer>,
    pub(crate) rss_bytes: Option<Pointer>,
    pub(crate) pss_bytes: Option<Pointer>,
    pub(crate) private_bytes: Option<Pointer>,
    pub(crate) disk_bytes: Option<Pointer>,
}

/// A file's content in an answer; an operation without it answers with the bytes themselves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContentAnswer {
    pub(crate) content: Pointer,
    #[serde(default)]
    pub(crate) encoding: Encoding,
}

/// An answer of which only the status counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoAnswer {}

/// What it says of a failure.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorAnswer {
    pub(crate) class: Option<Pointer>,
    pub(crate) code: Option<Pointer>,
    pub(crate) message: Option<Pointer>,
    pub(crate) remedy: Option<Pointer>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_their_unit() {
        for (unit, number, ns) in [
            (Unit::Ns, json!(7), Some(7)),
            (Unit::Us, json!(1.5), Some(1_500)),
            (Unit::Ms, json!(12.25), Some(12_250_000)),
            (Unit::S, json!(3), Some(3_000_000_000)),
            (Unit::S, json!(-3), None),
            (Unit::S, json!(u64::MAX), None),
            (Unit::S, json!("3"), None),
        ] {
            assert_eq!(unit.ns(&number), ns, "{number} {unit:?}");
        }
    }

    #[test]
    fn phases_are_all_there_or_none() {
        let phases = Phases {
            at: Pointer("/p".into()),
            name: Pointer("/n".into()),
            duration: Pointer("/d".into()),
            unit: Unit::Ms,
        };
        let both = json!({ "p": [{ "n": "boot", "d": 2 }, { "n": "agent", "d": 0.5 }] });
        assert_eq!(phases.read(&both), Some(vec![("boot".into(), 2_000_000), ("agent".into(), 500_000)]));
        assert_eq!(phases.read(&json!({ "p": [{ "n": "boot", "d": 2 }, { "n": "agent" }] })), None);
        assert_eq!(phases.read(&json!({})), None);
    }
}
