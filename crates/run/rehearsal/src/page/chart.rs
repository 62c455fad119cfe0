//! Charts as SVG, each with its numbers as a table behind a line that opens it.
//!
//! A line is told apart by its dashes as well as by its colour, and what it shows at a place is
//! read by pointing there: both work without a script.

use std::fmt::Write as _;

use super::scale::Ruler;
use super::{Cell, Html, Scale, Tone, Unit, table};

/// Lines of one chart, and colours there are.
pub const LINES_MAX: usize = 8;
/// Points of one line; a caller with more puts some together.
pub const POINTS_MAX: usize = 600;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 40.0;

/// How the lines are broken, so that colour is not the only difference.
const DASHES: [&str; LINES_MAX] =
    ["none", "7 4", "2 4", "10 3 2 3", "4 2", "12 4", "1 3", "6 2 1 2 1 2"];

/// Lines over a common axis.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// What goes from left to right.
    pub across: Axis,
    /// What goes from bottom to top.
    pub up: Axis,
    /// At most [`LINES_MAX`]; further ones are left out of the picture, not of the table.
    pub lines: Vec<Line>,
}

/// One axis.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// In which unit.
    pub unit: Unit,
    /// How values are spread.
    pub scale: Scale,
    /// Its ends, for a linear one; `None`: from the values.
    pub ends: Option<(f64, f64)>,
}

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Where, and how much; `None` where nothing was measured. In order of the first number.
    pub points: Vec<(f64, Option<f64>)>,
    /// Bad news: drawn in the colour of errors.
    pub bad: bool,
    /// The area under it is filled.
    pub filled: bool,
}

/// One bar.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Stands behind the value; may be empty.
    pub note: String,
    /// What it says.
    pub tone: Tone,
}

/// A chart of lines, its legend, and its table.
#[must_use]
pub fn lines(chart: &Lines) -> Html {
    let frame = Frame::new(chart);
    let shown = || chart.lines.iter().take(LINES_MAX).enumerate();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        Html::text(&summary(chart))
    );
    svg.push_str(&frame.grid(chart));
    for (index, line) in shown() {
        svg.push_str(&frame.line(index, line));
    }
    svg.push_str(&frame.readings(chart));
    svg.push_str("</svg>");
    let legend: String = shown()
        .map(|(index, line)| {
            format!(
                "<li><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 4H28\" stroke-dasharray=\"{}\"/></svg>{}</li>",
                class(index, line),
                DASHES[index],
                Html::text(&line.name)
            )
        })
        .collect();
    Html::markup(format!(
        "<figure><figcaption>{}</figcaption><ul class=\"legend\">{legend}</ul><div class=\"plot\">{svg}</div>{}</figure>",
        Html::text(&chart.title),
        Html::folded("Show the numbers", &numbers(chart))
    ))
}

/// Horizontal bars, which are a table at the same time.
#[must_use]
pub fn bars(title: &str, unit: Unit, bars: &[Bar]) -> Html {
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let rows: String = bars
        .iter()
        .map(|bar| {
            let width = if highest > 0.0 { bar.value / highest * 100.0 } else { 0.0 };
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"track\"><span class=\"bar {}\" style=\"width:{width:.2}%\"></span></td>\
                 <td class=\"number\">{}</td><td class=\"note\">{}</td></tr>",
                Html::text(&bar.name),
                bar.tone.class(),
                Html::text(&unit.show(bar.value)),
                Html::text(&bar.note)
            )
        })
        .collect();
    Html::markup(format!(
        "<figure><figcaption>{}</figcaption><div class=\"scroll\" tabindex=\"0\"><table class=\"bars\"><tbody>{rows}</tbody></table></div></figure>",
        Html::text(title)
    ))
}

/// The part of the picture that the lines are in.
struct Frame {
    across: Ruler,
    up: Ruler,
}

