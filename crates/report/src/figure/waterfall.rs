//! Waterfalls: each part of a time as a bar that starts where the part before it ended.
//!
//! All lanes stand on one scale. Where that would leave some of them a smear, all of them come first as one strip each,
//! on the one scale, and then in groups with their parts, each group on a scale of its own that its heading compares.

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
/// Above each panel but the first, for what its scale is.
const PANEL_HEADING: f64 = 34.0;
/// Lanes that differ by more than this are not told apart on one scale.
const MOST_RATIO: f64 = 8.0;

pub(super) fn draw(figure: &Figure, plot: &Waterfall, markup: &mut Markup, medium: Medium) {
    let longest_ns = plot.lanes.iter().map(end_ns).fold(1.0, f64::max);
    let groups = groups(&plot.lanes);
    let several = groups.len() > 1;
    let strips = if several { strips_height(&plot.lanes) } else { 0.0 };
    let panels: f64 = groups.iter().map(|group| panel_height(group)).sum();
    let headings = if several { PANEL_HEADING * groups.len() as f64 } else { 0.0 };
    canvas::frame(figure, markup, medium, strips + panels + headings, |svg, top| {
        let names = names(&plot.lanes);
        let mut y = top;
        if several {
            draw_strips(svg, &plot.lanes, &names, longest_ns, y);
            y += strips;
        }
        for group in &groups {
            if several {
                y += PANEL_HEADING;
                panel_heading(svg, longest_ns, end_of(group), y);
            }
            draw_panel(svg, group, &names, y);
            y += panel_height(group);
        }
    });
}

/// The lanes by scale, the longest first: one group where all of them can be seen on one.
fn groups(lanes: &[Lane]) -> Vec<Vec<&Lane>> {
    let mut left: Vec<&Lane> = lanes.iter().collect();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let longest_ns = end_of(&left);
        let (group, shorter) = left.into_iter().partition(|lane| end_ns(lane) * MOST_RATIO >= longest_ns);
        groups.push(group);
        left = shorter;
    }
    groups
}

fn draw_strips(svg: &mut Markup, lanes: &[Lane], names: &[&str], longest_ns: f64, top: f64) {
    let axis = Axis::linear(0.0, longest_ns, LEFT, RIGHT);
    let bottom = top + strips_height(lanes) - BELOW + 4.0;
    draw_axis(svg, &axis, longest_ns, top, bottom);
    for (position, lane) in lanes.iter().enumerate() {
        let row = top + (HEADING + ROW) * position as f64;
        draw_heading(svg, lane, row);
        for bar in &lane.bars {
            draw_area(svg, bar, lane.total_ns, colour_of(bar, names), &axis, row + HEADING);
        }
        let base = row + HEADING + ROW / 2.0 + 4.5;
        let total = format::duration_ns(lane.total_ns);
        canvas::text(svg, DURATION_END, base, total, &[("class", &"ink"), ("text-anchor", &"end")]);
    }
}

fn strips_height(lanes: &[Lane]) -> f64 {
    (HEADING + ROW) * lanes.len() as f64 + BELOW
}

fn panel_heading(svg: &mut Markup, longest_ns: f64, end_ns: f64, top: f64) {
    let times = longest_ns / end_ns.max(1.0);
    let said = if times < 1.5 {
        "The parts, at the same scale:".to_owned()
    } else {
        format!("The parts, enlarged {times:.0} times:")
    };
    canvas::faint(svg, 8.0, top - 8.0, said, "start");
}

fn draw_panel(svg: &mut Markup, lanes: &[&Lane], names: &[&str], top: f64) {
    let end_ns = end_of(lanes);
    let axis = Axis::linear(0.0, end_ns, LEFT, RIGHT);
    let bottom = top + panel_height(lanes) - BELOW + 4.0;
    draw_axis(svg, &axis, end_ns, top, bottom);
    let mut y = top;
    for lane in lanes {
        draw_heading(svg, lane, y);
        for (position, bar) in lane.bars.iter().enumerate() {
            draw_bar(
                svg,
                bar,
                lane.total_ns,
                colour_of(bar, names),
                &axis,
                y + HEADING + ROW * position as f64,
            );
        }
        y += height(lane);
    }
}

