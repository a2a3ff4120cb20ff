//! Tools that failed: what kind of failure it was, and what goes on record of it.

use std::collections::BTreeMap;
use std::path::Path;

use virtmark_hypervisor::{Error, ExecOutput, ExecStatus};
use virtmark_model::FailureClass;

use super::parse::ParseError;
use super::{Side, Test, Tool};

/// How much of an output is kept with a failure.
const RAW_KEPT_CHARS: usize = 16 << 10;
/// What the dynamic loader says of a program that it cannot load.
const LOADER: &str = "error while loading shared libraries";
/// How the C library and the dynamic loader say ENOMEM.
const MEMORY_REFUSED: [&str; 3] =
    ["Cannot allocate memory", "cannot map zero-fill pages", "failed to map segment from shared object"];

/// A use of a tool that gave no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolFailure {
    /// The name of its kind, kept in the label `failure_kind`.
    pub(super) kind: &'static str,
    pub(super) class: FailureClass,
    pub(super) message: String,
    /// What the tool printed.
    pub(super) raw: Option<String>,
    /// Whether the next try could not but fail in the same way.
    pub(super) is_lasting: bool,
}

impl ToolFailure {
    /// The tool is not there.
    pub(super) fn missing(tool: Tool, side: Side) -> Self {
        let message = match side {
            Side::Guest => format!("cannot run {tool}: it is not in the guest; use --image bench"),
            Side::Host => format!(
                "cannot run {tool}: it is not on this host, which the guest is compared with; install it with \
                 apt-get install {}",
                tool.package()
            ),
        };
        Self { kind: "tool_missing", class: FailureClass::Unsupported, message, raw: None, is_lasting: true }
    }

    /// The platform failed, not the tool.
    pub(super) fn platform(error: &Error) -> Self {
        let class = error.class();
        let is_lasting = !error.is_passing() && crate::is_permanent(class);
        Self { kind: "platform", class, message: error.to_string(), raw: None, is_lasting }
    }

    /// The tool did what it was to do, as far as it says, and what it printed cannot be read.
    pub(super) fn unread(test: Test, side: Side, output: &ExecOutput, error: &ParseError) -> Self {
        let text = printed(output);
        let message = format!("{test} on the {side}: {error}");
        let unread =
            Self { kind: "unparsable", class: FailureClass::Other, message, raw: None, is_lasting: false };
        known(test.tool(), side, &text).unwrap_or(unread).with_raw(text)
    }

    /// The tool failed. `told` is its own reason for it, where it printed one to be read. `killed_for_memory`: whether it
    /// was killed, and by the kernel because there was no memory.
    pub(super) fn ended(
        tool: Tool,
        side: Side,
        output: &ExecOutput,
        told: Option<&str>,
        killed_for_memory: bool,
    ) -> Self {
        let text = printed(output);
        if killed_for_memory {
            return Self::out_of_memory(tool, side, "was killed by the kernel, which was out of memory")
                .with_raw(text);
        }
        if let Some(known) =
            known(tool, side, &text).or_else(|| told.and_then(|told| known(tool, side, told)))
        {
            return known.with_raw(text);
        }
        // The same exit code is the dynamic loader's, of a tool that is there and lacks a library.
        if output.status == ExecStatus::Exited(127) && !text.contains(LOADER) {
            return Self::missing(tool, side).with_raw(text);
        }
        let (class, how) = match output.status {
            _ if told.is_some() => (FailureClass::Other, "failed".into()),
            ExecStatus::Exited(code) => (FailureClass::Other, format!("exited with {code}")),
            ExecStatus::Signaled(signal) => (FailureClass::Other, format!("was ended by signal {signal}")),
            ExecStatus::TimedOut => (FailureClass::Timeout, "did not end in its time".into()),
        };
        let last = || text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let said: String = told.or_else(last).unwrap_or("it printed nothing").chars().take(160).collect();
        let message = format!("{tool} on the {side} {how}: {said}");
        Self { kind: "tool_failed", class, message, raw: None, is_lasting: false }.with_raw(text)
    }

    fn out_of_memory(tool: Tool, side: Side, how: &str) -> Self {
        let remedy = match side {
            Side::Guest => "give it more with --memory",
            Side::Host => "the host's side has as much as the guest: give both more with --memory",
        };
        let message = format!("{tool} on the {side} {how}; {remedy}");
        let class = FailureClass::OutOfMemory;
        Self { kind: "out_of_memory", class, message, raw: None, is_lasting: true }
    }

    /// The server of a network test has no port to listen on.
    pub(super) fn port_taken(side: Side, port: u16) -> Self {
        let message = format!(
            "cannot start {}'s server on the {side}: port {port} is taken; choose another with --port",
            Tool::Iperf3
        );
        Self { kind: "port_taken", class: FailureClass::Other, message, raw: None, is_lasting: true }
    }

    /// The guest answers nothing any more, as `error` shows. `full` is the place of its disks, where that is the cause: a
    /// machine whose disk cannot be written to is stopped by its VMM.
    pub(super) fn silent(error: &Error, full: Option<&Path>) -> Self {
        let (kind, class, why) = match full {
            Some(place) => (
                "disk_full",
                FailureClass::DiskFull,
                format!(
                    "the machine stands still, because the disk of the host is full where its disks are, in {}; \
                     free some space there, or choose another place with VIRTMARK_SCRATCH",
                    place.display()
                ),
            ),
            None => (
                "guest_silent",
                FailureClass::GuestSilent,
                "since then the guest answers nothing, not even a command that does nothing".into(),
            ),
        };
        let message = format!("{error}; {why}");
        Self { kind, class, message, raw: None, is_lasting: true }
    }

