//! Keys by which machines are known: real servers with keys of several kinds, judged as OpenSSH's client judges them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/lab.rs"]
mod lab;
mod support;

use std::fs;
use std::process::Command;
use std::time::Duration;

use lab::{ECHO, Lab, kind, message, user};
use support::{Sshd, payload};
use virtmark_fleet::FailureKind;
use virtmark_fleet::auth::HostKeyPolicy;

#[test]
fn a_changed_host_key_is_refused_and_a_stranger_by_strict() {
    let mut lab = Lab::new();
    let file = payload(lab.path(), "echo", ECHO, b"");
    let job = lab.job(&file);
    let mut server = Sshd::start(lab.path(), "vm-0", &lab.key);
    lab.policy = HostKeyPolicy::Strict;
    let (runs, _) = lab.run(&server.line(), &job);
    assert_eq!(kind(&runs[0]), Some(FailureKind::HostKeyUnknown), "{}", message(&runs[0]));
    assert!(!lab.known_hosts().exists());

    lab.policy = HostKeyPolicy::AcceptNew;
    assert!(lab.run(&server.line(), &job).0[0].succeeded);
    let on_file = fs::read_to_string(lab.known_hosts()).unwrap();
    assert!(on_file.contains(&format!("[127.0.0.1]:{} ssh-ed25519 ", server.port)), "{on_file}");
    lab.policy = HostKeyPolicy::Strict;
    assert!(lab.run(&server.line(), &job).0[0].succeeded);

    // The same address, another machine.
    server.kill();
    let impostor = Sshd::start_on(lab.path(), "vm-0", &lab.key, server.port, &["ed25519"]);
    for policy in [HostKeyPolicy::AcceptNew, HostKeyPolicy::Strict] {
        lab.policy = policy;
        let (runs, _) = lab.run(&impostor.line(), &job);
        assert_eq!(kind(&runs[0]), Some(FailureKind::HostKeyChanged), "{}", message(&runs[0]));
        assert!(message(&runs[0]).contains("ssh-keygen -R"), "{}", message(&runs[0]));
    }
    assert_eq!(fs::read_to_string(lab.known_hosts()).unwrap(), on_file);
}

/// A line that forbids a key is stronger than one that has it on file.
#[test]
fn a_revoked_host_key_is_refused_though_it_is_on_file() {
    let mut lab = Lab::new();
    let file = payload(lab.path(), "echo", ECHO, b"");
    let job = lab.job(&file);
    let server = Sshd::start(lab.path(), "vm-0", &lab.key);
    assert!(lab.run(&server.line(), &job).0[0].succeeded);
    let on_file = fs::read_to_string(lab.known_hosts()).unwrap();
    let key = on_file.split_ascii_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    fs::write(lab.known_hosts(), format!("{on_file}@revoked * {key}\n")).unwrap();
    for policy in [HostKeyPolicy::AcceptNew, HostKeyPolicy::Strict] {
        lab.policy = policy;
        let (runs, _) = lab.run(&server.line(), &job);
        assert_eq!(kind(&runs[0]), Some(FailureKind::HostKeyChanged), "{}", message(&runs[0]));
        assert!(message(&runs[0]).contains("was revoked"), "{}", message(&runs[0]));
    }
    lab.policy = HostKeyPolicy::Ignore;
    assert!(lab.run(&server.line(), &job).0[0].succeeded);
}

#[test]
fn the_kind_on_file_is_asked_for_where_the_machine_has_several() {
    let mut lab = Lab::new();
    let server = Sshd::start_with(lab.path(), "vm-0", &lab.key, &["ed25519", "ecdsa"]);
    lab.policy = HostKeyPolicy::Strict;
    fs::write(lab.known_hosts(), server.known_as("ecdsa")).unwrap();
    assert!(openssh_enters(&lab, &server, "yes"));
    assert_eq!(entered(&lab, &server), Ok(()));
    assert_eq!(fs::read_to_string(lab.known_hosts()).unwrap(), server.known_as("ecdsa"));
}

