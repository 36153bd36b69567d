//! A chart as values: what is drawn, apart from how; as SVG, or small on a terminal.

mod axis;
mod palette;
mod svg;
mod terminal;

pub use axis::Axis;
pub use palette::Colour;

use std::fmt;

/// A picture of series over two axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows, in a few words.
    pub title: String,
    /// What is to be seen in it, for those who cannot see it.
    pub description: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Drawn in this order; those without a name are not in the legend.
    pub series: Vec<Series>,
}

/// Data that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What they are; empty for what needs no name.
    pub name: String,
    /// Their colour, which differs in the light and the dark scheme.
    pub colour: Colour,
    /// The data, and what they are drawn as.
    pub shape: Shape,
}

/// Data and what they are drawn as. What is not finite is left out, and what is beyond an axis is
/// drawn at its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A line through these points.
    Line(Vec<(f64, f64)>),
    /// A dashed line through these points.
    Dashed(Vec<(f64, f64)>),
    /// Marks at these points, which differ in form from one colour to the next.
    Points(Vec<(f64, f64)>),
    /// Marks, and a line through them.
    Joined(Vec<(f64, f64)>),
    /// The surface between two lines: x, lower y, upper y.
    Band(Vec<(f64, f64, f64)>),
    /// Filled boxes: left, lower, right, upper. Bars, and the lanes of workers.
    Boxes(Vec<[f64; 4]>),
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartError(String);

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot draw a chart: {}", self.0)
    }
}

impl std::error::Error for ChartError {}

impl Chart {
    /// A chart without series.
    pub fn new(title: &str, description: &str, x: Axis, y: Axis) -> Self {
        let (title, description) = (title.to_owned(), description.to_owned());
        Self { title, description, x, y, series: Vec::new() }
    }

    /// Adds a series.
    #[must_use]
    pub fn with(mut self, name: &str, colour: Colour, shape: Shape) -> Self {
        self.series.push(Series { name: name.to_owned(), colour, shape });
        self
    }

    /// The chart as an SVG image, which stands alone or in a page, and follows the light or dark
    /// scheme of who looks at it.
    ///
    /// # Errors
    ///
    /// If an axis has no extent that can be drawn.
    pub fn svg(&self) -> Result<String, ChartError> {
        let (x, y) = self.fitted()?;
        svg::draw(self, &x, &y)
    }

    /// The chart in characters, so many columns and rows for the drawing itself.
    ///
    /// # Errors
    ///
    /// If an axis has no extent that can be drawn.
    pub fn text(&self, columns: usize, rows: usize) -> Result<String, ChartError> {
        let (x, y) = self.fitted()?;
        Ok(terminal::draw(self, &x, &y, columns.max(10), rows.max(3)))
    }

    /// The axes with the extent of the data, where they have no other.
    fn fitted(&self) -> Result<(Axis, Axis), ChartError> {
        let points = self.series.iter().flat_map(|series| series.shape.corners());
        let (xs, ys): (Vec<f64>, Vec<f64>) = points.unzip();
        Ok((self.x.fitted(&xs)?, self.y.fitted(&ys)?))
    }
}

impl Shape {
    /// The points that the axes must have room for.
    fn corners(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Line(points)
            | Self::Dashed(points)
            | Self::Points(points)
            | Self::Joined(points) => points.clone(),
            Self::Band(points) => {
                points.iter().flat_map(|&(x, low, high)| [(x, low), (x, high)]).collect()
            }
            Self::Boxes(boxes) => boxes
                .iter()
                .flat_map(|&[left, low, right, high]| [(left, low), (right, high)])
                .collect(),
        }
    }
}

/// The points that can be drawn.
fn drawable(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_extent_is_an_error() {
        let chart = Chart::new("t", "d", Axis::linear("x"), Axis::log("y"));
        assert!(chart.svg().expect_err("no extent").to_string().contains("no data"));
        let points = Shape::Points(vec![(1.0, 0.0), (2.0, -1.0)]);
        let chart = chart.with("below zero", Colour::Blue, points);
        assert!(chart.text(20, 5).expect_err("no extent").to_string().contains("\"y\""));
    }
}
