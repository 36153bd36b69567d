//! Charts as SVG, drawn by `plotters`.

use super::palette::{Colour, style_sheet};
use super::{Axis, Chart, ChartError, Shape, drawable};
use cws::internals::html::escape;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::{CoordTranslate, Shift};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, Cross, PathElement, Polygon, Rectangle, Text, TriangleMarker};
use plotters::prelude::SVGBackend;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, ShapeStyle, TRANSPARENT, TextStyle};
use std::collections::HashSet;
use std::io;
use std::ops::Range;

/// `plotters` rounds to whole pixels, so the chart is drawn at twice its displayed size.
const SCALE: u32 = 2;
const WIDTH: u32 = 760 * SCALE;
const HEIGHT: u32 = 400 * SCALE;
/// The height of a further chart below the first.
const PANEL_HEIGHT: u32 = 270 * SCALE;
const FAMILY: &str = "system-ui, sans-serif";
const TITLE_SIZE: i32 = 38;
const TEXT_SIZE: i32 = 30;
/// Mean width of a character of that size, and of a mark in the legend.
const CHARACTER: i32 = 13;
const SWATCH: i32 = 44;
const LINE_HEIGHT: i32 = 36;
const MARGIN: i32 = 24;
/// The class that the style sheet applies to.
const CLASS: &str = "lab-chart";
/// The size of a cell that holds at most one mark of a series.
const MARK_CELL: i32 = 4 * SCALE as i32;
/// The opacity of a band.
const BAND_ALPHA: f64 = 0.2;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError = DrawingAreaErrorKind<io::Error>;
type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Side, Side>>;

/// Draws charts with their fitted axes, one below the other. The first has the legend of all.
pub(super) fn draw(charts: &[(&Chart, Axis, Axis)]) -> Result<String, ChartError> {
    let Some((first, ..)) = charts.first() else { return Err(ChartError("no chart".to_owned())) };
    let height = HEIGHT + PANEL_HEIGHT * (charts.len() as u32 - 1);
    let mut drawing = String::new();
    {
        let canvas = SVGBackend::with_string(&mut drawing, (WIDTH, height)).into_drawing_area();
        draw_all(canvas, charts).map_err(|error| ChartError(error.to_string()))?;
    }
    // What plotters opened the image with has neither a name nor colours of its own.
    let (_, elements) = drawing.split_once('>').unwrap_or_default();
    let (shown_width, shown_height) = (WIDTH / SCALE, height / SCALE);
    let (title, description) = (escape(&first.title), escape(&first.description));
    let style = style_sheet(CLASS);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{shown_width}\" \
         height=\"{shown_height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         class=\"{CLASS}\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n<desc>{description}</desc>\n{style}\n{}\n",
        elements.trim()
    ))
}

fn draw_all(canvas: Canvas<'_>, charts: &[(&Chart, Axis, Axis)]) -> Result<(), DrawError> {
    canvas.fill(&Colour::Paper.rgb())?;
    // All vertical axes are at the same place.
    let labels = charts.iter().map(|(.., y)| label_width(y)).max().unwrap_or_default();
    let (mut canvas, mut height) = (canvas, HEIGHT);
    for (number, (chart, x, y)) in charts.iter().enumerate() {
        let (own, below) = canvas.split_vertically(height);
        draw_on(&own, chart, (x, y), labels, number == 0)?;
        (canvas, height) = (below, PANEL_HEIGHT);
    }
    canvas.present()
}

fn draw_on(
    canvas: &Canvas<'_>,
    chart: &Chart,
    (x, y): (&Axis, &Axis),
    labels: i32,
    has_legend: bool,
) -> Result<(), DrawError> {
    let title = (FAMILY, TITLE_SIZE).into_font().color(&Colour::Ink.rgb());
    canvas.draw(&Text::new(chart.title.clone(), (MARGIN, MARGIN), title))?;
    let below = MARGIN + TITLE_SIZE + 14;
    let below = if has_legend { legend(canvas, chart, below)? } else { below };
    let mut plane = ChartBuilder::on(canvas)
        .margin_top(below + 18)
        .margin_right(MARGIN + 12)
        .margin_left(MARGIN / 2)
        .margin_bottom(MARGIN / 2)
        .y_label_area_size(labels)
        .x_label_area_size(if x.label.is_empty() { 50 } else { 86 })
        .build_cartesian_2d(Side(x.clone()), Side(y.clone()))?;
    let label = text_style(HPos::Center);
    plane
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(Colour::Line.rgb())
        .axis_style(Colour::Line.rgb().stroke_width(SCALE))
        .label_style(label.clone())
        .axis_desc_style(label)
        .x_desc(x.label.clone())
        .y_desc(y.label.clone())
        // Use all ticks that the axis defines.
        .x_labels(x.ticks().len())
        .y_labels(y.ticks().len())
        .draw()?;
    for series in &chart.series {
        draw_shape(&mut plane, series.colour, &series.shape)?;
    }
    Ok(())
}

/// The width of an axis's labels and of its name.
fn label_width(y: &Axis) -> i32 {
    let widest = y.ticks().into_iter().map(|tick| y.name(tick).chars().count()).max();
    let name_height = if y.label.is_empty() { 0 } else { LINE_HEIGHT };
    widest.unwrap_or_default() as i32 * CHARACTER + 30 + name_height
}

fn text_style(h_pos: HPos) -> TextStyle<'static> {
    let style = (FAMILY, TEXT_SIZE).into_font().color(&Colour::Ink.rgb());
    style.pos(Pos::new(h_pos, VPos::Center))
}

