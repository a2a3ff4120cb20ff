//! One command in a guest, within what is left of a time limit.

use std::collections::BTreeMap;
use std::time::Duration;

use virtmark_hypervisor::{Command, Error, ExecOutput, ExecStatus, Machine};
use virtmark_model::Stopwatch;

/// How much of the command's output is held; the rest is received, counted and dropped.
const OUTPUT_KEPT_BYTES: usize = 64 << 10;

/// Runs a line in the guest's shell. The limit is for all that `watch` has seen, which `what` names in the message of
/// a limit that passed. No phase is marked.
pub(crate) fn run(
    machine: &dyn Machine,
    line: &str,
    limit: Duration,
    watch: &Stopwatch,
    what: impl Fn() -> String,
) -> Result<ExecOutput, Error> {
    let mut command = Command::shell(line);
    // What came before may have taken the whole limit; the command then gets the least that can be asked for.
    command.timeout = Some(limit.saturating_sub(watch.elapsed()).max(Duration::from_millis(1)));
    command.output_limit_bytes = OUTPUT_KEPT_BYTES;
    let answer = machine.guest()?.exec(&command).map_err(|error| machine.explain(error));
    let too_late = watch.elapsed() > limit;
    match answer {
        // The agent kills the command at its limit; a guest that is gone answers nothing.
        Ok(ExecOutput { status: ExecStatus::TimedOut, .. }) | Err(Error::Timeout { .. }) => {}
        // The command ended in time, and its output did not: something that it started had it open.
        Ok(_) if too_late => {}
        result => return result,
    }
    Err(Error::Timeout {
        machine: machine.name().into(),
        request: what(),
        timeout: limit,
        console: machine.console_tail(),
    })
}

/// The exit status as a shell gives it: 128 and the number for a signal.
pub(crate) fn describe(output: &ExecOutput, labels: &mut BTreeMap<String, String>) {
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
