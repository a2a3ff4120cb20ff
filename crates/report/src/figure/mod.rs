//! Figures as SVG and PNG: distributions as step curves, values over time as lines, times taken apart as waterfalls, the
//! ramps of machines that are launched together, and points over two axes.
//!
//! Drawn by this crate: what a report needs from a figure (a curve that stays exact when it is thinned, the band of
//! an interval, colours that follow print and dark mode) is what general plotting crates (`kuva`, `plotters`) fix
//! at drawing time or lack, and the rest is a few kinds of axes. Pixels are made of the same drawing, by `resvg`, with a font that is in the program:
//! a picture looks the same on a host without fonts.
//!
//! A drawing has the colours of print as attributes, so that any renderer shows it, and a style sheet that changes
//! them on screens in dark mode. Colours are those of M. Okabe and K. Ito, *Color Universal Design* (2008); curves
//! also differ by their dashes, and bars carry their names, so that no colour is the only sign.

mod axis;
mod canvas;
mod ecdf;
mod heat;
mod lines;
mod ramp;
mod raster;
mod stacked;
#[cfg(test)]
mod tests;
mod time;
mod waterfall;
mod xy;

use virtmark_model::Unit;
use virtmark_stats::Interval;

use crate::ReportError;
use crate::markup::Markup;
use canvas::Medium;

pub use xy::{Xy, XyAxis, XyKey, XyPanel, XyPoint, XyScale, XyShape, XySign, XyTrace};

/// A figure: what it shows and what must be said with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What is shown.
    pub title: String,
    /// What must be known to read it; lines below the drawing.
    pub notes: Vec<String>,
    /// The data.
    pub plot: Plot,
}

/// The data of a figure.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Plot {
    /// Empirical distribution functions, one for each set of samples.
    Ecdf(Ecdf),
    /// A field for each pair.
    Heat(Heat),
    /// Values over time.
    Lines(Lines),
    /// Machines that were launched one after the other.
    Ramp(Ramp),
    /// Wholes and their parts, side by side.
    Stacked(Stacked),
    /// Times taken apart, one below the other.
    Waterfall(Waterfall),
    /// Points over two axes.
    Xy(Xy),
}

/// Empirical distribution functions over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecdf {
    /// What the values are: `time to interactive`.
    pub axis: String,
    /// Unit of all values.
    pub unit: Unit,
    /// Whether the axis is logarithmic; ignored when a value is not positive.
    pub logarithmic: bool,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// One set of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Raw samples, in any order; a curve without any is named in the legend and not drawn. Each must be finite.
    pub samples: Vec<f64>,
    /// Its nearest-rank median, drawn as a vertical rule.
    pub median: Option<f64>,
    /// The confidence interval of the median, drawn as a band.
    pub median_interval: Option<Interval>,
}

/// A field for each pair, the stronger its colour the larger its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// What the columns are: `source`.
    pub across_name: String,
    /// The columns, left to right.
    pub across: Vec<String>,
    /// What the rows are: `target`.
    pub down_name: String,
    /// The rows, top to bottom.
    pub down: Vec<String>,
    /// The value with the strongest colour; nothing has the faintest.
    pub most: f64,
    /// The fields; pairs without one stay empty.
    pub fields: Vec<HeatField>,
}

/// One field of a heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatField {
    /// Position in [`Heat::across`].
    pub column: usize,
    /// Position in [`Heat::down`].
    pub row: usize,
    /// Its value, from 0; must be finite.
    pub value: f64,
    /// What is written in it: a few short lines, the first in bold.
    pub said: Vec<String>,
}

/// Wholes and their parts, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacked {
    /// What the values are, with their unit: `overhead in %`.
    pub axis: String,
    /// The unit as it stands behind a value: `%`.
    pub symbol: &'static str,
    /// The bars, top to bottom.
    pub bars: Vec<StackedBar>,
}

/// One whole.
#[derive(Clone, Debug, PartialEq)]
pub struct StackedBar {
    /// What it is.
    pub name: String,
    /// Its parts, left to right. A part of the same name has the same colour in every bar.
    pub parts: Vec<StackedPart>,
}

/// One part of a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct StackedPart {
    /// What it is.
    pub name: String,
    /// How long it is drawn; must be finite. One below zero is not drawn, and its value is still told.
    pub value: f64,
}