#[test]
fn a_key_of_another_kind_than_on_file_is_new_and_not_changed() {
    let mut lab = Lab::new();
    let elsewhere = Sshd::start_with(lab.path(), "other", &lab.key, &["ecdsa"]);
    let server = Sshd::start(lab.path(), "vm-0", &lab.key);
    let on_file = elsewhere.known_as("ecdsa").replace(&elsewhere.port.to_string(), &server.port.to_string());
    fs::write(lab.known_hosts(), &on_file).unwrap();
    lab.policy = HostKeyPolicy::Strict;
    assert!(!openssh_enters(&lab, &server, "yes"));
    let (failure, told) = entered(&lab, &server).unwrap_err();
    assert_eq!(failure, FailureKind::HostKeyUnknown, "{told}");
    let place = format!("[127.0.0.1]:{}", server.port);
    assert!(told.contains(&format!("no ssh-ed25519 host key of {place} is on file")), "{told}");
    assert!(told.contains("known_hosts:1 has an ecdsa-sha2-nistp256 key"), "{told}");
    assert_eq!(fs::read_to_string(lab.known_hosts()).unwrap(), on_file);

    // As OpenSSH does: who accepts strangers accepts a new kind of key, beside the one on file.
    lab.policy = HostKeyPolicy::AcceptNew;
    assert_eq!(entered(&lab, &server), Ok(()));
    let both = fs::read_to_string(lab.known_hosts()).unwrap();
    assert!(both.starts_with(&on_file) && both.contains(&format!("{place} ssh-ed25519 ")), "{both}");
    assert!(openssh_enters(&lab, &server, "yes"));
    lab.policy = HostKeyPolicy::Strict;
    assert_eq!(entered(&lab, &server), Ok(()));
}

/// RSA signatures are not checked here, but a line with such a key is no reason to speak of a change.
#[test]
fn a_machine_known_by_an_rsa_key_is_entered_by_its_other_one() {
    let mut lab = Lab::new();
    let server = Sshd::start_with(lab.path(), "vm-0", &lab.key, &["rsa", "ed25519"]);
    fs::write(lab.known_hosts(), server.known_as("rsa")).unwrap();
    lab.policy = HostKeyPolicy::Strict;
    let (failure, told) = entered(&lab, &server).unwrap_err();
    assert_eq!(failure, FailureKind::HostKeyUnknown, "{told}");
    assert!(
        told.contains("no ssh-ed25519 host key") && told.contains("known_hosts:1 has an ssh-rsa key"),
        "{told}"
    );
    lab.policy = HostKeyPolicy::AcceptNew;
    assert_eq!(entered(&lab, &server), Ok(()));
    // Beside a key of the same kind, another one is a change.
    let port = server.port;
    drop(server);
    let impostor = Sshd::start_on(lab.path(), "vm-0", &lab.key, port, &["rsa", "ed25519"]);
    let (failure, told) = entered(&lab, &impostor).unwrap_err();
    assert_eq!(failure, FailureKind::HostKeyChanged, "{told}");
    assert!(told.contains("known_hosts:2 has another"), "{told}");
    assert!(!openssh_enters(&lab, &impostor, "accept-new"));
}

#[test]
fn a_machine_that_has_an_rsa_key_alone_is_told_what_is_missing() {
    let lab = Lab::new();
    let server = Sshd::start_with(lab.path(), "vm-0", &lab.key, &["rsa"]);
    let (failure, told) = entered(&lab, &server).unwrap_err();
    assert_eq!(failure, FailureKind::HostKeyUnknown, "{told}");
    assert!(told.contains("no Ed25519 or ECDSA host key") && told.contains("ssh-keygen -A"), "{told}");
}

/// Whether a payload ran on the machine, or why not.
fn entered(lab: &Lab, server: &Sshd) -> Result<(), (FailureKind, String)> {
    let file = payload(lab.path(), "echo", ECHO, b"");
    let mut job = lab.job(&file);
    job.ready_time = Some(Duration::from_secs(20));
    let (runs, _) = lab.run(&server.line(), &job);
    match kind(&runs[0]) {
        None => Ok(()),
        Some(failure) => Err((failure, message(&runs[0]).to_owned())),
    }
}

/// Whether OpenSSH's own client enters the machine with the same file of host keys, of which it gets a copy.
fn openssh_enters(lab: &Lab, server: &Sshd, strictness: &str) -> bool {
    let copy = lab.path().join("known_hosts_of_openssh");
    fs::copy(lab.known_hosts(), &copy).unwrap();
    let output = Command::new("ssh")
        .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=/dev/null"])
        .args(["-o", "IdentitiesOnly=yes", "-o", &format!("StrictHostKeyChecking={strictness}")])
        .args(["-o", &format!("UserKnownHostsFile=\"{}\"", copy.display()), "-p", &server.port.to_string()])
        .arg("-i")
        .arg(&lab.key)
        .arg(format!("{}@127.0.0.1", user()))
        .arg("true")
        .output()
        .unwrap();
    output.status.success()
}
