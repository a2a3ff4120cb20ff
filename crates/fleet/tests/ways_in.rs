//! Ways into machines over SSH: who is let in, who is not, and who is waited for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lab.rs"]
mod lab;
mod support;

use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{ECHO, Lab, kind, map, message, user};
use support::{Service, Sshd, free_listener, free_port, make_key, payload};
use virtmark_fleet::map::HostMap;
use virtmark_fleet::ssh::{ClientConfig, SshOptions, SshTransport};
use virtmark_fleet::{FailureKind, Need, ResultsDir, Stage, Verdict, run};
use virtmark_hypervisor::Cancel;

#[test]
fn one_that_refuses_the_key_costs_nobody_else() {
    let lab = Lab::new();
    let mut servers = lab.servers(2);
    let other = lab.path().join("other");
    make_key(&other);
    servers.push(Sshd::start(lab.path(), "stranger", &other));
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.need = Need::AtLeast(NonZeroUsize::new(2).unwrap());
    let (runs, results) = lab.run(&map(&servers), &job);
    assert_eq!(Verdict::of(&runs), Verdict::SomeSucceeded);
    assert!(runs[0].succeeded && runs[1].succeeded);
    assert_eq!(kind(&runs[2]), Some(FailureKind::AuthenticationRefused));
    assert!(message(&runs[2]).contains("-A"), "{}", message(&runs[2]));
    let errors = fs::read_to_string(results.errors_file()).unwrap();
    assert!(errors.contains("### stranger\nvirtmark: cannot log in"), "{errors}");
}

#[test]
fn all_must_be_ready_or_nothing_is_run() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.ready_time = Some(Duration::from_secs(10));
    let text = format!("{}127.0.0.1:{} down\n", map(&servers), free_port());
    let (runs, _) = lab.run(&text, &job);
    assert_eq!(Verdict::of(&runs), Verdict::NotReady);
    assert_eq!(kind(&runs[0]), Some(FailureKind::NotRun));
    assert_eq!(kind(&runs[1]), Some(FailureKind::Unreachable));
    assert!(message(&runs[1]).starts_with("not ready within 10s"), "{}", message(&runs[1]));
    assert!(runs[1].stages[0].attempts > 2);
    assert!(!servers[0].far_root().join("payload.sh").exists());
}

#[test]
fn names_that_lead_nowhere_are_told() {
    let lab = Lab::new();
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.ready_time = Some(Duration::from_secs(1));
    let (runs, _) = lab.run("192.0.2.1 nowhere\n", &job);
    assert_eq!(kind(&runs[0]), Some(FailureKind::Unreachable), "{}", message(&runs[0]));
    assert_eq!(Verdict::of(&runs), Verdict::NotReady);
    // Once, for as long as a name server may take.
    job.ready_time = None;
    let (runs, _) = lab.run("no-such-host.invalid lost\n", &job);
    assert_eq!(kind(&runs[0]), Some(FailureKind::NameNotFound), "{}", message(&runs[0]));
}

/// The agent of OpenSSH holds the key; no file of a key is given.
#[test]
fn the_agent_lets_in() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    // The system allows no long path for it.
    let short = tempfile::tempdir_in("/tmp").unwrap();
    let socket = short.path().join("agent");
    let _agent =
        Service::start("ssh-agent", &["-D", "-a", socket.to_str().unwrap()], &lab.path().join("agent.log"));
    let until = Instant::now() + Duration::from_secs(20);
    while !socket.exists() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    let added =
        Command::new("ssh-add").arg("-q").arg(&lab.key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    assert!(added.success());
    let text =
        format!("Host vm-*\n User {}\n UserKnownHostsFile \"{}\"\n", user(), lab.known_hosts().display());
    let transport = SshTransport::new(SshOptions {
        auth: None,
        config: ClientConfig::parse(&text, lab.path()),
        home: lab.path().into(),
        user: None,
        local_user: "nobody-here".into(),
        agent_socket: Some(socket),
        host_keys: None,
        known_hosts: None,
    })
    .unwrap();
    let file = payload(lab.path(), "echo", ECHO, b"");
    let job = lab.job(&file);
    let machines = HostMap::from_bytes(map(&servers).as_bytes(), "map").unwrap();
    let results = ResultsDir::create(&lab.path().join("results"), "x").unwrap();
    let runs = run(&machines, &job, &transport, &results, &(), &Cancel::new());
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
}

/// Something that takes connections and says nothing, as a forwarded port does before its machine has started.
#[test]
fn a_silent_port_is_tried_again_until_there_is_somebody() {
    let lab = Lab::new();
    let listener = free_listener();
    let port = listener.local_addr().unwrap().port();
    let file = payload(lab.path(), "echo", ECHO, b"");
    let job = lab.job(&file);
    let (runs, _server) = thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let silent = listener.accept().unwrap();
            // The port is free as soon as nobody listens; what was taken stays open and silent.
            drop(listener);
            (Sshd::start_on(lab.path(), "vm-0", &lab.key, port, &["ed25519"]), silent)
        });
        let (runs, _) = lab.run(&format!("127.0.0.1:{port} vm-0\n"), &job);
        (runs, starting.join().unwrap())
    });
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
    let ready = runs[0].stage(Stage::Ready).unwrap();
    assert!(ready.attempts > 1 && ready.duration_ns < 12_000_000_000, "{ready:?}");
}

/// A machine that is busy: it greets at once, and is slow in all that follows.
#[test]
fn a_slow_login_is_waited_for() {
    let lab = Lab::new();
    let servers = lab.servers(1);
    let far = servers[0].port;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Longer than a silent machine is given at first.
    thread::spawn(move || {
        for near in listener.incoming().map(Result::unwrap) {
            let far = std::net::TcpStream::connect(("127.0.0.1", far)).unwrap();
            let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass_on(far, near, Duration::ZERO));
            thread::spawn(move || pass_on(from, to, Duration::from_secs(4)));
        }
    });
    let file = payload(lab.path(), "echo", ECHO, b"");
    let (runs, _) = lab.run(&format!("127.0.0.1:{port} vm-0\n"), &lab.job(&file));
    assert!(runs[0].succeeded, "{}", message(&runs[0]));
    let ready = runs[0].stage(Stage::Ready).unwrap();
    assert!(ready.attempts == 1 && ready.duration_ns > 4_000_000_000, "{ready:?}");
}

fn pass_on(mut from: std::net::TcpStream, mut to: std::net::TcpStream, first: Duration) {
    thread::sleep(first);
    // The end of either side is the end.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
