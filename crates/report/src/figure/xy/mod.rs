//! Points over two axes: load curves, latencies by level, trade-offs.

mod data;
mod labels;

use virtmark_model::Unit;

use super::Figure;
use super::axis::{Axis, Tick};
use super::canvas::{self, LINE, Medium, WIDTH, number};
use crate::format;
use crate::markup::Markup;

pub use data::{Xy, XyAxis, XyKey, XyPanel, XyPoint, XyScale, XyShape, XySign, XyTrace};

const RIGHT: f64 = WIDTH - 24.0;
const PLOT_HEIGHT: f64 = 330.0;
/// Of each panel when there are several.
const PANEL_HEIGHT: f64 = 220.0;
/// Room above a drawing area for the name of its rule, and its title.
const ABOVE: f64 = 22.0;
/// Room below the last panel for labels and the name of the axis, and below the others.
const BELOW: f64 = 46.0;
const BETWEEN: f64 = 28.0;
/// Left of the drawing area for the name of the vertical axis, and the width of a character of its labels.
const NAME_ROOM: f64 = 38.0;
const CHARACTER: f64 = 7.0;
const POINT: f64 = 3.5;
const RING: f64 = 8.0;
const CAP: f64 = 4.0;

pub(super) fn draw(figure: &Figure, plot: &Xy, markup: &mut Markup, medium: Medium) {
    let legend = LINE * plot.legend.len() as f64;
    let several = plot.panels.len() > 1;
    let panel = ABOVE + if several { PANEL_HEIGHT } else { PLOT_HEIGHT };
    let count = plot.panels.len() as f64;
    let height = legend + 8.0 + panel * count + BETWEEN * (count - 1.0).max(0.0) + BELOW + 6.0;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        for (position, key) in plot.legend.iter().enumerate() {
            draw_key(svg, key, top + LINE * position as f64);
        }
        let mut top = top + legend + 8.0;
        for (position, drawn) in plot.panels.iter().enumerate() {
            let last = position + 1 == plot.panels.len();
            draw_panel(svg, plot, drawn, (top + ABOVE, top + panel), last);
            top += panel + BETWEEN;
        }
    });
}

/// Where values lie on a drawing area.
struct Place {
    across: Axis,
    up: Axis,
    left: f64,
    top: f64,
    bottom: f64,
}

impl Place {
    fn x(&self, x: f64) -> f64 {
        self.across.position(x)
    }

    fn y(&self, y: f64) -> f64 {
        self.up.position(y)
    }
}

fn draw_panel(svg: &mut Markup, plot: &Xy, panel: &XyPanel, (top, bottom): (f64, f64), last: bool) {
    let points = || plot.panels.iter().flat_map(|panel| &panel.traces).flat_map(|trace| &trace.points);
    let xs = points().flat_map(|point| ends(point.x, point.x_range));
    let ys = points().flat_map(|point| ends(point.y, point.y_range));
    let (Some(xs), Some(ys)) = (extremes(xs), extremes(ys)) else {
        canvas::rule(svg, "frame", (NAME_ROOM, bottom), (RIGHT, bottom));
        canvas::faint(
            svg,
            WIDTH / 2.0,
            (top + bottom) / 2.0,
            "There is nothing to draw: no run succeeded.",
            "middle",
        );
        return;
    };
    let up = axis(plot.up.scale, ys, bottom, top);
    let (marks, up_name) = marks(&plot.up, &up, ys, 6);
    let longest = marks.iter().map(|mark| mark.label.chars().count()).max().unwrap_or(0);
    let left = NAME_ROOM + (longest as f64 * CHARACTER).clamp(3.0 * CHARACTER, 200.0) + 8.0;
    let across = axis(plot.across.scale, xs, left, RIGHT);
    let place = Place { across, up, left, top, bottom };
    draw_band(svg, panel, &place);
    for mark in &marks {
        let y = place.y(mark.value);
        canvas::rule(svg, "grid", (left, y), (RIGHT, y));
        canvas::faint(svg, left - 8.0, y + 4.0, &mark.label, "end");
    }
    canvas::turned(svg, 20.0, (top + bottom) / 2.0, up_name);
    let (marks, across_name) = self::marks(&plot.across, &place.across, xs, 8);
    canvas::horizontal_axis(svg, &place.across, &marks, top, bottom);
    canvas::rule(svg, "frame", (left, bottom), (RIGHT, bottom));
    if last {
        canvas::faint(svg, (left + RIGHT) / 2.0, bottom + 38.0, across_name, "middle");
    }
    draw_heading(svg, panel, &place);
    for trace in &panel.traces {
        draw_trace(svg, trace, &place);
    }
    labels::draw(svg, panel, &place);
}

