//! What a figure of points over two axes shows.

use virtmark_model::Unit;

/// Points over two axes, in one panel or several below each other that share their axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Xy {
    /// The horizontal axis.
    pub across: XyAxis,
    /// The vertical axis.
    pub up: XyAxis,
    /// What the signs mean, one line each.
    pub legend: Vec<XyKey>,
    /// The panels, top to bottom.
    pub panels: Vec<XyPanel>,
}

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct XyAxis {
    /// What the values are: `throughput`. Rates are of requests.
    pub name: String,
    /// Their unit.
    pub unit: Unit,
    /// How they are spread.
    pub scale: XyScale,
    /// Values to mark; round ones where there are none.
    pub ticks: Vec<f64>,
}

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XyScale {
    /// Linear, from zero.
    FromZero,
    /// Logarithmic; linear from zero when a value is not positive.
    Logarithmic,
}

/// A sign of the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct XyKey {
    /// The sign.
    pub sign: XySign,
    /// Which colour.
    pub colour: usize,
    /// What it means.
    pub said: String,
}

/// What a sign of the legend looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XySign {
    /// A shaded range.
    Band,
    /// A line with the dashes of this position.
    Curve(usize),
    /// A line with the dashes of this position, and a point.
    Line(usize),
    /// A hollow point.
    Hollow,
    /// A ring around a point.
    Ring,
}

/// One drawing area.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct XyPanel {
    /// What is in it, when there are several.
    pub title: Option<String>,
    /// A range across that is shaded.
    pub band: Option<(f64, f64)>,
    /// A vertical rule with its name above the drawing area.
    pub rule: Option<(f64, String)>,
    /// What is drawn, the first at the bottom.
    pub traces: Vec<XyTrace>,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct XyTrace {
    /// Which colour.
    pub colour: usize,
    /// Which dashes.
    pub dashes: usize,
    /// How it is drawn.
    pub shape: XyShape,
    /// In the order in which they are joined. Coordinates must be finite.
    pub points: Vec<XyPoint>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XyShape {
    /// A thin line without points.
    Curve,
    /// Hollow points by themselves.
    Hollow,
    /// Points joined by a line.
    Line,
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct XyPoint {
    /// Position across.
    pub x: f64,
    /// Position up.
    pub y: f64,
    /// The smallest and the largest value across that it stands for, drawn as a bar.
    pub x_range: Option<(f64, f64)>,
    /// The same up.
    pub y_range: Option<(f64, f64)>,
    /// What is written beside it.
    pub label: Option<String>,
    /// Whether there is a ring around it.
    pub ringed: bool,
}
