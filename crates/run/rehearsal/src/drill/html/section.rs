//! One drill: its story, the drawings of all front doors side by side, and their tables.

use super::band::{Band, DRAWN_MAX, Layout, Shows};
use super::chart::drawing;
use super::group::{Column, Group, Happening};
use super::{counted, percent, put, sign, tables};
use crate::drill::report::{RunReport, Verdict};
use crate::page::{Html, Unit};

/// The whole section; `index` counts from 0.
pub(super) fn section(index: usize, group: &Group<'_>) -> Html {
    let first = group.first();
    let runs: Vec<&RunReport> = group.columns.iter().map(|column| column.first).collect();
    let layout = Layout::of(&runs);
    let happenings = group.happenings();
    let heads: String = group.columns.iter().map(head).collect();
    let drawings: String = group
        .columns
        .iter()
        .map(|column| format!("<div>{}</div>", drawing(column.first, &layout, &happenings)))
        .collect();
    let numbers: String =
        group.columns.iter().map(|column| tables::numbers(column.first).to_string()).collect();
    Html::markup(format!(
        "<section class=\"drill\" id=\"{id}\"><h2><span class=\"index\" aria-hidden=\"true\">{number}</span>{title}<code>{name}</code></h2>\
         {story}\
         <div class=\"board-scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}: the front doors side by side\">\
         <div class=\"board\" style=\"--columns:{columns};--width:{width}px\">\
         <div class=\"corner\">client-seen success<br>from the first fault on</div>{heads}\
         <div class=\"labels\" style=\"height:{height}px\">{labels}</div>{drawings}</div>\
         {verdicts}{deeds}</div>\
         <details><summary>Numbers of each second</summary>{numbers}</details></section>\n",
        id = Html::text(&anchor(&first.drill)),
        number = index + 1,
        name = Html::text(&first.drill),
        title = Html::text(&first.title),
        story = story(first, &happenings),
        columns = group.columns.len(),
        width = layout.width,
        height = layout.height,
        labels = labels(first, &layout),
        verdicts = tables::verdicts(group, layout.width),
        deeds = tables::deeds(group, &happenings, layout.width),
    ))
}

/// What a link to a drill's section is called.
pub(super) fn anchor(drill: &str) -> String {
    let kept = |character: char| match character.is_ascii_alphanumeric() {
        true => character,
        false => '-',
    };
    format!("drill-{}", drill.chars().map(kept).collect::<String>())
}

