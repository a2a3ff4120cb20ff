//! Checks of the way into a guest.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Check, Failure, Finding, Test, ensure};
use crate::{Command, ExecStatus, GuestLink, Machine};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "facts_come_from_the_guest", needs: &[], test: Test::Running(facts) },
    Check { name: "streams_and_status_are_apart", needs: &[], test: Test::Running(streams_and_status) },
    Check { name: "a_missing_command_is_a_result", needs: &[], test: Test::Running(missing_command) },
    Check { name: "input_and_environment_arrive", needs: &[], test: Test::Running(input_and_environment) },
    Check { name: "a_time_limit_ends_the_group", needs: &[], test: Test::Running(time_limit) },
    Check { name: "a_command_can_be_killed", needs: &[], test: Test::Running(kill) },
    Check { name: "large_output_is_counted", needs: &[], test: Test::Running(large_output) },
    Check { name: "commands_run_at_once", needs: &[], test: Test::Running(at_once) },
    Check { name: "files_come_back_as_they_went", needs: &[], test: Test::Running(files) },
    Check { name: "a_missing_file_is_refused", needs: &[], test: Test::Running(missing_file) },
    Check { name: "the_clock_goes_forward", needs: &[], test: Test::Running(clock) },
];

const LARGE_BYTES: u64 = 24 << 20;
/// Prints the command lines of the sleepers that the time limit should have ended.
const LIST_SLEEPERS: &str =
    r"for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline; echo; done 2>/dev/null | grep '^sleep 4321'";

fn facts(machine: &mut dyn Machine) -> Finding {
    let facts = machine.guest()?.facts()?;
    ensure!(!facts.kernel.is_empty() && !facts.agent_version.is_empty(), "{facts:?}");
    ensure!(facts.ready_ns >= facts.init_started_ns, "ready before it started: {facts:?}");
    Ok(())
}

fn streams_and_status(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let output = guest.exec(&Command::shell("echo out; echo err >&2; exit 7"))?;
    ensure!(output.stdout == b"out\n" && output.stderr == b"err\n", "{output:?}");
    ensure!(output.status == ExecStatus::Exited(7), "{:?}", output.status);
    let output = guest.exec(&Command::shell("kill -9 $$"))?;
    ensure!(output.status == ExecStatus::Signaled(9), "{:?}", output.status);
    let output = guest.exec(&Command::argv(["echo", "a b", "*"]))?;
    ensure!(output.stdout == b"a b *\n", "{output:?}");
    Ok(())
}

fn missing_command(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    for command in [Command::argv(["virtmark-no-such-command"]), Command::shell("virtmark-no-such-command")] {
        let output = guest.exec(&command)?;
        ensure!(output.status == ExecStatus::Exited(127), "{:?}", output.status);
        ensure!(!output.stderr.is_empty(), "nothing on standard error");
    }
    Ok(())
}

fn input_and_environment(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let mut command = Command::shell("pwd; echo $WORD; wc -c");
    command.env.insert("WORD".into(), "two words".into());
    command.cwd = Some("/tmp".into());
    command.stdin = vec![b'x'; 300_000];
    let output = guest.exec(&command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.lines().map(str::trim).collect();
    ensure!(words == ["/tmp", "two words", "300000"], "{output:?}");
    Ok(())
}

fn time_limit(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let mut command = Command::shell("trap '' TERM; (sleep 4321) & sleep 4321");
    command.timeout = Some(Duration::from_millis(500));
    let output = guest.exec(&command)?;
    ensure!(output.status == ExecStatus::TimedOut, "{:?}", output.status);
    let left = guest.exec(&Command::shell(LIST_SLEEPERS))?;
    ensure!(left.stdout.is_empty(), "left: {}", String::from_utf8_lossy(&left.stdout));
    Ok(())
}

fn kill(machine: &mut dyn Machine) -> Finding {
    let mut handle = machine.guest()?.spawn(&Command::shell("echo up; exec sleep 4321"))?;
    let first = handle.next_output()?.map(|chunk| chunk.data);
    ensure!(first.as_deref() == Some(b"up\n"), "its first output is {first:?}");
    handle.kill()?;
    let (status, _) = handle.wait()?;
    ensure!(status == ExecStatus::Signaled(9), "{status:?}");
    Ok(())
}

fn large_output(machine: &mut dyn Machine) -> Finding {
    let mut command = Command::shell(format!("head -c {LARGE_BYTES} /dev/zero; echo done >&2"));
    command.output_limit_bytes = 1000;
    let output = machine.guest()?.exec(&command)?;
    ensure!(output.stdout_bytes == LARGE_BYTES, "{} of {LARGE_BYTES} bytes came", output.stdout_bytes);
    ensure!(output.stdout.len() == 1000, "{} bytes were kept", output.stdout.len());
    ensure!(output.stderr == b"done\n" && output.success(), "{:?} {:?}", output.stderr, output.status);
    Ok(())
}

fn at_once(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let workers: Vec<_> = (0..6)
        .map(|number| {
            let guest: Arc<dyn GuestLink> = Arc::clone(&guest);
            thread::spawn(move || guest.exec(&Command::shell(format!("cat; echo {number}; exit {number}"))))
        })
        .collect();
    for (number, worker) in workers.into_iter().enumerate() {
        let output = worker.join().map_err(|_| Failure("a caller panicked".into()))??;
        ensure!(output.stdout == format!("{number}\n").as_bytes(), "{number} answered {:?}", output.stdout);
        ensure!(output.status == ExecStatus::Exited(number as i32), "{number}: {:?}", output.status);
    }
    Ok(())
}

fn files(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    for size in [0, 1, 3_000_001] {
        let content: Vec<u8> = (0..size).map(|index: usize| (index.wrapping_mul(31) >> 3) as u8).collect();
        let path = format!("/tmp/conformance-{size}");
        guest.put(&mut &content[..], content.len() as u64, &path, 0o750)?;
        let mut back = Vec::new();
        let mode = guest.get(&path, &mut back)?;
        ensure!(back == content, "{size} bytes came back as {} other bytes", back.len());
        ensure!(mode & 0o777 == 0o750, "the mode came back as {mode:o}");
        guest.exec(&Command::argv(["rm", &path]))?;
    }
    Ok(())
}

fn missing_file(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let error = match guest.get("/no/such/file", &mut Vec::new()) {
        Ok(_) => return Err(Failure("a file that is not there was read".into())),
        Err(error) => error.to_string(),
    };
    ensure!(error.contains("/no/such/file"), "the error does not name the file: {error}");
    ensure!(
        guest.put(&mut &b"x"[..], 1, "/no/such/directory/file", 0o600).is_err(),
        "a file was put nowhere"
    );
    Ok(())
}

fn clock(machine: &mut dyn Machine) -> Finding {
    let guest = machine.guest()?;
    let (first, second) = (guest.clock()?, guest.clock()?);
    ensure!(second.monotonic_ns > first.monotonic_ns, "{first:?} then {second:?}");
    ensure!(second.boottime_ns > first.boottime_ns, "{first:?} then {second:?}");
    Ok(())
}
