//! Labels beside points, each where it covers least; one without room is left out.

use super::{CHARACTER, Place, RIGHT, RING, XyPanel, XyShape};
use crate::figure::canvas;
use crate::markup::Markup;

/// Height of a label, and its distance from the middle of its point.
const HEIGHT: f64 = 12.0;
const DISTANCE: f64 = 7.0;
/// Lines are looked at in pieces of this length, not to be covered.
const PIECE: f64 = 2.0;
/// Points and labels covered cost more than any length of a line; a label that costs this is left out.
const COVERED: usize = 1000;

/// A box on the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn covers(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, (x, y): (f64, f64)) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }
}

pub(super) fn draw(svg: &mut Markup, panel: &XyPanel, place: &Place) {
    let at = |x: f64, y: f64| (place.x(x), place.y(y));
    let mut dots: Vec<(f64, f64)> = Vec::new();
    let mut lines: Vec<(f64, f64)> = Vec::new();
    for trace in &panel.traces {
        let points: Vec<(f64, f64)> = trace.points.iter().map(|point| at(point.x, point.y)).collect();
        if trace.shape != XyShape::Hollow {
            for pair in points.windows(2) {
                let (across, up) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
                let pieces = (across.hypot(up) / PIECE).ceil().max(1.0) as u32;
                lines.extend((0..=pieces).map(|piece| {
                    let share = f64::from(piece) / f64::from(pieces);
                    (pair[0].0 + across * share, pair[0].1 + up * share)
                }));
            }
        }
        if trace.shape != XyShape::Curve {
            dots.extend(points);
        }
    }
    let mut taken: Vec<Area> = Vec::new();
    let points = panel.traces.iter().flat_map(|trace| trace.points.iter().map(|point| (trace.colour, point)));
    for (colour, point) in points {
        let Some(label) = &point.label else { continue };
        let distance = if point.ringed { RING + 3.0 } else { DISTANCE };
        let candidates = candidates(at(point.x, point.y), label, distance);
        let cost = |area: &Area| {
            let outside = area.left < place.left
                || area.right > RIGHT
                || area.top < place.top
                || area.bottom > place.bottom;
            let covered = taken.iter().filter(|other| area.covers(other)).count();
            let dots = dots.iter().filter(|dot| area.holds(**dot)).count();
            let lines = lines.iter().filter(|dot| area.holds(**dot)).count();
            COVERED * (usize::from(outside) + covered + dots) + lines
        };
        // The first of several that are as good.
        let Some(best) = candidates.into_iter().min_by_key(cost).filter(|best| cost(best) < COVERED) else {
            continue;
        };
        let middle = (best.left + best.right) / 2.0;
        let attributes: &[(&str, &dyn std::fmt::Display)] = &[
            ("class", &canvas::class("area", colour)),
            ("fill", &canvas::colour(colour)),
            ("font-size", &"12"),
            ("text-anchor", &"middle"),
        ];
        canvas::text(svg, middle, best.bottom - 2.0, label, attributes);
        taken.push(best);
    }
}

/// Around a point: above left, below right, above right, below left, above, below, left, right; then the same further out.
fn candidates((x, y): (f64, f64), label: &str, distance: f64) -> Vec<Area> {
    let width = label.chars().count() as f64 * CHARACTER + 2.0;
    let area = |left: f64, top: f64| Area { left, top, right: left + width, bottom: top + HEIGHT };
    let around = |distance: f64| {
        let near = distance * 0.6;
        let (before, after) = (x - near - width, x + near);
        let (above, below) = (y - near - HEIGHT, y + near);
        let (centre, middle) = (x - width / 2.0, y - HEIGHT / 2.0);
        [
            area(before, above),
            area(after, below),
            area(after, above),
            area(before, below),
            area(centre, y - distance - HEIGHT),
            area(centre, y + distance),
            area(x - distance - width, middle),
            area(x + distance, middle),
        ]
    };
    [distance, distance * 2.0].into_iter().flat_map(around).collect()
}
