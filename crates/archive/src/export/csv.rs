//! A header, then a row for each sample. Fields are quoted as RFC 4180 has it; lines end in LF.

use std::fmt::Display;
use std::io::{self, Write};

use virtmark_model::{Outcome, Sample};

use super::Exporter;
use crate::StoredRun;

const HEADER: &str =
    "run_id,scenario,seq,metric,unit,started_ns,outcome,value,failure_class,message,phases,labels";

pub(super) struct Csv<'a> {
    output: &'a mut dyn Write,
    /// The fields all rows start with.
    prefix: String,
}

impl<'a> Csv<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self { output, prefix: String::new() }
    }
}

impl Exporter for Csv<'_> {
    fn begin(&mut self, run: &StoredRun) -> io::Result<()> {
        self.prefix = format!("{},{}", field(run.run.id.as_str()), field(&run.run.scenario));
        writeln!(self.output, "{HEADER}")
    }

    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        let (outcome, value, class, message) = match &sample.outcome {
            Outcome::Failure { class, message } => ("failure", None, class.as_str(), message.as_str()),
            Outcome::Skipped { reason } => ("skipped", None, "", reason.as_str()),
            Outcome::Success { value } => ("success", Some(value), "", ""),
        };
        writeln!(
            self.output,
            "{},{},{},{},{},{outcome},{},{class},{},{},{}",
            self.prefix,
            sample.seq,
            field(&sample.metric),
            sample.unit,
            sample.started_ns,
            // Display of a float has no exponent, and no point for a whole number.
            value.map(f64::to_string).unwrap_or_default(),
            field(message),
            field(&pairs(sample.phases.iter().map(|phase| (&*phase.name, phase.duration_ns)))),
            field(&pairs(sample.labels.iter().map(|(name, value)| (&**name, escape(value))))),
        )
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `name=value;name=value`, with a backslash before each `;`, `=` and `\` of a name or a text.
fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, impl Display)>) -> String {
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{}={value}", escape(name))).collect();
    pairs.join(";")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace(';', "\\;").replace('=', "\\=")
}

/// A field, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reader of one RFC 4180 record, for the test alone.
    fn read_record(record: &str) -> Vec<String> {
        let mut fields = vec![String::new()];
        let mut quoted = false;
        let mut letters = record.chars().peekable();
        while let Some(letter) = letters.next() {
            let last = fields.last_mut().unwrap();
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => last.push(letters.next().unwrap()),
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                _ => last.push(letter),
            }
        }
        fields
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_reads_back_from_its_field(texts in prop::collection::vec("[a,\"\r\n;é]{0,6}", 1..5)) {
            let record = texts.iter().map(|text| field(text)).collect::<Vec<_>>().join(",");
            prop_assert_eq!(read_record(&record), texts);
        }
    }

    #[test]
    fn separators_inside_names_are_told_from_separators() {
        assert_eq!(pairs([("a=b", 1), ("c;", 2)].into_iter()), "a\\=b=1;c\\;=2");
        assert_eq!(pairs(std::iter::empty::<(&str, u64)>()), "");
    }
}
