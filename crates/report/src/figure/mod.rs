//! Figures as SVG: distributions as step curves, and times taken apart as waterfalls.
//!
//! Drawn by this crate: what a report needs from a figure (a curve that stays exact when it is thinned, the band of
//! an interval, colours that follow print and dark mode) is what general plotting crates (`kuva`, `plotters`) fix
//! at drawing time or lack, and the rest is two kinds of axes.
//!
//! A drawing has the colours of print as attributes, so that any renderer shows it, and a style sheet that changes
//! them on screens in dark mode. Colours are those of M. Okabe and K. Ito, *Color Universal Design* (2008); curves
//! also differ by their dashes, and bars carry their names, so that no colour is the only sign.

mod axis;
mod canvas;
mod ecdf;
#[cfg(test)]
mod tests;
mod waterfall;

use virtmark_model::Unit;
use virtmark_stats::Interval;

use crate::markup::Markup;

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
    /// Times taken apart, one below the other.
    Waterfall(Waterfall),
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
    /// The figure as an SVG document, 800 units wide, that needs nothing from elsewhere.
    ///
    /// Its size does not grow with the number of samples beyond what the drawing can resolve: see [`Ecdf`]'s curves,
    /// which are thinned to half a unit and keep the exact height of every step that remains.
    pub fn to_svg(&self) -> String {
        let mut svg = Markup::new();
        self.draw(&mut svg, true);
        let mut text = svg.finish();
        text.push('\n');
        text
    }

    /// The figure as an element of an HTML document that contains [`STYLE_SHEET`].
    pub(crate) fn draw_inline(&self, markup: &mut Markup) {
        self.draw(markup, false);
    }

    fn draw(&self, markup: &mut Markup, standalone: bool) {
        match &self.plot {
            Plot::Ecdf(plot) => ecdf::draw(self, plot, markup, standalone),
            Plot::Waterfall(plot) => waterfall::draw(self, plot, markup, standalone),
        }
    }
}

/// What changes the colours of figures on screens in dark mode.
pub(crate) const STYLE_SHEET: &str = canvas::STYLE_SHEET;
