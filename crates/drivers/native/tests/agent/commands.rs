//! Commands: output, status, input, environment, limits.

use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Command, Error, ExecStatus, GuestLink, OutputStream};

use crate::support::{Agent, PATIENCE, eventually, is_alive};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn streams_come_apart_and_the_status_with_them() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let output = link.exec(&Command::shell("echo out; echo err >&2; exit 3")).unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("out\n", "err\n"));
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (4, 4));
    assert_eq!(output.status, ExecStatus::Exited(3));
    assert!(output.resource_use.max_rss_bytes > 0);
    assert!(!output.success());
}

#[test]
fn arguments_are_not_read_by_a_shell() {
    let agent = Agent::start();
    let output = agent.ready_link().exec(&Command::argv(["printf", "%s|", "a b", "$HOME", ""])).unwrap();
    assert_eq!(text(&output.stdout), "a b|$HOME||");
}

#[test]
fn signals_are_told_from_exits() {
    let agent = Agent::start();
    let output = agent.ready_link().exec(&Command::shell("kill -9 $$")).unwrap();
    assert_eq!(output.status, ExecStatus::Signaled(9));
}

#[test]
fn what_cannot_run_is_a_result_as_in_a_shell() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let missing = link.exec(&Command::argv(["no-such-program"])).unwrap();
    assert_eq!(missing.status, ExecStatus::Exited(127));
    assert_eq!(text(&missing.stderr), "no-such-program: not found\n");
    let missing_path = link.exec(&Command::argv(["/no/such/program"])).unwrap();
    assert_eq!(missing_path.status, ExecStatus::Exited(127));
    let not_executable = link.exec(&Command::argv(["/etc/passwd"])).unwrap();
    assert_eq!(not_executable.status, ExecStatus::Exited(126));
    assert_eq!(text(&not_executable.stderr), "/etc/passwd: permission denied\n");
    let by_shell = link.exec(&Command::shell("no-such-program")).unwrap();
    assert_eq!(by_shell.status, ExecStatus::Exited(127));
}

#[test]
fn nothing_to_run_and_a_missing_directory_are_refused() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let nothing = link.exec(&Command::argv::<&str>([])).unwrap_err();
    assert!(matches!(nothing, Error::AgentRefused { .. }), "{nothing}");
    let nowhere = link.exec(&Command { cwd: Some("/no/such".into()), ..Command::shell("pwd") }).unwrap_err();
    assert!(
        matches!(&nowhere, Error::AgentRefused { reason, .. } if reason.contains("/no/such")),
        "{nowhere}"
    );
}

#[test]
fn environment_and_directory_are_as_asked() {
    let agent = Agent::start();
    let mut command = Command::shell("pwd; echo $GREETING; echo ${HOME:+home}; env | wc -l");
    command.cwd = Some("/usr".into());
    command.env.insert("GREETING".into(), "hello".into());
    let output = agent.ready_link().exec(&command).unwrap();
    // PATH, HOME, GREETING, and PWD, which the shell adds; some shells add one more.
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines[..3], ["/usr", "hello", "home"]);
    assert!(lines[3].trim().parse::<u32>().unwrap() <= 6, "{lines:?}");
}

#[test]
fn the_environment_decides_where_programs_are_found() {
    let agent = Agent::start();
    let mut command = Command::argv(["true"]);
    command.env.insert("PATH".into(), "/nowhere".into());
    assert_eq!(agent.ready_link().exec(&command).unwrap().status, ExecStatus::Exited(127));
}

#[test]
fn standard_input_of_any_size_arrives_whole() {
    let agent = Agent::start();
    let link = agent.ready_link();
    for size in [0, 1, 32 * 1024 - 64, 32 * 1024, 70_000, 3_000_000] {
        let stdin: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let output = link.exec(&Command { stdin: stdin.clone(), ..Command::argv(["cat"]) }).unwrap();
        assert!(output.stdout == stdin, "{size} bytes: {} came back", output.stdout.len());
    }
}

#[test]
fn a_command_may_leave_its_input_unread() {
    let agent = Agent::start();
    let command = Command { stdin: vec![7; 2_000_000], ..Command::shell("head -c 1 | wc -c") };
    assert_eq!(text(&agent.ready_link().exec(&command).unwrap().stdout).trim(), "1");
}

#[test]
fn the_time_limit_kills_the_whole_group() {
    let agent = Agent::start();
    let command = Command {
        timeout: Some(Duration::from_millis(300)),
        ..Command::shell(
            "trap '' TERM; (trap '' TERM HUP; echo $$; sh -c 'echo $PPID; exec sleep 100') & sleep 100",
        )
    };
    let output = agent.ready_link().exec(&command).unwrap();
    assert_eq!(output.status, ExecStatus::TimedOut);
    let pids: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(pids.len(), 2);
    for pid in pids {
        eventually("the group is dead", || !is_alive(pid));
    }
}

