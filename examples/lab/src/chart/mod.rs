//! Charts as data, rendered as SVG or as text for a terminal.

mod axis;
mod palette;
mod svg;
mod terminal;

pub use axis::Axis;
pub use palette::Colour;

use std::fmt;

/// Series of data over two axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// A short title.
    pub title: String,
    /// A description for readers who cannot see the chart.
    pub description: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series in drawing order. Series without a name are not in the legend.
    pub series: Vec<Series>,
    /// Charts below this one in the same picture, with the same series: they have one legend.
    pub panels: Vec<Chart>,
}

/// One series of data.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The name in the legend; empty for none.
    pub name: String,
    /// The colour, with a value for the light and one for the dark scheme.
    pub colour: Colour,
    /// The data and how to draw them.
    pub shape: Shape,
}

/// Data and how to draw them. Values that are not finite are left out; values beyond an axis are
/// drawn at its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A line through these points.
    Line(Vec<(f64, f64)>),
    /// A dashed line through these points.
    Dashed(Vec<(f64, f64)>),
    /// Marks at these points. Each colour has its own form of mark.
    Points(Vec<(f64, f64)>),
    /// Marks connected by a line.
    Joined(Vec<(f64, f64)>),
    /// The area between two lines: x, lower y, upper y.
    Band(Vec<(f64, f64, f64)>),
    /// Filled rectangles (left, lower, right, upper), for bars and for the lanes of workers.
    Boxes(Vec<[f64; 4]>),
}

/// Why a chart cannot be drawn.
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
        Self { title, description, x, y, series: Vec::new(), panels: Vec::new() }
    }

    /// Adds a chart below this one, which has the same series.
    #[must_use]
    pub fn over(mut self, panel: Self) -> Self {
        self.panels.push(panel);
        self
    }

    /// Adds a series.
    #[must_use]
    pub fn with(mut self, name: &str, colour: Colour, shape: Shape) -> Self {
        self.series.push(Series { name: name.to_owned(), colour, shape });
        self
    }

    /// The chart as an SVG image, to be used alone or within a page. It follows the reader's light
    /// or dark scheme.
    ///
    /// # Errors
    ///
    /// If an axis has no data.
    pub fn svg(&self) -> Result<String, ChartError> {
        let charts = std::iter::once(self).chain(&self.panels);
        let fitted = charts.map(|chart| {
            let (x, y) = chart.fitted()?;
            Ok((chart, x, y))
        });
        svg::draw(&fitted.collect::<Result<Vec<_>, ChartError>>()?)
    }

    /// The chart as text with this many columns and rows, without the axes.
    ///
    /// # Errors
    ///
    /// If an axis has no data.
    pub fn text(&self, columns: usize, rows: usize) -> Result<String, ChartError> {
        let (x, y) = self.fitted()?;
        let mut text = terminal::draw(self, &x, &y, columns.max(10), rows.max(3));
        for panel in &self.panels {
            text.push('\n');
            text.push_str(&panel.text(columns, rows)?);
        }
        Ok(text)
    }

    /// The axes, fitted to the data.
    fn fitted(&self) -> Result<(Axis, Axis), ChartError> {
        let points = self.series.iter().flat_map(|series| series.shape.corners());
        let (xs, ys): (Vec<f64>, Vec<f64>) = points.unzip();
        Ok((self.x.fitted(&xs)?, self.y.fitted(&ys)?))
    }
}

impl Shape {
    /// The points that must fit within the axes.
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
    fn panels_are_in_one_picture_with_one_legend() {
        let chart = |title: &str| {
            let points = Shape::Points(vec![(0.0, 1.0), (1.0, 2.0)]);
            Chart::new(title, "d", Axis::linear("x"), Axis::linear("y")).with(
                "a series",
                Colour::Blue,
                points,
            )
        };
        let alone = chart("above").svg().expect("an extent");
        let both = chart("above").over(chart("below")).svg().expect("an extent");
        assert_eq!([&alone, &both].map(|svg| svg.matches("<svg ").count()), [1, 1]);
        assert_eq!([&alone, &both].map(|svg| svg.matches("a series").count()), [1, 1]);
        assert_eq!([&alone, &both].map(|svg| svg.matches("below").count()), [0, 1]);
        let text = chart("above").over(chart("below")).text(20, 5).expect("an extent");
        assert!(text.contains("above") && text.contains("below"));
        let empty = Chart::new("below", "d", Axis::linear("x"), Axis::log("y"));
        assert!(chart("above").over(empty).svg().is_err(), "a panel without data");
    }

    #[test]
    fn an_axis_without_data_is_an_error() {
        let chart = Chart::new("t", "d", Axis::linear("x"), Axis::log("y"));
        assert!(chart.svg().expect_err("no extent").to_string().contains("no data"));
        let points = Shape::Points(vec![(1.0, 0.0), (2.0, -1.0)]);
        let chart = chart.with("below zero", Colour::Blue, points);
        assert!(chart.text(20, 5).expect_err("no extent").to_string().contains("\"y\""));
    }
}
