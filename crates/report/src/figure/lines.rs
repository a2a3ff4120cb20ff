//! Values over time, as lines.

use super::axis::Axis;
use super::canvas::{self, LINE, Medium, WIDTH, number};
use super::{Figure, Line, LinePoint, Lines, Times, time};
use crate::format::{self, Scale};
use crate::markup::Markup;

const RIGHT: f64 = WIDTH - 24.0;
const PLOT_HEIGHT: f64 = 300.0;
/// Room below the plot area for labels and the name of the axis.
const BELOW: f64 = 46.0;
/// Left of the plot area for the name of the vertical axis, and the width of a character of its labels.
const NAME_ROOM: f64 = 38.0;
const CHARACTER: f64 = 7.0;
/// Values closer together than this are drawn as their extremes: half a unit, one dot of a high-resolution screen.
const CELL: f64 = 0.5;
/// Drawn at this if larger, so that differences stay numbers.
const LARGEST: f64 = 1e300;

pub(super) fn draw(figure: &Figure, plot: &Lines, markup: &mut Markup, medium: Medium) {
    let legend = LINE * plot.lines.len() as f64;
    let height = legend + 12.0 + PLOT_HEIGHT + BELOW + 6.0;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        for (position, line) in plot.lines.iter().enumerate() {
            draw_legend(svg, plot, line, position, top + LINE * position as f64);
        }
        draw_plot(svg, plot, top + legend + 12.0);
    });
}

fn draw_legend(svg: &mut Markup, plot: &Lines, line: &Line, position: usize, top: f64) {
    let points = format::count(line.points.len() as f64);
    let plural = if line.points.len() == 1 { "" } else { "s" };
    let mut said = format!("{}: {points} point{plural}", canvas::shortened(&line.name, 70));
    let values = line.points.iter().map(|point| point.value);
    if let Some((low, high)) = extremes(values) {
        let range = if low == high {
            format::value(low, plot.unit)
        } else {
            format::range(low, high, plot.unit, "–")
        };
        said.push_str(&format!(", {range}"));
    }
    canvas::legend_entry(svg, position, top, said);
}

fn draw_plot(svg: &mut Markup, plot: &Lines, top: f64) {
    let bottom = top + PLOT_HEIGHT;
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let drawn = points().flat_map(|point| {
        let (low, high) = point.band.unwrap_or((point.value, point.value));
        [low.min(point.value), high.max(point.value)]
    });
    let Some((low, high)) = extremes(drawn) else {
        canvas::rule(svg, "frame", (NAME_ROOM, bottom), (RIGHT, bottom));
        canvas::faint(svg, WIDTH / 2.0, (top + bottom) / 2.0, "There are no points in this range.", "middle");
        return;
    };
    let heights = height_axis(low, high, bottom, top);
    let scale = Height::of(plot, low.abs().max(high.abs()));
    let marks = heights.ticks(scale.size, 6);
    let longest = marks.iter().map(|mark| mark.label.chars().count()).max().unwrap_or(0);
    let left = NAME_ROOM + (longest as f64 * CHARACTER).clamp(3.0 * CHARACTER, 200.0) + 8.0;
    for mark in &marks {
        let y = heights.position(mark.value);
        canvas::rule(svg, "grid", (left, y), (RIGHT, y));
        canvas::faint(svg, left - 8.0, y + 4.0, &mark.label, "end");
    }
    let name = format!("{}{}", canvas::shortened(&plot.axis, 44), scale.said);
    canvas::turned(svg, 20.0, (top + bottom) / 2.0, name);
    let (from_ns, to_ns) = reach(plot);
    let times = Axis::linear(0.0, (to_ns - from_ns) as f64, left, RIGHT);
    let (marks, name) = time::ticks(plot.times, &times, (from_ns, to_ns), 7);
    canvas::horizontal_axis(svg, &times, &marks, top, bottom);
    canvas::rule(svg, "frame", (left, bottom), (RIGHT, bottom));
    canvas::faint(svg, (left + RIGHT) / 2.0, bottom + 38.0, name, "middle");
    let place = Place { times, from_ns, heights };
    for (position, line) in plot.lines.iter().enumerate() {
        draw_band(svg, line, position, &place);
    }
    for (position, line) in plot.lines.iter().enumerate() {
        draw_line(svg, line, position, &place);
    }
}