#[test]
fn the_time_limit_holds_when_a_process_left_the_group() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let command = Command {
        timeout: Some(Duration::from_millis(300)),
        ..Command::shell("setsid sleep 100 & echo $!; wait")
    };
    let output = link.exec(&command).unwrap();
    assert_eq!(output.status, ExecStatus::TimedOut);
    // It left, but not for good: it is the agent's all the same.
    let pid = text(&output.stdout).to_owned();
    drop(link);
    drop(agent.line.shutdown(std::net::Shutdown::Both));
    eventually("it died with the agent", || !is_alive(&pid));
}

#[test]
fn a_hundred_megabytes_pass_in_little_memory() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let command =
        Command { output_limit_bytes: 1000, ..Command::shell("head -c 100000000 /dev/zero; echo done >&2") };
    let output = link.exec(&command).unwrap();
    assert_eq!((output.stdout_bytes, output.stdout.len()), (100_000_000, 1000));
    assert_eq!(text(&output.stderr), "done\n");
    assert!(agent.peak_rss_bytes() < 20_000_000, "{} bytes", agent.peak_rss_bytes());
}

#[test]
fn a_consumer_that_waits_holds_up_its_own_command_alone() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let mut idle = link.spawn(&Command::shell("cat /dev/zero")).unwrap();
    let first = idle.next_output().unwrap().unwrap();
    assert_eq!(first.stream, OutputStream::Stdout);
    // More than all socket buffers hold between here and there.
    for _ in 0..3 {
        let command = Command { output_limit_bytes: 0, ..Command::shell("head -c 4000000 /dev/zero") };
        assert_eq!(link.exec(&command).unwrap().stdout_bytes, 4_000_000);
    }
    assert!(agent.peak_rss_bytes() < 20_000_000);
    idle.kill().unwrap();
    assert_eq!(idle.wait().unwrap().0, ExecStatus::Signaled(9));
}

#[test]
fn eight_commands_run_at_once() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let fifo = agent.path("fifo");
    let fifo = fifo.display();
    link.exec(&Command::shell(format!("mkfifo {fifo}"))).unwrap();
    // Seven readers wait for the one writer that is started last.
    let readers: Vec<_> = (0..7)
        .map(|_| link.spawn(&Command::shell(format!("read line <{fifo}; echo end"))).unwrap())
        .collect();
    let writer = link.exec(&Command::shell(format!("sleep 0.1; yes | head -7 >{fifo}"))).unwrap();
    assert!(writer.success());
    for mut reader in readers {
        assert_eq!(reader.next_output().unwrap().unwrap().data, b"end\n");
        assert_eq!(reader.wait().unwrap().0, ExecStatus::Exited(0));
    }
}

#[test]
fn the_end_does_not_wait_for_a_child_that_holds_the_streams() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let mut handle = link.spawn(&Command::shell("sleep 100 & echo $!")).unwrap();
    let pid = String::from_utf8(handle.next_output().unwrap().unwrap().data).unwrap();
    assert_eq!(handle.wait().unwrap().0, ExecStatus::Exited(0));
    drop(handle);
    link.clock().unwrap();
    assert!(is_alive(&pid));
}

#[test]
fn a_handle_that_is_dropped_kills_its_command() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let mut handle = link.spawn(&Command::shell("echo $$; sleep 100")).unwrap();
    let pid = String::from_utf8(handle.next_output().unwrap().unwrap().data).unwrap();
    assert!(is_alive(&pid));
    drop(handle);
    eventually("it is dead", || !is_alive(&pid));
}

#[test]
fn a_command_that_is_given_up_is_killed_however_silent_it_is() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let cancel = Cancel::new();
    let command = Command { cancel: Some(cancel.clone()), ..Command::shell("echo $$; sleep 100") };
    let mut handle = link.spawn(&command).unwrap();
    let pid = String::from_utf8(handle.next_output().unwrap().unwrap().data).unwrap();
    let waiting = std::thread::spawn(move || handle.next_output());
    assert!(is_alive(&pid));
    cancel.cancel();
    let error = waiting.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    eventually("it is dead", || !is_alive(&pid));
    assert_eq!(text(&link.exec(&Command::shell("echo on")).unwrap().stdout), "on\n");
}

#[test]
fn output_arrives_while_the_command_runs() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let mut handle =
        link.spawn(&Command { stdin: Vec::new(), ..Command::shell("echo first; sleep 100") }).unwrap();
    let started = Instant::now();
    assert_eq!(handle.next_output().unwrap().unwrap().data, b"first\n");
    assert!(started.elapsed() < PATIENCE);
    handle.kill().unwrap();
    assert!(handle.next_output().unwrap().is_none());
    assert_eq!(handle.wait().unwrap().0, ExecStatus::Signaled(9));
}

#[test]
fn orphans_are_waited_for() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let output = link.exec(&Command::shell("setsid sleep 0.05 >/dev/null 2>&1 & echo $!")).unwrap();
    let pid = text(&output.stdout).trim().to_owned();
    // Not even a zombie is left.
    eventually("it is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}
