//! Every raw sample, to read and to compute with.

use virtmark_model::{Outcome, Sample};

use super::{Entry, tables};
use crate::ReportError;
use crate::markup::Markup;

/// All samples of a run as a `data:` URI of JSON Lines, one sample in its recorded form a line.
pub(super) fn download(entry: &Entry<'_>) -> Result<String, ReportError> {
    let mut lines = Vec::new();
    for sample in &entry.samples.samples {
        serde_json::to_writer(&mut lines, sample).map_err(|source| ReportError::Sample {
            run: entry.run().id.to_string(),
            seq: sample.seq,
            source,
        })?;
        lines.push(b'\n');
    }
    Ok(format!("data:application/x-ndjson;base64,{}", base64(&lines)))
}

pub(super) fn draw(body: &mut Markup, entries: &[Entry<'_>], downloads: &[String]) {
    body.element("section", &[], |section| {
        section.leaf("h2", &[], "Raw samples");
        section.leaf(
            "p",
            &[],
            "Every sample of every run, none trimmed, in exact values: times in nanoseconds, sizes in bytes.",
        );
        for (entry, download) in entries.iter().zip(downloads) {
            draw_run(section, entry, entries.len() > 1, download);
        }
    });
    body.newline();
}

fn draw_run(section: &mut Markup, entry: &Entry<'_>, several: bool, download: &str) {
    let id = &entry.run().id;
    section.element("details", &[], |details| {
        let letter = if several { format!("{} ", entry.letter) } else { String::new() };
        details.leaf("summary", &[], format!("{letter}{id}: {} samples", entry.samples.samples.len()));
        details.element("p", &[("class", &"no-print")], |line| {
            let file = format!("{id}.jsonl");
            line.leaf("a", &[("download", &file), ("href", &download)], format!("Save as {file}"));
        });
        let headings = [
            ("#", "figure"),
            ("metric", ""),
            ("started at ns", "figure"),
            ("value", "figure"),
            ("unit", ""),
            ("phases in ns, or what went wrong", ""),
            ("labels", ""),
        ];
        tables::table(details, &headings, |rows| {
            for sample in &entry.samples.samples {
                rows.element("tr", &[], |row| draw_sample(row, sample));
                rows.newline();
            }
        });
    });
}

fn draw_sample(row: &mut Markup, sample: &Sample) {
    tables::cell(row, "figure", sample.seq);
    tables::cell(row, "word", &sample.metric);
    tables::cell(row, "figure", sample.started_ns);
    let phases: Vec<String> =
        sample.phases.iter().map(|phase| format!("{} {}", phase.name, phase.duration_ns)).collect();
    let phases = phases.join(", ");
    match &sample.outcome {
        Outcome::Success { value } => {
            tables::cell(row, "figure", value);
            tables::cell(row, "", sample.unit);
            tables::cell(row, "", phases);
        }
        Outcome::Failure { class, message } => {
            tables::cell(row, "figure bad", "failed");
            tables::cell(row, "", "");
            let passed = if phases.is_empty() { String::new() } else { format!(" (after {phases})") };
            tables::cell(row, "", format!("{class}: {message}{passed}"));
        }
        Outcome::Skipped { reason } => {
            tables::cell(row, "figure", "skipped");
            tables::cell(row, "", "");
            tables::cell(row, "", reason);
        }
    }
    let labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    tables::cell(row, "", labels.join(" "));
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |position: usize| u32::from(chunk.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn published_base64() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0xfb]), "//79+w==");
    }
}