/// What happened, in paragraphs and as a numbered list.
fn story(run: &RunReport, happenings: &[Happening<'_>]) -> Html {
    let mut list = String::new();
    for happening in happenings {
        let (sign, class) = match happening.number {
            Some(number) => (number.to_string(), "mark"),
            None => (String::new(), "mark undone"),
        };
        put(
            &mut list,
            format_args!(
                "<li><span class=\"{class}\">{sign}</span><span class=\"at\">{}</span><span>{}</span></li>",
                Html::text(&seconds(happening.entry.at_seconds)),
                Html::text(happening.words())
            ),
        );
    }
    Html::markup(format!(
        "<div class=\"story\"><div>{}</div><ol class=\"happenings\" aria-label=\"Timeline\">{list}</ol></div>",
        Html::paragraphs(&run.description)
    ))
}

/// Seconds on the timeline, whole where they nearly are.
pub(super) fn seconds(at: f64) -> String {
    Unit::Seconds.show((at * 10.0).round() / 10.0)
}

/// The name of a front door, its success and its verdicts.
fn head(column: &Column<'_>) -> String {
    let run = column.first;
    let success = run.client_success();
    let chip = if run.guard { "guard on" } else { "guard off" };
    let repeated = match (column.others.len(), column.is_steady()) {
        (0, _) => String::new(),
        (others, true) => format!("<div class=\"repeated\">same in {} runs</div>", others + 1),
        (others, false) => {
            format!("<div class=\"repeated bad\">\u{2717} differs in {} runs</div>", others + 1)
        }
    };
    format!(
        "<div class=\"head{}\"><div class=\"door\">{}<span class=\"chip{}\">{chip}</span></div>\
         <div class=\"big\">{}</div><div class=\"counts\">{}</div>{repeated}</div>",
        if run.summary.decides { " decides" } else { "" },
        Html::text(&run.front),
        if run.guard { " on" } else { "" },
        percent(success),
        counts(run)
    )
}

/// How many expectations came to which verdict.
pub(super) fn counts(run: &RunReport) -> String {
    let order = [
        Verdict::Held,
        Verdict::Missed,
        Verdict::Pending,
        Verdict::PendingHolds,
        Verdict::NotAvailable,
        Verdict::GeneratorBound,
    ];
    let mut text = String::new();
    for verdict in order {
        let judged = run.expectations.iter().filter(|judged| run.verdict_of(judged) == verdict);
        let (sign, word, tone) = sign(verdict, false);
        match judged.count() {
            0 => {}
            count => put(
                &mut text,
                format_args!(
                    "<span class=\"{}\"><span aria-hidden=\"true\">{sign}</span> {count} {word}</span> ",
                    tone.class()
                ),
            ),
        }
    }
    text
}

/// What each band is, beside the drawings.
fn labels(run: &RunReport, layout: &Layout) -> String {
    let mut html = String::new();
    for band in &layout.bands {
        put(
            &mut html,
            format_args!(
                "<div class=\"label\" style=\"top:{:.1}px;height:{:.1}px\">{}</div>",
                band.top,
                band.height,
                label(run, layout, *band)
            ),
        );
    }
    html
}

fn label(run: &RunReport, layout: &Layout, band: Band) -> String {
    match band.shows {
        Shows::Events => "<span class=\"what\">what happened</span>".to_owned(),
        Shows::Success(index) => {
            let stream = run.streams.get(index);
            let (name, words) =
                stream.map_or(("", ""), |stream| (stream.name.as_str(), stream.words.as_str()));
            let more = match run.streams.len().checked_sub(DRAWN_MAX) {
                Some(more) if more > 0 && index + 1 == DRAWN_MAX => {
                    format!(" ({} more in the tables)", counted(more, "stream"))
                }
                Some(_) | None => String::new(),
            };
            format!(
                "<span class=\"name\"><i class=\"swatch line l{index}\"></i>Success of {}{more}</span><span class=\"words\" title=\"{}\">{}</span>",
                Html::text(name),
                Html::text(words),
                Html::text(words)
            )
        }
        Shows::Latency => {
            let ticks = layout.decades.0..=layout.decades.1;
            let ticks: String = ticks
                .map(|power| {
                    let value = 10_f64.powi(power);
                    let y = layout.latency(value, band.height);
                    let text = Html::text(&Unit::Milliseconds.show(value));
                    format!("<span class=\"tick\" style=\"top:{y:.1}px\">{text}</span>")
                })
                .collect();
            format!(
                "<span class=\"name\">p99 latency</span><span class=\"words\">of successful answers,<br>logarithmic</span>{ticks}"
            )
        }
        Shows::Share => "<span class=\"name\">Share of answers</span><span class=\"words\">each server\u{2019}s part<br>of all answers</span>\
            <span class=\"tick\" style=\"top:5px\">100 %</span><span class=\"tick\" style=\"bottom:-7px\">0 %</span>"
            .to_owned(),
        Shows::Places(index) => places_label(run, index),
        Shows::Database => format!(
            "<span class=\"name\">Database failures</span><span class=\"words\">each second</span><span class=\"tick\" style=\"top:5px\">{}</span>",
            Html::text(&Unit::Count.show(layout.failures))
        ),
        Shows::Time => "<span class=\"tick\" style=\"top:8px\">seconds</span>".to_owned(),
    }
}

/// The server's name; beside the first one, what its strip says.
fn places_label(run: &RunReport, index: usize) -> String {
    let name = run.servers.get(index).map_or("", |server| server.name.as_str());
    let key = match index {
        0 => {
            "<span class=\"key\"><span class=\"name\">Places taken</span><span class=\"words ramp\">none<i class=\"full1\"></i><i class=\"full2\"></i><i class=\"full3\"></i><i class=\"full4\"></i>all</span>\
              <span class=\"words ramp\"><i class=\"ill\"></i>door: ill<i class=\"silent\"></i>silent</span></span>"
        }
        _ => "",
    };
    format!(
        "{key}<span class=\"server\">{}<i class=\"swatch s{index}\"></i></span>",
        Html::text(name)
    )
}
