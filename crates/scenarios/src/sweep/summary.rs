//! A sweep as text: tables by level with an assessment, and what each method says of the knee.

use std::fmt::Write;

use virtmark_stats::knee::{Analysis, Finding, Recommendation};

use super::grouping::scheduler;
use super::levels::{GeneratorCost, LevelFigures, Series, Spread, Sweep};
use super::prose::{characters, number, paragraph, percent, plural};

/// Said where processors are emulated.
const EMULATION: &str = "Software emulation (TCG), or KVM nested in it: compare levels and runs on this host only, not with \
                         hardware virtualisation.";

/// Everything there is to say: `sweep_<timestamp>_summary.txt`.
pub fn text(sweep: &Sweep) -> String {
    let mut text = heading(sweep);
    for series in &sweep.series {
        text.push('\n');
        describe(&mut text, series, sweep.series.len() > 1);
        text.push('\n');
        text.push_str(&levels_table(series));
        notes(&mut text, series);
        text.push('\n');
        findings(&mut text, series);
        failures(&mut text, series);
    }
    scaling(&mut text, sweep);
    warnings(&mut text, sweep);
    text
}

/// The knees and the recommendation alone: `knee_summary.txt`.
pub fn knee_text(sweep: &Sweep) -> String {
    let mut text = heading(sweep);
    for series in &sweep.series {
        text.push('\n');
        describe(&mut text, series, sweep.series.len() > 1);
        text.push('\n');
        findings(&mut text, series);
    }
    scaling(&mut text, sweep);
    warnings(&mut text, sweep);
    text
}

fn heading(sweep: &Sweep) -> String {
    let mut plans: Vec<&str> = sweep.series.iter().map(|series| series.key.plan.as_str()).collect();
    plans.dedup();
    let started =
        sweep.started_at.map_or_else(String::new, |at| at.strftime(", %Y-%m-%d %H:%M:%S UTC").to_string());
    let mut text = format!("Sweep of {}{started}, {}\n", plans.join(", "), plural(sweep.runs, "run"));
    if sweep.series.iter().any(|series| series.emulated) {
        paragraph(&mut text, "", EMULATION);
    }
    text
}

/// What the rows of a series share.
fn describe(text: &mut String, series: &Series, several: bool) {
    let key = &series.key;
    let mut words = Vec::new();
    if several {
        words.push(key.plan.clone());
    }
    let counts = [(key.vcpus, "vCPU"), (key.cpu_threads, "CPU thread"), (key.io_threads, "I/O thread")];
    words.extend(counts.iter().filter_map(|(count, of)| Some(plural((*count)? as usize, of))));
    if key.asynchronous.is_some() {
        words.push(format!("{} scheduler", scheduler(key.asynchronous)));
    }
    words.push(if key.open_loop { "open loop" } else { "closed loop" }.into());
    words.extend(series.duration_sec.map(|seconds| format!("{seconds} s a run")));
    words.extend(series.platform.clone());
    paragraph(text, "", &words.join(", "));
}

/// One row for each level, columns aligned.
fn levels_table(series: &Series) -> String {
    let columns = columns(series);
    let cells: Vec<Vec<String>> = series
        .levels
        .iter()
        .map(|level| columns.iter().map(|column| (column.cell)(level)).collect())
        .collect();
    let assessments = series.levels.iter().map(assessment);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            cells.iter().map(|row| characters(&row[at])).max().unwrap_or(0).max(characters(&column.name))
        })
        .collect();
    let row = |cells: Vec<&str>, last: &str| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$} | "));
        format!("{}{last}\n", cells.collect::<String>())
    };
    let mut text = row(columns.iter().map(|column| column.name.as_str()).collect(), "Assessment");
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text.push_str(
        &row(rules.iter().map(String::as_str).collect(), "-----------------------").replace(" | ", "-|-"),
    );
    for (cells, assessment) in cells.iter().zip(assessments) {
        text.push_str(&row(cells.iter().map(String::as_str).collect(), &assessment));
    }
    text
}

struct Column {
    name: String,
    cell: Box<dyn Fn(&LevelFigures) -> String>,
}

