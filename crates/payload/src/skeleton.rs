//! A first payload, to be made into another.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::manifest::{MANIFEST, is_name};
use crate::{ENTRY_POINT, TOOL_DIRECTORIES, TOOL_MISSING};

/// Why no skeleton was made.
#[derive(Debug, thiserror::Error)]
pub enum SkeletonError {
    /// Something is there already.
    #[error("there is {} already; choose another name, or remove it", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A file or directory could not be made.
    #[error("cannot write {}; check that its directory exists and is writable", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name cannot be one.
    #[error(
        "{name:?} is no name of a payload; use letters, digits, `_`, `.` and `-`, at most 64, a letter or digit first"
    )]
    Name {
        /// The name.
        name: String,
    },
}

/// Makes a directory of this name, in another, with a payload that runs as it is. Gives the directory.
pub fn create_skeleton(parent: &Path, name: &str) -> Result<PathBuf, SkeletonError> {
    if !is_name(name, "") {
        return Err(SkeletonError::Name { name: name.into() });
    }
    let directory = parent.join(name);
    fs::create_dir(&directory).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SkeletonError::Exists { path: directory.clone() },
        _ => SkeletonError::Io { path: directory.clone(), source },
    })?;
    let write = |file: &str, text: String, mode: u32| {
        let path = directory.join(file);
        let written = fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        written.map_err(|source| SkeletonError::Io { path, source })
    };
    write(MANIFEST, manifest(name), 0o644)?;
    write(ENTRY_POINT, script(), 0o755)?;
    Ok(directory)
}

fn manifest(name: &str) -> String {
    format!(
        r#"name = "{name}"
version = "0.1"
description = "How long it takes to list a directory, the start of the program included."
timeout_s = 60
expected_s = 1
tools = ["awk", "ls"]

[parameters.ROUNDS]
default = "200"
description = "how often the directory is listed"
"#
    )
}

fn script() -> String {
    let path = TOOL_DIRECTORIES.join(":");
    format!(
        r#"#!/bin/sh
# Runs with PATH not set. BENCH_ROOT is the directory of this file on the machine. Everything that is printed is
# recorded; exit code 0 is success, 127 says that a tool is missing, everything else is a failure.
set -eu
PATH={path}
export PATH LC_ALL=C
cd "$BENCH_ROOT"

for tool in awk ls; do
    command -v "$tool" >/dev/null || {{ echo "$tool is not installed" >&2; exit {TOOL_MISSING}; }}
done

rounds=${{ROUNDS:-200}}
read -r start _ </proc/uptime
round=0
while [ "$round" -lt "$rounds" ]; do
    ls >/dev/null
    round=$((round + 1))
done
read -r end _ </proc/uptime

# Each such line is a result: a name, a number, a unit, and which direction is better.
awk -v start="$start" -v end="$end" -v rounds="$rounds" \
    'BEGIN {{ printf "virtmark: metric listing %.6f ms better=lower\n", (end - start) * 1000 / rounds }}'
"#
    )
}