/// Draws the legend in as many lines as needed. Returns the position of the next line.
fn legend(canvas: &Canvas<'_>, chart: &Chart, top: i32) -> Result<i32, DrawError> {
    let (mut left, mut top) = (MARGIN, top);
    let style = text_style(HPos::Left);
    let mut named = chart.series.iter().filter(|series| !series.name.is_empty()).peekable();
    if named.peek().is_none() {
        return Ok(top);
    }
    for series in named {
        let width = SWATCH + 12 + series.name.chars().count() as i32 * CHARACTER + 30;
        if left > MARGIN && left + width > WIDTH as i32 - MARGIN {
            (left, top) = (MARGIN, top + LINE_HEIGHT);
        }
        let middle = top + LINE_HEIGHT / 2;
        let (from, to) = ((left, middle), (left + SWATCH, middle));
        let solid = series.colour.rgb().filled();
        match &series.shape {
            Shape::Line(_) => {
                canvas.draw(&PathElement::new(vec![from, to], line(series.colour)))?
            }
            Shape::Dashed(_) => {
                for piece in 0..3 {
                    let start = left + piece * (SWATCH / 3);
                    let points = vec![(start, middle), (start + SWATCH / 5, middle)];
                    canvas.draw(&PathElement::new(points, line(series.colour)))?;
                }
            }
            Shape::Points(_) => mark(canvas, (left + SWATCH / 2, middle), series.colour)?,
            Shape::Joined(_) => {
                canvas.draw(&PathElement::new(vec![from, to], line(series.colour)))?;
                mark(canvas, (left + SWATCH / 2, middle), series.colour)?;
            }
            Shape::Band(_) | Shape::Boxes(_) => {
                let is_band = matches!(series.shape, Shape::Band(_));
                let fill = match is_band {
                    true => series.colour.rgb().mix(BAND_ALPHA).filled(),
                    false => solid,
                };
                let corners = [(left, middle - 11), (left + SWATCH, middle + 11)];
                canvas.draw(&Rectangle::new(corners, fill))?;
            }
        }
        let place = (left + SWATCH + 12, middle);
        canvas.draw(&Text::new(series.name.clone(), place, style.clone()))?;
        left += width;
    }
    Ok(top + LINE_HEIGHT)
}

fn line(colour: Colour) -> ShapeStyle {
    colour.rgb().stroke_width(2 * SCALE)
}

/// A mark in the form of this colour.
fn mark<'a, C>(
    area: &DrawingArea<SVGBackend<'a>, C>,
    at: C::From,
    colour: Colour,
) -> Result<(), DrawError>
where
    C: CoordTranslate,
{
    let size = 4 * SCALE as i32;
    match colour.form() % 4 {
        0 => area.draw(&Circle::new(at, size - 2, colour.rgb().filled())),
        1 => area.draw(&TriangleMarker::new(at, size + 2, colour.rgb().filled())),
        2 => area.draw(&Circle::new(at, size, line(colour))),
        _ => area.draw(&Cross::new(at, size, line(colour))),
    }
}

fn draw_shape<'b>(
    plane: &mut Plane<'_, 'b>,
    colour: Colour,
    shape: &Shape,
) -> Result<(), DrawError> {
    match shape {
        Shape::Line(points) => {
            plane.draw_series([PathElement::new(drawable(points), line(colour))])?;
        }
        Shape::Dashed(points) => {
            let (dash, gap) = (7 * SCALE, 5 * SCALE);
            plane.draw_series(DashedLineSeries::new(drawable(points), dash, gap, line(colour)))?;
        }
        Shape::Points(points) => {
            // Overlapping marks cannot be distinguished, and thousands of them make a large file.
            let mut marked = HashSet::new();
            for at in drawable(points) {
                let (x, y) = plane.backend_coord(&at);
                if marked.insert((x / MARK_CELL, y / MARK_CELL)) {
                    mark(plane.plotting_area(), at, colour)?;
                }
            }
        }
        Shape::Joined(points) => {
            let points = drawable(points);
            plane.draw_series([PathElement::new(points.clone(), line(colour))])?;
            for at in points {
                mark(plane.plotting_area(), at, colour)?;
            }
        }
        Shape::Band(points) => {
            let low = points.iter().map(|&(x, low, _)| (x, low));
            let high = points.iter().rev().map(|&(x, _, high)| (x, high));
            let edge: Vec<_> = low.chain(high).collect();
            let fill = colour.rgb().mix(BAND_ALPHA).filled();
            plane.draw_series([Polygon::new(drawable(&edge), fill)])?;
        }
        Shape::Boxes(boxes) => {
            let whole = boxes.iter().filter(|corners| corners.iter().all(|v| v.is_finite()));
            let draw = |&[left, low, right, high]: &[f64; 4]| {
                Rectangle::new([(left, high), (right, low)], colour.rgb().filled())
            };
            plane.draw_series(whole.map(draw))?;
        }
    }
    Ok(())
}

/// Adapts an axis to `plotters`.
struct Side(Axis);

impl Ranged for Side {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.0.place(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light lines are not drawn, so they need no key points.
        if hint.weight().allow_light_points() { Vec::new() } else { self.0.ticks() }
    }

    fn range(&self) -> Range<f64> {
        let (from, to) = self.0.ends();
        from..to
    }
}

impl ValueFormatter<f64> for Side {
    fn format_ext(&self, value: &f64) -> String {
        self.0.name(*value)
    }
}