/// A value and the range that it stands for.
fn ends(value: f64, range: Option<(f64, f64)>) -> [f64; 2] {
    let (low, high) = range.unwrap_or((value, value));
    [low.min(value), high.max(value)]
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.filter(|value| value.is_finite());
    values.fold(None, |held: Option<(f64, f64)>, value| {
        Some(held.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    })
}

fn axis(scale: XyScale, (low, high): (f64, f64), from: f64, to: f64) -> Axis {
    match scale {
        XyScale::Logarithmic if low > 0.0 => Axis::around(low, high, true, from, to),
        _ => Axis::linear(low.min(0.0), if high > 0.0 { high * 1.06 } else { 1.0 }, from, to),
    }
}

/// What to mark on an axis, and its name with its unit.
fn marks(axis: &XyAxis, drawn: &Axis, (low, high): (f64, f64), wanted: usize) -> (Vec<Tick>, String) {
    let logarithmic = if drawn.is_logarithmic() { ", logarithmic" } else { "" };
    let said = |unit: &str| {
        let unit = if unit.is_empty() { String::new() } else { format!(" in {unit}") };
        format!("{}{unit}{logarithmic}", axis.name)
    };
    if !axis.ticks.is_empty() {
        let tick = |value: &f64| Tick { value: *value, label: format::count(*value) };
        return (axis.ticks.iter().map(tick).collect(), said(""));
    }
    // Of many decades the middle one, so that neither end has many zeros.
    let typical = if drawn.is_logarithmic() { (low * high).sqrt() } else { high };
    let scale = format::scale(axis.unit, typical);
    let unit = match (axis.unit, scale.symbol) {
        (Unit::PerSecond, "k/s") => "thousand requests per second",
        (Unit::PerSecond, "M/s") => "million requests per second",
        (Unit::PerSecond, "G/s") => "billion requests per second",
        (Unit::PerSecond, _) => "requests per second",
        (_, symbol) => symbol,
    };
    (drawn.ticks(scale.size, wanted), said(unit))
}

fn draw_band(svg: &mut Markup, panel: &XyPanel, place: &Place) {
    let Some((from, to)) = panel.band else { return };
    let (from, to) = (place.x(from).clamp(place.left, RIGHT), place.x(to).clamp(place.left, RIGHT));
    svg.empty(
        "rect",
        &[
            ("class", &canvas::class("area", BAND)),
            ("x", &number(from - 1.0)),
            ("y", &number(place.top)),
            // A range of one value is still seen.
            ("width", &number((to - from).max(0.0) + 2.0)),
            ("height", &number(place.bottom - place.top)),
            ("fill", &canvas::colour(BAND)),
            ("fill-opacity", &"0.18"),
        ],
    );
}

/// The colour of shaded ranges.
const BAND: usize = 2;

/// The title of a panel, and its rule with its name.
fn draw_heading(svg: &mut Markup, panel: &XyPanel, place: &Place) {
    let mut free_from = place.left;
    if let Some(title) = &panel.title {
        let title = canvas::shortened(title, 60);
        free_from += title.chars().count() as f64 * CHARACTER + 12.0;
        let attributes: &[(&str, &dyn std::fmt::Display)] = &[("class", &"ink"), ("font-weight", &"600")];
        canvas::text(svg, place.left, place.top - 7.0, title, attributes);
    }
    let Some((at, name)) = &panel.rule else { return };
    let x = place.x(*at);
    svg.empty(
        "line",
        &[
            ("class", &"frame"),
            ("x1", &number(x)),
            ("y1", &number(place.top - 3.0)),
            ("x2", &number(x)),
            ("y2", &number(place.bottom)),
            ("stroke", &"#767676"),
            ("stroke-width", &"1.5"),
            ("stroke-dasharray", &"5 3"),
        ],
    );
    let half = name.chars().count() as f64 * 3.4;
    let middle = x.max(free_from + half).min(RIGHT - half);
    canvas::text(svg, middle, place.top - 7.0, name, &[("class", &"ink"), ("text-anchor", &"middle")]);
}

fn draw_trace(svg: &mut Markup, trace: &XyTrace, place: &Place) {
    for point in &trace.points {
        draw_bars(svg, trace, point, place);
    }
    if trace.shape != XyShape::Hollow && trace.points.len() > 1 {
        let mut path = String::new();
        for point in &trace.points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            path.push_str(&format!("{command}{} {}", number(place.x(point.x)), number(place.y(point.y))));
        }
        let width = if trace.shape == XyShape::Curve { "1.5" } else { "2" };
        svg.empty(
            "path",
            &[
                ("class", &canvas::class("line", trace.colour)),
                ("d", &path),
                ("fill", &"none"),
                ("stroke", &canvas::colour(trace.colour)),
                ("stroke-width", &width),
                ("stroke-linejoin", &"round"),
                ("stroke-dasharray", &canvas::dashes(trace.dashes)),
            ],
        );
    }
    if trace.shape == XyShape::Curve {
        return;
    }
    for point in &trace.points {
        let at = (place.x(point.x), place.y(point.y));
        draw_dot(svg, trace.colour, trace.shape == XyShape::Hollow, at);
        if point.ringed {
            draw_ring(svg, trace.colour, at);
        }
    }
}

