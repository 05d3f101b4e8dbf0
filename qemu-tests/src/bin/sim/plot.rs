//! Plots as SVG: lines over time, and bars on a logarithmic scale.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 50.0;
const COLOURS: [&str; 6] = [
    "#888888", "#d95f02", "#7570b3", "#1b9e77", "#e7298a", "#66a61e",
];

/// A named row of values, one a second.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: Vec<f64>,
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{}</text>\n{body}</svg>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Lines over time, each in its colour, with a scale.
pub(crate) fn lines(title: &str, axis: &str, lines: &[Line<'_>]) -> String {
    let longest = lines
        .iter()
        .map(|line| line.values.len())
        .max()
        .unwrap_or(0)
        .max(2);
    let values = || lines.iter().flat_map(|line| &line.values).copied();
    let highest = values()
        .filter(|value| value.is_finite())
        .fold(f64::MIN_POSITIVE, f64::max);
    let x = |second: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * second as f64 / (longest - 1) as f64;
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / highest;
    let mut body = String::new();
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut points = String::new();
        for (second, value) in line
            .values
            .iter()
            .enumerate()
            .filter(|(_, v)| v.is_finite())
        {
            // Writing to a string cannot fail.
            let _ = write!(points, "{:.1},{:.1} ", x(second), y(*value));
        }
        let _ = writeln!(
            body,
            "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{points}\"/>"
        );
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{}</text>",
            WIDTH - MARGIN,
            MARGIN + 16.0 * index as f64,
            escape(line.name)
        );
    }
    let (bottom, right) = (HEIGHT - MARGIN, WIDTH - MARGIN);
    let _ = writeln!(
        body,
        "<path d=\"M{MARGIN},{MARGIN} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>\n\
         <text x=\"4\" y=\"{MARGIN}\">{highest:.1}</text><text x=\"4\" y=\"{bottom}\">0</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{} {}</text>",
        HEIGHT - MARGIN + 18.0,
        longest - 1,
        escape(axis)
    );
    frame(title, &body)
}

/// One bar for each named value, the lengths logarithmic.
pub(crate) fn bars(title: &str, bars: &[(&str, f64)]) -> String {
    let length = |value: f64| (value.max(1e-9) / 0.1).log10().max(0.0);
    let longest = bars
        .iter()
        .map(|(_, value)| length(*value))
        .fold(1e-9, f64::max);
    let mut body = String::new();
    for (index, (name, value)) in bars.iter().enumerate() {
        let y = MARGIN + 44.0 * index as f64;
        let width = (WIDTH - 2.0 * MARGIN) * length(*value) / longest;
        let colour = COLOURS[index % COLOURS.len()];
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
             <text x=\"{MARGIN}\" y=\"{}\">{}: {value:.2}</text>",
            y + 30.0,
            escape(name)
        );
    }
    frame(title, &body)
}