/// The times of the first and the last point; a single moment still has time around it.
fn reach(plot: &Lines) -> (u64, u64) {
    let times = plot.lines.iter().flat_map(|line| &line.points).map(|point| point.time_ns);
    let (from_ns, to_ns) = times.fold((u64::MAX, 0), |(from, to), time| (from.min(time), to.max(time)));
    let around_ns = plot.lines.iter().map(|line| line.step_ns).max().unwrap_or(0).max(2) / 2;
    match plot.times {
        Times::SinceStart => (0, to_ns.max(around_ns)),
        Times::Utc if from_ns < to_ns => (from_ns, to_ns),
        Times::Utc => (from_ns.saturating_sub(around_ns), to_ns.saturating_add(around_ns)),
    }
}

/// From zero where that costs at most half of the height, else around the values.
fn height_axis(low: f64, high: f64, bottom: f64, top: f64) -> Axis {
    if low >= 0.0 && high > 0.0 && low <= high / 2.0 {
        return Axis::linear(0.0, high * 1.05, bottom, top);
    }
    if low == high {
        let room = (high.abs() * 0.05).max(0.5);
        return Axis::linear(low - room, high + room, bottom, top);
    }
    Axis::around(low, high, false, bottom, top)
}

/// In what the heights are labelled: the unit that suits them, and a power of ten where that leaves long numbers.
struct Height {
    size: f64,
    said: String,
}

impl Height {
    fn of(plot: &Lines, largest: f64) -> Self {
        let Scale { size, symbol } = format::scale(plot.unit, largest);
        let power = (largest / size).log10().div_euclid(3.0) * 3.0;
        let power = if largest > 0.0 && !(-3.0..6.0).contains(&power) { power as i32 } else { 0 };
        let said = match (power, symbol) {
            (0, "") => String::new(),
            (0, symbol) => format!(" in {symbol}"),
            (power, symbol) => format!(" in 10{} {symbol}", superscript(power)).trim_end().to_owned(),
        };
        Self { size: size * 10f64.powi(power), said }
    }
}

fn superscript(number: i32) -> String {
    let raised = |character| match character {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
    };
    number.to_string().chars().map(raised).collect()
}

/// Where points lie on the drawing.
struct Place {
    times: Axis,
    from_ns: u64,
    heights: Axis,
}

impl Place {
    /// Nanoseconds since 1970 do not fit a float, those since the start of the axis do.
    fn x(&self, time_ns: u64) -> f64 {
        self.times.position(time_ns.saturating_sub(self.from_ns) as f64)
    }

    fn y(&self, value: f64) -> f64 {
        self.heights.position(value.clamp(-LARGEST, LARGEST))
    }
}

fn draw_band(svg: &mut Markup, line: &Line, position: usize, place: &Place) {
    let path: String = segments(line).map(|segment| band_path(segment, place)).collect();
    if !path.is_empty() {
        svg.empty(
            "path",
            &[
                ("class", &canvas::class("area", position)),
                ("d", &path),
                ("fill", &canvas::colour(position)),
                ("fill-opacity", &"0.16"),
            ],
        );
    }
}