/// Bars with caps from the smallest to the largest value.
fn draw_bars(svg: &mut Markup, trace: &XyTrace, point: &XyPoint, place: &Place) {
    let (x, y) = (place.x(point.x), place.y(point.y));
    let mut stroke = |path: String| {
        svg.empty(
            "path",
            &[
                ("class", &canvas::class("line", trace.colour)),
                ("d", &path),
                ("fill", &"none"),
                ("stroke", &canvas::colour(trace.colour)),
                ("stroke-width", &"1.2"),
            ],
        );
    };
    if let Some((low, high)) = point.y_range.filter(|(low, high)| low < high) {
        let (low, high) = (number(place.y(low)), number(place.y(high)));
        let (from, to) = (number(x - CAP), number(x + CAP));
        stroke(format!("M{from} {low}H{to}M{} {low}V{high}M{from} {high}H{to}", number(x)));
    }
    if let Some((low, high)) = point.x_range.filter(|(low, high)| low < high) {
        let (low, high) = (number(place.x(low)), number(place.x(high)));
        let (from, to) = (number(y - CAP), number(y + CAP));
        stroke(format!("M{low} {from}V{to}M{low} {}H{high}M{high} {from}V{to}", number(y)));
    }
}

fn draw_dot(svg: &mut Markup, colour: usize, hollow: bool, (x, y): (f64, f64)) {
    let class = canvas::class(if hollow { "line" } else { "area" }, colour);
    let colour = canvas::colour(colour);
    let (fill, stroke) = if hollow { ("none", colour) } else { (colour, "none") };
    svg.empty(
        "circle",
        &[
            ("class", &class),
            ("cx", &number(x)),
            ("cy", &number(y)),
            ("r", &POINT),
            ("fill", &fill),
            ("stroke", &stroke),
            ("stroke-width", &"1.5"),
        ],
    );
}

fn draw_ring(svg: &mut Markup, colour: usize, (x, y): (f64, f64)) {
    svg.empty(
        "circle",
        &[
            ("class", &canvas::class("line", colour)),
            ("cx", &number(x)),
            ("cy", &number(y)),
            ("r", &RING),
            ("fill", &"none"),
            ("stroke", &canvas::colour(colour)),
            ("stroke-width", &"2"),
        ],
    );
}

fn draw_key(svg: &mut Markup, key: &XyKey, top: f64) {
    let middle = top + LINE / 2.0;
    let line = |svg: &mut Markup, dashes: usize, width: &str| {
        svg.empty(
            "line",
            &[
                ("class", &canvas::class("line", key.colour)),
                ("x1", &"8"),
                ("y1", &number(middle)),
                ("x2", &"44"),
                ("y2", &number(middle)),
                ("stroke", &canvas::colour(key.colour)),
                ("stroke-width", &width),
                ("stroke-dasharray", &canvas::dashes(dashes)),
            ],
        );
    };
    match key.sign {
        XySign::Band => svg.empty(
            "rect",
            &[
                ("class", &canvas::class("area", BAND)),
                ("x", &"8"),
                ("y", &number(middle - 6.0)),
                ("width", &"36"),
                ("height", &"12"),
                ("fill", &canvas::colour(BAND)),
                ("fill-opacity", &"0.18"),
            ],
        ),
        XySign::Curve(dashes) => line(svg, dashes, "1.5"),
        XySign::Line(dashes) => {
            line(svg, dashes, "2");
            draw_dot(svg, key.colour, false, (26.0, middle));
        }
        XySign::Hollow => draw_dot(svg, key.colour, true, (26.0, middle)),
        XySign::Ring => {
            draw_dot(svg, key.colour, false, (26.0, middle));
            draw_ring(svg, key.colour, (26.0, middle));
        }
    }
    canvas::text(svg, 52.0, middle + 4.5, canvas::shortened(&key.said, 112), &[("class", &"ink")]);
}
