//! The same work on several platforms: averages, and who was better beyond doubt.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use virtmark_model::{Sample, Unit};
use virtmark_scenarios::compare::{BESIDE_THE_WORK, direction_of};
use virtmark_stats::Summary;

use super::{Part, ranks};
use crate::entry::Entry;
use crate::metric::SIDE;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};
use crate::{ReportError, format, notes};

/// Options that say on what something runs, or how a run on it was prepared, and not what work it is: beside those that
/// say so of every comparison.
const NO_WORK: [&str; 5] = ["blocks", "endpoint", "kernel_arguments", "mapping", "tests"];
/// Scenarios whose samples of a metric belong together. Those of a sweep are of many levels of load.
const SCENARIOS: [&str; 4] = ["guest", "lifecycle", "restore", "tti"];
/// The scenario whose runs have readings around the tools, which are no results: they have no label `test`.
const WITH_READINGS: &str = "guest";
/// Labels that tell apart what stands in one metric: different work, each with figures of its own.
const CONDITIONS: [&str; 2] = ["start", "test"];

/// Work that was done on one platform or several.
#[derive(Debug)]
struct Work<'a> {
    scenario: &'a str,
    options: Map<String, Value>,
    condition: String,
    metric: &'a str,
    unit: Unit,
    /// In the order of first appearance.
    platforms: Vec<OnPlatform<'a>>,
}

/// All of it that one platform did.
#[derive(Debug)]
struct OnPlatform<'a> {
    name: String,
    letters: Vec<&'a str>,
    values: Vec<f64>,
    failed: usize,
}

/// Nothing when there is one platform only, unless it is asked for all the same.
pub(super) fn part(entries: &[Entry<'_>], always: bool) -> Result<Option<Part>, ReportError> {
    let works = works(entries);
    let compared = works.iter().any(|work| work.platforms.len() > 1);
    if works.is_empty() || !(compared || always) {
        return Ok(None);
    }
    let mut table = Table::new("");
    table.column("work", Column::Name).column("metric", Column::Name).column("platform", Column::Text);
    table.column("runs", Column::Name);
    for heading in ["ok", "failed", "mean", "median", "95 % interval", "rank"] {
        table.column(heading, Column::Figure);
    }
    let names = names(&works);
    for (work, name) in works.iter().zip(&names) {
        draw(&mut table, work, name, entries)?;
    }
    if compared {
        table.note(
            "A rank is one more than there are platforms that are better beyond doubt: whose whole interval is. Platforms \
             whose intervals overlap share a rank; without an interval there is none.",
            Tone::Faint,
        );
    }
    table.note(
        "Samples of all runs of a platform with the same work are taken together. Numbers of machines and warm-ups may \
         differ between them.",
        Tone::Faint,
    );
    table.note("Medians have intervals from 6 samples on. A mean has all the outliers in it.", Tone::Faint);
    let mut texts = Vec::new();
    texts.extend(notes::emulation(entries.iter().map(Entry::run)).map(str::to_owned));
    Ok(Some(Part { title: "Platforms".into(), texts, tables: vec![table], ..Part::default() }))
}

fn draw(table: &mut Table, work: &Work<'_>, name: &str, entries: &[Entry<'_>]) -> Result<(), ReportError> {
    let mut summaries = Vec::new();
    for platform in &work.platforms {
        let summary = match platform.values.is_empty() {
            true => None,
            false => {
                Some(Summary::from_samples(&platform.values).map_err(|source| ReportError::Summary {
                    run: run_of(entries, platform.letters.first().copied()),
                    metric: work.metric.into(),
                    source,
                })?)
            }
        };
        summaries.push(summary);
    }
    let intervals: Vec<_> =
        summaries.iter().map(|summary| summary.as_ref().and_then(|summary| summary.median_ci95)).collect();
    let ranks = match (direction_of(work.unit), work.platforms.len()) {
        (Some(better), 2..) => ranks(&intervals, better),
        _ => vec![None; intervals.len()],
    };
    for (position, platform) in work.platforms.iter().enumerate() {
        let first = position == 0;
        let figure =
            |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format::value(value, work.unit));
        let summary = summaries[position].as_ref();
        let interval = intervals[position].map_or_else(
            || "–".into(),
            |interval| format::range(interval.low, interval.high, work.unit, "–"),
        );
        let rank = ranks[position].map_or_else(
            || "–".into(),
            |rank| {
                let shared = ranks.iter().filter(|other| **other == Some(rank)).count() > 1;
                if shared { format!("{rank} (shared)") } else { rank.to_string() }
            },
        );
        let failed = Cell::from(format::count(platform.failed as f64));
        table.row(vec![
            if first { name } else { "" }.into(),
            if first { work.metric } else { "" }.into(),
            platform.name.as_str().into(),
            letters(&platform.letters).into(),
            format::count(platform.values.len() as f64).into(),
            failed.tone(if platform.failed > 0 { Tone::Bad } else { Tone::Plain }),
            figure(summary.map(|summary| summary.mean)).into(),
            Cell::from(figure(summary.map(|summary| summary.median))).tone(Tone::Strong),
            interval.into(),
            rank.into(),
        ]);
    }
    Ok(())
}

