//! A sweep drawn through the program, and what is told when it cannot be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;

const GUIDE: &str = include_str!("../../scenarios/tests/sweep/guide.csv");
const PICTURES: [&str; 3] = ["qps_vs_concurrency", "latency_vs_concurrency", "qps_vs_p99"];

/// A world with the guide's own table as the file of a sweep.
fn world() -> World {
    let world = World::new();
    fs::write(world.path("sweep_20260125_120000.csv"), GUIDE).unwrap();
    world
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Width and height of a PNG, from its header.
fn size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_guides_table_is_drawn_with_its_knee_at_32() {
    let world = world();
    let output = world
        .virtmark(&["plot", "--in"])
        .arg(world.path("sweep_20260125_120000.csv"))
        .arg("--out")
        .arg(world.path("made/plots"))
        .assert()
        .success()
        .stderr(contains("rule       32 (to 64").and(contains("run at a concurrency of 16 to 24")));
    let directory = world.path("made/plots");
    let mut expected: Vec<String> =
        PICTURES.iter().flat_map(|name| [format!("{name}.png"), format!("{name}.svg")]).collect();
    expected.push("knee_summary.txt".into());
    expected.sort();
    assert_eq!(names(&directory), expected);
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let mut printed: Vec<String> = printed
        .lines()
        .map(|line| Path::new(line).strip_prefix(&directory).unwrap().to_str().unwrap().to_owned())
        .collect();
    printed.sort();
    assert_eq!(printed, expected);
    for name in PICTURES {
        let (width, height) = size(&directory.join(format!("{name}.png")));
        assert!(width == 800 && (400..700).contains(&height), "{name}: {width} × {height}");
    }
    let svg = fs::read_to_string(directory.join("qps_vs_concurrency.svg")).unwrap();
    assert!(svg.contains("knee: 32") && svg.contains("Universal Scalability Law"), "{svg}");
    assert!(fs::read_to_string(directory.join("knee_summary.txt")).unwrap().contains("rule       32"));
}

#[test]
fn format_width_and_place_are_as_asked() {
    let world = world();
    let input = world.path("sweep_20260125_120000.csv");
    let plot = |arguments: &[&str]| {
        world.virtmark(&["-q", "plot", "--in"]).arg(&input).args(arguments).assert().success().stderr("");
    };
    // Without --out beside the file.
    plot(&["--format", "png", "--width", "1200"]);
    let directory = world.path("plots_20260125_120000");
    assert_eq!(names(&directory).len(), 4);
    assert_eq!(size(&directory.join("qps_vs_p99.png")).0, 1200);
    let other = world.path("svg");
    plot(&["--format", "svg", "--slo", "p99<10ms", "--out", other.to_str().unwrap()]);
    assert_eq!(names(&other).iter().filter(|name| name.ends_with(".svg")).count(), 3);
    let summary = fs::read_to_string(other.join("knee_summary.txt")).unwrap();
    assert!(summary.contains("p99<10ms: 16 (p99<10ms is broken at 32: p99 is 15ms)"), "{summary}");
    assert!(summary.contains("lowered to 16"), "{summary}");
}

#[test]
fn what_is_no_sweep_is_told_with_its_place_and_nothing_is_made() {
    let world = world();
    let header = GUIDE.lines().next().unwrap();
    let cases = [
        ("empty.csv", String::new(), "empty.csv, line 1: it is empty"),
        ("other.csv", "a,b\n1,2\n".into(), "other.csv, line 1: the header lacks the columns ts, plan"),
        ("header.csv", format!("{header}\n"), "cannot draw the sweep: there are no runs in it"),
        (
            "word.csv",
            GUIDE.replace(",8200,", ",fast,"),
            "word.csv, line 4, column 10 (qps): \"fast\" is not a number",
        ),
        ("rows.jsonl", "{\"plan\": 7}\n".into(), "rows.jsonl, line 1, column 10: invalid type"),
        (
            "rates.csv",
            format!("{header}\n,p,4,4,4,1,,10,1,5,,,,,,0,0\n"),
            "the rate of an open loop is in the .jsonl",
        ),
    ];
    for (name, text, message) in cases {
        fs::write(world.path(name), text).unwrap();
        world
            .virtmark(&["plot", "--in"])
            .arg(world.path(name))
            .arg("--out")
            .arg(world.path("plots"))
            .assert()
            .code(1)
            .stdout("")
            .stderr(contains(message).and(predicate::str::starts_with("virtmark: cannot ")))
            .stderr(predicate::function(|text: &str| text.lines().count() == 1));
        assert!(!world.path("plots").exists(), "{name}");
    }
    world
        .virtmark(&["plot", "--in", "missing.csv"])
        .assert()
        .code(1)
        .stderr(contains("cannot read missing.csv"));
}

#[test]
fn options_that_do_not_fit_are_usage_errors() {
    let world = world();
    let input = world.path("sweep_20260125_120000.csv");
    for (arguments, message) in [
        (["--slo", "p90<20ms"], "the objective is about p90, which run 1 (concat_plan) did not measure"),
        (["--slo", "p98<20ms"], "p98"),
        (["--width", "50"], "100..=8000"),
        (["--format", "pdf"], "possible values: both, png, svg"),
    ] {
        world
            .virtmark(&["plot", "--in"])
            .arg(&input)
            .args(arguments)
            .assert()
            .code(2)
            .stderr(contains(message));
    }
    world.virtmark(&["plot"]).assert().code(2).stderr(contains("--in <FILE>"));
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let world = world();
    let input = world.path("sweep_20260125_120000.csv");
    world
        .virtmark(&["plot", "--in"])
        .arg(&input)
        .arg("--out")
        .arg(input.join("plots"))
        .assert()
        .code(1)
        .stderr(contains("cannot make the directory "));
}
