//! The check of machines that move.

use std::time::Duration;

use super::{Check, Failure, Finding, Subject, Test, ensure, started};
use crate::{Capability, Command, Error, Machine, MachineState, Migration, MigrationChannel, MigrationMode};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "a_machine_that_moved_is_the_same",
    needs: &[Capability::Migrate],
    test: Test::Alone(the_same),
}];

fn the_same(subject: &Subject<'_>) -> Finding {
    let mut machine = started(subject, "moves")?;
    let link = machine.guest()?;
    // What a command left in the background does not belong to a link.
    run(&*machine, "echo kept > /tmp/kept; (sleep 1000) >/dev/null 2>&1 & echo $! > /tmp/pid")?;
    let name = run(&*machine, "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id")?;
    let migration = Migration {
        mode: MigrationMode::PreCopy,
        channel: MigrationChannel::Unix,
        max_bandwidth_bytes: None,
        downtime_limit_ms: None,
        timeout: Duration::from_secs(60),
    };
    for time in ["once", "twice"] {
        let moved = machine.migrate(&migration)?;
        ensure!(moved.timeline.total_ns() > 0, "it moved {time} in no time");
        ensure!(moved.figures.downtime_ms.is_some(), "nobody says how long it stood still");
        ensure!(machine.state() == MachineState::Running, "after it moved {time} it is {}", machine.state());
        ensure!(matches!(link.clock(), Err(Error::AgentLost { .. })), "an earlier link still answers");
        let found = run(&*machine, "cat /tmp/kept && kill -0 $(cat /tmp/pid) && echo runs")?;
        ensure!(found == "kept\nruns\n", "after it moved {time} its guest has {found:?}");
        let found = run(&*machine, "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id")?;
        ensure!(found == name, "it was {name:?}, and is {found:?} after it moved {time}");
    }
    machine.destroy()?;
    ensure!(machine.migrate(&migration).is_err(), "a machine that is gone was moved");
    Ok(())
}

fn run(machine: &dyn Machine, line: &str) -> Result<String, Failure> {
    let output = machine.guest()?.exec(&Command::shell(line))?;
    ensure!(output.success(), "`{line}` ended with {:?}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
