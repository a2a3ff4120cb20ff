//! What running inside costs, resource by resource.

use super::Part;
use super::grades::is_bad;
use crate::entry::Entry;
use crate::figure::{Figure, Plot, Stacked, StackedBar, StackedPart};
use crate::notes;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};

pub(super) fn part(entries: &[Entry<'_>]) -> Option<Part> {
    let measured: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| !entry.samples.overheads.is_empty()).collect();
    if measured.is_empty() {
        return None;
    }
    let bars = measured
        .iter()
        .map(|entry| StackedBar {
            name: format!("{} {}, {}", entry.letter, entry.label(), notes::platform(entry.run())),
            parts: entry
                .samples
                .overheads
                .iter()
                .map(|overhead| StackedPart { name: overhead.name.clone(), value: overhead.percent })
                .collect(),
        })
        .collect();
    let mut notes = vec![
        "Each part is of another whole: the bar shows which resource costs most, and its length is no percentage of \
         anything."
            .to_owned(),
        "An overhead below zero, where the guest was faster, is not drawn.".to_owned(),
    ];
    notes.extend(crate::notes::emulation(measured.iter().map(|entry| entry.run())).map(str::to_owned));
    let figure = Figure {
        title: "Overhead of running inside".into(),
        notes,
        plot: Plot::Stacked(Stacked { axis: "overhead in % of the host alone".into(), symbol: "%", bars }),
    };
    let mut table = Table::new("");
    table.column("", Column::Name).column("resource", Column::Name).column("overhead", Column::Figure);
    table.column("95 % interval", Column::Figure).column("grade", Column::Text);
    for entry in &measured {
        for overhead in &entry.samples.overheads {
            let interval = overhead.interval.map(|(low, high)| format!("{low:.1} to {high:.1} %"));
            let tone = if is_bad(&overhead.grade) { Tone::Bad } else { Tone::Plain };
            table.row(vec![
                entry.letter.as_str().into(),
                overhead.name.as_str().into(),
                format!("{:.1} %", overhead.percent).into(),
                interval.unwrap_or_else(|| "–".into()).into(),
                Cell::from(overhead.grade.as_str()).tone(tone),
            ]);
        }
    }
    Some(Part { title: "Overhead".into(), tables: vec![table], figures: vec![figure], ..Part::default() })
}
