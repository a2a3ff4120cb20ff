//! Stacked bars: each bar is a whole, its parts side by side in the order given, and their values below it.

use super::axis::Axis;
use super::canvas::{self, LINE, Medium, WIDTH, number};
use super::{Figure, Stacked, StackedBar};
use crate::markup::Markup;

const LEFT: f64 = 8.0;
const RIGHT: f64 = WIDTH - 24.0;
const BAR: f64 = 18.0;
/// A bar with its name above and its values below.
const ROW: f64 = LINE + BAR + LINE + 10.0;
const BELOW: f64 = 46.0;
const SWATCH: f64 = 150.0;

pub(super) fn draw(figure: &Figure, plot: &Stacked, markup: &mut Markup, medium: Medium) {
    let height = LINE + 8.0 + ROW * plot.bars.len() as f64 + BELOW;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        let names = names(plot);
        for (position, name) in names.iter().enumerate() {
            draw_key(svg, name, position, top);
        }
        let top = top + LINE + 8.0;
        let bottom = top + ROW * plot.bars.len() as f64;
        let longest = plot.bars.iter().map(length).fold(0.0, f64::max);
        let axis = Axis::linear(0.0, if longest > 0.0 { longest * 1.02 } else { 1.0 }, LEFT, RIGHT);
        canvas::horizontal_axis(svg, &axis, &axis.ticks(1.0, 8), top, bottom);
        canvas::rule(svg, "frame", (LEFT, bottom), (RIGHT, bottom));
        canvas::faint(svg, (LEFT + RIGHT) / 2.0, bottom + 36.0, &plot.axis, "middle");
        for (position, bar) in plot.bars.iter().enumerate() {
            draw_bar(svg, bar, plot, &names, &axis, top + ROW * position as f64);
        }
    });
}

/// The parts of all bars, in the order of first appearance: a name has one colour in all of them.
fn names(plot: &Stacked) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for part in plot.bars.iter().flat_map(|bar| &bar.parts) {
        if !names.contains(&part.name.as_str()) {
            names.push(&part.name);
        }
    }
    names
}

fn draw_key(svg: &mut Markup, name: &str, position: usize, top: f64) {
    let left = LEFT + SWATCH * position as f64;
    draw_area(svg, position, left, top + 2.0, (24.0, 12.0), name);
    canvas::text(svg, left + 32.0, top + 12.5, canvas::shortened(name, 16), &[("class", &"ink")]);
}

fn draw_bar(svg: &mut Markup, bar: &StackedBar, plot: &Stacked, names: &[&str], axis: &Axis, top: f64) {
    let name = canvas::shortened(&bar.name, 100);
    canvas::text(svg, LEFT, top + 14.0, name, &[("class", &"ink"), ("font-weight", &"600")]);
    let mut from = 0.0;
    let mut said = Vec::new();
    for part in &bar.parts {
        said.push(format!("{} {:.1} {}", part.name, part.value, plot.symbol));
        // What is less than nothing has no length; its value is below all the same.
        let to = from + part.value.max(0.0);
        let (x, end) = (axis.position(from), axis.position(to));
        let colour = names.iter().position(|name| *name == part.name).unwrap_or(0);
        if to > from {
            let title = format!("{}: {:.1} {}", part.name, part.value, plot.symbol);
            // A gap of half a unit tells neighbours apart where colours do not.
            draw_area(svg, colour, x, top + LINE, ((end - x - 0.5).max(0.5), BAR), &title);
        }
        from = to;
    }
    let said = canvas::shortened(&said.join(", "), 120);
    canvas::faint(svg, LEFT, top + LINE + BAR + 14.0, said, "start");
}

fn draw_area(svg: &mut Markup, colour: usize, x: f64, y: f64, size: (f64, f64), title: &str) {
    svg.element(
        "rect",
        &[
            ("class", &canvas::class("area", colour)),
            ("x", &number(x)),
            ("y", &number(y)),
            ("width", &number(size.0)),
            ("height", &number(size.1)),
            ("fill", &canvas::colour(colour)),
        ],
        |rect| rect.leaf("title", &[], title),
    );
}

fn length(bar: &StackedBar) -> f64 {
    bar.parts.iter().map(|part| part.value.max(0.0)).sum()
}