/// The columns that at least one level has something to say in.
fn columns(series: &Series) -> Vec<Column> {
    let mut columns = Vec::new();
    let mut column = |name: &str, shown: bool, cell: Box<dyn Fn(&LevelFigures) -> String>| {
        if shown {
            columns.push(Column { name: name.into(), cell });
        }
    };
    let any = |has: fn(&LevelFigures) -> bool| series.levels.iter().any(has);
    let level = if series.key.open_loop { "Rate (/s)" } else { "Concurrency" };
    column(level, true, Box::new(|level| number(level.level)));
    column("Runs", any(|level| level.runs != 1), Box::new(runs));
    column("QPS", true, Box::new(|level| spread(level.qps, 1.0, true)));
    column(
        "p50 (us)",
        any(|level| level.p50_ns.is_some()),
        Box::new(|level| spread(level.p50_ns, 1e3, false)),
    );
    column(
        "p90 (us)",
        any(|level| level.p90_ns.is_some()),
        Box::new(|level| spread(level.p90_ns, 1e3, false)),
    );
    let p99 = |level: &LevelFigures| {
        let mark = if level.p99_of_few { "*" } else { "" };
        format!("{}{mark}", spread(level.p99_ns, 1e3, true))
    };
    column("p99 (us)", any(|level| level.p99_ns.is_some()), Box::new(p99));
    column(
        "max (us)",
        any(|level| level.max_ns.is_some()),
        Box::new(|level| spread(level.max_ns, 1e3, false)),
    );
    // What was never sent was not served either: both break an objective about errors.
    column(
        if series.key.open_loop { "Errors, dropped" } else { "Errors" },
        any(|level| level.error_ratio.is_some()),
        Box::new(|level| level.error_ratio.map_or_else(absent, percent)),
    );
    let count = |count: Option<u64>| count.map_or_else(absent, |count| number(count as f64));
    column("Dropped", any(|level| level.dropped.is_some()), Box::new(move |level| count(level.dropped)));
    column("Late", any(|level| level.late.is_some()), Box::new(move |level| count(level.late)));
    column(
        "Lag p99 (us)",
        any(|level| level.lag_p99_ns.is_some()),
        Box::new(|level| level.lag_p99_ns.map_or_else(absent, |ns| number(ns as f64 / 1e3))),
    );
    column(
        "RSS (MiB)",
        any(|level| level.ru_maxrss_kib.is_some()),
        Box::new(|level| level.ru_maxrss_kib.map_or_else(absent, |kib| number(kib as f64 / 1024.0))),
    );
    columns
}

fn runs(level: &LevelFigures) -> String {
    match level.failed.len() {
        0 => level.runs.to_string(),
        failed => format!("{} of {}", level.runs, level.runs + failed),
    }
}

fn assessment(level: &LevelFigures) -> String {
    use virtmark_stats::knee::Assessment;
    match level.assessment {
        None if level.runs == 0 => "no run succeeded".into(),
        None => "not assessed".into(),
        Some(Assessment::Saturated) => format!("{} ←", Assessment::Saturated),
        Some(assessment) => assessment.to_string(),
    }
}

fn notes(text: &mut String, series: &Series) {
    if series.repeated() {
        paragraph(text, "", "Medians over the runs of a level; in brackets the lowest and the highest run.");
    }
    if series.levels.iter().any(|level| level.p99_of_few) {
        paragraph(text, "", "* Fewer than 100 requests: too few for a p99.");
    }
    let has_success = |level: &LevelFigures| level.qps.is_some_and(|qps| qps.high > 0.0);
    if series.levels.iter().any(has_success) && series.levels.iter().all(|level| level.error_ratio.is_none())
    {
        paragraph(text, "", "Failed requests were not counted.");
    }
    if series.key.open_loop {
        paragraph(
            text,
            "",
            "Latencies count from the intended start of a request. The lag is how late the generator itself was, and a \
             part of them.",
        );
    }
    cost(text, series);
}

/// What generating the load took, which the target could not have.
fn cost(text: &mut String, series: &Series) {
    let costs = series.levels.iter().filter_map(|level| level.generator);
    let said = match costs.reduce(GeneratorCost::max) {
        None => return,
        Some(GeneratorCost::Cpus(cpus)) => {
            format!("The load generator itself took up to {} of one CPU.", percent(cpus))
        }
        Some(GeneratorCost::EmptyCall(ns)) => format!(
            "The load generator itself took up to {} us a request: the time of a call that does nothing.",
            number(ns / 1e3)
        ),
    };
    paragraph(text, "", &said);
}

