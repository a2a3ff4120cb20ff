//! Empirical distribution functions.

use super::axis::Axis;
use super::canvas::{self, LINE, Medium, WIDTH, number};
use super::{Curve, Ecdf, Figure};
use crate::format::{self, Scale};
use crate::markup::Markup;

/// Edges of the plot area.
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 24.0;
const PLOT_HEIGHT: f64 = 300.0;
/// Room below the plot area for labels and the name of the axis.
const BELOW: f64 = 46.0;
/// Steps closer together than this are drawn as one: half a unit, which is one dot of a high-resolution screen.
const CELL: f64 = 0.5;

pub(super) fn draw(figure: &Figure, plot: &Ecdf, markup: &mut Markup, medium: Medium) {
    let legend = LINE * plot.curves.len() as f64;
    let height = legend + 12.0 + PLOT_HEIGHT + BELOW + 6.0;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        for (position, curve) in plot.curves.iter().enumerate() {
            draw_legend(svg, plot, curve, position, top + LINE * position as f64);
        }
        draw_plot(svg, plot, top + legend + 12.0);
    });
}

fn draw_legend(svg: &mut Markup, plot: &Ecdf, curve: &Curve, position: usize, top: f64) {
    let mut said =
        format!("{}: n = {}", canvas::shortened(&curve.name, 60), format::count(curve.samples.len() as f64));
    if let Some(median) = curve.median {
        said.push_str(&format!(", median {}", format::value(median, plot.unit)));
    }
    if let Some(interval) = curve.median_interval {
        said.push_str(&format!(" [{}]", format::range(interval.low, interval.high, plot.unit, "–")));
    }
    canvas::legend_entry(svg, position, top, said);
}

fn draw_plot(svg: &mut Markup, plot: &Ecdf, top: f64) {
    let bottom = top + PLOT_HEIGHT;
    let shares = Axis::linear(0.0, 1.0, bottom, top);
    for percent in [0u8, 25, 50, 75, 100] {
        let y = shares.position(f64::from(percent) / 100.0);
        canvas::rule(svg, "grid", (LEFT, y), (RIGHT, y));
        canvas::faint(svg, LEFT - 8.0, y + 4.0, format!("{percent} %"), "end");
    }
    canvas::turned(svg, 20.0, (top + bottom) / 2.0, "share of samples at or below");
    let (low, high) = range(&plot.curves);
    if low > high {
        canvas::faint(svg, (LEFT + RIGHT) / 2.0, (top + bottom) / 2.0, "No sample succeeded.", "middle");
        return;
    }
    let axis = Axis::around(low, high, plot.logarithmic, LEFT, RIGHT);
    let scale = format::scale(plot.unit, axis.high());
    canvas::horizontal_axis(svg, &axis, &axis.ticks(scale.size, 8), top, bottom);
    canvas::rule(svg, "frame", (LEFT, bottom), (RIGHT, bottom));
    canvas::faint(svg, (LEFT + RIGHT) / 2.0, bottom + 38.0, axis_name(plot, &axis, scale), "middle");
    for (position, curve) in plot.curves.iter().enumerate() {
        draw_median(svg, plot, curve, position, &axis, (top, bottom));
    }
    for (position, curve) in plot.curves.iter().enumerate() {
        draw_curve(svg, curve, position, &axis, &shares);
    }
}

fn axis_name(plot: &Ecdf, axis: &Axis, scale: Scale) -> String {
    let unit = if scale.symbol.is_empty() { String::new() } else { format!(" in {}", scale.symbol) };
    let logarithmic = if axis.is_logarithmic() { ", logarithmic" } else { "" };
    format!("{}{unit}{logarithmic}", plot.axis)
}

