//! Time-series stores through the program: what was recorded comes out in every format, and what is wrong is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use virtmark_timeseries::{Kind, Schema, SeriesKey, StoreOptions, Tier, Writer};

const SECOND_NS: u64 = 1_000_000_000;
/// 2026-01-02 03:04:05 UTC.
const MOMENT: u64 = 1_767_323_045;

/// A store in which a machine was recorded for 45 seconds from a second on: a counter that starts again after 20 s, a
/// gauge with a gap of five seconds, and a series without samples.
fn recorded(world: &World, start: u64) -> PathBuf {
    let path = world.path("store");
    let tiers = [(1, 60), (10, 60)].map(|(step, slots)| Tier::wide(Duration::from_secs(step), slots));
    let options = StoreOptions::new(vec![Schema::new("machine", 8).with_tiers(tiers.to_vec())]).unwrap();
    let mut writer = Writer::create(&path, &options).unwrap();
    let key = |name: &str| SeriesKey::new(name).unwrap();
    let exits = key("vcpu_exits_total").with("reason", "io").unwrap().with("vm", "a \"b\", c").unwrap();
    let exits = writer.register(&exits, Kind::Counter).unwrap();
    let memory = writer.register(&key("guest_memory_bytes"), Kind::Gauge).unwrap();
    writer.register(&key("vcpu_steal_seconds_total"), Kind::Counter).unwrap();
    let mut recorder = writer.recorder().unwrap();
    for second in 0..45 {
        recorder.publish((start + second) * SECOND_NS).unwrap();
        recorder.record(exits, (second % 20 * 3) as f64);
        if !(10..15).contains(&second) {
            recorder.record(memory, 1e6 + second as f64);
            recorder.record(memory, 2e6 + second as f64);
        }
        writer.consolidate();
    }
    recorder.record(memory, f64::NAN);
    drop(recorder);
    writer.close().unwrap();
    path
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn points(answer: &Value) -> Vec<(u64, f64)> {
    let points = answer["series"][0]["points"].as_array().unwrap();
    points
        .iter()
        .map(|point| (point["time_ns"].as_u64().unwrap(), point["value"].as_f64().unwrap()))
        .collect()
}

#[test]
fn info_tells_what_is_in_a_store() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let info = world.json(&["series", "info", text(&store), "--json"]);
    let on_disk: u64 =
        fs::read_dir(&store).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(info["size_bytes"], on_disk);
    assert_eq!(info["newest"], "2026-01-02T03:04:49Z");
    assert_eq!(info["oldest_ns"], MOMENT * SECOND_NS);
    assert_eq!(info["rejected"]["not_finite"], 1);
    assert_eq!(info["rejected"]["total"], 1);
    let schema = &info["schemas"][0];
    assert_eq!((&schema["series"], &schema["max_series"]), (&3.into(), &8.into()));
    assert_eq!(schema["tiers"][0]["filled_slots"], 45 + 40);
    assert_eq!(schema["tiers"][0]["registered_slots"], 3 * 60);
    assert_eq!(schema["tiers"][1]["step_ns"], 10 * SECOND_NS);
    let series = info["series"].as_array().unwrap();
    assert_eq!(series[0]["labels"]["vm"], "a \"b\", c");
    assert_eq!(series[1]["last_tick"], "2026-01-02T03:04:49Z");
    assert!(series[2]["last_tick_ns"].is_null());
    world
        .virtmark(&["series", "info", text(&store)])
        .assert()
        .success()
        .stdout(contains("2026-01-02 03:04:49 UTC").and(contains("1 not a finite number")))
        .stdout(contains("3 of 8").and(contains("47.2 %")).and(contains("vcpu_steal_seconds_total")));
}

