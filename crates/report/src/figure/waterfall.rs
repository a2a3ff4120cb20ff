//! Waterfalls: each part of a time as a bar that starts where the part before it ended.

use super::axis::Axis;
use super::canvas::{self, Medium, WIDTH, number};
use super::{Bar, Figure, Lane, Waterfall};
use crate::format;
use crate::markup::Markup;

/// Edges of the bars; names stand left of them, durations and shares right.
const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 160.0;
const DURATION_END: f64 = WIDTH - 76.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
/// Above each lane, for its name.
const HEADING: f64 = 26.0;
const BELOW: f64 = 50.0;
/// Between two lanes.
const APART: f64 = 10.0;

pub(super) fn draw(figure: &Figure, plot: &Waterfall, markup: &mut Markup, medium: Medium) {
    let lanes = plot.lanes.iter().map(height).sum::<f64>() - APART;
    canvas::frame(figure, markup, medium, lanes + BELOW, |svg, top| {
        let end_ns = plot.lanes.iter().map(end_ns).fold(1.0, f64::max);
        let axis = Axis::linear(0.0, end_ns, LEFT, RIGHT);
        let scale = format::scale(virtmark_model::Unit::Ns, end_ns);
        let bottom = top + lanes + 4.0;
        canvas::horizontal_axis(svg, &axis, &axis.ticks(scale.size, 6), top + HEADING, bottom);
        canvas::rule(svg, "frame", (LEFT, bottom), (RIGHT, bottom));
        canvas::faint(
            svg,
            (LEFT + RIGHT) / 2.0,
            bottom + 36.0,
            format!("time in {}", scale.symbol),
            "middle",
        );
        let names = names(&plot.lanes);
        let mut y = top;
        for lane in &plot.lanes {
            draw_lane(svg, lane, &names, &axis, y);
            y += height(lane);
        }
    });
}

fn draw_lane(svg: &mut Markup, lane: &Lane, names: &[&str], axis: &Axis, top: f64) {
    let heading = format!("{}: {}", canvas::shortened(&lane.name, 84), format::duration_ns(lane.total_ns));
    canvas::text(svg, 8.0, top + 17.0, heading, &[("class", &"ink"), ("font-weight", &"600")]);
    for (position, bar) in lane.bars.iter().enumerate() {
        let colour = names.iter().position(|name| *name == bar.name).unwrap_or(0);
        draw_bar(svg, bar, lane.total_ns, colour, axis, top + HEADING + ROW * position as f64);
    }
}

fn draw_bar(svg: &mut Markup, bar: &Bar, total_ns: f64, colour: usize, axis: &Axis, top: f64) {
    let base = top + ROW / 2.0 + 4.5;
    let duration = format::duration_ns(bar.duration_ns);
    let share = if total_ns > 0.0 { format::percent(bar.duration_ns / total_ns) } else { String::new() };
    let (from, to) = (axis.position(bar.start_ns), axis.position(bar.start_ns + bar.duration_ns));
    let name = canvas::shortened(&bar.name, 20);
    canvas::text(svg, LEFT - 10.0, base, name, &[("class", &"ink"), ("text-anchor", &"end")]);
    svg.element(
        "rect",
        &[
            ("class", &canvas::class("area", colour)),
            ("x", &number(from)),
            ("y", &number(top + (ROW - BAR) / 2.0)),
            // The shortest part is still seen.
            ("width", &number((to - from).max(1.0))),
            ("height", &BAR),
            ("fill", &canvas::colour(colour)),
        ],
        |rect| {
            let start = format::duration_ns(bar.start_ns);
            rect.leaf("title", &[], format!("{}: {duration} ({share}), from {start}", bar.name));
        },
    );
    canvas::text(svg, DURATION_END, base, &duration, &[("class", &"ink"), ("text-anchor", &"end")]);
    canvas::text(svg, WIDTH - 8.0, base, &share, &[("class", &"ink"), ("text-anchor", &"end")]);
}

fn height(lane: &Lane) -> f64 {
    HEADING + ROW * lane.bars.len() as f64 + APART
}

fn end_ns(lane: &Lane) -> f64 {
    lane.bars.iter().map(|bar| bar.start_ns + bar.duration_ns).fold(lane.total_ns, f64::max)
}

/// The names of all parts in order of appearance: one name has one colour in every lane.
fn names(lanes: &[Lane]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for bar in lanes.iter().flat_map(|lane| &lane.bars) {
        if !names.contains(&bar.name.as_str()) {
            names.push(&bar.name);
        }
    }
    names
}