fn draw_line(svg: &mut Markup, line: &Line, position: usize, place: &Place) {
    let path: String =
        segments(line).filter(|segment| segment.len() > 1).map(|segment| line_path(segment, place)).collect();
    if !path.is_empty() {
        svg.element(
            "path",
            &[
                ("class", &canvas::class("line", position)),
                ("d", &path),
                ("fill", &"none"),
                ("stroke", &canvas::colour(position)),
                ("stroke-width", &"2"),
                ("stroke-linejoin", &"round"),
                ("stroke-dasharray", &canvas::dashes(position)),
            ],
            |path| path.leaf("title", &[], &line.name),
        );
    }
    // A point between two gaps has nothing to be joined with.
    let mut last_x = f64::NEG_INFINITY;
    for point in segments(line).filter(|segment| segment.len() == 1).flatten() {
        let x = place.x(point.time_ns);
        if x >= last_x + CELL {
            draw_dot(svg, position, x, place.y(point.value));
            last_x = x;
        }
    }
}

fn draw_dot(svg: &mut Markup, position: usize, x: f64, y: f64) {
    svg.empty(
        "circle",
        &[
            ("class", &canvas::class("area", position)),
            ("cx", &number(x)),
            ("cy", &number(y)),
            ("r", &"2.5"),
            ("fill", &canvas::colour(position)),
        ],
    );
}

/// The points between gaps.
fn segments(line: &Line) -> impl Iterator<Item = &[LinePoint]> {
    let reach_ns = line.step_ns.saturating_add(line.step_ns / 2);
    line.points.chunk_by(move |a, b| b.time_ns.saturating_sub(a.time_ns) <= reach_ns)
}

/// The points that fall into one cell, in order.
fn cells<'a>(segment: &'a [LinePoint], place: &'a Place) -> impl Iterator<Item = &'a [LinePoint]> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let start = place.x(rest.first()?.time_ns);
        let count = rest.partition_point(|point| place.x(point.time_ns) < start + CELL).max(1);
        let (cell, after) = rest.split_at(count);
        rest = after;
        Some(cell)
    })
}

/// A line through all points; of each cell its first, smallest, largest and last, in the order of time.
fn line_path(segment: &[LinePoint], place: &Place) -> String {
    let mut path = String::new();
    for cell in cells(segment, place) {
        let by_value = |at: &usize, other: &usize| cell[*at].value.total_cmp(&cell[*other].value);
        let mut kept: Vec<usize> = vec![0, cell.len() - 1];
        kept.extend((0..cell.len()).min_by(by_value));
        kept.extend((0..cell.len()).max_by(by_value));
        kept.sort_unstable();
        kept.dedup();
        for point in kept.into_iter().map(|at| &cell[at]) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            path.push_str(&format!(
                "{command}{} {}",
                number(place.x(point.time_ns)),
                number(place.y(point.value))
            ));
        }
    }
    path
}

/// The outline of the bands: along the largest values, and back along the smallest.
fn band_path(segment: &[LinePoint], place: &Place) -> String {
    let mut corners: Vec<(f64, f64, f64)> = Vec::new();
    for cell in cells(segment, place) {
        let bands = || cell.iter().filter_map(|point| point.band);
        let (Some((low, _)), Some((_, high))) =
            (extremes(bands().map(|band| band.0)), extremes(bands().map(|band| band.1)))
        else {
            continue;
        };
        corners.push((place.x(cell[0].time_ns), place.y(low), place.y(high)));
    }
    if corners.len() < 2 {
        return String::new();
    }
    let along = corners.iter().map(|(x, _, high)| (x, high));
    let back = corners.iter().rev().map(|(x, low, _)| (x, low));
    let mut path = String::new();
    for (x, y) in along.chain(back) {
        let command = if path.is_empty() { 'M' } else { 'L' };
        path.push_str(&format!("{command}{} {}", number(*x), number(*y)));
    }
    path.push('Z');
    path
}