#[test]
fn a_query_answers_in_every_format() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let query =
        |more: &[&'static str]| [&["series", "query", text(&store), "guest_memory_bytes"], more].concat();
    let answer = world.json(&query(&["--format", "json"]));
    assert_eq!((&answer["series"][0]["function"], &answer["series"][0]["tier"]), (&"avg".into(), &0.into()));
    let all = points(&answer);
    assert_eq!(all.len(), 40);
    assert_eq!(all[0], (MOMENT * SECOND_NS, 1.5e6));
    assert_eq!(all[39], ((MOMENT + 44) * SECOND_NS, 1.5e6 + 44.0));
    world
        .virtmark(&query(&[]))
        .assert()
        .success()
        .stdout(contains("2026-01-02 03:04:05  1500000\n"))
        .stdout(contains("40 slots with a point, 5 without; tier 0, 1 s a slot"));
    let csv = world.virtmark(&query(&["--format", "csv", "--function", "max"])).assert().success();
    let csv = String::from_utf8(csv.get_output().stdout.clone()).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("series,function,tier,step_ns,time_ns,time,value"));
    let first = "guest_memory_bytes,max,0,1000000000,1767323045000000000,2026-01-02T03:04:05Z,2000000";
    assert_eq!(lines.next(), Some(first));
    assert_eq!(lines.count(), 39);
}

#[test]
fn every_function_says_what_a_slot_holds() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    for (function, expected) in [
        ("avg", 1.5e6),
        ("min", 1e6),
        ("max", 2e6),
        ("first", 1e6),
        ("last", 2e6),
        ("sum", 3e6),
        ("count", 2.0),
    ] {
        let query = [
            "series",
            "query",
            text(&store),
            "guest_memory_bytes",
            "--format",
            "json",
            "--function",
            function,
        ];
        assert_eq!(points(&world.json(&query))[0].1, expected, "{function}");
    }
    // The coarse tier keeps the same sums: 03:04:10 to 03:04:20 has five seconds with samples.
    let coarse = ["--tier", "1", "--function", "count", "--format", "json"];
    let coarse =
        world.json(&[&["series", "query", text(&store), "guest_memory_bytes"], &coarse[..]].concat());
    assert_eq!(points(&coarse)[1], ((MOMENT + 5) * SECOND_NS, 10.0));
}

#[test]
fn rates_of_a_counter_survive_its_resets() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let query =
        ["series", "query", text(&store), "vcpu_exits_total{reason=io}", "--rate", "--format", "json"];
    let rates = points(&world.json(&query));
    assert_eq!(rates.len(), 44);
    let resets = [MOMENT + 20, MOMENT + 40].map(|second| second * SECOND_NS);
    for (time_ns, rate) in rates {
        assert_eq!(rate, if resets.contains(&time_ns) { 0.0 } else { 3.0 }, "{time_ns}");
    }
    let gauge = ["series", "query", text(&store), "guest_memory_bytes", "--rate"];
    world.virtmark(&gauge).assert().code(2).stderr(contains("is a gauge")).stdout("");
}

#[test]
fn ranges_end_at_the_newest_sample_whatever_the_clock_says() {
    for start in [0, MOMENT, 9_000_000_000] {
        let world = World::new();
        let store = recorded(&world, start);
        let count = |options: &[&str]| {
            let query = [&["series", "query", text(&store), "vcpu_exits_total", "--format", "json"], options]
                .concat();
            let points = points(&world.json(&query));
            (points.len(), points.first().map(|point| point.0 / SECOND_NS - start))
        };
        assert_eq!(count(&[]), (45, Some(0)), "{start}");
        assert_eq!(count(&["--range", "all"]), (45, Some(0)), "{start}");
        assert_eq!(count(&["--range", "10s"]), (10, Some(35)), "{start}");
        assert_eq!(count(&["--range", "7d"]), (45, Some(0)), "{start}");
        let until = (start + 19).to_string();
        assert_eq!(count(&["--until", &until]), (20, Some(0)), "{start}");
        assert_eq!(count(&["--range", "5s", "--until", &until]), (5, Some(15)), "{start}");
        let before = start.to_string();
        assert_eq!(count(&["--range", "5s", "--until", &before]), (1, Some(0)), "{start}");
    }
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let late = [
        "series",
        "query",
        text(&store),
        "guest_memory_bytes",
        "--range",
        "1h",
        "--until",
        "1970-01-01T01:00:00Z",
    ];
    world.virtmark(&late).assert().success().stdout(contains("There are no points in this range"));
}

