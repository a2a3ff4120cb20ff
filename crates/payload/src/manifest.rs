//! `payload.toml`: what a payload says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::finding::{Code, Finding};
use crate::{ROOT_VARIABLE, duration};

/// Its name, at the root of the archive.
pub const MANIFEST: &str = "payload.toml";
/// A longer one is not read.
pub const MANIFEST_LIMIT_BYTES: u64 = 64 << 10;

const KEYS: [&str; 7] = ["name", "version", "description", "timeout_s", "expected_s", "tools", "parameters"];
const PARAMETER_KEYS: [&str; 2] = ["default", "description"];

/// What a payload says of itself. Everything is optional; version 1.1 of the specification had none of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Its name: letters, digits, `_`, `.` and `-`, at most 64 of them, the first a letter or digit.
    pub name: Option<String>,
    /// Its version, as its author counts: the characters of names and `+`.
    pub version: Option<String>,
    /// What it measures, in a sentence.
    pub description: Option<String>,
    /// When a run of it is given up, unless the user says otherwise.
    #[serde(rename = "timeout_s", with = "duration")]
    pub timeout: Option<Duration>,
    /// How long it takes, roughly, on a machine that is neither slow nor fast.
    #[serde(rename = "expected_s", with = "duration")]
    pub expected: Option<Duration>,
    /// Programs that it needs on the machine, without directories.
    pub tools: Vec<String>,
    /// Environment variables that it reads.
    pub parameters: BTreeMap<String, Parameter>,
}

/// An environment variable that a payload reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// What the payload takes where the variable is not set. It is for people: nobody sets it.
    pub default: Option<String>,
    /// What it means, with its unit.
    pub description: Option<String>,
}

