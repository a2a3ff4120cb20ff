//! What goes wrong with real machines: one message with its cause, an exit code of its own, nothing left.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, kill, measured, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

const ONE: [&str; 5] = ["tti", "--iterations", "1", "--warmup", "0"];

#[test]
fn real_kernels_that_panic_at_boot_are_shown_with_their_last_words() {
    let world = World::real();
    world
        .virtmark(&[&ONE[..], &["--kernel-arg", "rdinit=/nonexistent"]].concat())
        .assert()
        .code(16)
        .stderr(contains("panicked").and(contains("Kernel panic - not syncing")));
    world.assert_clean();
}

#[test]
fn real_kernels_that_panic_during_a_command_are_told_from_a_lost_agent() {
    let world = World::real();
    let command = "echo c > /proc/sysrq-trigger; sleep 30";
    let assert = world.virtmark(&[&ONE[..], &["--cmd", command]].concat()).assert().code(16);
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(report["failures"]["guest_panic"], 1);
    assert!(report["p50_ns"].is_null());
    world.assert_clean();
}

#[test]
fn real_guests_that_never_answer_are_given_up_on() {
    let world = World::real();
    // The agent then listens elsewhere.
    let arguments = ["--kernel-arg", "virtmark.transport=tcp:7000", "--timeout", "6s"];
    world
        .virtmark(&[&ONE[..], &arguments].concat())
        .assert()
        .code(17)
        .stderr(contains("did not answer").and(contains("--timeout")));
    world.assert_clean();
}

#[test]
fn real_machines_that_are_killed_are_told() {
    let world = World::real();
    let mut run = start(&world, &[&ONE[..], &["--cmd", "sleep 60"]].concat());
    wait_for(|| !qemu_pids(&world).is_empty());
    kill("KILL", qemu_pids(&world)[0]);
    assert_eq!(exit_code(&mut run), 19);
    world.assert_clean();
}

#[test]
fn real_machines_larger_than_the_host_are_refused() {
    let world = World::real();
    world
        .virtmark(&[&ONE[..], &["--memory", "100T"]].concat())
        .assert()
        .code(13)
        .stderr(contains("no memory").and(contains("--memory")));
    world.assert_clean();
}

#[test]
fn real_images_that_were_damaged_are_built_again() {
    let mut world = World::real();
    world.own_cache_with_kernels();
    let path = |world: &World| {
        let image = world.json(&["image", "inspect", "tiny", "--json"]);
        world.path("cache").join("images").join(image["id"].as_str().unwrap()).join("initramfs")
    };
    world.virtmark(&["image", "build", "tiny"]).assert().success();
    let initramfs = path(&world);
    let mut content = fs::read(&initramfs).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0xff;
    fs::set_permissions(&initramfs, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&initramfs, &content).unwrap();
    let report = world.json(&ONE);
    assert_eq!(report["iterations_success"], 1);
    content[middle] ^= 0xff;
    assert_eq!(fs::read(path(&world)).unwrap(), content, "the image was not built again");
}

#[test]
fn real_disks_that_are_full_end_the_run_with_what_to_do() {
    let world = World::real();
    let Some(_full) = world.small_tmpfs("scratch") else { return };
    world
        .virtmark(&["lifecycle", "--iterations", "1", "--warmup", "0"])
        .assert()
        .code(14)
        .stderr(contains("VIRTMARK_SCRATCH"));
    world.assert_clean();
}

#[test]
fn real_runs_stop_at_once_and_keep_what_was_measured() {
    let world = World::real();
    let mut run = start(&world, &["tti", "--iterations", "1000", "--warmup", "0"]);
    wait_for(|| measured(&world) >= 1);
    wait_for(|| !qemu_pids(&world).is_empty());
    kill("INT", run.id());
    let started = Instant::now();
    assert_eq!(exit_code(&mut run), 130);
    assert!(started.elapsed() < Duration::from_secs(10));
    let shown = world.json(&["show", "latest"]);
    assert_eq!(shown["status"], "interrupted");
    assert!(shown["iterations_success"].as_u64().unwrap() >= 1);
    assert_eq!(shown["iterations_failed"], 0);
    world.assert_clean();
}

#[test]
fn real_runs_end_at_the_second_signal_without_a_trace() {
    let world = World::real();
    let mut run = start(&world, &[&ONE[..], &["--cmd", "sleep 60"]].concat());
    wait_for(|| !qemu_pids(&world).is_empty());
    let machines = qemu_pids(&world);
    // Two signals of one key press count as one: the second comes later.
    kill("STOP", run.id());
    kill("INT", run.id());
    kill("CONT", run.id());
    std::thread::sleep(Duration::from_millis(400));
    if run.try_wait().unwrap().is_none() {
        kill("INT", run.id());
    }
    let code = exit_code(&mut run);
    assert!(code == 25 || code == 130, "it exited with {code}");
    wait_for(|| machines.iter().all(|pid| !alive(*pid)));
    world.assert_clean();
}

#[test]
fn real_machines_die_with_a_killed_run_and_the_next_start_cleans_up() {
    let world = World::real();
    let mut run = start(&world, &[&ONE[..], &["--cmd", "sleep 60"]].concat());
    wait_for(|| !qemu_pids(&world).is_empty());
    let machines = qemu_pids(&world);
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for(|| machines.iter().all(|pid| !alive(*pid)));
    world.virtmark(&["runs"]).assert().success().stderr(contains("removed what process"));
    world.assert_clean();
}

fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virtmark"));
    command.args(arguments).envs(world.environment()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn exit_code(run: &mut Child) -> i32 {
    wait_for(|| run.try_wait().unwrap().is_some());
    run.wait().unwrap().code().unwrap()
}

/// Pids of the machines that the runs of this world have on record and that run QEMU now.
fn qemu_pids(world: &World) -> Vec<u32> {
    let directories = fs::read_dir(world.path("run")).into_iter().flatten().flatten();
    let records = directories.filter_map(|entry| fs::read_to_string(entry.path().join("processes")).ok());
    records
        .flat_map(|record| {
            record.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect::<Vec<u32>>()
        })
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu"))
        })
        .collect()
}

fn alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}