fn works<'a>(entries: &'a [Entry<'_>]) -> Vec<Work<'a>> {
    let mut works: Vec<Work<'a>> = Vec::new();
    for entry in entries.iter().filter(|entry| SCENARIOS.contains(&entry.run().scenario.as_str())) {
        let options = options(&entry.run().configuration);
        let guest = notes::platform(entry.run());
        // Where each sample of this run belongs: found once for each kind.
        let mut places: BTreeMap<(&str, Unit, String, bool), (usize, usize)> = BTreeMap::new();
        for sample in &entry.samples.samples {
            let (value, failed) = (sample.outcome.value(), sample.outcome.failure().is_some());
            let is_reading = entry.run().scenario == WITH_READINGS && !sample.labels.contains_key("test");
            if is_reading || (value.is_none() && !failed) {
                continue;
            }
            let on_host = sample.labels.get(SIDE).is_some_and(|side| side == "host");
            let condition = condition(sample);
            let place = (sample.metric.as_str(), sample.unit, condition, on_host);
            let (work, platform) = match places.get(&place) {
                Some(found) => *found,
                None => {
                    let name = if on_host { "the bare host" } else { &guest };
                    let found = find(&mut works, entry, &options, (place.0, place.1, &place.2), name);
                    places.insert(place, found);
                    found
                }
            };
            let platform = &mut works[work].platforms[platform];
            platform.values.extend(value);
            platform.failed += usize::from(failed);
        }
    }
    works
}

/// Positions of the work and of the platform in it, made where there are none.
fn find<'a>(
    works: &mut Vec<Work<'a>>,
    entry: &'a Entry<'_>,
    options: &Map<String, Value>,
    (metric, unit, condition): (&'a str, Unit, &str),
    platform: &str,
) -> (usize, usize) {
    let scenario = entry.run().scenario.as_str();
    let is_same = |work: &Work<'_>| {
        (work.scenario, work.metric, work.unit) == (scenario, metric, unit)
            && work.condition == condition
            && work.options == *options
    };
    let at = works.iter().position(is_same).unwrap_or_else(|| {
        let (options, condition) = (options.clone(), condition.to_owned());
        works.push(Work { scenario, options, condition, metric, unit, platforms: Vec::new() });
        works.len() - 1
    });
    let platforms = &mut works[at].platforms;
    let on = platforms.iter().position(|other| other.name == platform).unwrap_or_else(|| {
        let name = platform.to_owned();
        platforms.push(OnPlatform { name, letters: Vec::new(), values: Vec::new(), failed: 0 });
        platforms.len() - 1
    });
    let letters = &mut platforms[on].letters;
    if letters.last() != Some(&entry.letter.as_str()) {
        letters.push(&entry.letter);
    }
    (at, on)
}