fn draw_axis(svg: &mut Markup, axis: &Axis, end_ns: f64, top: f64, bottom: f64) {
    let scale = format::scale(virtmark_model::Unit::Ns, end_ns);
    canvas::horizontal_axis(svg, axis, &axis.ticks(scale.size, 6), top + HEADING, bottom);
    canvas::rule(svg, "frame", (LEFT, bottom), (RIGHT, bottom));
    let name = format!("time in {}", scale.symbol);
    canvas::faint(svg, (LEFT + RIGHT) / 2.0, bottom + 36.0, name, "middle");
}

fn draw_heading(svg: &mut Markup, lane: &Lane, top: f64) {
    let heading = format!("{}: {}", canvas::shortened(&lane.name, 84), format::duration_ns(lane.total_ns));
    canvas::text(svg, 8.0, top + 17.0, heading, &[("class", &"ink"), ("font-weight", &"600")]);
}

fn draw_bar(svg: &mut Markup, bar: &Bar, total_ns: f64, colour: usize, axis: &Axis, top: f64) {
    let base = top + ROW / 2.0 + 4.5;
    let name = canvas::shortened(&bar.name, 20);
    canvas::text(svg, LEFT - 10.0, base, name, &[("class", &"ink"), ("text-anchor", &"end")]);
    draw_area(svg, bar, total_ns, colour, axis, top);
    let duration = format::duration_ns(bar.duration_ns);
    canvas::text(svg, DURATION_END, base, &duration, &[("class", &"ink"), ("text-anchor", &"end")]);
    let share = share(bar, total_ns);
    canvas::text(svg, WIDTH - 8.0, base, &share, &[("class", &"ink"), ("text-anchor", &"end")]);
}

fn draw_area(svg: &mut Markup, bar: &Bar, total_ns: f64, colour: usize, axis: &Axis, top: f64) {
    let (from, to) = (axis.position(bar.start_ns), axis.position(bar.start_ns + bar.duration_ns));
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
            let (duration, start) = (format::duration_ns(bar.duration_ns), format::duration_ns(bar.start_ns));
            let share = share(bar, total_ns);
            rect.leaf("title", &[], format!("{}: {duration} ({share}), from {start}", bar.name));
        },
    );
}

fn share(bar: &Bar, total_ns: f64) -> String {
    if total_ns > 0.0 { format::percent(bar.duration_ns / total_ns) } else { String::new() }
}

fn panel_height(lanes: &[&Lane]) -> f64 {
    lanes.iter().map(|lane| height(lane)).sum::<f64>() - APART + BELOW
}

fn height(lane: &Lane) -> f64 {
    HEADING + ROW * lane.bars.len() as f64 + APART
}

fn end_of(lanes: &[&Lane]) -> f64 {
    lanes.iter().map(|lane| end_ns(lane)).fold(1.0, f64::max)
}

fn end_ns(lane: &Lane) -> f64 {
    lane.bars.iter().map(|bar| bar.start_ns + bar.duration_ns).fold(lane.total_ns, f64::max)
}

fn colour_of(bar: &Bar, names: &[&str]) -> usize {
    names.iter().position(|name| *name == bar.name).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lanes(ends_ns: &[f64]) -> Vec<Lane> {
        let lane = |end: &f64| Lane { name: format!("{end}"), total_ns: *end, bars: Vec::new() };
        ends_ns.iter().map(lane).collect()
    }

    fn ends(groups: &[Vec<&Lane>]) -> Vec<Vec<f64>> {
        groups.iter().map(|group| group.iter().map(|lane| lane.total_ns).collect()).collect()
    }

    #[test]
    fn lanes_of_one_magnitude_stay_on_one_scale() {
        assert_eq!(ends(&groups(&lanes(&[100.0, 800.0, 120.0]))), [[100.0, 800.0, 120.0]]);
        assert_eq!(ends(&groups(&lanes(&[1300.0, 180.0, 20.0]))), [vec![1300.0, 180.0], vec![20.0]]);
        assert_eq!(ends(&groups(&lanes(&[5.0, 1e6]))), [[1e6], [5.0]]);
        assert!(groups(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_lane_is_lost_and_none_is_a_smear(ends_ns in prop::collection::vec(1.0f64..1e10, 0..12)) {
            let lanes = lanes(&ends_ns);
            let groups = groups(&lanes);
            prop_assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), lanes.len());
            for group in &groups {
                prop_assert!(group.iter().all(|lane| end_ns(lane) * MOST_RATIO >= end_of(group)));
            }
        }
    }
}