#[test]
fn an_unknown_series_lists_the_near_names() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    for (selector, near) in [
        ("vcpu_exit_total", "vcpu_exits_total"),
        ("steal", "vcpu_steal_seconds_total"),
        ("vcpu_exits_total{reason=hlt}", "reason=\"io\""),
    ] {
        let query = ["series", "query", text(&store), selector];
        world.virtmark(&query).assert().code(26).stderr(contains(near)).stdout("");
    }
    world
        .virtmark(&["series", "query", text(&store), "{vm="])
        .assert()
        .code(2)
        .stderr(contains("} is missing"));
    let tier = ["series", "query", text(&store), "{}", "--tier", "2"];
    world.virtmark(&tier).assert().code(2).stderr(contains("there is no tier 2"));
}

#[test]
fn plots_are_pictures_of_the_format_their_name_says() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let plot = |name: &str, selector: &str| {
        let path = world.path(name);
        let query = ["series", "query", text(&store), selector, "--plot", text(&path)];
        world.virtmark(&query).assert().success().stderr(contains(format!("wrote {}", path.display())));
        fs::read(path).unwrap()
    };
    let png = plot("plot.png", "guest_memory_bytes");
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!(size(16), 800);
    assert!((300..600).contains(&size(20)), "{}", size(20));
    for (name, selector) in [("one.svg", "guest_memory_bytes"), ("all.svg", "{}")] {
        let svg = String::from_utf8(plot(name, selector)).unwrap();
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"")
                && svg.trim_end().ends_with("</svg>")
        );
        assert!(svg.contains("guest_memory_bytes") && svg.contains("2026-01-02, UTC"), "{svg}");
        let opened = svg.matches('<').count() - 2 * svg.matches("</").count() - svg.matches("/>").count();
        assert_eq!(opened, 0, "as many elements are closed as opened");
    }
    let wrong = ["series", "query", text(&store), "{}", "--plot", "plot.jpg"];
    world.virtmark(&wrong).assert().code(2).stderr(contains(".png or .svg"));
}

