//! The conformance suite that every driver passes on the real thing.
//!
//! A check says what it needs; on a platform without it the check is skipped with the platform's own reason. A driver's
//! test calls [`run`] and asserts that no verdict is [`Verdict::Failed`].

mod guest;
mod machine;
mod migration;
mod network;
mod snapshot;

use std::fmt;
use std::path::PathBuf;

use virtmark_model::Timeline;

use crate::{Capability, Error, Hypervisor, Machine, MachineSpec, Result};

/// What the suite runs against.
pub struct Subject<'a> {
    /// The platform.
    pub hypervisor: &'a dyn Hypervisor,
    /// A machine that boots here, with `snapshots` set. The suite changes the name only.
    pub spec: MachineSpec,
    /// An existing directory for snapshots.
    pub scratch: PathBuf,
    /// Names everything on the host that belongs to a machine (processes, files); empty when nothing is left.
    pub remains: &'a dyn Fn() -> Vec<String>,
}

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The platform does not do what it should.
    Failed(String),
    /// It did.
    Passed,
    /// It lacks what the check needs, for this reason.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => write!(formatter, "failed: {reason}"),
            Self::Passed => formatter.write_str("passed"),
            Self::Skipped(reason) => write!(formatter, "skipped: {reason}"),
        }
    }
}

/// One thing that every platform does the same way.
struct Check {
    name: &'static str,
    needs: &'static [Capability],
    test: Test,
}

enum Test {
    /// Makes its own machines.
    Alone(fn(&Subject<'_>) -> Finding),
    /// Uses a running machine, and leaves it running and able to serve the next check.
    Running(fn(&mut dyn Machine) -> Finding),
}

/// What a check found: nothing wrong, or what is.
type Finding = Result<(), Failure>;

/// What is wrong.
struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Ends a check with a failure unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(Failure(format!($($words)+)));
        }
    };
}
use ensure;

/// Runs every check and gives each one's name and verdict. `progress` hears each as it ends.
pub fn run(subject: &Subject<'_>, progress: &mut dyn FnMut(&str, &Verdict)) -> Vec<(&'static str, Verdict)> {
    run_some(subject, &|_| true, progress)
}

/// Runs the checks whose names `chosen` takes, and the one for what is left.
pub fn run_some(
    subject: &Subject<'_>,
    chosen: &dyn Fn(&str) -> bool,
    progress: &mut dyn FnMut(&str, &Verdict),
) -> Vec<(&'static str, Verdict)> {
    let checks = machine::CHECKS.iter().chain(network::CHECKS).chain(snapshot::CHECKS);
    let checks = checks.chain(migration::CHECKS).chain(guest::CHECKS);
    let checks: Vec<&Check> = checks.filter(|check| chosen(check.name)).collect();
    let mut shared: Option<Box<dyn Machine>> = None;
    let mut verdicts = Vec::with_capacity(checks.len() + 1);
    for check in checks {
        let verdict = match (missing(subject, check), &check.test) {
            (Some(reason), _) => Verdict::Skipped(reason),
            (None, Test::Alone(test)) => verdict_of(test(subject)),
            (None, Test::Running(test)) => verdict_of(on_shared(subject, &mut shared, *test)),
        };
        progress(check.name, &verdict);
        verdicts.push((check.name, verdict));
    }
    drop(shared);
    let left = (subject.remains)();
    let verdict = if left.is_empty() { Verdict::Passed } else { Verdict::Failed(left.join(", ")) };
    progress("nothing_is_left", &verdict);
    verdicts.push(("nothing_is_left", verdict));
    verdicts
}

fn missing(subject: &Subject<'_>, check: &Check) -> Option<String> {
    let capabilities = subject.hypervisor.capabilities();
    let absent = check.needs.iter().find(|capability| !capabilities.has(**capability))?;
    Some(format!("no {absent}: {}", capabilities.reason_absent(*absent).unwrap_or("no reason given")))
}

fn verdict_of(finding: Finding) -> Verdict {
    match finding {
        Ok(()) => Verdict::Passed,
        Err(Failure(reason)) => Verdict::Failed(reason),
    }
}

/// Runs a check on the shared machine, which is made at first use and again after a failure.
fn on_shared(
    subject: &Subject<'_>,
    shared: &mut Option<Box<dyn Machine>>,
    test: fn(&mut dyn Machine) -> Finding,
) -> Finding {
    let mut machine = match shared.take() {
        Some(machine) => machine,
        None => started(subject, "shared")?,
    };
    test(&mut *machine)?;
    *shared = Some(machine);
    Ok(())
}

/// The subject's machine under another name.
fn spec(subject: &Subject<'_>, name: &str) -> MachineSpec {
    MachineSpec { name: format!("conformance-{name}"), ..subject.spec.clone() }
}

/// A machine that runs.
fn started(subject: &Subject<'_>, name: &str) -> Result<Box<dyn Machine>> {
    let (mut machine, _) = subject.hypervisor.create(&spec(subject, name))?;
    machine.start()?;
    Ok(machine)
}

fn names(timeline: &Timeline) -> Vec<&str> {
    timeline.phases.iter().map(|phase| &*phase.name).collect()
}
