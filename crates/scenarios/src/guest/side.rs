//! One of the two sides that are compared: a machine, and how tools are run in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Cancel, Command, Error, ExecOutput, ExecStatus, GuestLink, Machine};

use super::failure::{ToolFailure, printed};
use super::line::{self, Peer, Place, Target};
use super::parse::ParseError;
use super::{GuestPlan, Test, Tool, figures};

/// How long the questions around the tools may take: nothing of them computes.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(60);

/// Which side something was measured on; the label `side` of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Inside a machine.
    Guest,
    /// On the bare host.
    Host,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Guest, Self::Host];

    /// The name in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A machine that tools run in.
pub(super) struct Bench<'a> {
    pub(super) side: Side,
    pub(super) machine: &'a dyn Machine,
    guest: Arc<dyn GuestLink>,
    /// What tools are there, each with what it says of its version, if it says that.
    versions: BTreeMap<Tool, Option<String>>,
    /// What the kernel had killed for want of memory when it was last asked; absent where it does not count.
    killed_before: Cell<Option<u64>>,
    /// Set when the machine answers nothing any more.
    silence: RefCell<Option<ToolFailure>>,
    /// Where the host keeps the machine's disks, if it has any.
    pub(super) disks: Option<PathBuf>,
    /// Ends whatever is asked of it.
    pub(super) cancel: Cancel,
    pub(super) threads: u32,
    pub(super) target: Option<Target>,
    /// Where network tests find their other end; why not.
    pub(super) peer: Result<Peer, String>,
    /// How the two ends are connected; the label `network`.
    pub(super) network: &'static str,
    /// Why the peer is for TCP alone, where it is.
    pub(super) tcp_only: Option<String>,
    /// Words before the command of a network test.
    pub(super) network_prefix: Vec<String>,
}

impl<'a> Bench<'a> {
    /// Asks which tools there are.
    pub(super) fn new(
        side: Side,
        machine: &'a dyn Machine,
        threads: u32,
        tools: &[Tool],
        cancel: &Cancel,
    ) -> Result<Self, ToolFailure> {
        let guest = machine.guest().map_err(|error| ToolFailure::platform(&error))?;
        let mut bench = Self {
            side,
            machine,
            guest,
            versions: BTreeMap::new(),
            killed_before: Cell::new(None),
            silence: RefCell::new(None),
            disks: None,
            cancel: cancel.clone(),
            threads,
            target: None,
            peer: Err(String::new()),
            network: "none",
            tcp_only: None,
            network_prefix: Vec::new(),
        };
        bench.versions = bench.ask_versions(tools)?;
        bench.killed_before = Cell::new(bench.killed_for_memory());
        Ok(bench)
    }

    /// Whether a tool is there.
    pub(super) fn has(&self, tool: Tool) -> bool {
        self.versions.contains_key(&tool)
    }

    /// What a tool says of its version; none when it is not there, or does not say it.
    pub(super) fn version(&self, tool: Tool) -> Option<&str> {
        self.versions.get(&tool)?.as_deref()
    }

    /// Runs a test and reads what it prints. The time is that of the tool with the way to it and back.
    pub(super) fn run(
        &self,
        test: Test,
        plan: &GuestPlan,
    ) -> (Result<Vec<Option<f64>>, ToolFailure>, Duration) {
        let place = Place {
            threads: self.threads,
            target: self.target.clone(),
            peer: self.peer.as_ref().ok().copied(),
        };
        let Some(words) = line::of(test, plan, &place) else {
            return (Err(ToolFailure::missing(test.tool(), self.side)), Duration::ZERO);
        };
        let prefix = if test.suite() == super::Suite::Network { &self.network_prefix[..] } else { &[] };
        let mut command = Command::argv(prefix.iter().cloned().chain(words));
        command.timeout = Some(line::limit(test, plan));
        let (answer, took) = self.exec(&command);
        let result = answer.and_then(|output| self.read(test, &output));
        (result, took)
    }

    /// Runs a line of shell that is no tool.
    pub(super) fn ask(&self, line: &str, limit: Duration) -> Result<ExecOutput, ToolFailure> {
        let mut command = Command::shell(line);
        command.timeout = Some(limit);
        self.exec(&command).0
    }

