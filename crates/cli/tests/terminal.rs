//! What standard error looks like on a terminal, and with `NO_COLOR`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};

use common::World;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const ESCAPE: &str = "\u{1b}[";

#[test]
fn bars_and_colours_are_for_terminals_and_vanish_with_no_color() {
    let world = World::new();
    let fancy = on_terminal(&world, &[]);
    assert!(fancy.contains(ESCAPE) && fancy.contains("eta"), "{fancy:?}");
    for variables in [&[("NO_COLOR", "1")][..], &[("TERM", "dumb")]] {
        let plain = on_terminal(&world, variables);
        assert!(!plain.contains(ESCAPE) && !plain.contains("eta"), "{plain:?}");
        assert!(plain.contains("tti: 4/4") && plain.contains("median"), "{plain:?}");
    }
}

/// What a run writes to standard error when that is a terminal.
fn on_terminal(world: &World, variables: &[(&str, &str)]) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["tti", "--hypervisor", "native", "--iterations", "4", "--warmup", "1"])
        .envs(world.environment())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let mut controller = File::from(controller);
    // Once the last writer is gone, reading fails.
    while let Ok(count @ 1..) = controller.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&text).into_owned()
}
