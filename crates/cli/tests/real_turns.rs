//! Configurations that take turns on real machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;

#[test]
fn real_restores_take_turns_each_block_with_a_snapshot_of_its_own() {
    let world = World::real();
    let sides = ["compare", "--interleave", "--b", "--kernel-arg quiet", "--blocks", "2"];
    let both =
        ["--", "restore", "--accel", "tcg", "--iterations", "2", "--warmup", "0", "--working-set", "0M"];
    let printed = world.json(&[&sides[..], &both].concat());
    let restore =
        printed["metrics"].as_array().unwrap().iter().find(|of| of["metric"] == "restore_tti").unwrap();
    assert_eq!((&restore["a"]["succeeded"], &restore["b"]["blocks"]), (&2.into(), &2.into()), "{restore}");
    assert!(restore["ratio"].as_f64().unwrap() > 0.0);
    assert_eq!(printed["verdict"], "cannot_tell");
    // Each side is a run of restore like any other.
    for side in ["run_a", "run_b"] {
        let report = world.json(&["show", printed[side].as_str().unwrap()]);
        assert_eq!((&report["scenario"], &report["status"]), (&"restore".into(), &"complete".into()));
        assert_eq!((&report["iterations_success"], &report["iterations_failed"]), (&2.into(), &0.into()));
    }
    world.assert_clean();
}
