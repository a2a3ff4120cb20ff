//! The programs that make file systems.

use std::io;
use std::process::{Command, Stdio};

use crate::ImageError;

/// Runs a tool to its end.
pub(crate) fn run(command: &mut Command, tool: &'static str) -> Result<(), ImageError> {
    // Administrators' tools are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().map_err(|source| ImageError::Tool {
        tool,
        reason: match source.kind() {
            io::ErrorKind::NotFound => "it is not installed (`make setup` installs it)".into(),
            _ => source.to_string(),
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(ImageError::Tool { tool, reason: format!("it ended with {}: {said}", output.status) })
}
