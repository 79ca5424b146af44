//! Charts as SVG: lines over a logarithmic axis, with units, a legend, and the conditions below.

use std::fmt::Write;

const WIDTH: f64 = 776.0;
const HEIGHT: f64 = 470.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 88.0;
const BOTTOM: f64 = 104.0;

/// Okabe and Ito's: told apart by people who do not see all colours. The shapes are for those who see none.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// What is drawn.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// With its unit.
    pub(crate) x: &'a str,
    /// With its unit.
    pub(crate) y: &'a str,
    pub(crate) lines: Vec<Line<'a>>,
    /// The conditions, one line each.
    pub(crate) caption: Vec<String>,
}

/// Points (x, y), all above 0, by x.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// An axis over whole powers of ten.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let logs = values.filter(|value| *value > 0.0).map(f64::log10);
        let low = logs.clone().fold(f64::INFINITY, f64::min);
        let high = logs.fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() {
            return Axis { low: 0, high: 1, from, to };
        }
        let low = low.floor() as i32;
        Axis { low, high: (high.ceil() as i32).max(low + 1), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (self.low..=self.high).map(|power| {
            let value = 10_f64.powi(power);
            (self.place(value), label(value))
        })
    }
}

impl Chart<'_> {
    /// The chart as a file's text.
    pub(crate) fn svg(&self) -> String {
        let points = self.lines.iter().flat_map(|line| line.points.iter());
        let x = Axis::over(points.clone().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::over(points.map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        text(&mut svg, (LEFT, 28.0), "start", "font-size=\"17\" font-weight=\"bold\"", self.title);
        self.grid(&mut svg, &x, &y);
        for (index, line) in self.lines.iter().enumerate() {
            draw(&mut svg, line, index, &x, &y);
        }
        for (index, caption) in self.caption.iter().enumerate() {
            let at = (LEFT, HEIGHT - 40.0 + 16.0 * index as f64);
            text(&mut svg, at, "start", "font-size=\"11\" fill=\"#555\"", caption);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn grid(&self, svg: &mut String, x: &Axis, y: &Axis) {
        for (at, label) in x.ticks() {
            rule(svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(svg, (at, HEIGHT - BOTTOM + 18.0), "middle", "", &label);
        }
        for (at, label) in y.ticks() {
            rule(svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(svg, (LEFT - 8.0, at + 4.0), "end", "", &label);
        }
        text(svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - BOTTOM + 38.0), "middle", "", self.x);
        let (left, middle) = (20.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        text(svg, (left, middle), "middle", &format!("transform=\"rotate(-90 {left} {middle})\""), self.y);
    }
}

fn draw(svg: &mut String, line: &Line<'_>, index: usize, x: &Axis, y: &Axis) {
    let colour = COLOURS[index % COLOURS.len()];
    let places: Vec<(f64, f64)> = line
        .points
        .iter()
        .filter(|(_, value)| *value > 0.0)
        .map(|point| (x.place(point.0), y.place(point.1)))
        .collect();
    let path: String = places.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
    let _ =
        writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.trim());
    places.iter().for_each(|place| mark(svg, *place, index, colour));
    let (column, row) = ((index % 2) as f64, (index / 2) as f64);
    let legend = (LEFT + 6.0 + column * 330.0, 50.0 + row * 20.0);
    mark(svg, legend, index, colour);
    text(svg, (legend.0 + 12.0, legend.1 + 4.0), "start", "", line.name);
}

/// A point: a circle, a square, a triangle or a diamond.
fn mark(svg: &mut String, (x, y): (f64, f64), index: usize, colour: &str) {
    let shape = match index % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\""),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"", x - 4.0, y - 4.0),
        2 => format!(
            "<polygon points=\"{x:.1},{:.1} {:.1},{:.1} {:.1},{:.1}\"",
            y - 5.0,
            x - 5.0,
            y + 4.0,
            x + 5.0,
            y + 4.0
        ),
        _ => format!(
            "<polygon points=\"{x:.1},{:.1} {:.1},{y:.1} {x:.1},{:.1} {:.1},{y:.1}\"",
            y - 5.0,
            x + 5.0,
            y + 5.0,
            x - 5.0
        ),
    };
    let _ = writeln!(svg, "{shape} fill=\"{colour}\"/>");
}

fn rule(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>");
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>");
}

/// 0.01, 1, 100, 10,000.
pub(crate) fn label(value: f64) -> String {
    if value < 1_000.0 {
        return value.to_string();
    }
    let digits = format!("{value:.0}");
    let mut label = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            label.push(',');
        }
        label.push(digit);
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_axes_units_lines_and_conditions() {
        let line = |name| Line { name, points: vec![(1.0, 0.2), (10.0, 3.0), (1_000.0, 41.0)] };
        let chart = Chart {
            title: "Cost & more",
            x: "listeners",
            y: "time (ms)",
            lines: vec![line("p50"), line("p99")],
            caption: vec!["2 cores".to_owned()],
        };
        let svg = chart.svg();
        for part in ["Cost &amp; more", ">listeners<", ">time (ms)<", ">p99<", ">2 cores<", ">1,000<", ">0.1<", ">100<"]
        {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn points_are_where_they_belong() {
        let axis = Axis::over([1.0, 1_000.0].into_iter(), 0.0, 300.0);
        assert_eq!([1.0, 10.0, 1_000.0].map(|value| axis.place(value).round()), [0.0, 100.0, 300.0]);
        // A line that stands still has an axis too.
        let axis = Axis::over([5.0, 5.0].into_iter(), 0.0, 100.0);
        assert!((0.0..=100.0).contains(&axis.place(5.0)));
        assert_eq!([0.01, 1.0, 12_345_678.0].map(label), ["0.01", "1", "12,345,678"]);
    }
}