#[test]
fn a_dump_has_every_slot_of_every_tier() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let dump = |options: &[&str]| {
        let arguments = [&["series", "dump", text(&store)], options].concat();
        let output = world.virtmark(&arguments).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let lines: Vec<Value> = dump(&[]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, tier: Option<u64>| {
        lines
            .iter()
            .filter(|line| line["type"] == kind && tier.is_none_or(|tier| line["tier"] == tier))
            .count()
    };
    assert_eq!(of("series", None), 3);
    assert_eq!(of("point", Some(0)), 45 + 40);
    // From :05 to :50 are five slots of ten seconds; all have samples of the gauge, too.
    assert_eq!(of("point", Some(1)), 5 + 5);
    let whole: f64 = lines
        .iter()
        .filter(|line| line["series"] == "guest_memory_bytes" && line["tier"] == 1)
        .map(|line| line["sum"].as_f64().unwrap())
        .sum();
    let expected: f64 =
        (0..45).filter(|second| !(10..15).contains(second)).map(|second| 3e6 + 2.0 * f64::from(second)).sum();
    assert_eq!(whole, expected);
    let csv = dump(&["--format", "csv"]);
    assert_eq!(csv.lines().count(), 1 + 85 + 10);
    let first = "\"vcpu_exits_total{reason=\"\"io\"\",vm=\"\"a \\\"\"b\\\"\", c\"\"}\",counter,0,1000000000,";
    assert!(csv.lines().nth(1).unwrap().starts_with(first), "{csv}");
    let file = world.path("points.csv");
    assert_eq!(dump(&["--format", "csv", "-o", text(&file)]), "");
    assert_eq!(fs::read_to_string(file).unwrap(), csv);
}

#[test]
fn a_store_is_read_while_it_is_written() {
    let world = World::new();
    let path = world.path("live");
    let options = StoreOptions::new(vec![Schema::new("live", 1)]).unwrap();
    let mut writer = Writer::create(&path, &options).unwrap();
    let series = writer.register(&SeriesKey::new("load").unwrap(), Kind::Gauge).unwrap();
    let mut recorder = writer.recorder().unwrap();
    for second in 0..3u32 {
        recorder.publish((MOMENT + u64::from(second)) * SECOND_NS).unwrap();
        recorder.record(series, second.into());
        let answer = world.json(&["series", "query", text(&path), "load", "--format", "json"]);
        assert_eq!(points(&answer).last().unwrap().1, f64::from(second));
    }
}

#[test]
fn what_is_no_store_or_a_damaged_one_is_told() {
    let world = World::new();
    let missing = world.path("missing");
    let file = world.path("file");
    fs::write(&file, "text").unwrap();
    let commands = |store: &str| {
        [
            vec!["series".to_owned(), "info".into(), store.into()],
            vec!["series".into(), "query".into(), store.into(), "{}".into()],
            vec!["series".into(), "dump".into(), store.into()],
        ]
    };
    let refused = |store: &std::path::Path, message: &str| {
        for command in commands(text(store)) {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let assert = world.virtmark(&arguments).assert().code(28).stdout("");
            assert.stderr(contains(message).and(contains(text(store))));
        }
    };
    for place in [&missing, &file, &world.path("run")] {
        refused(place, "there is no store in");
    }
    let store = recorded(&world, MOMENT);
    let header = store.join("header");
    let whole = fs::read(&header).unwrap();
    for at in [0, 9, 40] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&header, damaged).unwrap();
        for command in commands(text(&store)) {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            world.virtmark(&arguments).assert().code(28).stdout("").stderr(contains("header"));
        }
    }
    fs::write(&header, &whole).unwrap();
    world.virtmark(&["series", "info", text(&store)]).assert().success();
    let catalog = store.join("catalog");
    fs::write(&catalog, &fs::read(&catalog).unwrap()[..100]).unwrap();
    refused(&store, "is damaged");
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let world = World::new();
    let store = recorded(&world, MOMENT);
    let dump = ["series", "dump", text(&store), "-o", "/dev/full"];
    world.virtmark(&dump).assert().code(14).stderr(contains("cannot write /dev/full"));
    let plot = world.path("full.png");
    symlink("/dev/full", &plot).unwrap();
    let query = |plot: &str| ["series", "query", text(&store), "{}", "--plot", plot].map(str::to_owned);
    let run = |plot: &str| {
        let arguments = query(plot);
        world.virtmark(&arguments.each_ref().map(String::as_str)).assert().stdout("")
    };
    run(text(&plot)).code(14).stderr(contains("cannot write"));
    run("/nonexistent/plot.png").code(1).stderr(contains("name another file with --plot"));
}

#[test]
fn the_bench_says_what_it_timed_and_leaves_nothing() {
    let world = World::new();
    let bench = world.json(&["series", "bench", "--rounds", "7", "--json"]);
    assert_eq!((&bench["records"], &bench["ticks"]), (&(7 * 30 * 1000).into(), &(7 * 50).into()));
    for figures in ["record", "atomic_add", "tick_of_all_series"] {
        let figure = |name: &str| bench[figures][name].as_f64().unwrap();
        assert!(0.0 < figure("min_ns") && figure("min_ns") <= figure("median_ns"), "{bench}");
        assert!(figure("median_ns") <= figure("max_ns"), "{bench}");
    }
    // A tick publishes a time and records into thirty series.
    assert!(bench["tick_of_all_series"]["min_ns"].as_f64() > bench["record"]["min_ns"].as_f64());
    world
        .virtmark(&["series", "bench", "--rounds", "3"])
        .assert()
        .success()
        .stdout(contains("one atomic add").and(contains("90,000")));
    world.virtmark(&["series", "bench", "--rounds", "0"]).assert().code(2);
    world.assert_clean();
}
