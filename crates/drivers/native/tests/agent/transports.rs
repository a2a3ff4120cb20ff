//! Lines other than a socket that is passed on, and how the program is called.

use std::net::{TcpListener, TcpStream};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Instant;

use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{Command, GuestLink};

use crate::support::{PATIENCE, eventually, install, is_alive};

#[test]
fn a_service_takes_one_tcp_connection_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let program = install(&directory);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut process = Process::new(program).args(["--tcp", &address.to_string()]).spawn().unwrap();
    let mut left = Vec::new();
    for _ in 0..2 {
        let mut stream = None;
        eventually("it listens", || {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        let link = AgentLink::connect(stream.unwrap(), "tcp", Arc::new(String::new)).unwrap();
        link.wait_ready(Instant::now() + PATIENCE).unwrap();
        let mut running = link.spawn(&Command::shell("echo $$; sleep 100")).unwrap();
        left.push(String::from_utf8(running.next_output().unwrap().unwrap().data).unwrap());
        drop(link);
    }
    eventually("both sessions' commands are dead", || !left.iter().any(|pid| is_alive(pid)));
    assert!(process.try_wait().unwrap().is_none());
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("it ends while it listens", || process.try_wait().unwrap().is_some());
}

#[test]
fn a_call_without_sense_says_how_to_call_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = install(&directory);
    let call = |arguments: &[&str]| {
        let output = Process::new(&program).args(arguments).stdin(Stdio::null()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, _, words) = call(&[]);
    assert!(code == Some(2) && words.starts_with("Usage: virtmark-agent"), "{words}");
    assert_eq!(call(&["--fd", "x"]).0, Some(2));
    let (code, words, _) = call(&["--version"]);
    assert_eq!((code, words), (Some(0), format!("virtmark-agent {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, _, words) = call(&["--fd", "99"]);
    assert!(code == Some(1) && words.contains("--fd 99"), "{words}");
    // The first that the agent itself gets, for whatever it opens.
    let output =
        Process::new("/bin/sh").args(["-c", "exec \"$0\" --fd 3 3>&-"]).arg(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
