//! Going on with a sweep that was interrupted.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::Error;
use super::plan::{Load, SweepPlan};
use super::row::Row;
use super::schedule::Step;

/// What an interrupted sweep left.
#[derive(Clone, Debug)]
pub struct Interrupted {
    /// What it was asked to do.
    pub plan: SweepPlan,
    /// What it measured.
    pub rows: Vec<Row>,
}

impl Interrupted {
    /// What the rows of an interrupted sweep, which are in the file `path`, say of it.
    ///
    /// # Errors
    /// When there are no rows, or they are of several sweeps, or of one that was not driven by this program.
    pub fn new(path: &Path, rows: Vec<Row>) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable { path: path.into(), reason };
        let Some(first) = rows.first() else {
            return Err(unusable("it has no runs; begin a new sweep".into()));
        };
        if rows.iter().any(|row| row.settings != first.settings) {
            return Err(unusable("its rows are of several sweeps".into()));
        }
        let plan = serde_json::from_value(Value::Object(first.settings.clone())).map_err(|error| {
            unusable(format!("its rows do not say what was asked for ({error}); begin a new sweep"))
        })?;
        Ok(Self { plan, rows })
    }

    /// Refuses options that ask for another sweep than this one.
    ///
    /// # Errors
    /// [`Error::Different`] with every setting that differs.
    pub fn expect(&self, asked: &SweepPlan, path: &Path) -> Result<(), Error> {
        match differences(&self.plan.settings(), &asked.settings()) {
            None => Ok(()),
            Some(differences) => Err(Error::Different { path: path.into(), differences }),
        }
    }

    /// The runs that are still to be measured, in the order of the sweep. One that failed counts as measured.
    pub fn remaining(&self) -> Vec<Step> {
        let done: BTreeSet<_> =
            self.rows.iter().filter_map(|row| self.step(row)).map(|step| step.key()).collect();
        self.plan.steps().into_iter().filter(|step| !done.contains(&step.key())).collect()
    }

    /// Which run a row is of.
    fn step(&self, row: &Row) -> Option<Step> {
        let in_flight = match &self.plan.load {
            Load::Open { in_flight, .. } => Some(*in_flight),
            Load::Closed { .. } => None,
        };
        Some(Step {
            vcpus: row.vcpus.unwrap_or(0),
            concurrency: row.concurrency.or(in_flight)?,
            rate_per_second: row.rate,
            run_idx: row.run_idx?,
        })
    }
}

/// The settings in which `there` and `asked` differ, in words; none when they are the same.
fn differences(there: &Map<String, Value>, asked: &Map<String, Value>) -> Option<String> {
    let mut found = Vec::new();
    compare("", there, asked, &mut found);
    (!found.is_empty()).then(|| found.join(", "))
}

/// Adds every difference, by the path of its setting.
fn compare(above: &str, there: &Map<String, Value>, asked: &Map<String, Value>, found: &mut Vec<String>) {
    let names: BTreeSet<&String> = there.keys().chain(asked.keys()).collect();
    for name in names {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match (there.get(name), asked.get(name)) {
            (one, other) if one == other => {}
            (Some(Value::Object(one)), Some(Value::Object(other))) => compare(&path, one, other, found),
            (one, other) => found.push(format!("{path} {} and not {}", short(one), short(other))),
        }
    }
}

/// A value in a sentence.
fn short(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::jsonl;
    use super::super::plan::tests::small;
    use super::*;

    /// Rows as they come back from a file.
    fn kept(plan: &SweepPlan, rows: &[Row]) -> Vec<Row> {
        let mut text = Vec::new();
        for row in rows {
            jsonl::write_row(&mut text, &Row { settings: plan.settings(), ..row.clone() }).unwrap();
        }
        jsonl::parse(std::str::from_utf8(&text).unwrap(), "x").unwrap()
    }

    fn interrupted(plan: &SweepPlan, rows: &[Row]) -> Interrupted {
        Interrupted::new(Path::new("x.jsonl"), kept(plan, rows)).unwrap()
    }

    fn done(vcpus: u32, concurrency: u32, run_idx: u32) -> Row {
        Row { vcpus: Some(vcpus), concurrency: Some(concurrency), run_idx: Some(run_idx), ..Row::default() }
    }

    #[test]
    fn what_was_measured_is_not_measured_again() {
        let plan = SweepPlan { runs: 2, order_seed: Some(7), ..small() };
        let all = plan.steps();
        let rows: Vec<Row> =
            all[..3].iter().map(|step| done(step.vcpus, step.concurrency, step.run_idx)).collect();
        let interrupted = interrupted(&plan, &rows);
        assert_eq!(interrupted.plan, plan);
        assert_eq!(interrupted.remaining(), all[3..]);
    }

    #[test]
    fn levels_of_an_open_loop_are_told_apart_by_their_rate() {
        let load = Load::Open { rates_per_second: vec![0.1, 0.2, 30.0], in_flight: 8 };
        let plan = SweepPlan { load, ..small() };
        let row = Row { vcpus: Some(4), rate: Some(0.2), run_idx: Some(1), ..Row::default() };
        let remaining = interrupted(&plan, &[row]).remaining();
        let rates: Vec<_> = remaining.iter().map(|step| step.rate_per_second).collect();
        assert_eq!(rates, [Some(0.1), Some(30.0)]);
    }

    #[test]
    fn another_sweep_is_refused_with_what_differs() {
        let machine = serde_json::json!({ "accel": "auto", "image": "tiny" });
        let (plan, path) = (SweepPlan { machine, ..small() }, Path::new("x.jsonl"));
        let interrupted = interrupted(&plan, &[done(4, 1, 1)]);
        interrupted.expect(&plan, path).unwrap();
        let machine = serde_json::json!({ "accel": "tcg" });
        let other = SweepPlan { duration_ms: 9_000, vcpus: vec![2], machine, ..plan };
        let message = interrupted.expect(&other, path).unwrap_err().to_string();
        assert!(message.contains("duration_ms 10000 and not 9000"), "{message}");
        assert!(message.contains("vcpus [4] and not [2]"), "{message}");
        assert!(message.contains("machine.accel \"auto\" and not \"tcg\""), "{message}");
        assert!(message.contains("machine.image \"tiny\" and not nothing"), "{message}");
        assert!(!message.contains("runs"), "{message}");
    }

    #[test]
    fn files_without_a_sweep_are_refused_with_a_reason() {
        let refused = |rows| Interrupted::new(Path::new("x.jsonl"), rows).unwrap_err().to_string();
        assert!(refused(Vec::new()).contains("no runs"));
        let mut two = kept(&small(), &[done(4, 1, 1)]);
        two.extend(kept(&SweepPlan { runs: 9, ..small() }, &[done(4, 2, 1)]));
        assert!(refused(two).contains("several sweeps"));
        assert!(refused(vec![done(4, 1, 1)]).contains("do not say"));
    }
}
