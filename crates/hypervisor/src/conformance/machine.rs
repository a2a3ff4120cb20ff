//! Checks of a machine's life.

use std::thread;
use std::time::{Duration, Instant};

use virtmark_model::FailureClass;

use super::{Check, Failure, Finding, Subject, Test, ensure, names, spec, started};
use crate::{Capability, Command, Disk, Error, Machine, MachineSpec, MachineState, StopMode};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "facts_are_stated", needs: &[], test: Test::Alone(facts_are_stated) },
    Check { name: "created_is_not_started", needs: &[], test: Test::Alone(created_is_not_started) },
    Check { name: "phases_are_contiguous", needs: &[], test: Test::Alone(phases_are_contiguous) },
    Check {
        name: "boot_has_a_kernel_phase",
        needs: &[Capability::KernelBoot],
        test: Test::Alone(boot_has_a_kernel_phase),
    },
    Check { name: "a_name_is_one_machine's", needs: &[], test: Test::Alone(a_name_is_one_machines) },
    Check { name: "two_machines_are_apart", needs: &[], test: Test::Alone(two_machines_are_apart) },
    Check {
        name: "graceful_stop_is_the_guest's",
        needs: &[Capability::GracefulStop],
        test: Test::Alone(graceful_stop),
    },
    Check { name: "forced_stop_needs_no_guest", needs: &[], test: Test::Alone(forced_stop) },
    Check {
        name: "what_ended_by_itself_was_not_stopped",
        needs: &[Capability::GracefulStop],
        test: Test::Alone(ended_by_itself),
    },
    Check { name: "dropping_destroys", needs: &[], test: Test::Alone(dropping_destroys) },
    Check {
        name: "memory_beyond_the_host_is_refused",
        needs: &[Capability::KernelBoot],
        test: Test::Alone(memory_beyond_the_host),
    },
    Check {
        name: "disks_hold_what_is_written",
        needs: &[Capability::Disks],
        test: Test::Alone(disks_hold_what_is_written),
    },
    Check {
        name: "paused_machines_continue",
        needs: &[Capability::PauseResume],
        test: Test::Running(paused_machines_continue),
    },
    Check {
        name: "the_console_is_kept",
        needs: &[Capability::Console],
        test: Test::Running(console_is_kept),
    },
    Check {
        name: "usage_grows_with_work",
        needs: &[Capability::ResourceUsage],
        test: Test::Running(usage_grows_with_work),
    },
];

/// How long what a guest wrote on its console may take to be seen.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a guest that powers off may take.
const END_TIMEOUT: Duration = Duration::from_secs(30);
const STOP: StopMode = StopMode::Graceful { deadline: END_TIMEOUT };

fn facts_are_stated(subject: &Subject<'_>) -> Finding {
    let facts = subject.hypervisor.facts();
    ensure!(!facts.name.is_empty() && !facts.version.is_empty(), "name or version is empty: {facts:?}");
    Ok(())
}

fn created_is_not_started(subject: &Subject<'_>) -> Finding {
    let (mut machine, timeline) = subject.hypervisor.create(&spec(subject, "created"))?;
    ensure!(names(&timeline) == ["prepare", "spawn"], "phases of create are {:?}", names(&timeline));
    ensure!(machine.state() == MachineState::Created, "its state is {}", machine.state());
    ensure!(machine.guest().is_err(), "its guest can be reached before the start");
    machine.destroy()?;
    ensure!(machine.state() == MachineState::Destroyed, "destroyed, its state is {}", machine.state());
    machine.destroy()?;
    ensure!(matches!(machine.start(), Err(Error::WrongState { .. })), "a destroyed machine can be started");
    Ok(())
}

fn phases_are_contiguous(subject: &Subject<'_>) -> Finding {
    let (mut machine, mut timeline) = subject.hypervisor.create(&spec(subject, "phases"))?;
    timeline.extend(machine.start()?);
    let mut end_ns = 0;
    for phase in &timeline.phases {
        ensure!(phase.start_ns == end_ns, "{} starts at {} instead of {end_ns}", phase.name, phase.start_ns);
        end_ns += phase.duration_ns;
    }
    let names = names(&timeline);
    ensure!(names.ends_with(&["init", "connect"]), "the last phases are {names:?}");
    ensure!(matches!(machine.start(), Err(Error::WrongState { .. })), "a running machine can be started");
    Ok(())
}

fn boot_has_a_kernel_phase(subject: &Subject<'_>) -> Finding {
    let (mut machine, _) = subject.hypervisor.create(&spec(subject, "kernel"))?;
    let timeline = machine.start()?;
    ensure!(
        timeline.phase_ns("firmware_kernel").is_some_and(|ns| ns > 0),
        "phases are {:?}",
        names(&timeline)
    );
    Ok(())
}

fn a_name_is_one_machines(subject: &Subject<'_>) -> Finding {
    let first = started(subject, "name")?;
    ensure!(subject.hypervisor.create(&spec(subject, "name")).is_err(), "two machines have one name");
    let output = first.guest()?.exec(&Command::shell("echo alive"))?;
    ensure!(
        output.stdout == b"alive\n",
        "after the second was refused the first answered {:?}",
        output.stdout
    );
    Ok(())
}

