//! How requests are named in messages.

use crate::{Command, Program};

/// The most of a command line that a message repeats.
const COMMAND_CHARS: usize = 80;

/// A request's name, for two kinds of sentence.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What the agent was to do: it could not …
    pub(super) verb: String,
    /// What it was: it was lost during …
    pub(super) noun: String,
}

impl Asked {
    pub(super) fn hello() -> Self {
        Self { verb: "open a session".into(), noun: "the opening of a session".into() }
    }

    pub(super) fn clock() -> Self {
        Self { verb: "read its clocks".into(), noun: "the reading of its clocks".into() }
    }

    pub(super) fn personalize() -> Self {
        Self { verb: "take an identity of its own".into(), noun: "the giving of its identity".into() }
    }

    pub(super) fn set_clock() -> Self {
        Self { verb: "set its wall clock".into(), noun: "the setting of its wall clock".into() }
    }

    pub(super) fn shutdown() -> Self {
        Self { verb: "power off".into(), noun: "the request to power off".into() }
    }

    pub(super) fn exec(command: &Command) -> Self {
        let line = match &command.program {
            Program::Argv(argv) => argv.join(" "),
            Program::Shell(line) => line.clone(),
        };
        let mut short: String = line.chars().take(COMMAND_CHARS).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        Self { verb: format!("run `{short}`"), noun: format!("the command `{short}`") }
    }

    pub(super) fn put(path: &str) -> Self {
        Self { verb: format!("write {path}"), noun: format!("the copy to {path}") }
    }

    pub(super) fn get(path: &str) -> Self {
        Self { verb: format!("read {path}"), noun: format!("the copy of {path}") }
    }
}