impl Manifest {
    /// Reads one.
    ///
    /// What does not hinder a run (keys of a later version) is a warning beside it.
    pub fn parse(bytes: &[u8]) -> (Option<Self>, Vec<Finding>) {
        match Self::read(bytes) {
            Ok((manifest, warnings)) => (Some(manifest), warnings),
            Err(why) => {
                let finding = Finding::new(Code::ManifestInvalid, why, "docs/payload.md has its keys");
                (None, vec![finding.on(MANIFEST.as_bytes())])
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<(Self, Vec<Finding>), String> {
        let text = std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))?;
        let problem = |error: toml::de::Error| {
            let line = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or(text);
                format!("line {}: ", 1 + before.matches('\n').count())
            });
            format!("{}{}", line.unwrap_or_default(), error.message().replace('\n', ", "))
        };
        let table: toml::Table = toml::from_str(text).map_err(problem)?;
        let manifest: Self = toml::from_str(text).map_err(problem)?;
        manifest.check()?;
        Ok((manifest, unknown_keys(&table)))
    }

    fn check(&self) -> Result<(), String> {
        let expected = "use letters, digits, `_`, `.` and `-`, at most 64, a letter or digit first";
        if let Some(name) = self.name.as_ref().filter(|name| !is_name(name, "")) {
            return Err(format!("{name:?} is no name of a payload: {expected}"));
        }
        if let Some(version) = self.version.as_ref().filter(|version| !is_name(version, "+")) {
            return Err(format!("{version:?} is no version: {expected}"));
        }
        if let Some(tool) = self.tools.iter().find(|tool| !is_name(tool, "+")) {
            return Err(format!("{tool:?} is no name of a program: {expected}"));
        }
        if let Some(name) = self.parameters.keys().find(|name| !is_parameter_name(name)) {
            return Err(format!(
                "{name:?} is no parameter: use capitals, digits and `_`, not PATH and not {ROOT_VARIABLE}"
            ));
        }
        match (self.expected, self.timeout) {
            (Some(expected), Some(timeout)) if expected > timeout => {
                Err("expected_s is more than timeout_s: it would always be given up".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an environment variable may be a parameter of a payload: capitals, digits and `_`, no digit first, at most
/// 64, and not one that the specification gives a meaning.
pub fn is_parameter_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name != "PATH"
        && name != ROOT_VARIABLE
}

/// Whether it can be the name of a payload, and so of files: letters, digits, `_`, `.` and `-`, at most 64, a letter or
/// digit first; `more` are further characters.
pub fn is_name(name: &str, more: &str) -> bool {
    let allowed = |character: char| {
        character.is_ascii_alphanumeric() || "_.-".contains(character) || more.contains(character)
    };
    (1..=64).contains(&name.len())
        && name.chars().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn unknown_keys(table: &toml::Table) -> Vec<Finding> {
    let warn = |name: String| {
        let message = format!("the key {name:?} is unknown and means nothing here");
        let remedy = format!("the keys are {}", KEYS.join(", "));
        Finding::new(Code::ManifestUnknownKey, message, remedy).on(MANIFEST.as_bytes())
    };
    let top = table.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned();
    let parameters = table.get("parameters").and_then(toml::Value::as_table).into_iter().flatten();
    let below = parameters.flat_map(|(name, keys)| {
        let keys = keys.as_table().into_iter().flat_map(|keys| keys.keys());
        keys.filter(|key| !PARAMETER_KEYS.contains(&key.as_str()))
            .map(move |key| format!("parameters.{name}.{key}"))
    });
    top.chain(below).map(warn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
name = "openssl"
version = "1.0+deb12"
description = "How fast."
timeout_s = 120
expected_s = 20.5
tools = ["openssl", "g++"]
[parameters.OPENSSL_SECONDS]
default = "3"
description = "seconds a test"
"#;

    #[test]
    fn everything_is_read() {
        let (manifest, findings) = Manifest::parse(WHOLE.as_bytes());
        let manifest = manifest.unwrap();
        assert_eq!(findings, []);
        assert_eq!(manifest.name.as_deref(), Some("openssl"));
        assert_eq!(manifest.timeout, Some(Duration::from_secs(120)));
        assert_eq!(manifest.expected, Some(Duration::from_millis(20_500)));
        assert_eq!(manifest.tools, ["openssl", "g++"]);
        assert_eq!(manifest.parameters["OPENSSL_SECONDS"].default.as_deref(), Some("3"));
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!((&json["timeout_s"], &json["expected_s"]), (&120.0.into(), &20.5.into()));
    }

    #[test]
    fn nothing_is_required() {
        assert_eq!(Manifest::parse(b""), (Some(Manifest::default()), vec![]));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            ("name = ", "line 1"),
            ("version = \"1\"\nname = 7\n", "line 2"),
            ("name = \"../x\"", "no name of a payload"),
            ("name = \"\"", "no name of a payload"),
            ("version = \"1 0\"", "no version"),
            ("timeout_s = 0", "give such a number"),
            ("timeout_s = nan", "give such a number"),
            ("timeout_s = 1e9", "give such a number"),
            ("timeout_s = \"90s\"", "line 1"),
            ("timeout_s = 5\nexpected_s = 6", "always be given up"),
            ("tools = [\"/bin/sh\"]", "no name of a program"),
            ("[parameters.PATH]", "no parameter"),
            ("[parameters.lower]", "no parameter"),
            ("\u{0}", "line 1"),
        ] {
            let (manifest, findings) = Manifest::parse(text.as_bytes());
            assert_eq!((manifest, findings.len()), (None, 1), "{text:?}");
            assert_eq!(findings[0].code, Code::ManifestInvalid);
            assert!(findings[0].message.contains(expected), "{text:?}: {}", findings[0].message);
        }
        let (manifest, findings) = Manifest::parse(b"name = \"\xff\"");
        assert!(manifest.is_none() && findings[0].message.contains("not UTF-8"));
    }

    #[test]
    fn keys_of_later_versions_are_warnings() {
        let (manifest, findings) = Manifest::parse(b"timeout = 3\n[parameters.A]\nunit = \"s\"\n");
        assert!(manifest.is_some());
        let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert!(messages[0].contains("\"timeout\"") && messages[1].contains("\"parameters.A.unit\""));
        assert!(findings.iter().all(|finding| finding.code == Code::ManifestUnknownKey));
    }
}
