//! One HTML document about one or several runs that loads nothing from elsewhere and runs no script.
//!
//! It is written as well-formed XML by this crate's one markup writer, which also draws the figures: every name in
//! it, from whatever guest or host, passes through the same escape.

mod facts;
mod metrics;
mod ramp;
mod samples;
mod sections;
mod tables;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use virtmark_model::Run;

use crate::markup::Markup;
use crate::metric::Metric;
use crate::{ReportError, RunSamples, figure, format, notes};

/// What a report depends on beyond its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Heading; by default the scenarios' names.
    pub title: Option<String>,
    /// When the report is made.
    pub generated_at: Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self { title: None, generated_at: Timestamp::now() }
    }
}

/// A report about the runs, in the order given: what was measured on what, every figure with its uncertainty,
/// distributions, phases, environments, configurations, how to repeat it, and all raw samples.
///
/// # Errors
/// Without runs, when a value is not finite, or when a sample cannot be written as JSON.
pub fn report(runs: &[RunSamples], options: &Options) -> Result<String, ReportError> {
    let entries = entries(runs)?;
    let downloads = entries.iter().map(samples::download).collect::<Result<Vec<_>, _>>()?;
    let title = options.title.clone().unwrap_or_else(|| default_title(runs));
    let mut page = Markup::new();
    page.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| draw_head(head, &title));
        html.newline();
        html.element("body", &[], |body| {
            draw_header(body, &title, &entries, options);
            metrics::draw(body, &entries);
            sections::draw(body, &entries);
            facts::draw(body, &entries);
            samples::draw(body, &entries, &downloads);
            draw_footer(body);
        });
    });
    Ok(format!("<!DOCTYPE html>\n{}\n", page.finish()))
}

/// The figures of [`report`] in their order, for other media: each metric's distribution over all runs, its phases, its
/// ramps; then what runs have of their own.
///
/// # Errors
/// Without runs, or when a value is not finite.
pub fn figures(runs: &[RunSamples]) -> Result<Vec<figure::Figure>, ReportError> {
    let mut figures = metrics::all_figures(&entries(runs)?);
    figures.extend(runs.iter().flat_map(|run| run.figures.iter().cloned()));
    Ok(figures)
}

fn entries(runs: &[RunSamples]) -> Result<Vec<Entry<'_>>, ReportError> {
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    runs.iter()
        .enumerate()
        .map(|(position, samples)| {
            let metrics = Metric::of_run(&samples.run.id, &samples.samples)?;
            Ok(Entry { letter: letter(position), samples, metrics })
        })
        .collect()
}

/// A run in the report, with the letter that stands for it in tables.
struct Entry<'a> {
    letter: String,
    samples: &'a RunSamples,
    metrics: Vec<Metric<'a>>,
}

