//! The colours of charts, in the light and in the dark scheme.

use plotters::style::RGBColor;
use std::fmt::Write;

/// Colours by purpose. The colours of series differ in lightness, so that they can be distinguished
/// with any colour vision. The forms of marks differ, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Measured values.
    Blue,
    /// Predicted values.
    Orange,
    /// Good values.
    Green,
    /// Another series.
    Purple,
    /// Bad values, and limits.
    Red,
    /// Values of no use.
    Grey,
    /// Text.
    Ink,
    /// Axes and the grid.
    Line,
    /// The background.
    Paper,
}

type Rgb = (u8, u8, u8);

impl Colour {
    const ALL: [Self; 9] = [
        Self::Blue,
        Self::Orange,
        Self::Green,
        Self::Purple,
        Self::Red,
        Self::Grey,
        Self::Ink,
        Self::Line,
        Self::Paper,
    ];

    /// Its values in the light scheme, unique among the colours, and in the dark scheme.
    fn values(self) -> (Rgb, Rgb) {
        match self {
            Self::Blue => ((0x1c, 0x64, 0xb0), (0x6c, 0xb2, 0xff)),
            Self::Orange => ((0xd0, 0x6a, 0x00), (0xff, 0xb2, 0x4d)),
            Self::Green => ((0x1e, 0x8a, 0x55), (0x59, 0xd1, 0x98)),
            Self::Purple => ((0x7a, 0x48, 0xb8), (0xc7, 0xa4, 0xff)),
            Self::Red => ((0xc2, 0x26, 0x3a), (0xff, 0x7a, 0x85)),
            Self::Grey => ((0x9a, 0xa1, 0xab), (0x5f, 0x68, 0x73)),
            Self::Ink => ((0x1d, 0x23, 0x2b), (0xe4, 0xe8, 0xee)),
            Self::Line => ((0xd9, 0xdd, 0xe3), (0x3a, 0x41, 0x4b)),
            Self::Paper => ((0xff, 0xff, 0xff), (0x14, 0x18, 0x1e)),
        }
    }

    pub(super) fn rgb(self) -> RGBColor {
        let ((red, green, blue), _) = self.values();
        RGBColor(red, green, blue)
    }

    /// An index for the form of its marks.
    pub(super) fn form(self) -> usize {
        Self::ALL.iter().position(|colour| *colour == self).unwrap_or_default()
    }
}

/// A style sheet that replaces the light colours in attributes by the dark ones if the reader
/// prefers a dark scheme. Viewers without style sheets show the light colours.
pub(super) fn style_sheet(class: &str) -> String {
    let mut rules = String::new();
    for colour in Colour::ALL {
        let (light, dark) = colour.values();
        let (light, dark) = (hex(light), hex(dark));
        for attribute in ["fill", "stroke"] {
            // Writing to a string does not fail.
            let _ = write!(rules, ".{class} [{attribute}=\"{light}\"]{{{attribute}:{dark}}}");
        }
    }
    format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>")
}

/// A colour in the format that `plotters` writes.
fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast ratio by relative luminance (WCAG 2.1).
    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let luminance = |(r, g, b): Rgb| {
            let linear = |value: u8| {
                let share = f64::from(value) / 255.0;
                if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn colours_have_contrast_in_both_schemes() {
        let (paper_light, paper_dark) = Colour::Paper.values();
        for colour in Colour::ALL {
            let least = match colour {
                Colour::Ink => 10.0,
                Colour::Line | Colour::Paper => 1.0,
                Colour::Grey => 2.5,
                _ => 3.0,
            };
            let (light, dark) = colour.values();
            assert!(contrast(light, paper_light) >= least, "{colour:?} on light");
            assert!(contrast(dark, paper_dark) >= least, "{colour:?} on dark");
            let same = Colour::ALL.iter().filter(|other| other.values().0 == light).count();
            assert_eq!(same, 1, "{colour:?} has a light value of its own");
        }
    }
}
