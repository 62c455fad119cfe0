//! The tables of the page: all drills at a glance, the verdicts, the deeds, and every second.

use super::group::{self, Column, Group, Happening};
use super::section::{anchor, counts, seconds};
use super::{percent, put, sign};
use crate::drill::report::{
    EntryKind, EntryOutcome, Judged, RunReport, SecondRow, StreamRow, TimelineEntry,
};
use crate::page::{Cell, Html, Unit, table};

/// What a front door noticed, of one run.
const NOTICED_MAX: usize = 6;
/// Rows of the table of seconds; longer drills put seconds together.
const ROWS_MAX: usize = 120;

/// Drills against front doors: what clients saw.
pub(super) fn matrix(groups: &[Group<'_>]) -> Html {
    let mut keys: Vec<(&str, bool)> = Vec::new();
    for column in groups.iter().flat_map(|group| &group.columns) {
        if !keys.contains(&column.key()) {
            keys.push(column.key());
        }
    }
    let head: String = keys
        .iter()
        .map(|(front, guard)| {
            let chip = if *guard { "guard on" } else { "guard off" };
            let on = if *guard { " on" } else { "" };
            format!(
                "<th scope=\"col\"><span class=\"door\">{}<span class=\"chip{on}\">{chip}</span></span></th>",
                Html::text(front)
            )
        })
        .collect();
    let mut body = String::new();
    for (index, group) in groups.iter().enumerate() {
        let first = group.first();
        put(
            &mut body,
            format_args!(
                "<tr><th scope=\"row\"><a href=\"#{}\"><span class=\"index\">{}</span>{}</a></th>",
                Html::text(&anchor(&first.drill)),
                index + 1,
                Html::text(&first.title)
            ),
        );
        for key in &keys {
            let column = group.columns.iter().find(|column| column.key() == *key);
            body.push_str(&column.map_or_else(|| "<td>\u{2013}</td>".to_owned(), matrix_cell));
        }
        body.push_str("</tr>");
    }
    Html::markup(format!(
        "<div class=\"board-scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All drills\"><table class=\"matrix\">\
         <caption>Client-seen success from the first fault on, and the verdicts of the drill\u{2019}s expectations</caption>\
         <thead><tr><th scope=\"col\">drill</th>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    ))
}

fn matrix_cell(column: &Column<'_>) -> String {
    let run = column.first;
    let success = run.client_success();
    let lost = success.map_or(0.0, |share| (1.0 - share) * 100.0);
    format!(
        "<td class=\"{}\"><span class=\"big\">{}</span><span class=\"meter\" aria-hidden=\"true\"><i style=\"width:{lost:.2}%\"></i></span><span class=\"counts\">{}</span></td>",
        if run.summary.decides { "decides" } else { "" },
        percent(success),
        counts(run)
    )
}

/// A table whose columns stand below the drawings of the same front doors.
fn aligned(caption: &str, columns: usize, width: f64, body: &str) -> Html {
    let doors = format!("<col style=\"width:{}px\">", width + 14.0).repeat(columns);
    Html::markup(format!(
        "<table class=\"aligned\"><caption>{}</caption><colgroup><col class=\"first\">{doors}</colgroup>{body}</table>",
        Html::text(caption)
    ))
}

/// Headings that name the front doors for those who do not see what is above.
fn headings(group: &Group<'_>, first: &str) -> String {
    let doors: String = group
        .columns
        .iter()
        .map(|column| {
            let guard = if column.first.guard { "on" } else { "off" };
            format!("<th scope=\"col\">{}, guard {guard}</th>", Html::text(&column.first.front))
        })
        .collect();
    format!("<thead><tr><th scope=\"col\">{}</th>{doors}</tr></thead>", Html::text(first))
}

/// Symptoms and expectations with what was measured for each front door.
pub(super) fn verdicts(group: &Group<'_>, width: f64) -> Html {
    type Of = fn(&RunReport) -> &[Judged];
    let kinds: [(&str, bool, Of); 2] = [
        ("Did the outage happen?", true, |run| &run.symptoms),
        ("Did the front door cope?", false, |run| &run.expectations),
    ];
    let mut body = headings(group, "measure");
    for (heading, symptom, of) in kinds {
        let asked = of(group.first());
        if asked.is_empty() {
            continue;
        }
        put(
            &mut body,
            format_args!(
                "<tbody><tr class=\"group\"><th colspan=\"{}\" scope=\"colgroup\">{heading}</th></tr>",
                group.columns.len() + 1
            ),
        );
        for (index, judged) in asked.iter().enumerate() {
            let cells: String = group
                .columns
                .iter()
                .map(|column| verdict_cell(of(column.first).get(index), column.first, symptom))
                .collect();
            put(&mut body, format_args!("<tr>{}{cells}</tr>", measure(judged)));
        }
        body.push_str("</tbody>");
    }
    aligned("Verdicts", group.columns.len(), width, &body)
}

/// What is measured, its bounds, when, and why it is pending.
fn measure(judged: &Judged) -> String {
    let pending = judged
        .pending
        .as_ref()
        .map(|why| format!("<span class=\"words\">pending: {}</span>", Html::text(why)));
    format!(
        "<th scope=\"row\">{}<span class=\"words\">{}, {} to {}</span>{}</th>",
        Html::text(&judged.measure),
        Html::text(&judged.bound_words),
        Html::text(&number(judged.from_seconds)),
        Html::text(&seconds(judged.to_seconds)),
        pending.unwrap_or_default()
    )
}

fn number(at: f64) -> String {
    Unit::Count.show((at * 10.0).round() / 10.0)
}

fn verdict_cell(judged: Option<&Judged>, run: &RunReport, symptom: bool) -> String {
    let Some(judged) = judged else { return "<td>\u{2013}</td>".to_owned() };
    let verdict = run.verdict_of(judged);
    let (sign, word, tone) = sign(verdict, symptom);
    let decides = if run.summary.decides { " class=\"decides\"" } else { "" };
    format!(
        "<td{decides}><span class=\"value\">{}</span><span class=\"verdict {}\"><span aria-hidden=\"true\">{sign}</span> {word}</span></td>",
        Html::text(&judged.value_words),
        tone.class()
    )
}

/// What each front door did: what came of changes, what it showed by itself, what was odd.
pub(super) fn deeds(group: &Group<'_>, happenings: &[Happening<'_>], width: f64) -> Html {
    let mut body = headings(group, "what");
    body.push_str("<tbody>");
    let changes = happenings.iter().filter(|happening| happening.entry.kind == EntryKind::Change);
    for happening in changes {
        let cells: String = group
            .columns
            .iter()
            .map(|column| format!("<td>{}</td>", outcome(happening.of(column.first))))
            .collect();
        let number = happening.number.map(|number| format!("<span class=\"mark\">{number}</span>"));
        put(
            &mut body,
            format_args!(
                "<tr><th scope=\"row\">{}{}</th>{cells}</tr>",
                number.unwrap_or_default(),
                Html::text(happening.words())
            ),
        );
    }
    let cells: String =
        group.columns.iter().map(|column| format!("<td>{}</td>", noticed(column.first))).collect();
    put(&mut body, format_args!("<tr><th scope=\"row\">It shows by itself</th>{cells}</tr>"));
    if group.columns.iter().any(|column| !column.first.findings.is_empty()) {
        let findings = |run: &RunReport| -> String {
            run.findings.iter().map(|text| format!("<p>{}</p>", Html::text(text))).collect()
        };
        let cells: String = group
            .columns
            .iter()
            .map(|column| format!("<td>{}</td>", findings(column.first)))
            .collect();
        put(&mut body, format_args!("<tr><th scope=\"row\">To be known</th>{cells}</tr>"));
    }
    body.push_str("</tbody>");
    aligned("What each front door did", group.columns.len(), width, &body)
}

fn outcome(entry: Option<&TimelineEntry>) -> String {
    let Some(entry) = entry else { return "\u{2013}".to_owned() };
    match &entry.outcome {
        EntryOutcome::Ok => format!(
            "<span class=\"plain\">\u{2192} went live</span><span class=\"words\">{}</span>",
            Html::text(group::done(entry).unwrap_or_default())
        ),
        EntryOutcome::Refused(why) => format!(
            "<span class=\"good\">\u{2713} refused</span><span class=\"words\">{}</span>",
            Html::text(why)
        ),
        EntryOutcome::Failed(why) => format!(
            "<span class=\"bad\">\u{2717} failed</span><span class=\"words\">{}</span>",
            Html::text(why)
        ),
    }
}

fn noticed(run: &RunReport) -> String {
    let entries = || run.timeline.iter().filter(|entry| entry.kind == EntryKind::DoorNoticed);
    let count = entries().count();
    if count == 0 {
        return "<span class=\"words\">nothing</span>".to_owned();
    }
    let mut list: String = entries()
        .take(NOTICED_MAX)
        .map(|entry| {
            format!(
                "<li><span class=\"at\">{}</span> {}</li>",
                Html::text(&seconds(entry.at_seconds)),
                Html::text(entry.words.trim_start_matches("the door noticed: "))
            )
        })
        .collect();
    if let Some(more) = count.checked_sub(NOTICED_MAX).filter(|more| *more > 0) {
        put(&mut list, format_args!("<li>and {more} times more</li>"));
    }
    format!("<ul>{list}</ul>")
}

/// Every number that the drawing of a run shows.
pub(super) fn numbers(run: &RunReport) -> Html {
    let streams = run
        .streams
        .iter()
        .flat_map(|stream| [format!(">{} success", stream.name), format!(">{} p99", stream.name)]);
    let servers = run
        .servers
        .iter()
        .flat_map(|server| [format!(">{} share", server.name), format!(">{} places", server.name)]);
    let has_database = run.seconds.iter().any(|row| row.database.is_some());
    let database = has_database.then(|| ">database failures".to_owned());
    let headings: Vec<String> = std::iter::once("second".to_owned())
        .chain(streams)
        .chain(servers)
        .chain(database)
        .collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let together = run.seconds.len().div_ceil(ROWS_MAX).max(1);
    let rows: Vec<Vec<Cell>> =
        run.seconds.chunks(together).map(|rows| row_of(run, rows, has_database)).collect();
    let guard = if run.guard { "on" } else { "off" };
    let seconds = match together {
        1 => String::new(),
        several => format!("; each row holds {several} seconds, with their highest p99 and places"),
    };
    let caption = format!("{} with {}, guard {guard}{seconds}", run.drill, run.front);
    table(&caption, &headings, &rows)
}

/// Some seconds put together: sums of counts, the highest of latencies and places.
fn row_of(run: &RunReport, rows: &[SecondRow], has_database: bool) -> Vec<Cell> {
    let highest = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold(None, |high: Option<f64>, value| Some(high.map_or(value, |high| high.max(value))))
    };
    let dash = || "\u{2013}".to_owned();
    let mut cells: Vec<Cell> =
        vec![rows.first().map_or_else(String::new, |row| row.second.to_string()).into()];
    for stream in 0..run.streams.len() {
        let of = || rows.iter().filter_map(|row| row.streams.get(stream));
        let ok = of().map(|row| row.ok).sum();
        let all = of().map(StreamRow::ended).sum();
        cells.push(percent(group::share(ok, all)).into());
        let p99 = highest(&mut of().filter_map(|row| row.p99_ms));
        cells.push(p99.map_or_else(dash, |p99| Unit::Milliseconds.show(p99)).into());
    }
    let answers: u64 = rows.iter().flat_map(|row| &row.servers).map(|server| server.answers).sum();
    for (server, text) in run.servers.iter().enumerate() {
        let of = || rows.iter().filter_map(|row| row.servers.get(server));
        let own = of().map(|row| row.answers).sum();
        cells.push(percent(group::share(own, answers)).into());
        let busy = of().filter_map(|row| row.busy).max();
        cells.push(busy.map_or_else(dash, |busy| format!("{busy} of {}", text.places)).into());
    }
    if has_database {
        let failures: u64 =
            rows.iter().filter_map(|row| row.database.as_ref()).map(|row| row.failures).sum();
        cells.push(failures.to_string().into());
    }
    cells
}
