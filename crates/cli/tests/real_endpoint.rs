//! A sandbox service as its clients measure it: `tti` and `restore` with `--endpoint`, and result files of others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::Command;

use serde_json::{Value, json};

use common::service::Service;
use common::{World, phases_of};

/// Installed by `make setup` where tests run against real parts.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/schemathesis");

#[test]
fn real_tti_measures_a_service_as_it_measures_a_hypervisor() {
    let world = World::real();
    let service = Service::start(&world, &["--warm", "1"]);
    let run =
        |more: &[&str]| world.json(&[&["tti", "--endpoint", &service.url, "--warmup", "1"], more].concat());
    let template = run(&["--iterations", "2"]);
    assert_eq!(template["iterations_success"], 2, "{template}");
    assert_eq!(template["environment"]["hypervisor"]["accelerator"], "tcg", "{template}");
    assert_eq!(template["emulated"], true);
    let cold = run(&["--iterations", "2", "--start", "cold", "--mode", "burst"]);
    assert_eq!(cold["iterations_success"], 2, "{cold}");
    assert!(cold["p50_ns"].as_u64() > template["p50_ns"].as_u64(), "{cold} {template}");

    let exported = |report: &Value| {
        let id = report["run_id"].as_str().unwrap();
        world.json(&["export", id, "--format", "json"])["samples"].as_array().unwrap().clone()
    };
    for (report, start) in [(&template, "template"), (&cold, "cold")] {
        for sample in exported(report) {
            assert_eq!(sample["labels"]["start"], start, "{sample}");
            let phases = phases_of(&sample);
            assert_eq!(phases.iter().filter(|(name, _)| name == "http").count(), 2, "{sample}");
            let sum: u64 = phases.iter().map(|(_, ns)| ns).sum();
            assert_eq!(sum as f64, sample["value"].as_f64().unwrap(), "{sample}");
        }
    }
    assert_eq!(service.get("/sandboxes").1["sandboxes"], json!([]));

    let open = run(&["--rate", "4", "--duration", "1s"]);
    assert_eq!(open["open_loop"]["launched"], 4, "{open}");
    assert!(open["open_loop"]["validity"].as_str().unwrap().contains("lag"), "{open}");

    // The figures of a run of this kind are those of a file that others can read.
    let id = template["run_id"].as_str().unwrap();
    let file = world.path("results.json");
    let path = file.to_str().unwrap();
    world.virtmark(&["export", id, "--format", "computesdk", "-o", path]).assert().success();
    let other = world.path("other.sqlite");
    let other = other.to_str().unwrap();
    let imported = world.virtmark(&["import", path, "--archive", other]).assert().success();
    let imported = String::from_utf8(imported.get_output().stdout.clone()).unwrap();
    let shown = world.json(&["show", imported.trim(), "--archive", other]);
    let to_ms = |value: &Value| (value.as_f64().unwrap() / 1e4).round() / 100.0;
    assert_eq!(to_ms(&shown["p50_ns"]), to_ms(&template["p50_ns"]));
}

#[test]
fn real_restore_measures_both_ways_to_a_machine() {
    let world = World::real();
    let service = Service::start(&world, &[]);
    let few = ["--iterations", "2", "--warmup", "0", "--working-set", "8M", "--working-set-iterations", "1"];
    let check = |report: &Value| {
        assert_eq!(report["iterations_success"], 2, "{report}");
        for figure in ["min", "p50", "p95", "p99", "max"] {
            let of = |kind: &str| report[format!("{kind}_{figure}_ns")].as_u64().unwrap();
            assert!(of("restore_only") < of("restore_tti"), "{report}");
        }
        let failures = json!({ "restore_api": 0, "sanity_exec": 0, "destroy": 0, "other": 0 });
        assert_eq!(report["failures"], failures, "{report}");
        assert!(report["restored_private_bytes"]["p50_bytes"].as_u64().unwrap() > 0, "{report}");
        report["working_set"].as_array().unwrap().clone()
    };
    let direct = world.json(&[&["restore", "--accel", "tcg"], &few[..]].concat());
    for set in check(&direct) {
        assert!(set["reading"]["p50_ns"].as_u64().unwrap() > 0, "{set}");
    }
    let served = world.json(&[&["restore", "--endpoint", &service.url], &few[..]].concat());
    for set in check(&served) {
        let (cold, reason) = (set["cache"] == "cold", &set["skip_reason"]);
        assert_eq!(reason.as_str().is_some_and(|reason| !reason.is_empty()), cold, "{set}");
    }
    assert_eq!(service.get("/snapshot/list").1["snapshots"], json!([]));
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn real_the_service_keeps_to_its_api_document() {
    if !std::path::Path::new(SCHEMATHESIS).exists() {
        eprintln!("skipped: schemathesis is not installed; CI=1 make setup installs it");
        return;
    }
    let world = World::real();
    let service =
        Service::start(&world, &["--max-sandboxes", "2", "--lifetime", "20s", "--max-exec-time", "5s"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../sandbox/tests/schemathesis.sh");
    let output = Command::new("sh")
        .args([script, &service.url])
        .env("SCHEMATHESIS", SCHEMATHESIS)
        .current_dir(world.directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(service.get("/healthz").1["status"], "ok");
    assert_eq!(service.stop("TERM"), Some(0));
    world.assert_clean();
}

#[test]
fn a_service_that_is_not_there_is_told() {
    let world = World::new();
    let said = |arguments: &[&str], code: i32| {
        let output = world.virtmark(arguments).assert().code(code).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    };
    let text = said(&["tti", "--endpoint", "http://127.0.0.1:9", "--iterations", "1"], 10);
    assert!(text.contains("http://127.0.0.1:9"), "{text}");
    let text = said(&["tti", "--endpoint", "http://127.0.0.1:9", "--hypervisor", "native"], 2);
    assert!(text.contains("--hypervisor"), "{text}");
    let mapping = world.path("mapping.toml");
    std::fs::write(&mapping, "provider = \"x\"\n[create]\nmethod = \"FETCH\"\n").unwrap();
    let text = said(&["tti", "--endpoint", "http://127.0.0.1:9", "--mapping", mapping.to_str().unwrap()], 2);
    assert!(text.contains("mapping.toml, line 2"), "{text}");
    let text = said(&["import", mapping.to_str().unwrap()], 1);
    assert!(text.contains("cannot import") && text.contains("line 1"), "{text}");
    let text = said(&["tti", "--rate", "1"], 2);
    assert!(text.contains("--duration"), "{text}");
    let text = said(&["tti", "--mode", "burst", "--rate", "1", "--duration", "1s"], 2);
    assert!(text.contains("open-loop"), "{text}");
}
