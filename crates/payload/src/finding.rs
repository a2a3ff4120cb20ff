//! What can be wrong with a payload: one stable code per finding.

use std::fmt;

use serde::{Serialize, Serializer};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Allowed by the specification, and discouraged.
    Warning,
    /// The payload cannot be run, or not the same everywhere, or is a danger to the machine.
    Error,
}

impl Severity {
    /// As it is written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What a payload is worth as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// Warnings only; it may be run.
    Warnings,
    /// At least one error; it must not be run.
    Errors,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $severity:ident;)+) => {
        /// What was found. The names are stable; `docs/payload.md` has the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// All codes, alphabetically.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How much it weighs.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// An entry has a path that another one has already.
    Duplicate = "duplicate", Error;
    /// `payload.sh` is not readable and executable for its owner.
    EntryPointNotExecutable = "entry-point-not-executable", Error;
    /// `payload.sh` is a directory, a link or something else that is no regular file.
    EntryPointNotRegular = "entry-point-not-regular", Error;
    /// The compressed data or its checksum is wrong.
    GzipDamaged = "gzip-damaged", Error;
    /// Something that is not gzip follows the compressed data.
    GzipTrailing = "gzip-trailing", Error;
    /// The compressed data ends too early.
    GzipTruncated = "gzip-truncated", Error;
    /// A hard link to a file outside of the root, or to none that comes before it.
    HardLink = "hard-link", Error;
    /// `payload.sh` has line endings that a shell does not understand.
    LineEndings = "line-endings", Error;
    /// A symbolic link leads out of the root.
    LinkOutsideRoot = "link-outside-root", Warning;
    /// `payload.toml` cannot be understood.
    ManifestInvalid = "manifest-invalid", Error;
    /// `payload.toml` has a key that this version does not know.
    ManifestUnknownKey = "manifest-unknown-key", Warning;
    /// A path, or a part of one, is longer than file systems take.
    NameTooLong = "name-too-long", Error;
    /// There is no `payload.sh` at the root.
    NoEntryPoint = "no-entry-point", Error;
    /// The file is not compressed by gzip.
    NotGzip = "not-gzip", Error;
    /// What is compressed is no tar archive.
    NotTar = "not-tar", Error;
    /// A name is not UTF-8, or has control characters in it.
    OddName = "odd-name", Warning;
    /// A file is written outside of the root: its path is absolute.
    OutsideRoot = "outside-root", Warning;
    /// A path has `..` in it.
    ParentPath = "parent-path", Error;
    /// An entry lies below one that is no directory.
    PathConflict = "path-conflict", Error;
    /// The archive unpacks to too many times its size.
    Ratio = "ratio", Error;
    /// A script other than `payload.sh` has line endings that its interpreter may not understand.
    ScriptLineEndings = "script-line-endings", Warning;
    /// A file runs with the rights of its owner or group, whoever starts it.
    Setuid = "setuid", Error;
    /// `payload.sh` does not begin with a valid `#!` line.
    Shebang = "shebang", Error;
    /// A device or a named pipe.
    SpecialFile = "special-file", Error;
    /// A header of the archive makes no sense.
    TarDamaged = "tar-damaged", Error;
    /// The archive lacks the blocks that mark its end.
    TarNoEnd = "tar-no-end", Warning;
    /// Something follows the end of the archive, and would be left out.
    TarTrailing = "tar-trailing", Error;
    /// The archive ends in the middle of an entry.
    TarTruncated = "tar-truncated", Error;
    /// An entry lies below a symbolic link of the same archive.
    ThroughLink = "through-link", Error;
    /// The archive unpacks to more than is allowed.
    TooLarge = "too-large", Error;
    /// The archive has more entries than are allowed.
    TooManyEntries = "too-many-entries", Error;
    /// An entry of a kind that not every tar understands.
    UnsupportedEntry = "unsupported-entry", Error;
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that was found in a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// How much it weighs: that of the code.
    pub severity: Severity,
    /// The entry it is about, as the archive writes it; none when it is about the whole. What is not UTF-8 is replaced.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// About the archive as a whole.
    pub(crate) fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), path: None, message: message.into(), remedy: remedy.into() }
    }

    /// The same, about one entry.
    pub(crate) fn on(mut self, path: &[u8]) -> Self {
        self.path = Some(String::from_utf8_lossy(path).into_owned());
        self
    }
}

/// As compilers print it: `error[setuid] bin/tool: is set-user-ID (mode 4755); clear the bit`. One line, whatever the
/// path has in it.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}] ", self.severity.as_str(), self.code)?;
        if let Some(path) = &self.path {
            let path: String = path.chars().flat_map(plain).collect();
            write!(formatter, "{path}: ")?;
        }
        write!(formatter, "{}; {}", self.message, self.remedy)
    }
}

/// A character as it may be shown on a terminal.
fn plain(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding::new(Code::Setuid, "is set-user-ID", "clear the bit").on(b"a\n\x1b[2Jb\xff");
        assert_eq!(
            finding.to_string(),
            "error[setuid] a\\n\\u{1b}[2Jb\u{fffd}: is set-user-ID; clear the bit"
        );
    }
}
