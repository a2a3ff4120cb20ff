//! What a child that is locked down can still do.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::run_dir;
use virtmark_host::process::{FIRST_USER, GROUP, Lockdown, OwnUser, Spawn, Stream, Tcp, WriteRules};

/// What a shell writes that is locked down, on both streams.
fn output(place: &Path, lockdown: Lockdown, script: &str) -> String {
    let run_dir = run_dir(place);
    let file = place.join("output");
    let mut spawn = Spawn::new("shell", "/bin/sh");
    spawn.args(["-c", script]).lock_down(lockdown);
    spawn.stdout(Stream::File(file.clone())).stderr(Stream::File(file.clone()));
    spawn.start(&run_dir).unwrap().wait();
    fs::read_to_string(file).unwrap()
}

#[test]
fn capabilities_and_new_privileges_are_given_up_in_any_case() {
    let place = tempfile::tempdir().unwrap();
    let status = output(place.path(), Lockdown::default(), "cat /proc/self/status");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    // Root, too, has none: without new privileges it does not get them back by executing a program.
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
}

#[test]
fn a_user_of_its_own_has_one_group_and_no_capabilities() {
    if let Err(reason) = OwnUser::check() {
        return eprintln!("skipped: {reason}");
    }
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let script = format!("echo $$; cat /proc/$$/status; cat {}; kill -0 $PPID", secret.display());
    for group in [None, Some(12345)] {
        let place = tempfile::tempdir().unwrap();
        let lockdown = Lockdown { user: Some(OwnUser { group }), writes: None };
        let text = output(place.path(), lockdown, &script);
        let user = FIRST_USER + text.lines().next().unwrap().parse::<u32>().unwrap();
        assert!(text.contains(&format!("\nUid:\t{user}\t{user}\t{user}\t{user}\n")), "{text}");
        assert!(text.contains(&format!("\nGid:\t{GROUP}\t{GROUP}\t{GROUP}\t{GROUP}\n")), "{text}");
        let groups = group.map(|group: u32| group.to_string()).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        assert_eq!(line.trim(), groups);
        for set in ["Inh", "Prm", "Eff", "Amb"] {
            assert!(text.contains(&format!("\nCap{set}:\t0000000000000000\n")), "{text}");
        }
        assert!(text.contains("Permission denied"), "{text}");
        assert!(text.contains("not permitted"), "it may signal its parent: {text}");
    }
}

#[test]
fn only_what_is_allowed_can_be_written() {
    let rules = match WriteRules::new(Tcp::None) {
        Ok(rules) => rules,
        Err(error) => return eprintln!("skipped: this kernel has no Landlock: {error}"),
    };
    let place = tempfile::tempdir().unwrap();
    let [allowed, other, new] = ["allowed", "other", "new"].map(|name| place.path().join(name));
    fs::write(&allowed, "before").unwrap();
    fs::write(&other, "before").unwrap();
    rules.allow(File::open(&allowed).unwrap().as_fd()).unwrap();
    let script = format!(
        "echo after > {0}; echo after > {1}; echo after > {2}; rm {0}; mkdir {2}; mv {0} {2}; cat {1}",
        allowed.display(),
        other.display(),
        new.display()
    );
    let text = output(place.path(), Lockdown { user: None, writes: Some(rules) }, &script);
    assert_eq!(fs::read_to_string(allowed).unwrap(), "after\n", "{text}");
    assert_eq!(fs::read_to_string(other).unwrap(), "before", "{text}");
    assert!(!new.exists(), "{text}");
    assert!(text.contains("before"), "reading is not concerned: {text}");
}

#[test]
fn a_process_outside_cannot_be_signalled() {
    match WriteRules::version() {
        Ok(version) if version >= 6 => {}
        Ok(version) => return eprintln!("skipped: version {version} of Landlock knows no signals"),
        Err(error) => return eprintln!("skipped: this kernel has no Landlock: {error}"),
    }
    let place = tempfile::tempdir().unwrap();
    let lockdown = || Lockdown { user: None, writes: Some(WriteRules::new(Tcp::None).unwrap()) };
    let text = output(place.path(), lockdown(), "kill -0 $PPID && echo reached; kill -0 $$ && echo itself");
    assert!(text.contains("itself") && !text.contains("reached"), "{text}");
}

#[test]
fn tcp_is_as_it_was_told() {
    match WriteRules::version() {
        Ok(version) if version >= 4 => {}
        Ok(version) => return eprintln!("skipped: version {version} of Landlock knows no TCP"),
        Err(error) => return eprintln!("skipped: this kernel has no Landlock: {error}"),
    }
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let itself = std::env::current_exe().unwrap();
    let script = format!(
        "{PORT}={} {} --exact --ignored --nocapture what_can_be_done_with_tcp",
        listener.local_addr().unwrap().port(),
        itself.display()
    );
    let place = tempfile::tempdir().unwrap();
    for (tcp, [binds, connects]) in
        [(Tcp::None, [false, false]), (Tcp::Listen, [true, false]), (Tcp::Any, [true, true])]
    {
        let lockdown = Lockdown { user: None, writes: Some(WriteRules::new(tcp).unwrap()) };
        let text = output(place.path(), lockdown, &script);
        assert!(text.contains(&format!("\nbinds {binds}, connects {connects}\n")), "{tcp:?}: {text}");
    }
}

const LOOPBACK: (&str, u16) = ("127.0.0.1", 0);
/// The variable with the port of somebody who listens.
const PORT: &str = "VIRTMARK_TEST_PORT";

#[test]
#[ignore = "part of another test, which runs it locked in"]
fn what_can_be_done_with_tcp() {
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let binds = TcpListener::bind(LOOPBACK).is_ok();
    let connects = TcpStream::connect((LOOPBACK.0, port)).is_ok();
    println!("\nbinds {binds}, connects {connects}");
}