impl Frame {
    fn new(chart: &Lines) -> Self {
        let points = || chart.lines.iter().flat_map(|line| line.points.iter());
        let ruler = |axis: &Axis, values: &mut dyn Iterator<Item = f64>, tight| match axis.ends {
            Some((low, high)) => Ruler::fixed(low, high),
            None => Ruler::new(axis.scale, values, tight),
        };
        Self {
            across: ruler(&chart.across, &mut points().map(|(x, _)| *x), true),
            up: ruler(&chart.up, &mut points().filter_map(|(_, y)| *y), false),
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.up.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self, chart: &Lines) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = String::new();
        for (value, label) in self.up.ticks(chart.up.unit) {
            let y = self.y(value);
            put(&mut svg, format_args!("<path class=\"rule\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
            let (x, y, label) = (LEFT - 8.0, y + 4.0, Html::text(&label));
            put(
                &mut svg,
                format_args!("<text class=\"tick end\" x=\"{x}\" y=\"{y:.1}\">{label}</text>"),
            );
        }
        for (value, label) in self.across.ticks(chart.across.unit) {
            let (x, below, label) = (self.x(value), bottom + 17.0, Html::text(&label));
            put(&mut svg, format_args!("<path class=\"rule\" d=\"M{x:.1} {bottom}v4\"/>"));
            let class = if x > right - 12.0 { "tick end" } else { "tick middle" };
            let x = if x > right - 12.0 { right } else { x };
            put(
                &mut svg,
                format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{below}\">{label}</text>"),
            );
        }
        let (x, y, label) = ((LEFT + right) / 2.0, HEIGHT - 6.0, Html::text(&chart.across.label));
        put(
            &mut svg,
            format_args!("<text class=\"axis middle\" x=\"{x}\" y=\"{y}\">{label}</text>"),
        );
        let label = Html::text(&chart.up.label);
        put(&mut svg, format_args!("<text class=\"axis\" x=\"{}\" y=\"11\">{label}</text>", 4));
        svg
    }

    /// A line with gaps where nothing was measured.
    fn line(&self, index: usize, line: &Line) -> String {
        let mut path = String::new();
        let mut area = String::new();
        let bottom = HEIGHT - BOTTOM;
        for run in line.points.split(|(_, value)| value.is_none()) {
            let places: Vec<(f64, f64)> = run
                .iter()
                .filter_map(|(x, value)| value.map(|value| (self.x(*x), self.y(value))))
                .collect();
            let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
            let way: String = places.iter().map(|(x, y)| format!("L{x:.1} {y:.1}")).collect();
            // A point alone is a line of no length, which round ends make a dot.
            put(&mut path, format_args!("M{:.1} {:.1}{way}", first.0, first.1));
            put(&mut area, format_args!("M{:.1} {bottom}{way}L{:.1} {bottom}Z", first.0, last.0));
        }
        let class = class(index, line);
        let area = if line.filled {
            format!("<path class=\"area {class}\" d=\"{area}\"/>")
        } else {
            String::new()
        };
        format!(
            "{area}<path class=\"{class}\" stroke-dasharray=\"{}\" d=\"{path}\"/>",
            DASHES[index]
        )
    }

    /// Strips that tell what is below them when pointed at.
    fn readings(&self, chart: &Lines) -> String {
        let rows = rows(chart);
        let mut svg = String::new();
        for (index, (x, values)) in rows.iter().enumerate() {
            let place = self.x(*x);
            let middle = |other: Option<&(f64, Vec<Option<f64>>)>, end: f64| {
                other.map_or(end, |(other, _)| f64::midpoint(self.x(*other), place))
            };
            let from = middle(index.checked_sub(1).and_then(|before| rows.get(before)), LEFT);
            let to = middle(rows.get(index + 1), WIDTH - RIGHT);
            let told: Vec<String> = std::iter::once(chart.across.unit.show(*x))
                .chain(chart.lines.iter().zip(values).map(|(line, value)| {
                    format!("{}: {}", line.name, shown(*value, chart.up.unit))
                }))
                .collect();
            put(
                &mut svg,
                format_args!(
                    "<rect class=\"reading\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                    (to - from).max(0.1),
                    HEIGHT - TOP - BOTTOM,
                    Html::text(&told.join("\n"))
                ),
            );
        }
        svg
    }
}

fn class(index: usize, line: &Line) -> String {
    if line.bad { "line bad".to_owned() } else { format!("line l{index}") }
}

/// The values of all lines at each place where one has a point.
fn rows(chart: &Lines) -> Vec<(f64, Vec<Option<f64>>)> {
    let mut places: Vec<f64> =
        chart.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let value = |line: &Line, x: f64| {
        let at = line.points.binary_search_by(|(other, _)| other.total_cmp(&x)).ok()?;
        line.points.get(at)?.1
    };
    places
        .into_iter()
        .map(|x| (x, chart.lines.iter().map(|line| value(line, x)).collect()))
        .collect()
}

fn numbers(chart: &Lines) -> Html {
    let names: Vec<String> = chart.lines.iter().map(|line| format!(">{}", line.name)).collect();
    let headings: Vec<&str> = std::iter::once(chart.across.label.as_str())
        .chain(names.iter().map(String::as_str))
        .collect();
    let rows: Vec<Vec<Cell>> = rows(chart)
        .into_iter()
        .map(|(x, values)| {
            let cells = values.into_iter().map(|value| shown(value, chart.up.unit).into());
            std::iter::once(Cell::from(chart.across.unit.show(x))).chain(cells).collect()
        })
        .collect();
    table(&chart.title, &headings, &rows)
}

fn shown(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "\u{2013}".to_owned(), |value| unit.show(value))
}

/// What the picture shows, for those who do not see it.
fn summary(chart: &Lines) -> String {
    let lines: Vec<String> = chart
        .lines
        .iter()
        .map(|line| {
            let values = line.points.iter().filter_map(|(_, value)| *value);
            let ends = values.fold(None, |ends: Option<(f64, f64)>, value| match ends {
                None => Some((value, value)),
                Some((low, high)) => Some((low.min(value), high.max(value))),
            });
            match ends {
                Some((low, high)) => {
                    format!(
                        "{} from {} to {}",
                        line.name,
                        chart.up.unit.show(low),
                        chart.up.unit.show(high)
                    )
                }
                None => format!("{} without a value", line.name),
            }
        })
        .collect();
    format!("{}: {}. The numbers are in the table below.", chart.title, lines.join(", "))
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}
