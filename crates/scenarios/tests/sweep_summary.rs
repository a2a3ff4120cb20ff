//! What a sweep says in words: tables by level, the knee, and what went wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/sweep_rows.rs"]
mod sweep_rows;

use std::collections::BTreeMap;

use serde_json::{Map, json};
use sweep_rows::{GUIDE, killed, open_loop, row};
use virtmark_scenarios::sweep::{Row, Sweep, SweepError, csv, summary};
use virtmark_stats::knee;

fn summarised(rows: &[Row], slo: Option<&str>) -> String {
    let options = knee::Options { slo: slo.map(|slo| slo.parse().unwrap()), ..knee::Options::default() };
    summary::text(&Sweep::from_rows(rows, &options).unwrap())
}

#[test]
fn the_guides_own_file_is_read_and_has_its_knee_at_32() {
    let rows = csv::parse(GUIDE, "guide.csv").unwrap();
    assert_eq!((rows.len(), rows[4].concurrency, rows[4].p99_ns), (7, Some(32), Some(15_000_000)));
    assert_eq!((rows[4].p90_ns, rows[4].ru_maxrss_kib, rows[4].errors.as_ref()), (None, None, None));
    let sweep = Sweep::from_rows(&rows, &knee::Options::default()).unwrap();
    assert_eq!(sweep.series[0].knee(), Some(32));
    insta::assert_snapshot!(summarised(&rows, Some("p99<20ms")));
}

#[test]
fn the_summary_shows_sizes_repeats_failures_and_warnings() {
    let mut rows = Vec::new();
    for (vcpus, most) in [(2, 9_000.0), (4, 17_500.0)] {
        for (concurrency, share) in [(1, 0.1), (4, 0.4), (16, 0.9), (64, 1.0), (128, 1.01)] {
            for run_idx in 1..=3 {
                let p99_ns = 1_000_000 * u64::from(concurrency) + 1_000 * u64::from(run_idx);
                rows.push(Row {
                    vcpus: Some(vcpus),
                    cpu_threads: Some(vcpus),
                    concurrency: Some(concurrency),
                    run_idx: Some(run_idx),
                    qps: Some(most * share * (1.0 + f64::from(run_idx) / 100.0)),
                    p50_ns: Some(p99_ns / 4),
                    p90_ns: Some(p99_ns / 2),
                    p99_ns: Some(p99_ns),
                    max_ns: Some(p99_ns * 2),
                    emulated: Some(true),
                    platform: Some("qemu 7.2.0, tcg".into()),
                    warnings: vec!["4 virtual CPUs on a host that has 2".into()],
                    ..row()
                });
            }
        }
    }
    let broken = rows.len() - 1;
    rows[broken] = Row {
        vcpus: Some(4),
        cpu_threads: Some(4),
        plan: "concat_plan".into(),
        run_idx: Some(3),
        ..killed()
    };
    rows[broken].asynchronous = Some(true);
    rows[broken].io_threads = Some(8);
    rows[broken - 1].errors = open_loop().errors;
    rows[broken - 1].error_messages = open_loop().error_messages;
    rows[0].completed = Some(99);
    insta::assert_snapshot!(summarised(&rows, Some("p99<20ms,errors<0.1%")));
}

#[test]
fn the_summary_of_an_open_loop_speaks_of_rates() {
    let levels =
        [(100.0, 100.0, 1), (200.0, 200.0, 1), (400.0, 399.0, 2), (800.0, 610.0, 900), (1600.0, 612.0, 2500)];
    let rows = levels.map(|(rate, qps, p99_ms)| Row {
        rate: Some(rate),
        qps: Some(qps),
        p50_ns: Some(p99_ms * 100_000),
        p90_ns: Some(p99_ms * 500_000),
        p99_ns: Some(p99_ms * 1_000_000),
        max_ns: Some(p99_ms * 2_000_000),
        emulated: None,
        platform: None,
        warnings: vec![],
        ..open_loop()
    });
    insta::assert_snapshot!(summarised(&rows, None));
}

#[test]
fn nothing_is_said_of_a_sweep_in_which_every_run_failed_but_why() {
    let text = summarised(&[killed()], None);
    assert!(
        text.contains("no run succeeded") && text.contains("run 2 was killed: its time limit passed"),
        "{text}"
    );
}

#[test]
fn a_run_that_ended_badly_says_how_and_why_and_one_in_which_nothing_ended_too() {
    let failure =
        |message: &str| Map::from_iter([("failure".into(), json!({ "class": "other", "message": message }))]);
    let died = Row {
        concurrency: Some(2),
        qps: None,
        exit_code: Some(1),
        details: failure("no such program\nmore"),
        ..row()
    };
    let hung = Row {
        concurrency: Some(4),
        qps: Some(0.0),
        completed: Some(0),
        errors: Some(BTreeMap::new()),
        details: failure("no request ended; 4 were under way"),
        ..row()
    };
    let text = summarised(&[row(), died, hung], None);
    assert!(text.contains("concurrency 2: run 1 failed: exit code 1: no such program\n"), "{text}");
    assert!(
        text.contains("concurrency 4: run 1 has a throughput of 0: no request ended; 4 were under way"),
        "{text}"
    );
    assert!(!text.contains("not counted"), "{text}");
}

#[test]
fn what_the_generator_costs_is_told_by_its_worst_run() {
    let with = |name: &str, values: [f64; 2]| {
        let rows = [(1, values[0]), (2, values[1])].map(|(concurrency, value)| Row {
            concurrency: Some(concurrency),
            elapsed_sec: Some(10.0),
            completed: Some(1000),
            errors: Some(BTreeMap::new()),
            details: Map::from_iter([(name.to_owned(), json!(value))]),
            ..row()
        });
        summarised(&rows, None)
    };
    let text = with("overhead_ns_per_call", [90.0, 140.0]);
    assert!(text.contains("generator itself took up to 0.14 us a request"), "{text}");
    let text = with("generator_cpu_ns", [2_500_000_000.0, 1_000_000_000.0]);
    assert!(text.contains("generator itself took up to 25.00 % of one CPU"), "{text}");
    assert!(!with("wall_ns", [1.0, 2.0]).contains("generator"), "what is not known is not told");
}

#[test]
fn an_open_loop_that_steps_far_beyond_what_is_answered_asks_for_rates_between() {
    let rows = [(50.0, 50.0), (100.0, 100.0), (20_000.0, 1221.4)].map(|(rate, qps)| Row {
        rate: Some(rate),
        qps: Some(qps),
        ..open_loop()
    });
    let text = summarised(&rows, None).split_whitespace().collect::<Vec<_>>().join(" ");
    let said = "the rate of 100 is kept up with, and of 20000, the highest, 1221 are answered; measure rates between them";
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("measure higher levels"), "{text}");
}

#[test]
fn an_objective_about_what_was_not_measured_is_refused() {
    let rows = csv::parse(GUIDE, "guide.csv").unwrap();
    let options = knee::Options { slo: Some("p90<20ms".parse().unwrap()), ..knee::Options::default() };
    let error = Sweep::from_rows(&rows, &options).unwrap_err();
    assert_eq!(error.to_string(), "the objective is about p90, which run 1 (concat_plan) did not measure");
    assert!(matches!(Sweep::from_rows(&[], &knee::Options::default()), Err(SweepError::Empty)));
    let error =
        Sweep::from_rows(&[Row { concurrency: None, ..row() }], &knee::Options::default()).unwrap_err();
    assert!(error.to_string().contains("neither a concurrency nor a rate"), "{error}");
}
