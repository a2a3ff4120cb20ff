//! One machine, from the request to create it until its first command's output is in hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Command, Error, ExecOutput, ExecStatus, GuestLink, Machine, MachineSpec};
use virtmark_model::Stopwatch;

use super::Bench;
use crate::trial::{Trial, append};

/// How much of the command's output is held; the rest is received, counted and dropped.
const OUTPUT_KEPT_BYTES: usize = 64 << 10;

/// What an iteration leaves behind.
pub(super) struct Iteration {
    /// The measurement; none when the user stopped it in the middle.
    pub(super) trial: Option<Trial>,
    /// The machine, as far as one was made; whoever takes it destroys it.
    pub(super) machine: Option<Box<dyn Machine>>,
}

/// Why an iteration did not reach its end.
enum Halt {
    Failed { step: &'static str, error: Error },
    Interrupted,
}

impl Bench<'_> {
    pub(super) fn iterate(&self, spec: &MachineSpec, mut labels: BTreeMap<String, String>) -> Iteration {
        labels.insert("machine".into(), spec.name.clone());
        let mut watch = Stopwatch::start();
        let mut machine = None;
        let result = self.steps(spec, &mut watch, &mut machine);
        let trial = match result {
            Ok(output) => {
                describe(&output, &mut labels);
                Some(Trial::success(watch, labels))
            }
            // Stopping a run ends its VMMs, and what comes of that is no failure of theirs.
            Err(Halt::Failed { .. }) if self.interrupt.is_requested() => None,
            Err(Halt::Failed { step, error }) => Some(Trial::failure(watch, labels, step, &error)),
            Err(Halt::Interrupted) => None,
        };
        Iteration { trial, machine }
    }

    /// The machine is handed out as soon as it exists, so that it can be destroyed whatever happens then.
    fn steps(
        &self,
        spec: &MachineSpec,
        watch: &mut Stopwatch,
        kept: &mut Option<Box<dyn Machine>>,
    ) -> Result<ExecOutput, Halt> {
        let failed = |step| move |error| Halt::Failed { step, error };

        self.go_on()?;
        let called = Instant::now();
        let (machine, timeline) = self.hypervisor.create(spec).map_err(failed("create"))?;
        append(watch, timeline, called);
        let machine = kept.insert(machine);
        if let Some(observer) = self.observer {
            observer.created(machine.as_ref());
        }

        self.go_on()?;
        let called = Instant::now();
        let timeline = machine.start().map_err(failed("start"))?;
        append(watch, timeline, called);
        if let Some(observer) = self.observer {
            observer.running(machine.as_ref());
        }

        self.go_on()?;
        let limit = self.tti.plan.timeout;
        let left = limit.saturating_sub(watch.elapsed());
        let guest = machine.guest().map_err(failed("exec"))?;
        let answer = exec(&guest, &self.tti.plan.command, left).map_err(|error| machine.explain(error));
        let too_late = watch.elapsed() > limit;
        let output = match answer {
            // The agent kills the command at its limit; a guest that is gone answers nothing.
            Ok(ExecOutput { status: ExecStatus::TimedOut, .. }) | Err(Error::Timeout { .. }) => None,
            // The command ended in time, and its output did not: something that it started had it open.
            Ok(_) if too_late => None,
            result => Some(result.map_err(failed("exec"))?),
        };
        let Some(output) = output else {
            return Err(failed("exec")(Error::Timeout {
                machine: machine.name().into(),
                request: format!("creating, starting and running {:?}", self.tti.plan.command),
                timeout: limit,
                console: machine.console_tail(),
            }));
        };
        watch.mark("exec");
        Ok(output)
    }

    fn go_on(&self) -> Result<(), Halt> {
        if self.interrupt.is_requested() { Err(Halt::Interrupted) } else { Ok(()) }
    }
}

fn exec(guest: &Arc<dyn GuestLink>, line: &str, timeout: Duration) -> Result<ExecOutput, Error> {
    let mut command = Command::shell(line);
    // The start alone may have taken the whole limit; the command then gets the least that can be asked for.
    command.timeout = Some(timeout.max(Duration::from_millis(1)));
    command.output_limit_bytes = OUTPUT_KEPT_BYTES;
    guest.exec(&command)
}

/// The exit status as a shell gives it: 128 and the number for a signal.
fn describe(output: &ExecOutput, labels: &mut BTreeMap<String, String>) {
    let code = match output.status {
        ExecStatus::Exited(code) => code,
        ExecStatus::Signaled(signal) => 128 + signal,
        // Told as a failure before this.
        ExecStatus::TimedOut => return,
    };
    labels.insert("exit_code".into(), code.to_string());
    labels.insert("stdout_bytes".into(), output.stdout_bytes.to_string());
    labels.insert("stderr_bytes".into(), output.stderr_bytes.to_string());
}
