//! What goes wrong before anything is measured: one message with a remedy, an exit code of its own, nothing left.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;

const NATIVE: [&str; 7] = ["tti", "--hypervisor", "native", "--iterations", "1", "--warmup", "0"];

#[test]
fn the_hypervisor_is_missing_too_old_or_something_else() {
    let world = World::new();
    let old = world.script("old", "echo 'QEMU emulator version 2.11.1'");
    for program in ["/nonexistent/qemu", "/bin/true", old.to_str().unwrap()] {
        for command in ["tti", "lifecycle"] {
            world
                .virtmark(&[command, "--qemu", program])
                .assert()
                .code(10)
                .stderr(contains(program).and(contains("--qemu FILE")))
                .stdout("");
        }
        world.virtmark(&["doctor", "--qemu", program]).assert().code(10).stdout(contains("QEMU"));
    }
    world.assert_clean();
}

#[test]
fn a_kernel_that_is_missing_or_no_kernel() {
    let world = World::new();
    let qemu = world.script("qemu", "echo 'QEMU emulator version 7.2.0'");
    for command in [&["tti", "--qemu", qemu.to_str().unwrap()][..], &["image", "build", "tiny"]] {
        let missing = [command, &["--kernel", "/nonexistent/vmlinuz"]].concat();
        world.virtmark(&missing).assert().code(11).stderr(contains("/nonexistent/vmlinuz")).stdout("");
        let text = world.path("text");
        fs::write(&text, "not a kernel").unwrap();
        let wrong = [command, &["--kernel", text.to_str().unwrap()]].concat();
        world.virtmark(&wrong).assert().code(11).stderr(contains("is not a kernel")).stdout("");
        // The default, for which nothing was fetched here.
        world.virtmark(command).assert().code(11).stderr(contains("make setup")).stdout("");
    }
    world.assert_clean();
}

#[test]
fn an_image_that_nobody_knows() {
    let world = World::new();
    let qemu = world.script("qemu", "echo 'QEMU emulator version 7.2.0'");
    for arguments in [
        &["tti", "--image", "nope", "--qemu", qemu.to_str().unwrap()][..],
        &["image", "inspect", "nope"],
        &["image", "rm", "nope"],
    ] {
        world.virtmark(arguments).assert().code(26).stderr(contains("virtmark image list"));
    }
    world.virtmark(&["image", "list"]).assert().success().stdout(contains("There are no images"));
}

#[test]
fn an_archive_of_a_newer_version() {
    let world = World::new();
    world.virtmark(&NATIVE).assert().success();
    let database = rusqlite::Connection::open(world.archive()).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    for arguments in [&NATIVE[..], &["runs"], &["show", "latest"]] {
        world.virtmark(arguments).assert().code(21).stderr(contains("update virtmark")).stdout("");
    }
    world.assert_clean();
}

#[test]
fn an_archive_that_is_no_archive() {
    let world = World::new();
    fs::write(world.archive(), "these are not the bytes of a database at all, whatever the name may say")
        .unwrap();
    for arguments in [&NATIVE[..], &["runs"]] {
        world.virtmark(arguments).assert().code(21).stderr(contains("--archive")).stdout("");
    }
    assert!(fs::read_to_string(world.archive()).unwrap().starts_with("these are not"));
}

#[test]
fn an_archive_that_another_process_keeps_locked() {
    let world = World::new();
    world.virtmark(&NATIVE).assert().success();
    let mut database = rusqlite::Connection::open(world.archive()).unwrap();
    let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).unwrap();
    transaction.execute("UPDATE runs SET scenario = scenario", []).unwrap();
    world
        .virtmark(&NATIVE)
        .assert()
        .code(20)
        .stderr(contains("locked").and(contains(std::process::id().to_string())))
        .stdout("");
    drop(transaction);
    world.assert_clean();
}

#[test]
fn a_run_that_nobody_knows() {
    let world = World::new();
    world.virtmark(&["show", "latest"]).assert().code(26).stderr(contains("there is no archive"));
    world.virtmark(&["runs"]).assert().success().stdout(contains("There are no runs"));
    world.virtmark(&NATIVE).assert().success();
    for command in ["show", "export", "report", "remove"] {
        world.virtmark(&[command, "tti-1999"]).assert().code(26).stderr(contains("virtmark runs")).stdout("");
    }
}

#[test]
fn a_run_directory_whose_path_is_too_long() {
    let world = World::new();
    let long = world.path(&"x".repeat(90));
    fs::create_dir(&long).unwrap();
    world
        .virtmark(&NATIVE)
        .env("VIRTMARK_RUN_DIR", &long)
        .assert()
        .code(15)
        .stderr(contains("VIRTMARK_RUN_DIR"))
        .stdout("");
}

#[test]
fn an_output_that_cannot_be_written() {
    let world = World::new();
    world.virtmark(&NATIVE).assert().success();
    for command in ["export", "report"] {
        world
            .virtmark(&[command, "latest", "-o", "/nonexistent/out"])
            .assert()
            .code(1)
            .stderr(contains("/nonexistent/out").and(contains("-o")));
        // A device that is always full.
        world
            .virtmark(&[command, "latest", "-o", "/dev/full"])
            .assert()
            .code(14)
            .stderr(contains("/dev/full"));
    }
}