impl Entry<'_> {
    fn run(&self) -> &Run {
        &self.samples.run
    }

    /// The run as figures name it: the letter first, when there are others.
    fn name(&self, entries: &[Entry<'_>]) -> String {
        self.named(entries, None)
    }

    /// The run, or what of it was started in one way: `B qemu warm, tti-20260102-030405-a1b2c3 (emulated)`.
    fn named(&self, entries: &[Entry<'_>], start: Option<&str>) -> String {
        let Run { id, environment, .. } = self.run();
        let several = entries.len() > 1;
        let emulated = match (environment.hypervisor.is_emulated(), several) {
            (false, _) => "",
            (true, _) if environment.hypervisor.nested_in_emulation => " (nested in emulation)",
            (true, false) => " (software emulation)",
            // There is less room, and a note says it in full.
            (true, true) => " (emulated)",
        };
        let mut words = Vec::new();
        if several {
            words.extend([self.letter.as_str(), environment.hypervisor.name.as_str()]);
        }
        words.extend(start);
        let words = words.join(" ");
        let comma = if words.is_empty() { "" } else { ", " };
        format!("{words}{comma}{id}{emulated}")
    }
}

/// A to Z, then AA, AB, as spreadsheets name columns.
fn letter(position: usize) -> String {
    let last = char::from(b'A' + (position % 26) as u8);
    if position < 26 { last.into() } else { format!("{}{last}", letter(position / 26 - 1)) }
}

fn default_title(runs: &[RunSamples]) -> String {
    let mut scenarios: Vec<&str> = Vec::new();
    for run in runs {
        if !scenarios.contains(&run.run.scenario.as_str()) {
            scenarios.push(&run.run.scenario);
        }
    }
    format!("virtmark: {}", scenarios.join(", "))
}

fn draw_head(head: &mut Markup, title: &str) {
    head.empty("meta", &[("charset", &"utf-8")]);
    head.empty("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
    // Should a name ever slip through as markup, it still may not run or load anything.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    head.empty("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)]);
    head.leaf("title", &[], title);
    head.style_sheet(include_str!("style.css"));
    head.style_sheet(figure::STYLE_SHEET);
}

fn draw_header(body: &mut Markup, title: &str, entries: &[Entry<'_>], options: &Options) {
    body.element("header", &[], |header| {
        header.leaf("h1", &[], title);
        let runs = if entries.len() == 1 { "One run".into() } else { format!("{} runs", entries.len()) };
        header.leaf(
            "p",
            &[("class", &"faint small")],
            format!(
                "{runs}; report written {} by virtmark {}",
                format::timestamp(options.generated_at),
                env!("CARGO_PKG_VERSION")
            ),
        );
        draw_banners(header, entries);
        draw_runs(header, entries);
    });
    body.newline();
}

fn draw_banners(header: &mut Markup, entries: &[Entry<'_>]) {
    let emulated: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| entry.run().environment.hypervisor.is_emulated()).collect();
    let Some(emulation) = notes::emulation(entries.iter().map(Entry::run)) else { return };
    header.element("p", &[("class", &"banner"), ("role", &"note")], |banner| {
        banner.text(emulation);
        if emulated.len() < entries.len() {
            let letters: Vec<&str> = emulated.iter().map(|entry| entry.letter.as_str()).collect();
            banner.text(format!(" Emulated here: {}. {}", letters.join(", "), notes::MIXED));
        }
    });
}

fn draw_runs(header: &mut Markup, entries: &[Entry<'_>]) {
    let several = entries.len() > 1;
    let mut headings = vec![("run", ""), ("started", ""), ("took", "figure"), ("status", "")];
    headings.extend([("platform", ""), ("ok", "figure"), ("failed", "figure"), ("skipped", "figure")]);
    if several {
        headings.insert(0, ("", ""));
    }
    tables::table(header, &headings, |rows| {
        for entry in entries {
            let run = entry.run();
            let took = run.finished_at.map(|end| end.duration_since(run.started_at).as_nanos() as f64);
            let total = |count: fn(&Metric<'_>) -> u64| entry.metrics.iter().map(count).sum::<u64>();
            rows.element("tr", &[], |row| {
                if several {
                    row.leaf("th", &[], &entry.letter);
                }
                tables::cell(row, "word", run.id.as_str());
                tables::cell(row, "word", format::timestamp(run.started_at));
                tables::cell(row, "figure", took.map_or_else(|| "–".into(), format::duration_ns));
                tables::cell(row, "", run.status.as_str());
                tables::cell(row, "platform", notes::platform(run));
                tables::cell(row, "figure", format::count(total(|metric| metric.succeeded()) as f64));
                let failed = total(|metric| metric.failed());
                tables::cell(
                    row,
                    if failed > 0 { "figure bad" } else { "figure" },
                    format::count(failed as f64),
                );
                tables::cell(row, "figure", format::count(total(|metric| metric.skipped()) as f64));
            });
        }
    });
    let statuses: Vec<String> = entries
        .iter()
        .filter_map(|entry| Some((entry, notes::status(entry.run())?)))
        .map(|(entry, status)| if several { format!("{}: {status}", entry.letter) } else { status })
        .collect();
    tables::notes(header, &statuses);
}

fn draw_footer(body: &mut Markup) {
    body.element("footer", &[("class", &"small faint")], |footer| {
        footer.leaf(
            "p",
            &[],
            "Medians and percentiles are nearest-rank: each is one of the samples, none is interpolated. The 95 % \
             interval of the median is read off the order statistics for 6 to 99 samples and is a BCa bootstrap from \
             100 on. sd is the sample standard deviation; MAD is the median absolute deviation, not scaled. Outliers \
             are counted by Tukey's fences and stay in every figure. Times are from the host's monotonic clock; \
             failed attempts enter no figure.",
        );
    });
}
