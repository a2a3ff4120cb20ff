//! Ramps: each machine as a strip from its launch until it was ready.

use virtmark_model::Unit;

use super::axis::Axis;
use super::canvas::{self, Medium, WIDTH, number};
use super::{Figure, Ramp, RampStrip};
use crate::format;
use crate::markup::Markup;

const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 100.0;
const BELOW: f64 = 50.0;
const ABOVE: f64 = 28.0;
/// Rows are as high as they can be within this height.
const MOST_HEIGHT: f64 = 480.0;
const HIGHEST_ROW: f64 = 20.0;
const LOWEST_ROW: f64 = 2.0;
/// Rows that are lower than a line of text have no names of their own.
const NAMED_ROW: f64 = 13.0;
/// The colour of what was ready, and of what never was.
const READY: usize = 0;
const FAILED: usize = 1;

pub(super) fn draw(figure: &Figure, plot: &Ramp, markup: &mut Markup, medium: Medium) {
    let row = (MOST_HEIGHT / plot.strips.len().max(1) as f64).clamp(LOWEST_ROW, HIGHEST_ROW);
    let height = ABOVE + row * plot.strips.len() as f64 + BELOW;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        draw_legend(svg, top);
        let top = top + ABOVE;
        let bottom = top + row * plot.strips.len() as f64 + 4.0;
        let end_ns = plot.strips.iter().map(end_ns).fold(1.0, f64::max);
        let axis = Axis::linear(0.0, end_ns, LEFT, RIGHT);
        let scale = format::scale(Unit::Ns, end_ns);
        canvas::horizontal_axis(svg, &axis, &axis.ticks(scale.size, 6), top, bottom);
        canvas::rule(svg, "frame", (LEFT, bottom), (RIGHT, bottom));
        let name = format!("time since the first launch, in {}", scale.symbol);
        canvas::faint(svg, (LEFT + RIGHT) / 2.0, bottom + 36.0, name, "middle");
        for (position, strip) in plot.strips.iter().enumerate() {
            draw_strip(svg, strip, &axis, top + row * position as f64, row);
        }
        if row < NAMED_ROW {
            let said = format!("{} machines", format::count(plot.strips.len() as f64));
            canvas::turned(svg, LEFT - 12.0, (top + bottom) / 2.0, format!("{said}, in the order of launch"));
        }
    });
}

fn draw_legend(svg: &mut Markup, top: f64) {
    let entries = [(READY, "launch to ready"), (FAILED, "launched, and never ready")];
    for (position, (colour, said)) in entries.into_iter().enumerate() {
        let left = 8.0 + 160.0 * position as f64;
        svg.empty(
            "rect",
            &[
                ("class", &canvas::class("area", colour)),
                ("x", &number(left)),
                ("y", &number(top + 2.0)),
                ("width", &"24"),
                ("height", &"12"),
                ("fill", &canvas::colour(colour)),
            ],
        );
        canvas::text(svg, left + 32.0, top + 12.5, said, &[("class", &"ink")]);
    }
}

fn draw_strip(svg: &mut Markup, strip: &RampStrip, axis: &Axis, top: f64, row: f64) {
    let launched = format::duration_ns(strip.launched_ns);
    let (to_ns, colour, said) = match strip.ready_ns {
        Some(ready_ns) => {
            let took = format::duration_ns(ready_ns - strip.launched_ns);
            (ready_ns, READY, format!("launched at {launched}, ready after {took}"))
        }
        None => (strip.launched_ns, FAILED, format!("launched at {launched}, never ready")),
    };
    let (from, to) = (axis.position(strip.launched_ns), axis.position(to_ns));
    let gap = if row >= 4.0 { row * 0.2 } else { 0.0 };
    svg.element(
        "rect",
        &[
            ("class", &canvas::class("area", colour)),
            ("x", &number(from)),
            ("y", &number(top + gap / 2.0)),
            // What failed has no end that was measured: a mark of its launch.
            ("width", &number((to - from).max(if strip.ready_ns.is_some() { 1.0 } else { 4.0 }))),
            ("height", &number(row - gap)),
            ("fill", &canvas::colour(colour)),
        ],
        |rect| rect.leaf("title", &[], format!("{}: {said}", strip.name)),
    );
    if row < NAMED_ROW {
        return;
    }
    let base = top + row / 2.0 + 4.5;
    let name = canvas::shortened(&strip.name, 20);
    canvas::text(svg, LEFT - 10.0, base, name, &[("class", &"ink"), ("text-anchor", &"end")]);
    let took = strip
        .ready_ns
        .map_or_else(|| "failed".to_owned(), |ready_ns| format::duration_ns(ready_ns - strip.launched_ns));
    canvas::text(svg, WIDTH - 8.0, base, took, &[("class", &"ink"), ("text-anchor", &"end")]);
}

fn end_ns(strip: &RampStrip) -> f64 {
    strip.ready_ns.unwrap_or(strip.launched_ns)
}
