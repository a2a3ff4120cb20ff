//! How machines moved: who to whom with what success, and how long it took for how much memory.

use std::collections::BTreeMap;

use virtmark_model::Unit;
use virtmark_scenarios::migrate::{Cell, MigrateReport};
use virtmark_stats::Summary;

use super::Part;
use crate::entry::Entry;
use crate::figure::{
    Figure, Heat, HeatField, Plot, Xy, XyAxis, XyKey, XyPanel, XyPoint, XyScale, XyShape, XySign, XyTrace,
};
use crate::{format, notes};

const NS_PER_MS: f64 = 1e6;
/// The guide's MB of memory.
const MB_OF_MEMORY: f64 = 1_048_576.0;

/// A run of migrations with its figures.
pub(super) struct Moves<'e, 'a> {
    pub(super) entry: &'e Entry<'a>,
    pub(super) report: MigrateReport,
}

pub(super) fn part(moves: &[Moves<'_, '_>]) -> Option<Part> {
    if moves.iter().all(|moves| moves.report.cells.is_empty()) {
        return None;
    }
    let emulation = notes::emulation(moves.iter().map(|moves| moves.entry.run())).map(str::to_owned);
    let mut figures = vec![heat(moves)];
    figures.extend(duration(moves));
    for figure in &mut figures {
        figure.notes.extend(emulation.clone());
    }
    Some(Part { title: "Live migration".into(), figures, ..Part::default() })
}

/// Cells with the platforms that machines went from and to.
fn cells<'m>(moves: &'m [Moves<'_, '_>]) -> impl Iterator<Item = (&'m str, &'m str, &'m Cell)> {
    moves.iter().flat_map(|Moves { report, .. }| {
        let (source, target) = (report.source_hypervisor.as_str(), report.target_hypervisor.as_str());
        report.cells.iter().map(move |cell| (source, target, cell))
    })
}

/// Success by source and target, with the median duration.
fn heat(moves: &[Moves<'_, '_>]) -> Figure {
    let (mut across, mut down): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let position = |names: &mut Vec<String>, name: &str| {
        names.iter().position(|other| other == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    };
    // Attempts, and the durations of those that arrived.
    let mut pairs: BTreeMap<(usize, usize), (u64, Vec<f64>)> = BTreeMap::new();
    for (source, target, cell) in cells(moves) {
        let pair = (position(&mut across, source), position(&mut down, target));
        let (attempts, durations) = pairs.entry(pair).or_default();
        *attempts += cell.attempts;
        durations.extend(cell.rows.iter().map(|row| row.duration_ms * NS_PER_MS));
    }
    let fields = pairs
        .into_iter()
        .map(|((column, row), (attempts, durations))| {
            let mut said = vec![format!("{} of {attempts} moved", durations.len())];
            if let Ok(summary) = Summary::from_samples(&durations) {
                said.push(format!("median {}", format::duration_ns(summary.median)));
            }
            HeatField { column, row, value: durations.len() as f64 / attempts.max(1) as f64, said }
        })
        .collect();
    Figure {
        title: "Moves by source and target".into(),
        notes: vec![
            "The stronger the colour, the larger the share that arrived. Durations are of those that did."
                .into(),
        ],
        plot: Plot::Heat(Heat {
            across_name: "source".into(),
            across,
            down_name: "target".into(),
            down,
            most: 1.0,
            fields,
        }),
    }
}

/// Duration against memory, a line through the medians of each pair and load; none when nothing arrived.
fn duration(moves: &[Moves<'_, '_>]) -> Option<Figure> {
    let mut lines: Vec<(String, BTreeMap<u64, Vec<f64>>)> = Vec::new();
    for (source, target, cell) in cells(moves).filter(|(.., cell)| !cell.rows.is_empty()) {
        let name = format!("{source} to {target}, load {}", cell.load);
        let durations = cell.rows.iter().map(|row| row.duration_ms * NS_PER_MS);
        let line = lines.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
            lines.push((name, BTreeMap::new()));
            lines.len() - 1
        });
        lines[line].1.entry(cell.memory_mb).or_default().extend(durations);
    }
    let (mut panel, mut legend) = (XyPanel::default(), Vec::new());
    for (colour, (said, by_size)) in lines.into_iter().enumerate() {
        let middle = |(memory_mb, durations): (&u64, &Vec<f64>)| {
            let summary = Summary::from_samples(durations).ok()?;
            Some(XyPoint {
                x: *memory_mb as f64 * MB_OF_MEMORY,
                y: summary.median,
                y_range: Some((summary.min, summary.max)).filter(|(min, max)| min < max),
                ..XyPoint::default()
            })
        };
        let points = by_size.iter().filter_map(middle).collect();
        panel.traces.push(XyTrace { colour, dashes: colour, shape: XyShape::Line, points });
        legend.push(XyKey { sign: XySign::Line(colour), colour, said });
    }
    let axis =
        |name: &str, unit| XyAxis { name: name.into(), unit, scale: XyScale::FromZero, ticks: Vec::new() };
    (!panel.traces.is_empty()).then(|| Figure {
        title: "How long a move takes, by memory".into(),
        notes: vec![
            "Points are medians of the moves that arrived; bars reach from the fastest to the slowest."
                .into(),
        ],
        plot: Plot::Xy(Xy {
            across: axis("memory of the machine", Unit::Bytes),
            up: axis("duration", Unit::Ns),
            legend,
            panels: vec![panel],
        }),
    })
}
