//! What a sweep writes: golden files, round trips, refusals by place, files that were cut off.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/sweep_csv.rs"]
mod sweep_csv;
#[path = "support/sweep_rows.rs"]
mod sweep_rows;

use std::fs::{self, OpenOptions};
use std::io::Write;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use sweep_csv::{check_any_csv, written};
use sweep_rows::{GUIDE, killed, open_loop, row, started};
use virtmark_scenarios::sweep::{self, Row, SweepFiles, csv, jsonl};

fn lines(rows: &[Row]) -> String {
    let mut bytes = Vec::new();
    rows.iter().try_for_each(|row| jsonl::write_row(&mut bytes, row)).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn csv_has_exactly_the_columns_of_the_guide_and_empty_cells_for_what_is_absent() {
    insta::assert_snapshot!(written(&[row(), killed(), open_loop()]));
}

#[test]
fn json_lines_have_the_columns_and_more() {
    let text = lines(&[row(), killed(), open_loop()]);
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        for column in csv::COLUMNS {
            assert!(value.get(column).is_some(), "{column} is missing in {line}");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_other_tools_write_is_read() {
    let header = csv::COLUMNS;
    let mut reversed: Vec<&str> = header.iter().rev().copied().collect();
    reversed[2] = "ru_maxrss_kb";
    let text = format!(
        "\u{feff}{},note\r\n0,0,\"5.0\",9,8,7.5,6,100,1,10.0,\" 32 \",true,4,4,4.0,\"a \"\"b\"\", c\",2026-01-25 12:00:00,x\r\n\r\n",
        reversed.join(",")
    );
    let read = csv::parse(&text, "other.csv").unwrap();
    let expected = Row {
        ts: Some(started()),
        plan: "a \"b\", c".into(),
        vcpus: Some(4),
        cpu_threads: Some(4),
        io_threads: Some(4),
        asynchronous: Some(true),
        concurrency: Some(32),
        duration_sec: Some(10.0),
        run_idx: Some(1),
        qps: Some(100.0),
        p50_ns: Some(6_000),
        p90_ns: Some(7_500),
        p99_ns: Some(8_000),
        max_ns: Some(9_000),
        ru_maxrss_kib: Some(5),
        exit_code: Some(0),
        timeout_killed: Some(false),
        ..Row::default()
    };
    assert_eq!(read, [expected]);
}

#[test]
fn csv_is_refused_by_line_and_column() {
    let header = csv::COLUMNS.join(",");
    let cases = [
        (String::new(), "line 1: it is empty; expected the columns ts,plan,"),
        ("a,b\n".into(), "line 1: the header lacks the columns ts, plan, vcpus,"),
        (format!("{}\n", header.replace(",qps", "")), "line 1: the header lacks the column qps"),
        (format!("{header},qps\n"), "line 1, column 18 (qps): there is a column of this name already"),
        (format!("{header}\n1,2\n"), "line 2: the header has 17 cells, and this row 2"),
        (
            format!("{header}\n\n,p,4,4,4,1,x,10,1,1,,,,,,0,0\n"),
            "line 3, column 7 (concurrency): \"x\" is not a whole number",
        ),
        (
            format!("{header}\n,p,4,4,4,1,0,10,1,1,,,,,,0,0\n"),
            "line 2, column 7 (concurrency): 0 requests in flight",
        ),
        (
            format!("{header}\n,p,4,4,4,1,1,10,1,nan,,,,,,0,0\n"),
            "line 2, column 10 (qps): \"nan\" is not a number",
        ),
        (format!("{header}\n,p,4,4,4,1,1,10,1,-1,,,,,,0,0\n"), "line 2, column 10 (qps): -1 is not from 0"),
        (
            format!("{header}\n,p,4,4,4,1,1,10,1,1,-5,,,,,0,0\n"),
            "line 2, column 11 (p50_us): -5 is no latency",
        ),
        (
            format!("{header}\n,p,4,4,4,1,1,10,1,1,5,,4,,,0,0\n"),
            "line 2, column 13 (p99_us): it is below p50_us",
        ),
        (
            format!("{header}\n,p,4,4,4,2,1,10,1,1,,,,,,0,0\n"),
            "line 2, column 6 (async): \"2\" is neither 1 nor 0",
        ),
        (
            format!("{header}\nnoon,p,4,4,4,1,1,10,1,1,,,,,,0,0\n"),
            "line 2, column 1 (ts): \"noon\" is no time",
        ),
        (
            format!("{header}\n,p,4,4,4,1,1,10,1,1,,,,,1.5,0,0\n"),
            "line 2, column 15 (ru_maxrss): \"1.5\" is not a whole",
        ),
        (format!("{header}\n,\"p\nq,4\n"), "line 2: a quote is opened and never closed"),
        (format!("{header}\n,\"p\"q,4\n"), "line 2: cell 2 goes on after its closing quote"),
    ];
    for (text, expected) in cases {
        let error = csv::parse(&text, "bad.csv").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read bad.csv, {expected}")), "{error}");
    }
}

#[test]
fn json_lines_are_refused_by_line_and_byte() {
    let good = lines(&[row()]);
    let cases = [
        (
            format!("{good}{{\"plan\": 7}}\n"),
            "line 2, column 10: invalid type: integer `7`, expected a string",
        ),
        (format!("{good}\n[]\n"), "line 3, column 1: it is no object"),
        ("{}\n".into(), "line 1, column 2: missing field `plan`"),
        ("{\"plan\": \"p\", \"async\": 3}\n".into(), "line 1, column 25: 3 is neither 1 nor 0"),
        ("{\"plan\": \"p\", \"p99_us\": -1}\n".into(), "line 1, column 27: -1 is no latency"),
        ("{\"plan\": \"p\", \"rate\": 0}\n".into(), "line 1 (rate): 0 is not above 0"),
        (
            "{\"plan\": \"p\", \"ru_maxrss\": 1, \"ru_maxrss_unit\": \"B\"}\n".into(),
            "line 1 (ru_maxrss_unit): \"B\" is not KiB",
        ),
    ];
    for (text, expected) in cases {
        let error = jsonl::parse(&text, "bad.jsonl").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read bad.jsonl, {expected}")), "{error}");
    }
}

#[test]
fn rows_are_in_the_files_when_they_are_appended_and_a_sweep_goes_on_where_it_was_cut_off() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("perf/results");
    let mut files = SweepFiles::create(&directory, started()).unwrap();
    assert_eq!(files.stem(), "sweep_20260125_120000");
    let second = SweepFiles::create(&directory, started()).unwrap();
    assert_eq!(second.stem(), "sweep_20260125_120000_2");
    files.append(&row()).unwrap();
    files.append(&open_loop()).unwrap();
    files.write_summary("first\n").unwrap();
    files.write_summary("second\n").unwrap();
    assert_eq!(fs::read_to_string(files.summary_path()).unwrap(), "second\n");
    assert_eq!(sweep::read(&files.jsonl_path()).unwrap(), [row(), open_loop()]);
    assert_eq!(sweep::read(&files.csv_path()).unwrap().len(), 2);

    // A crash in the middle of a line, and before the CSV had the last one.
    let mut torn = OpenOptions::new().append(true).open(files.jsonl_path()).unwrap();
    torn.write_all(&lines(&[row()]).as_bytes()[..100]).unwrap();
    fs::write(files.csv_path(), "").unwrap();
    let (mut again, rows) = SweepFiles::resume(&files.csv_path()).unwrap();
    assert_eq!(rows, [row(), open_loop()]);
    again.append(&killed()).unwrap();
    assert_eq!(sweep::read(&files.jsonl_path()).unwrap(), [row(), open_loop(), killed()]);
    assert_eq!(fs::read_to_string(files.csv_path()).unwrap(), written(&[row(), open_loop(), killed()]));
    let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn a_line_without_its_newline_is_kept_when_it_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sweep_x.jsonl");
    fs::write(&path, lines(&[row()]).trim_end()).unwrap();
    let (mut files, rows) = SweepFiles::resume(&path).unwrap();
    assert_eq!(rows, [row()]);
    files.append(&open_loop()).unwrap();
    assert_eq!(sweep::read(&path).unwrap(), [row(), open_loop()]);
}

#[test]
fn files_that_cannot_be_written_or_resumed_are_told() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = SweepFiles::create(&file.join("results"), started()).unwrap_err().to_string();
    assert!(error.starts_with("cannot make the directory "), "{error}");
    let error = SweepFiles::resume(&file).unwrap_err().to_string();
    assert!(error.starts_with("cannot resume "), "{error}");
    let error = SweepFiles::resume(&place.path().join("sweep_x.jsonl")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read "), "{error}");
    fs::write(place.path().join("latin.csv"), b"ts\n\xff").unwrap();
    let error = sweep::read(&place.path().join("latin.csv")).unwrap_err().to_string();
    assert!(error.contains("latin.csv, line 2: it is not UTF-8 text"), "{error}");
}

prop_compose! {
    fn latencies()(mut all in prop::array::uniform4(0u64..1_000_000_000_000_000), present in prop::array::uniform4(any::<bool>())) -> [Option<u64>; 4] {
        all.sort_unstable();
        std::array::from_fn(|at| present[at].then_some(all[at]))
    }
}

prop_compose! {
    fn any_row()(
        seconds in prop::option::of(0i64..4_000_000_000),
        plan in "[ -~]{0,12}|[a\"\\n\\r,é]{0,6}",
        counts in prop::array::uniform5(prop::option::of(1u32..u32::MAX)),
        flags in prop::array::uniform2(prop::option::of(any::<bool>())),
        numbers in prop::array::uniform2(prop::option::of(0.0f64..1e12)),
        latencies in latencies(),
        ru_maxrss_kib in prop::option::of(any::<u64>()),
        exit_code in prop::option::of(any::<i32>()),
    ) -> Row {
        Row {
            ts: seconds.map(|seconds| Timestamp::from_second(seconds).unwrap()),
            plan,
            vcpus: counts[0],
            cpu_threads: counts[1],
            io_threads: counts[2],
            asynchronous: flags[0],
            concurrency: counts[3],
            duration_sec: numbers[0],
            run_idx: counts[4],
            qps: numbers[1],
            p50_ns: latencies[0],
            p90_ns: latencies[1],
            p99_ns: latencies[2],
            max_ns: latencies[3],
            ru_maxrss_kib,
            exit_code,
            timeout_killed: flags[1],
            ..Row::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn csv_reads_back_as_it_was(rows in prop::collection::vec(any_row(), 0..5)) {
        prop_assert_eq!(csv::parse(&written(&rows), "csv").unwrap(), rows);
    }

    #[test]
    fn json_lines_read_back_as_they_were(rows in prop::collection::vec(any_row(), 0..5), open: bool) {
        let rows: Vec<Row> = rows.into_iter().map(|row| if open { Row { plan: row.plan, qps: row.qps, ..open_loop() } } else { row }).collect();
        prop_assert_eq!(jsonl::parse(&lines(&rows), "jsonl").unwrap(), rows);
    }

    #[test]
    fn changed_files_are_read_or_refused(at: prop::sample::Index, byte in "[ -~\\n]{1}", cut: bool) {
        let mut text = GUIDE.to_owned();
        let at = at.index(text.len());
        text.replace_range(at..=at, &byte);
        if cut {
            text.truncate(at);
        }
        check_any_csv(&text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[a,\"\\n\\r]{0,20}") {
        check_any_csv(&text);
    }
}

#[test]
fn the_unchanged_file_is_read() {
    assert!(check_any_csv(GUIDE));
}