/// What each method says, and where to run.
fn findings(text: &mut String, series: &Series) {
    text.push_str("Knee\n");
    let analysis = match &series.analysis {
        Finding::Found(analysis) => analysis,
        Finding::NoneInRange { reason } => {
            paragraph(text, "  ", &format!("none in range: {reason}"));
            return;
        }
    };
    let Analysis { rule, kneedle, usl, slo, slo_level, .. } = analysis;
    paragraph(text, "  rule       ", &rule.to_string());
    paragraph(text, "  Kneedle    ", &kneedle.to_string());
    paragraph(text, "  USL        ", &usl.to_string());
    let objective = match (slo, slo_level) {
        (Some(slo), Some(level)) => format!("{slo}: {level}"),
        _ => "none was asked for".into(),
    };
    paragraph(text, "  objective  ", &objective);
    let open_loop = series.key.open_loop;
    let recommendation = match &analysis.recommendation {
        Finding::Found(recommendation) if open_loop => rate_recommendation(recommendation),
        other => other.to_string(),
    };
    paragraph(text, "Recommendation: ", &recommendation);
}

fn rate_recommendation(recommendation: &Recommendation) -> String {
    let Recommendation { from, to, method, knee, limited_by_slo } = recommendation;
    let range = if from == to { from.to_string() } else { format!("{from} to {to}") };
    let lowered = limited_by_slo.map_or_else(String::new, |level| {
        format!("; lowered to {level}, the highest level that keeps the objective")
    });
    format!("offer {range} requests per second (50 to 75 % of {knee:.0}, the knee by {method}{lowered})")
}

/// Runs that failed, and requests that failed.
fn failures(text: &mut String, series: &Series) {
    let name = series.key.level_name();
    if series.levels.iter().any(|level| !level.failed.is_empty()) {
        text.push_str("\nFailed runs, which enter no figure\n");
    }
    for level in &series.levels {
        for failed in &level.failed {
            paragraph(text, &format!("  {name} {}: ", number(level.level)), &failed.to_string());
        }
    }
    if series.levels.iter().any(|level| !level.idle.is_empty()) {
        text.push_str("\nRuns in which no request ended\n");
    }
    for level in &series.levels {
        for idle in &level.idle {
            paragraph(text, &format!("  {name} {}: ", number(level.level)), &idle.to_string());
        }
    }
    if series.levels.iter().any(|level| !level.errors.is_empty()) {
        text.push_str("\nFailed requests, which enter no latency\n");
    }
    for level in &series.levels {
        for (class, count) in &level.errors {
            let message =
                level.error_messages.get(class).map_or_else(String::new, |message| format!(": {message}"));
            let said = format!("{} {class}{message}", number(*count as f64));
            paragraph(text, &format!("  {name} {}: ", number(level.level)), &said);
        }
    }
}

fn scaling(text: &mut String, sweep: &Sweep) {
    let points = sweep.scaling();
    if points.is_empty() {
        return;
    }
    let level = if sweep.series[0].key.open_loop { "rate" } else { "concurrency" };
    text.push_str("\nScaling: the best level of each size\n");
    let rows = points.iter().map(|point| {
        [
            point.vcpus.to_string(),
            spread(Some(point.qps), 1.0, true),
            number(point.level),
            format!("{:.2}", point.speedup),
            format!("{:.2}", point.ideal),
        ]
    });
    let heading = ["vCPUs", "QPS", &format!("at {level}"), "times the smallest", "ideal"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(heading).chain(rows).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|at| rows.iter().map(|row| characters(&row[at])).max().unwrap_or(0));
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        let _ = writeln!(text, "{}", cells.join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "{}", rules.join("-|-"));
        }
    }
}

fn warnings(text: &mut String, sweep: &Sweep) {
    if sweep.warnings.is_empty() {
        return;
    }
    text.push_str("\nWarnings\n");
    for warning in &sweep.warnings {
        paragraph(text, "  ", warning);
    }
}

fn spread(spread: Option<Spread>, size: f64, with_range: bool) -> String {
    let Some(Spread { median, low, high }) = spread else { return absent() };
    let at = |value: f64| number(value / size);
    if with_range && low < high { format!("{} ({}–{})", at(median), at(low), at(high)) } else { at(median) }
}

fn absent() -> String {
    "-".into()
}
