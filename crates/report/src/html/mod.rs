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

use crate::entry::{Entry, entries};
use crate::markup::Markup;
use crate::metric::Metric;
use crate::overview::{self, Suite};
use crate::{ReportError, RunSamples, figure, format, notes};

/// What a report depends on beyond its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Heading; by default the scenarios' names.
    pub title: Option<String>,
    /// When the report is made.
    pub generated_at: Timestamp,
    /// The suite that the runs are the steps of.
    pub suite: Option<Suite>,
}

impl Default for Options {
    fn default() -> Self {
        Self { title: None, generated_at: Timestamp::now(), suite: None }
    }
}

/// A report about the runs, in the order given: what a suite came to, what was measured on what, every figure with its uncertainty,
/// distributions, phases, environments, configurations, how to repeat it, and all raw samples.
///
/// # Errors
/// Without runs, when a value is not finite, or when a sample cannot be written as JSON.
pub fn report(runs: &[RunSamples], options: &Options) -> Result<String, ReportError> {
    let entries = entries(runs)?;
    let downloads = entries.iter().map(samples::download).collect::<Result<Vec<_>, _>>()?;
    let title = title(runs, options);
    let parts = overview::parts(&entries, options.suite.as_ref())?;
    let mut page = Markup::new();
    page.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| draw_head(head, &title));
        html.newline();
        html.element("body", &[], |body| {
            draw_header(body, &title, &entries, options);
            parts.iter().for_each(|part| sections::draw_part(body, part));
            metrics::draw(body, &entries, options.suite.is_some());
            sections::draw(body, &entries);
            facts::draw(body, &entries);
            if let Some(suite) = &options.suite {
                sections::draw_part(body, &overview::repeat(suite));
            }
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

/// The heading that was asked for, or the names of the suite or the scenarios.
pub(crate) fn title(runs: &[RunSamples], options: &Options) -> String {
    if let Some(title) = &options.title {
        return title.clone();
    }
    if let Some(suite) = &options.suite {
        return format!("virtmark: suite {}", suite.name);
    }
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
                tables::cell(row, "figure", took.map_or_else(|| "–".into(), format::took_ns));
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