    /// What a line of shell prints, which has to succeed.
    pub(super) fn told(&self, line: &str) -> Option<String> {
        let output = self.ask(line, QUESTION_LIMIT).ok().filter(ExecOutput::success)?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub(super) fn exec(&self, command: &Command) -> (Result<ExecOutput, ToolFailure>, Duration) {
        let command = Command { cancel: Some(self.cancel.clone()), ..command.clone() };
        let called = Instant::now();
        let answer = self.guest.exec(&command);
        let took = called.elapsed();
        (answer.map_err(|error| self.failed(error)), took)
    }

    /// Starts what is to go on meanwhile.
    pub(super) fn spawn(
        &self,
        command: &Command,
    ) -> Result<Box<dyn virtmark_hypervisor::ExecHandle>, ToolFailure> {
        self.guest.spawn(command).map_err(|error| self.failed(error))
    }

    /// A tool's failure, from the way it ended and what it says of that to be read.
    pub(super) fn failure_of(&self, tool: Tool, output: &ExecOutput, told: Option<&str>) -> ToolFailure {
        let for_memory = was_killed(output) && {
            let now = self.killed_for_memory();
            let before = self.killed_before.replace(now);
            before.zip(now).is_some_and(|(before, now)| now > before)
        };
        ToolFailure::ended(tool, self.side, output, told, for_memory)
    }

    /// Why the machine answers nothing any more, once it does not.
    pub(super) fn silence(&self) -> Option<ToolFailure> {
        self.silence.borrow().clone()
    }

    /// The failure of the way to the machine.
    fn failed(&self, error: Error) -> ToolFailure {
        let error = self.machine.explain(error);
        if matches!(error, Error::Timeout { .. }) && self.silence.borrow().is_none() {
            // The agent ends what takes too long, and says so: here not even that was heard.
            let full = self.disks.as_deref().filter(|place| is_full(place));
            if full.is_some() || !self.answers() {
                let silence = ToolFailure::silent(&error, full);
                *self.silence.borrow_mut() = Some(silence.clone());
                return silence;
            }
        }
        ToolFailure::platform(&error)
    }

    /// Whether the machine still does what is asked of it.
    fn answers(&self) -> bool {
        let mut nothing = Command::argv(["true"]);
        (nothing.timeout, nothing.cancel) = (Some(QUESTION_LIMIT), Some(self.cancel.clone()));
        // Also a stop by the user is no silence.
        !matches!(self.guest.exec(&nothing), Err(Error::Timeout { .. }))
    }

    fn read(&self, test: Test, output: &ExecOutput) -> Result<Vec<Option<f64>>, ToolFailure> {
        // What a tool says about its failure on standard output is better than its exit code.
        let text = String::from_utf8_lossy(&output.stdout);
        match figures::read(test, &text) {
            Ok(values) if output.success() => Ok(values),
            Err(error @ ParseError::Unreadable { .. }) if output.success() => {
                Err(ToolFailure::unread(test, self.side, output, &error))
            }
            result => Err(self.failure_of(test.tool(), output, ParseError::told(result.err().as_ref()))),
        }
    }

    fn ask_versions(&self, tools: &[Tool]) -> Result<BTreeMap<Tool, Option<String>>, ToolFailure> {
        let questions: String = tools
            .iter()
            .map(|tool| {
                let version = tool.version_command();
                format!(
                    "command -v {tool} >/dev/null && {{ v=$({version} 2>&1) || v=; echo \"{tool} $v\" | head -n 1; }}; "
                )
            })
            .collect();
        let output = self.ask(&format!("{questions}true"), QUESTION_LIMIT)?;
        let said = printed(&output);
        let version = |tool: &Tool| {
            let line = said.lines().find_map(|line| line.strip_prefix(tool.as_str())?.strip_prefix(' '))?;
            Some((*tool, Some(line.trim().to_owned()).filter(|line| !line.is_empty())))
        };
        Ok(tools.iter().filter_map(version).collect())
    }

    /// How many processes the kernel has killed for want of memory since it started.
    fn killed_for_memory(&self) -> Option<u64> {
        let text = self.told("cat /proc/vmstat")?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }
}

/// Whether the tool was ended by the signal that the kernel sends, which a shell in between says with 128 added; or a process
/// of it, which fio says in words or aborts over.
fn was_killed(output: &ExecOutput) -> bool {
    match output.status {
        ExecStatus::Signaled(6 | 9) | ExecStatus::Exited(134 | 137) => true,
        _ => printed(output).contains("got signal=9"),
    }
}

/// Whether there is no space left in a directory of the host, found by writing there.
fn is_full(directory: &Path) -> bool {
    /// More than a disk image grows by at once.
    const PROBE_BYTES: usize = 4 << 20;
    let path = directory.join("virtmark-probe");
    let written = std::fs::write(&path, vec![0; PROBE_BYTES]);
    // It may not have been made at all.
    let _ = std::fs::remove_file(&path);
    written.is_err_and(|error| matches!(error.kind(), ErrorKind::QuotaExceeded | ErrorKind::StorageFull))
}
