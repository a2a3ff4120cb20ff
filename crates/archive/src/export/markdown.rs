//! A page to read: how the run ended, what it ran on, what was asked, and every sample.

use std::io::{self, Write};

use serde_json::Value;
use virtmark_model::{Outcome, Sample};

use super::Exporter;
use crate::{SampleCounts, StoredRun};

pub(super) struct Markdown<'a> {
    output: &'a mut dyn Write,
}

impl<'a> Markdown<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self { output }
    }
}

impl Exporter for Markdown<'_> {
    fn begin(&mut self, stored: &StoredRun) -> io::Result<()> {
        let StoredRun { run, state, samples } = stored;
        let SampleCounts { successes, failures, skips } = samples;
        writeln!(self.output, "# {}\n", run.id)?;
        writeln!(self.output, "- Scenario: {}", cell(&run.scenario))?;
        writeln!(self.output, "- State: {state}")?;
        writeln!(self.output, "- Started: {}", run.started_at)?;
        if let Some(finished_at) = run.finished_at {
            writeln!(self.output, "- Finished: {finished_at}")?;
        }
        writeln!(self.output, "- Samples: {successes} measured, {failures} failed, {skips} skipped")?;
        if run.environment.hypervisor.is_emulated() {
            let nested = run.environment.hypervisor.nested_in_emulation;
            let how = if nested { "under KVM nested in software emulation" } else { "in software emulation" };
            writeln!(self.output, "\n**Guests ran {how}, not with hardware virtualisation.**")?;
        }
        writeln!(self.output, "\n## Environment\n\n| fact | value |\n| --- | --- |")?;
        for (name, value) in facts(serde_json::to_value(&run.environment)?) {
            writeln!(self.output, "| {} | {} |", cell(&name), cell(&value))?;
        }
        let configuration = serde_json::to_string_pretty(&run.configuration)?;
        writeln!(self.output, "\n## Configuration\n\n```json\n{configuration}\n```")?;
        writeln!(self.output, "\n## Samples\n")?;
        writeln!(
            self.output,
            "| seq | metric | value | unit | outcome | started (ns) | phases (ns) | labels |"
        )?;
        writeln!(self.output, "| ---: | --- | ---: | --- | --- | ---: | --- | --- |")
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        let value = sample.outcome.value().map(|value| value.to_string()).unwrap_or_default();
        let outcome = match &sample.outcome {
            Outcome::Failure { class, message } => format!("failure: {class}: {message}"),
            Outcome::Skipped { reason } => format!("skipped: {reason}"),
            Outcome::Success { .. } => "success".into(),
        };
        let phases = sample.phases.iter().map(|phase| format!("{} {}", phase.name, phase.duration_ns));
        let labels = sample.labels.iter().map(|(name, value)| format!("{name}={value}"));
        writeln!(
            self.output,
            "| {} | {} | {value} | {} | {} | {} | {} | {} |",
            sample.seq,
            cell(&sample.metric),
            sample.unit,
            cell(&outcome),
            sample.started_ns,
            cell(&phases.collect::<Vec<_>>().join(", ")),
            cell(&labels.collect::<Vec<_>>().join(", ")),
        )
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every fact that is there as a dotted name and a text, so that a fact added to the model shows up by itself.
fn facts(environment: Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect_facts(String::new(), environment, &mut found);
    found
}

fn collect_facts(name: String, value: Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member } else { format!("{name}.{member}") };
                collect_facts(name, value, found);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.into_iter().map(plain).collect();
            found.push((name, items.join(" ")));
        }
        value => found.push((name, plain(value))),
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// A text that stays inside its cell and means itself.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.replace("\r\n", "\n").chars() {
        match letter {
            '\n' | '\r' => escaped.push_str("<br>"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '\\' | '|' | '`' | '*' | '[' | ']' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_text_leaves_its_cell(text in "[a|\\\\\n\r<*]{0,8}") {
            let cell = cell(&text);
            prop_assert!(!cell.contains(['\n', '\r']));
            // A pipe ends the cell unless an odd number of backslashes stands before it.
            let mut backslashes = 0;
            for letter in cell.chars() {
                prop_assert!(letter != '|' || backslashes % 2 == 1, "{}", cell);
                backslashes = if letter == '\\' { backslashes + 1 } else { 0 };
            }
        }
    }

    #[test]
    fn absent_facts_are_left_out() {
        let facts = facts(serde_json::json!({"a": {"b": 1, "c": null, "g": ""}, "d": ["x", "y"], "e": "f"}));
        let expected =
            [("a.b", "1"), ("d", "x y"), ("e", "f")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(facts, expected);
    }
}