/// The smallest and the largest of the values, if there are any.
fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.map(|value| value.clamp(-LARGEST, LARGEST)).fold(None, |held, value| match held {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(step_ns: u64, points: &[(u64, f64)]) -> Line {
        let point = |&(time_ns, value)| LinePoint { time_ns, value, band: None };
        Line { name: "a".into(), step_ns, points: points.iter().map(point).collect() }
    }

    fn place(line: &Line) -> Place {
        let (low, high) = extremes(line.points.iter().map(|point| point.value)).unwrap();
        let (from_ns, to_ns) = (line.points[0].time_ns, line.points[line.points.len() - 1].time_ns);
        let times = Axis::linear(0.0, (to_ns - from_ns) as f64, 80.0, RIGHT);
        Place { times, from_ns, heights: height_axis(low, high, 300.0, 0.0) }
    }

    fn corners(path: &str) -> Vec<(f64, f64)> {
        let corner = |text: &str| {
            let (x, y) = text.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        path.split(['M', 'L']).filter(|text| !text.is_empty()).map(corner).collect()
    }

    #[test]
    fn gaps_are_not_joined() {
        let line = line(10, &[(0, 1.0), (10, 2.0), (30, 3.0), (40, 4.0), (60, 5.0)]);
        let lengths: Vec<usize> = segments(&line).map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
    }

    #[test]
    fn heights_start_from_zero_where_that_is_cheap() {
        assert_eq!(height_axis(1.0, 10.0, 300.0, 0.0).position(0.0), 300.0);
        assert!(height_axis(9.0, 10.0, 300.0, 0.0).position(0.0) > 1000.0);
        let constant = height_axis(7.0, 7.0, 300.0, 0.0);
        assert_eq!(constant.position(7.0), 150.0);
        assert_eq!(height_axis(0.0, 0.0, 300.0, 0.0).position(0.0), 150.0);
    }

    #[test]
    fn long_numbers_are_said_as_powers_of_ten() {
        let plot = |unit| Lines { axis: "x".into(), unit, times: Times::Utc, lines: vec![] };
        let said = |unit, largest| Height::of(&plot(unit), largest).said;
        use virtmark_model::Unit;
        assert_eq!(said(Unit::Count, 999_999.0), "");
        assert_eq!(said(Unit::Count, 2.5e7), " in 10⁶");
        assert_eq!(said(Unit::Count, 2e-9), " in 10⁻⁹");
        assert_eq!(said(Unit::Ns, 3e9), " in s");
        assert_eq!(said(Unit::Ns, 3e18), " in 10⁹ s");
        assert_eq!(said(Unit::Count, 0.0), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// However many points there are: no extreme is lost, none is moved by more than a cell, and few are drawn.
        #[test]
        fn thinning_keeps_every_cell_s_extremes(values in prop::collection::vec(-1e6f64..1e6, 2..6000)) {
            let points: Vec<(u64, f64)> = values.iter().enumerate().map(|(at, value)| (at as u64 * 5, *value)).collect();
            let line = line(5, &points);
            let place = place(&line);
            let drawn = corners(&line_path(&line.points, &place));
            prop_assert!(drawn.len() as f64 <= 4.0 * ((RIGHT - 80.0) / CELL + 1.0));
            prop_assert!(drawn.is_sorted_by(|a, b| a.0 <= b.0));
            let near = |a: f64, b: f64| (a - b).abs() < 0.011;
            for point in &line.points {
                let (x, y) = (place.x(point.time_ns), place.y(point.value));
                let beside: Vec<f64> = drawn.iter().filter(|corner| (corner.0 - x).abs() <= CELL + 0.01).map(|corner| corner.1).collect();
                let (high, low) = extremes(beside.iter().copied()).unwrap();
                prop_assert!(high <= y + 0.011 && y <= low + 0.011, "{y} is outside of {high}..{low}");
            }
            let (highest, lowest) = extremes(line.points.iter().map(|point| place.y(point.value))).unwrap();
            prop_assert!(drawn.iter().any(|corner| near(corner.1, highest)) && drawn.iter().any(|corner| near(corner.1, lowest)));
        }
    }
}