/// Values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What the values are: `memory of the guest`.
    pub axis: String,
    /// Unit of all values.
    pub unit: Unit,
    /// How times are told.
    pub times: Times,
    /// The lines.
    pub lines: Vec<Line>,
}

/// How times are told below a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Times count from a start at 0, and are told in the unit that suits them.
    SinceStart,
    /// Times count from 1970, and are told as dates and times of day in universal time.
    Utc,
}

/// One quantity over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Time from one point to the next, nanoseconds. Points further apart than one and a half times this are not
    /// joined: a gap stays a gap.
    pub step_ns: u64,
    /// Values in the order of time; a line without any is named in the legend and not drawn.
    pub points: Vec<LinePoint>,
}

/// One value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinePoint {
    /// Nanoseconds since the start or since 1970.
    pub time_ns: u64,
    /// The value; must be finite.
    pub value: f64,
    /// The smallest and the largest value that it stands for, drawn as a band; both must be finite.
    pub band: Option<(f64, f64)>,
}

/// Machines that were launched one after the other, or together.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    /// The machines, in the order of launch.
    pub strips: Vec<RampStrip>,
}

/// One machine from its launch until it was ready. Times count from the first launch, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct RampStrip {
    /// Its name.
    pub name: String,
    /// Its launch; must be finite.
    pub launched_ns: f64,
    /// When it was ready, not before its launch; none when it never was.
    pub ready_ns: Option<f64>,
}

/// Times taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// The times, top to bottom.
    pub lanes: Vec<Lane>,
}

/// One time taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// What it is the time of.
    pub name: String,
    /// The whole, in nanoseconds.
    pub total_ns: f64,
    /// Its parts, in the order they happened.
    pub bars: Vec<Bar>,
}

/// One part of a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What happened.
    pub name: String,
    /// Nanoseconds from the start of its lane.
    pub start_ns: f64,
    /// Nanoseconds it lasted.
    pub duration_ns: f64,
}

impl Figure {
    /// The most curves or lines that a figure shows with different looks.
    pub const MOST_CURVES: usize = canvas::LOOKS;

    /// The figure as an SVG document, 800 units wide, that needs nothing from elsewhere.
    ///
    /// Its size does not grow with the number of samples beyond what the drawing can resolve: see [`Ecdf`]'s curves,
    /// which are thinned to half a unit and keep the exact height of every step that remains, and the lines of
    /// [`Lines`], of which every half unit keeps its first, smallest, largest and last value.
    pub fn to_svg(&self) -> String {
        self.document(Medium::Document)
    }

    /// The figure as a PNG picture, in the colours of print on white, of this many pixels across; 800 is natural size.
    ///
    /// # Errors
    /// The width is not 100 to 8,000 pixels, or there is no memory for them.
    pub fn to_png(&self, width: u32) -> Result<Vec<u8>, ReportError> {
        raster::png(&self.document(Medium::Raster), &self.title, width)
    }

    /// The figure as an element of an HTML document that contains [`STYLE_SHEET`].
    pub(crate) fn draw_inline(&self, markup: &mut Markup) {
        self.draw(markup, Medium::Inline);
    }

    fn document(&self, medium: Medium) -> String {
        let mut svg = Markup::new();
        self.draw(&mut svg, medium);
        let mut text = svg.finish();
        text.push('\n');
        text
    }

    fn draw(&self, markup: &mut Markup, medium: Medium) {
        match &self.plot {
            Plot::Ecdf(plot) => ecdf::draw(self, plot, markup, medium),
            Plot::Heat(plot) => heat::draw(self, plot, markup, medium),
            Plot::Lines(plot) => lines::draw(self, plot, markup, medium),
            Plot::Ramp(plot) => ramp::draw(self, plot, markup, medium),
            Plot::Stacked(plot) => stacked::draw(self, plot, markup, medium),
            Plot::Waterfall(plot) => waterfall::draw(self, plot, markup, medium),
            Plot::Xy(plot) => xy::draw(self, plot, markup, medium),
        }
    }
}

/// What changes the colours of figures on screens in dark mode.
pub(crate) const STYLE_SHEET: &str = canvas::STYLE_SHEET;
