//! Tools that failed: what kind of failure it was, and what goes on record of it.

use std::collections::BTreeMap;

use virtmark_hypervisor::{Error, ExecOutput, ExecStatus};
use virtmark_model::FailureClass;

use super::parse::ParseError;
use super::{Side, Test, Tool};

/// How much of an output is kept with a failure.
const RAW_KEPT_CHARS: usize = 16 << 10;

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

    /// The tool ended by itself with what cannot be read, or says that it failed.
    pub(super) fn unread(test: Test, side: Side, output: &ExecOutput, error: &ParseError) -> Self {
        let text = printed(output);
        let known = known(test.tool(), side, &text);
        known
            .unwrap_or_else(|| match error {
                ParseError::Failed { message, .. } => {
                    let message = format!("{} on the {side} failed: {message}", test.tool());
                    Self {
                        kind: "tool_failed",
                        class: FailureClass::Other,
                        message,
                        raw: None,
                        is_lasting: false,
                    }
                }
                ParseError::Unreadable { .. } => Self {
                    kind: "unparsable",
                    class: FailureClass::Other,
                    message: format!("{test} on the {side}: {error}"),
                    raw: None,
                    is_lasting: false,
                },
            })
            .with_raw(text)
    }

    /// The tool ended in another way than by exiting with 0. `killed_for_memory`: whether it was killed, and by the kernel
    /// because there was no memory.
    pub(super) fn ended(tool: Tool, side: Side, output: &ExecOutput, killed_for_memory: bool) -> Self {
        let text = printed(output);
        if killed_for_memory {
            let remedy = match side {
                Side::Guest => "give it more with --memory",
                Side::Host => "the host's side has as much as the guest: give both more with --memory",
            };
            let message =
                format!("{tool} on the {side} was killed by the kernel, which was out of memory; {remedy}");
            let class = FailureClass::OutOfMemory;
            return Self { kind: "out_of_memory", class, message, raw: None, is_lasting: true }
                .with_raw(text);
        }
        if output.status == ExecStatus::Exited(127) {
            return Self::missing(tool, side).with_raw(text);
        }
        if let Some(known) = known(tool, side, &text) {
            return known.with_raw(text);
        }
        let (class, how) = match output.status {
            ExecStatus::Exited(code) => (FailureClass::Other, format!("exited with {code}")),
            ExecStatus::Signaled(signal) => (FailureClass::Other, format!("was ended by signal {signal}")),
            ExecStatus::TimedOut => (FailureClass::Timeout, "did not end in its time".into()),
        };
        let said =
            text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it printed nothing");
        let said: String = said.chars().take(160).collect();
        let message = format!("{tool} on the {side} {how}: {said}");
        Self { kind: "tool_failed", class, message, raw: None, is_lasting: false }.with_raw(text)
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
    if text.contains("Address already in use") {
        let message =
            format!("the port of {tool}'s server on the {side} is taken; choose another with --port");
        let class = FailureClass::Other;
        return Some(ToolFailure { kind: "port_taken", class, message, raw: None, is_lasting: true });
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
            let failure = ToolFailure::ended(Tool::Fio, Side::Guest, &output(status, "", stderr), killed);
            (failure.kind, failure.class, failure.is_lasting)
        };
        use FailureClass::*;
        assert_eq!(ended(ExecStatus::Signaled(9), "", true), ("out_of_memory", OutOfMemory, true));
        assert_eq!(ended(ExecStatus::Exited(137), "", true), ("out_of_memory", OutOfMemory, true));
        // Somebody killed it, and it was not the kernel.
        assert_eq!(ended(ExecStatus::Signaled(9), "", false), ("tool_failed", Other, false));
        assert_eq!(ended(ExecStatus::Exited(127), "", false), ("tool_missing", Unsupported, true));
        let full = "fio: io_u error on file x: No space left on device";
        assert_eq!(ended(ExecStatus::Exited(1), full, false), ("disk_full", DiskFull, true));
        let taken = "iperf3: error - unable to start listener for connections: Address already in use";
        assert_eq!(ended(ExecStatus::Exited(1), taken, false), ("port_taken", Other, true));
        assert_eq!(ended(ExecStatus::TimedOut, "", false), ("tool_failed", Timeout, false));
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