    fn with_raw(mut self, text: String) -> Self {
        self.raw = Some(text.chars().take(RAW_KEPT_CHARS).collect());
        self
    }

    /// Adds what tells this failure from others.
    pub(super) fn label(&self, labels: &mut BTreeMap<String, String>) {
        labels.insert("failure_kind".into(), self.kind.into());
        if let Some(raw) = &self.raw {
            labels.insert("raw_output".into(), raw.clone());
        }
    }
}

/// What the words of the C library tell.
fn known(tool: Tool, side: Side, text: &str) -> Option<ToolFailure> {
    if text.contains("No space left on device") {
        let message = match side {
            Side::Guest => format!("{tool} found the disk in the guest full; use a smaller --size"),
            Side::Host => {
                format!(
                    "{tool} found the disk of the host full; use a smaller --size, or set VIRTMARK_SCRATCH"
                )
            }
        };
        let class = FailureClass::DiskFull;
        return Some(ToolFailure { kind: "disk_full", class, message, raw: None, is_lasting: true });
    }
    if MEMORY_REFUSED.iter().any(|words| text.contains(words)) {
        return Some(ToolFailure::out_of_memory(tool, side, "was refused the memory that it asked for"));
    }
    None
}

/// Both streams of an output.
pub(super) fn printed(output: &ExecOutput) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.stderr.is_empty() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: ExecStatus, stdout: &str, stderr: &str) -> ExecOutput {
        ExecOutput { status, stdout: stdout.into(), stderr: stderr.into(), ..ExecOutput::default() }
    }

    #[test]
    fn ends_are_told_apart() {
        let ended = |status, stderr, killed| {
            let output = output(status, "", stderr);
            let failure = ToolFailure::ended(Tool::Fio, Side::Guest, &output, None, killed);
            (failure.kind, failure.class, failure.is_lasting)
        };
        use FailureClass::*;
        assert_eq!(ended(ExecStatus::Signaled(9), "", true), ("out_of_memory", OutOfMemory, true));
        // fio ends by another signal when it was its job that was killed.
        assert_eq!(ended(ExecStatus::Signaled(6), "double free", true), ("out_of_memory", OutOfMemory, true));
        // Somebody killed it, and it was not the kernel.
        assert_eq!(ended(ExecStatus::Signaled(9), "", false), ("tool_failed", Other, false));
        assert_eq!(ended(ExecStatus::Exited(127), "", false), ("tool_missing", Unsupported, true));
        let refused =
            "fio: error while loading shared libraries: libceph-common.so.2: cannot map zero-fill pages";
        assert_eq!(ended(ExecStatus::Exited(127), refused, false), ("out_of_memory", OutOfMemory, true));
        let damaged =
            "fio: error while loading shared libraries: libaio.so.1: cannot open shared object file";
        assert_eq!(ended(ExecStatus::Exited(127), damaged, false), ("tool_failed", Other, false));
        let full = "fio: io_u error on file x: No space left on device";
        assert_eq!(ended(ExecStatus::Exited(1), full, false), ("disk_full", DiskFull, true));
        assert_eq!(ended(ExecStatus::TimedOut, "", false), ("tool_failed", Timeout, false));
    }

    #[test]
    fn what_a_tool_says_to_be_read_is_its_reason() {
        let ended = |told| {
            let output = output(ExecStatus::Signaled(6), "{}", "free(): double free detected in tcache 2");
            let failure = ToolFailure::ended(Tool::Fio, Side::Guest, &output, Some(told), false);
            (failure.kind, failure.message)
        };
        let (kind, message) = ended("error 12 of its job: Cannot allocate memory");
        assert_eq!(kind, "out_of_memory");
        assert!(message.ends_with("was refused the memory that it asked for; give it more with --memory"));
        let (kind, message) = ended("error 5 of its job: Input/output error");
        assert_eq!(
            (kind, &*message),
            ("tool_failed", "fio on the guest failed: error 5 of its job: Input/output error")
        );
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let error = ParseError::Unreadable { tool: "sysbench", reason: "there is no total time".into() };
        let odd = output(ExecStatus::Exited(0), "all is well", "really");
        let failure = ToolFailure::unread(Test::SysbenchCpu, Side::Host, &odd, &error);
        assert_eq!((failure.kind, failure.raw.as_deref()), ("unparsable", Some("all is well\nreally")));
        let mut labels = BTreeMap::new();
        failure.label(&mut labels);
        assert_eq!(labels["raw_output"], "all is well\nreally");
        assert!(failure.message.contains("sysbench-cpu on the host"), "{}", failure.message);

        let long = output(ExecStatus::Exited(0), &"ü".repeat(RAW_KEPT_CHARS * 2), "");
        let failure = ToolFailure::unread(Test::SysbenchCpu, Side::Host, &long, &error);
        assert_eq!(failure.raw.unwrap().chars().count(), RAW_KEPT_CHARS);
    }
}
