//! A command in a request's words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use virtmark_hypervisor::{Command, Error, Program, Result};

use crate::machine::Sandbox;
use crate::mapping::Request;
use crate::mapping::template::{Placeholder, Values};
use crate::start::{whole_ms, whole_s};

/// What the placeholders of a request to run `command` stand for. A command that wants what the mapping has no place for is
/// refused: it would run as another one.
pub(super) fn values(sandbox: &Sandbox, request: &Request, command: &Command) -> Result<Values> {
    let refused = |what: &str| Error::AgentRefused {
        machine: sandbox.machine.clone(),
        request: format!("run a command with {what}"),
        reason: "the mapping has no place for it in exec".into(),
    };
    let mut values = sandbox.values();
    let mut directory = command.cwd.as_deref();
    if let Some(cwd) = directory.filter(|_| request.names(Placeholder::Cwd)) {
        values.insert(Placeholder::Cwd, cwd.into());
        directory = None;
    }
    let line = line(&command.program, directory);
    values.insert(
        Placeholder::Argv,
        match (&command.program, directory) {
            (Program::Argv(argv), None) => argv.clone().into(),
            _ => vec!["/bin/sh", "-c", &line].into(),
        },
    );
    values.insert(Placeholder::Cmd, line.into());
    if !command.env.is_empty() {
        if !request.names(Placeholder::Env) {
            return Err(refused("environment variables"));
        }
        let env = command.env.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        values.insert(Placeholder::Env, Value::Object(env.collect::<Map<_, _>>()));
    }
    if !command.stdin.is_empty() {
        let text = std::str::from_utf8(&command.stdin).ok();
        match text.filter(|_| request.names(Placeholder::Stdin)) {
            Some(text) => drop(values.insert(Placeholder::Stdin, text.into())),
            None if request.names(Placeholder::StdinBase64) => {
                values.insert(Placeholder::StdinBase64, STANDARD.encode(&command.stdin).into());
            }
            None if text.is_none() => return Err(refused("input that is not UTF-8")),
            None => return Err(refused("input")),
        }
    }
    if let Some(timeout) = command.timeout {
        values.insert(Placeholder::TimeoutMs, whole_ms(timeout).into());
        values.insert(Placeholder::TimeoutS, whole_s(timeout).into());
    }
    Ok(values)
}

/// A line for the guest's shell, which goes to the directory first.
fn line(program: &Program, directory: Option<&str>) -> String {
    let line = match program {
        Program::Argv(argv) => argv.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" "),
        Program::Shell(line) => line.clone(),
    };
    match directory {
        Some(directory) => format!("cd -- {} || exit 127\n{line}", quoted(directory)),
        None => line,
    }
}

/// One word for a POSIX shell, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_real_shell_reads_arguments_as_they_were(words in prop::collection::vec("[^\0]{0,12}", 1..4)) {
            let argv = ["printf".to_owned(), "%s\\0".to_owned()].into_iter().chain(words.clone()).collect();
            let line = line(&Program::Argv(argv), Some("/"));
            let output = Process::new("/bin/sh").args(["-c", &line]).output().unwrap();
            let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
    }
}
