//! Heat maps: a field for each pair, the stronger its colour the larger its value, with the value written in it.

use super::canvas::{self, LINE, Medium, WIDTH, number};
use super::{Figure, Heat, HeatField};
use crate::markup::Markup;

const RIGHT: f64 = WIDTH - 8.0;
const FIELD: f64 = 56.0;
const WIDEST_FIELD: f64 = 200.0;
const CHARACTER: f64 = 7.2;
/// The colour of fields, and how strong the smallest and the largest value are: text stays legible on both, on white
/// paper and on black.
const COLOUR: usize = 0;
const FAINTEST: f64 = 0.08;
const STRONGEST: f64 = 0.5;

pub(super) fn draw(figure: &Figure, plot: &Heat, markup: &mut Markup, medium: Medium) {
    let height = 2.0 * LINE + FIELD * plot.down.len() as f64 + 12.0;
    canvas::frame(figure, markup, medium, height, |svg, top| {
        let longest = plot.down.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let left = 52.0 + (longest as f64 * CHARACTER).min(260.0);
        let width = ((RIGHT - left) / plot.across.len().max(1) as f64).min(WIDEST_FIELD);
        let middle = left + width * plot.across.len() as f64 / 2.0;
        canvas::faint(svg, middle, top + 12.0, &plot.across_name, "middle");
        let top = top + 2.0 * LINE;
        let room = (width / CHARACTER) as usize;
        for (column, name) in plot.across.iter().enumerate() {
            let x = left + width * (column as f64 + 0.5);
            let name = canvas::shortened(name, room.max(4));
            canvas::text(svg, x, top - 6.0, name, &[("class", &"ink"), ("text-anchor", &"middle")]);
        }
        canvas::turned(svg, 14.0, top + FIELD * plot.down.len() as f64 / 2.0, &plot.down_name);
        for (row, name) in plot.down.iter().enumerate() {
            let y = top + FIELD * row as f64;
            let name = canvas::shortened(name, 36);
            canvas::text(
                svg,
                left - 8.0,
                y + FIELD / 2.0 + 4.5,
                name,
                &[("class", &"ink"), ("text-anchor", &"end")],
            );
            for column in 0..plot.across.len() {
                let field = plot.fields.iter().find(|field| (field.column, field.row) == (column, row));
                draw_field(svg, plot, field, left + width * column as f64, y, width);
            }
        }
    });
}

fn draw_field(svg: &mut Markup, plot: &Heat, field: Option<&HeatField>, x: f64, y: f64, width: f64) {
    let strength = field.map_or(0.0, |field| strength(plot, field.value));
    let (left, top) = (number(x + 1.0), number(y + 1.0));
    let (across, down) = (number(width - 2.0), number(FIELD - 2.0));
    svg.empty(
        "rect",
        &[
            ("class", &canvas::class("area", COLOUR)),
            ("x", &left),
            ("y", &top),
            ("width", &across),
            ("height", &down),
            ("fill", &canvas::colour(COLOUR)),
            ("fill-opacity", &number(strength)),
        ],
    );
    svg.empty(
        "rect",
        &[
            ("class", &"frame"),
            ("x", &left),
            ("y", &top),
            ("width", &across),
            ("height", &down),
            ("fill", &"none"),
            ("stroke", &"#767676"),
        ],
    );
    let Some(field) = field else {
        canvas::faint(svg, x + width / 2.0, y + FIELD / 2.0 + 4.0, "–", "middle");
        return;
    };
    let lines = field.said.len() as f64;
    let room = (width / 6.4) as usize;
    for (position, said) in field.said.iter().enumerate() {
        let base = y + FIELD / 2.0 + 4.5 + (position as f64 - (lines - 1.0) / 2.0) * 16.0;
        let weight = if position == 0 { "600" } else { "400" };
        let attributes: [(&str, &dyn std::fmt::Display); 4] =
            [("class", &"ink"), ("text-anchor", &"middle"), ("font-weight", &weight), ("font-size", &"12")];
        canvas::text(svg, x + width / 2.0, base, canvas::shortened(said, room.max(4)), &attributes);
    }
}

/// From the faintest for nothing to the strongest for `plot.most`.
fn strength(plot: &Heat, value: f64) -> f64 {
    let share = if plot.most > 0.0 { (value / plot.most).clamp(0.0, 1.0) } else { 0.0 };
    FAINTEST + (STRONGEST - FAINTEST) * share
}