fn two_machines_are_apart(subject: &Subject<'_>) -> Finding {
    let first = started(subject, "first")?;
    let mut second = started(subject, "second")?;
    second.destroy()?;
    let output = first.guest()?.exec(&Command::shell("echo alive"))?;
    ensure!(
        output.stdout == b"alive\n",
        "the first answered {:?} after the second was destroyed",
        output.stdout
    );
    Ok(())
}

fn graceful_stop(subject: &Subject<'_>) -> Finding {
    let mut machine = started(subject, "graceful")?;
    let timeline = machine.stop(STOP)?;
    ensure!(timeline.phase_ns("force").is_none(), "it had to be forced");
    is_stopped(&*machine)
}

fn forced_stop(subject: &Subject<'_>) -> Finding {
    let mut machine = started(subject, "forced")?;
    machine.stop(StopMode::Forced)?;
    is_stopped(&*machine)
}

fn is_stopped(machine: &dyn Machine) -> Finding {
    ensure!(machine.state() == MachineState::Stopped, "its state is {}", machine.state());
    ensure!(machine.guest().is_err(), "its guest can still be reached");
    Ok(())
}

fn ended_by_itself(subject: &Subject<'_>) -> Finding {
    let mut machine = started(subject, "ended")?;
    machine.guest()?.shutdown()?;
    let deadline = Instant::now() + END_TIMEOUT;
    while machine.state() != MachineState::Stopped {
        ensure!(Instant::now() < deadline, "it powered off, and its state is {}", machine.state());
        thread::sleep(Duration::from_millis(5));
    }
    let class = machine.stop(StopMode::Forced).err().map(|error| error.class());
    ensure!(class == Some(FailureClass::VmmExited), "its stop failed with {class:?}");
    Ok(machine.destroy().map(drop)?)
}

fn dropping_destroys(subject: &Subject<'_>) -> Finding {
    drop(started(subject, "dropped")?);
    let remains: Vec<String> =
        (subject.remains)().into_iter().filter(|name| name.contains("conformance-dropped")).collect();
    ensure!(remains.is_empty(), "left: {remains:?}");
    Ok(())
}

fn memory_beyond_the_host(subject: &Subject<'_>) -> Finding {
    let spec = MachineSpec { memory_bytes: 1 << 50, ..spec(subject, "huge") };
    let error = match subject.hypervisor.create(&spec) {
        Ok(_) => return Err(Failure("a machine with 1 PiB was created".into())),
        Err(error) => error,
    };
    ensure!(error.class() == FailureClass::OutOfMemory, "it failed with {}: {error}", error.class());
    Ok(())
}

fn disks_hold_what_is_written(subject: &Subject<'_>) -> Finding {
    let disks = vec![
        Disk { name: "first".into(), size_bytes: 8 << 20 },
        Disk { name: "second".into(), size_bytes: 16 << 20 },
    ];
    let (mut machine, _) = subject.hypervisor.create(&MachineSpec { disks, ..spec(subject, "disks") })?;
    machine.start()?;
    let script = "for disk in /sys/block/*; do [ \"$(cat $disk/serial 2>/dev/null)\" = second ] && d=${disk##*/}; done; \
                  cat /sys/block/$d/size; echo written | dd of=/dev/$d bs=1M seek=15 conv=sync,fsync 2>/dev/null; \
                  echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/$d bs=1M skip=15 2>/dev/null | head -n 1";
    let output = machine.guest()?.exec(&Command::shell(script))?;
    ensure!(
        output.stdout == b"32768\nwritten\n",
        "a disk of 32768 sectors said {:?}, {:?}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn paused_machines_continue(machine: &mut dyn Machine) -> Finding {
    machine.pause()?;
    ensure!(machine.state() == MachineState::Paused, "paused, its state is {}", machine.state());
    ensure!(machine.guest().is_err(), "a paused guest can be asked");
    machine.resume()?;
    let output = machine.guest()?.exec(&Command::shell("echo on"))?;
    ensure!(output.stdout == b"on\n", "resumed, it answered {:?}", output.stdout);
    Ok(())
}

fn console_is_kept(machine: &mut dyn Machine) -> Finding {
    machine.guest()?.exec(&Command::shell("echo word-of-the-guest > /dev/console"))?;
    let deadline = Instant::now() + CONSOLE_TIMEOUT;
    while !machine.console_tail().lines().any(|line| line == "word-of-the-guest") {
        ensure!(Instant::now() < deadline, "its console ends with {:?}", machine.console_tail());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn usage_grows_with_work(machine: &mut dyn Machine) -> Finding {
    let before = machine.usage()?;
    machine.guest()?.exec(&Command::shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))?;
    let after = machine.usage()?;
    ensure!(after.cpu_ns > before.cpu_ns, "CPU time went from {:?} to {:?}", before.cpu_ns, after.cpu_ns);
    ensure!(after.rss_bytes.is_some_and(|bytes| bytes > 0), "its resident set is {:?}", after.rss_bytes);
    Ok(())
}
