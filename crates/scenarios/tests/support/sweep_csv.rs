//! What must hold for any text that is given as the CSV of a sweep. Used by the property test here and by the fuzz target
//! in `fuzz/`.

use virtmark_scenarios::sweep::{Row, Sweep, csv, summary};
use virtmark_stats::knee;

const ORIGIN: &str = "any.csv";

/// Refused with a line that it has, or rows that are the same when they are written and read again, and of which a summary
/// can be written or refused. Gives whether it was read.
pub(crate) fn check_any_csv(text: &str) -> bool {
    let rows = match csv::parse(text, ORIGIN) {
        Ok(rows) => rows,
        Err(error) => {
            let error = error.to_string();
            let told = error.strip_prefix("cannot read any.csv, line ").unwrap();
            let line = told.split([',', ':']).next().unwrap().parse().unwrap();
            let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line), "{error}");
            return false;
        }
    };
    assert_eq!(csv::parse(&written(&rows), ORIGIN).unwrap(), rows);
    // Few resamples: the interval of a peak is not what is looked at here.
    let options = knee::Options { resamples: 40, ..knee::Options::default() };
    if let Ok(sweep) = Sweep::from_rows(&rows, &options) {
        assert!(summary::text(&sweep).starts_with("Sweep of "));
        let runs: usize = sweep
            .series
            .iter()
            .flat_map(|series| &series.levels)
            .map(|level| level.runs + level.failed.len())
            .sum();
        assert_eq!(runs, rows.len());
    }
    true
}

/// The rows as CSV.
pub(crate) fn written(rows: &[Row]) -> String {
    let mut bytes = Vec::new();
    csv::write_header(&mut bytes).unwrap();
    rows.iter().try_for_each(|row| csv::write_row(&mut bytes, row)).unwrap();
    String::from_utf8(bytes).unwrap()
}