/// The options that say what work is done.
fn options(configuration: &Value) -> Map<String, Value> {
    let is_work = |name: &str| !BESIDE_THE_WORK.contains(&name) && !NO_WORK.contains(&name);
    let all = configuration.as_object().into_iter().flatten();
    all.filter(|(name, value)| is_work(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn condition(sample: &Sample) -> String {
    let labels = CONDITIONS.iter().filter_map(|label| sample.labels.get(*label));
    labels.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Each work by its scenario and what tells it from others of the same: `tti, mode burst`.
fn names(works: &[Work<'_>]) -> Vec<String> {
    let differing = |work: &Work<'_>| {
        let others = || works.iter().filter(|other| other.scenario == work.scenario);
        let differs = |name: &str| others().any(|other| other.options.get(name) != work.options.get(name));
        let mut words: Vec<String> = work
            .options
            .iter()
            .filter(|(name, _)| differs(name))
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name} {text}"),
                other => format!("{name} {other}"),
            })
            .collect();
        words.extend(Some(work.condition.clone()).filter(|condition| !condition.is_empty()));
        words
    };
    works
        .iter()
        .map(|work| {
            std::iter::once(work.scenario.to_owned()).chain(differing(work)).collect::<Vec<_>>().join(", ")
        })
        .collect()
}

/// `A, B, C`, and of more than a handful their number.
fn letters(letters: &[&str]) -> String {
    match letters {
        [first, .., last] if letters.len() > 6 => format!("{first} … {last} ({})", letters.len()),
        _ => letters.join(", "),
    }
}

fn run_of(entries: &[Entry<'_>], letter: Option<&str>) -> String {
    let entry = entries.iter().find(|entry| Some(entry.letter.as_str()) == letter);
    entry.map_or_else(String::new, |entry| entry.run().id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunSamples;
    use crate::entry::entries;
    use crate::fixtures;
    use virtmark_scenarios::compare::{Interleaved, Purpose, Side};

    fn tti(number: u32, on: virtmark_model::HypervisorFacts, seed: u64, count: u64) -> RunSamples {
        let mut run = fixtures::run("tti", number, on);
        run.configuration = serde_json::json!({
            "hypervisor": format!("h{number}"), "warmup": number, "mode": "sequential", "command_line": [number],
        });
        RunSamples::new(run, fixtures::tti_samples(seed, count))
    }

    /// Work, platform, runs, ok and rank of each line.
    fn lines(runs: &[RunSamples]) -> Vec<[String; 5]> {
        let part = part(&entries(runs).unwrap(), true).unwrap().unwrap();
        let content = part.tables[0].content();
        let line = |row: &Vec<Cell>| [0, 2, 3, 4, 9].map(|column| row[column].text.clone());
        content.rows.iter().map(line).collect()
    }

    #[test]
    fn the_same_work_is_one_group_and_equal_platforms_share_a_rank() {
        let mut other = fixtures::kvm();
        other.name = "other".into();
        // The same samples under another name, and two runs of the first that are taken together.
        let runs = [tti(0, fixtures::kvm(), 1, 20), tti(1, other, 1, 20), tti(2, fixtures::kvm(), 1, 20)];
        let lines = lines(&runs);
        assert_eq!(lines[0], ["tti", "qemu 7.2.0-synthetic, kvm", "A, C", "40", "1 (shared)"]);
        assert_eq!(lines[1], ["", "other 7.2.0-synthetic, kvm", "B", "20", "1 (shared)"]);
    }

    #[test]
    fn runs_that_took_turns_are_the_same_work_and_a_remedy_is_other_work() {
        let mut other = fixtures::kvm();
        other.name = "other".into();
        let (mut a, mut b) = (tti(0, fixtures::kvm(), 1, 20), tti(1, other, 1, 20));
        let turns = |side: Side, partner: &RunSamples| {
            let (partner, purpose) = (partner.run.id.clone(), Purpose::Compare);
            serde_json::to_value(Interleaved { partner, side, blocks: 10, purpose }).unwrap()
        };
        (a.run.configuration["interleaved"], b.run.configuration["interleaved"]) =
            (turns(Side::A, &b), turns(Side::B, &a));
        let mut runs = [a, b];
        let together = lines(&runs);
        assert_eq!([&together[0][0], &together[0][4]], ["tti", "1 (shared)"]);
        assert_eq!([&together[1][0], &together[1][4]], ["", "1 (shared)"]);

        runs[1].run.configuration["remedy"] = "cpu-max".into();
        let apart = lines(&runs);
        assert_eq!([&apart[1][0], &apart[1][4]], ["tti, remedy cpu-max", "–"]);
    }

    #[test]
    fn other_options_are_other_work_and_alone_there_is_no_rank() {
        let mut burst = tti(1, fixtures::tcg(), 2, 20);
        burst.run.configuration["mode"] = "burst".into();
        let lines = lines(&[tti(0, fixtures::kvm(), 1, 20), burst]);
        assert_eq!([&lines[0][0], &lines[0][4]], ["tti, mode sequential", "–"]);
        assert_eq!([&lines[1][0], &lines[1][4]], ["tti, mode burst", "–"]);
    }

    #[test]
    fn the_host_beside_a_guest_is_a_platform_of_its_own() {
        let mut samples = fixtures::tti_samples(3, 40);
        for sample in &mut samples {
            let side = if sample.seq % 2 == 0 { "guest" } else { "host" };
            sample.labels.insert("side".into(), side.into());
            sample.labels.insert("test".into(), "sysbench-cpu".into());
            sample.metric = "sysbench".into();
        }
        // A reading, which is no work of a platform.
        let mut reading = samples[0].clone();
        reading.labels.remove("test");
        reading.metric = "exec_round_trip".into();
        samples.push(reading);
        let lines = lines(&[RunSamples::new(fixtures::run("guest", 0, fixtures::kvm()), samples)]);
        let platforms: Vec<&str> = lines.iter().map(|line| line[1].as_str()).collect();
        assert_eq!(platforms, ["qemu 7.2.0-synthetic, kvm", "the bare host"]);
        assert!(lines.iter().all(|line| line[3] == "20"));
    }

    #[test]
    fn too_few_samples_have_no_rank_and_levels_of_a_sweep_are_not_averaged() {
        let lines = lines(&[tti(0, fixtures::kvm(), 1, 20), tti(1, fixtures::tcg(), 2, 5)]);
        assert_eq!([&lines[0][4], &lines[1][4]], ["1", "–"]);
        let sweep = RunSamples::new(fixtures::run("sweep", 0, fixtures::kvm()), fixtures::tti_samples(1, 9));
        assert!(part(&entries(&[sweep]).unwrap(), true).unwrap().is_none());
    }
}