fn draw_median(
    svg: &mut Markup,
    plot: &Ecdf,
    curve: &Curve,
    position: usize,
    axis: &Axis,
    (top, bottom): (f64, f64),
) {
    if let Some(interval) = curve.median_interval {
        let (from, to) = (axis.position(interval.low), axis.position(interval.high));
        svg.element(
            "rect",
            &[
                ("class", &canvas::class("area", position)),
                ("x", &number(from)),
                ("y", &number(top)),
                // An interval of one value is still seen.
                ("width", &number((to - from).max(1.0))),
                ("height", &number(bottom - top)),
                ("fill", &canvas::colour(position)),
                ("fill-opacity", &"0.16"),
            ],
            |rect| {
                let (low, high) =
                    (format::value(interval.low, plot.unit), format::value(interval.high, plot.unit));
                let level = interval.level * 100.0;
                rect.leaf(
                    "title",
                    &[],
                    format!("{}: {level} % interval of the median, {low} to {high}", curve.name),
                );
            },
        );
    }
    if let Some(median) = curve.median {
        let x = number(axis.position(median));
        svg.element(
            "line",
            &[
                ("class", &canvas::class("line", position)),
                ("x1", &x),
                ("y1", &number(top)),
                ("x2", &x),
                ("y2", &number(bottom)),
                ("stroke", &canvas::colour(position)),
                ("stroke-dasharray", &"2 2"),
            ],
            |line| {
                line.leaf(
                    "title",
                    &[],
                    format!("{}: median {}", curve.name, format::value(median, plot.unit)),
                );
            },
        );
    }
}

fn draw_curve(svg: &mut Markup, curve: &Curve, position: usize, axis: &Axis, shares: &Axis) {
    if curve.samples.is_empty() {
        return;
    }
    svg.element(
        "path",
        &[
            ("class", &canvas::class("line", position)),
            ("d", &path(&curve.samples, axis, shares)),
            ("fill", &"none"),
            ("stroke", &canvas::colour(position)),
            ("stroke-width", &"2"),
            ("stroke-linejoin", &"round"),
            ("stroke-dasharray", &canvas::dashes(position)),
        ],
        |path| path.leaf("title", &[], &curve.name),
    );
}

/// The step curve, from the left edge at 0 to the right edge at 1.
///
/// Steps that fall into one cell are drawn as one rise at the first of them, to the height after the last: no step is
/// left out, none is moved by more than a cell, and the curve has at most two points for each cell, however many
/// samples there are.
fn path(samples: &[f64], axis: &Axis, shares: &Axis) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let mut path = format!("M{} {}", number(LEFT), number(shares.position(0.0)));
    let mut next = 0;
    while next < sorted.len() {
        let x = axis.position(sorted[next]);
        next += sorted[next..].partition_point(|value| axis.position(*value) < x + CELL).max(1);
        path.push_str(&format!("H{}V{}", number(x), number(shares.position(next as f64 / n))));
    }
    path.push_str(&format!("H{}", number(RIGHT)));
    path
}

fn range(curves: &[Curve]) -> (f64, f64) {
    let samples = curves.iter().flat_map(|curve| curve.samples.iter().copied());
    samples.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The corners of a path as `(x, y)` after each rise.
    fn rises(path: &str) -> Vec<(f64, f64)> {
        path.split('H')
            .filter_map(|step| step.split_once('V'))
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect()
    }

    fn axes(samples: &[f64]) -> (Axis, Axis) {
        let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let high = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (Axis::around(low, high, false, LEFT, RIGHT), Axis::linear(0.0, 1.0, 300.0, 0.0))
    }

    #[test]
    fn few_samples_are_drawn_step_for_step() {
        let samples = [3.0, 1.0, 2.0, 3.0];
        let (axis, shares) = axes(&samples);
        let drawn = rises(&path(&samples, &axis, &shares));
        let expected: Vec<f64> = vec![225.0, 150.0, 0.0];
        assert_eq!(drawn.iter().map(|(_, y)| *y).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// At every drawn height, the curve stands within a cell of where the distribution really takes that height.
        #[test]
        fn thinning_moves_no_step_by_more_than_a_cell(samples in prop::collection::vec(0.0f64..1e9, 1..3000)) {
            let (axis, shares) = axes(&samples);
            let drawn = rises(&path(&samples, &axis, &shares));
            prop_assert!(drawn.len() as f64 <= (RIGHT - LEFT) / CELL + 1.0);
            prop_assert!(drawn.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1));
            prop_assert_eq!(drawn.last().unwrap().1, 0.0);
            for &sample in &samples {
                let x = axis.position(sample);
                let true_y = shares.position(samples.iter().filter(|&&other| other <= sample).count() as f64 / samples.len() as f64);
                let at = drawn.iter().rfind(|(rise, _)| *rise <= x + 0.01).unwrap();
                prop_assert!(at.0 > x - CELL - 0.01, "{at:?} stands for {x}");
                prop_assert!(at.1 <= true_y + 0.01, "{at:?} is below {true_y}");
            }
        }
    }
}
