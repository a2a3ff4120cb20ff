//! The command line itself: help, mistakes, completions, man pages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn help_teaches_by_example_and_documents_exit_codes() {
    let world = World::new();
    world.virtmark(&["-h"]).assert().success().stdout(contains("virtmark tti --mode burst"));
    world
        .virtmark(&["--help"])
        .assert()
        .success()
        .stdout(contains("Exit codes:").and(contains("10  the hypervisor is not installed")))
        .stdout(contains("25  ended at once by a second Ctrl-C").and(contains("VIRTMARK_CACHE")));
    for command in [
        "tti",
        "lifecycle",
        "migrate",
        "guest",
        "compare",
        "aa",
        "tune",
        "runs",
        "show",
        "export",
        "report",
        "remove",
        "doctor",
        "image",
        "series",
    ] {
        world.virtmark(&[command, "--help"]).assert().success().stdout(contains("Example"));
    }
}

#[test]
fn the_version_is_told() {
    World::new().virtmark(&["--version"]).assert().success().stdout(contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_are_told_with_what_is_expected_and_exit_with_2() {
    let world = World::new();
    for (arguments, expected) in [
        (&["tti", "--iterations", "0"][..], "--iterations"),
        (&["tti", "--iterations", "many"], "--iterations"),
        (&["tti", "--mode", "parallel"], "staggered"),
        (&["tti", "--timeout", "90"], "such as 90s"),
        (&["tti", "--timeout", "0s"], "more than zero"),
        (&["tti", "--stagger", "soon"], "such as 90s"),
        (&["tti", "--memory", "256"], "such as 256M"),
        (&["tti", "--memory", "12X"], "such as 256M"),
        (&["tti", "--vcpus", "0"], "--vcpus"),
        (&["tti", "--hypervisor", "xen"], "native"),
        (&["tti", "--accel", "hax"], "tcg"),
        (&["tti", "--concurrency", "0", "--mode", "burst"], "--concurrency"),
        (&["tti", "--concurrency", "4"], "--mode burst"),
        (&["tti", "--stagger", "1s"], "--mode staggered"),
        (&["tti", "--frobnicate"], "--frobnicate"),
        (&["guest"], "<SUITE>"),
        (&["guest", "cpu", "--only", "fio"], "there are sysbench-cpu"),
        (&["guest", "cpu", "--only", "ping"], "the suite network"),
        (&["guest", "cpu", "--blocks", "0"], "--blocks"),
        (&["tti", "--hypervisor", "native", "--accel", "kvm"], "--accel"),
        (&["tti", "--image", "other", "--kernel", "host"], "--image"),
        (&["lifecycle", "--iterations", "0"], "--iterations"),
        (&["lifecycle", "--format", "xml"], "csv"),
        (&["migrate", "--load", "dirty"], "such as dirty=50M"),
        (&["migrate", "--memory", "much"], "such as 256M"),
        (&["migrate", "--mode", "warm"], "post-copy"),
        (&["export", "latest", "--format", "yaml"], "jsonl"),
        (&["image", "build", "tiny", "--modules", "/x"], "--kernel FILE"),
        (&["image", "build", "huge"], "tiny"),
        (&["completions", "klingon"], "bash"),
        (&["report"], "<RUN>"),
        (&["nonsense"], "nonsense"),
        (&[], "Usage"),
    ] {
        world.virtmark(arguments).assert().code(2).stderr(contains(expected)).stdout("");
    }
    assert!(
        !world.path("archive.sqlite").exists()
            || world.json(&["runs", "--json"]).as_array().unwrap().is_empty()
    );
}

#[test]
fn completions_and_man_pages_come_from_the_same_definitions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        world
            .virtmark(&["completions", shell])
            .assert()
            .success()
            .stdout(contains("lifecycle").and(contains("stagger")));
    }
    let directory = world.path("man");
    world.virtmark(&["man", directory.to_str().unwrap()]).assert().success();
    let page = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert!(page("virtmark.1").contains("Exit codes"));
    assert!(page("virtmark-tti.1").contains("stagger"));
    assert!(page("virtmark-image-build.1").contains("modules"));
}
