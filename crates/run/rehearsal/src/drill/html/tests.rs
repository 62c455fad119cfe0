//! The page of made-up runs: what it must hold, and what must not get into it.

use super::*;
use crate::drill::report::{
    EntryKind, EntryOutcome, Judged, SecondRow, ServerRow, ServerText, StreamRow, StreamText,
    Summary, TimelineEntry, Unit as Counts,
};

/// Twenty seconds of two streams, 100 requests a second each, and two servers; from second 10 on,
/// this share of the shoppers' requests is lost.
pub(in crate::drill) fn run(front: &str, guard: bool, lost: f64) -> RunReport {
    let kept = (0..=100_u64).rfind(|ok| *ok as f64 <= (1.0 - lost) * 100.0).unwrap();
    let held = if lost < 0.01 { Verdict::Held } else { Verdict::Missed };
    let decides = front == "tidegate" && guard;
    let full = judged("time with all places of a taken", "saturated", "100 %", Verdict::Held);
    RunReport {
        drill: "two-shops".to_owned(),
        title: "Two shops, one door".to_owned(),
        description: "First paragraph.\n\nSecond <b>paragraph</b>.".to_owned(),
        front: front.to_owned(),
        front_version: format!("{front} 1.0"),
        guard,
        seed: 7,
        duration_seconds: 20.0,
        wall_seconds: 21.5,
        streams: ["shoppers", "partners"]
            .map(|name| StreamText { name: name.to_owned(), words: "100 a second".to_owned() })
            .to_vec(),
        servers: ["a", "b<"]
            .map(|name| ServerText { name: name.to_owned(), places: 5, words: String::new() })
            .to_vec(),
        timeline: timeline(decides),
        seconds: (0..20).map(|second| row(second, kept)).collect(),
        symptoms: vec![full],
        expectations: vec![
            judged("success of shoppers", "success", &Unit::Share.show(1.0 - lost), held),
            judged("p99 latency of shoppers", "p99_ms", "12 ms", Verdict::Held),
            Judged {
                pending: Some("nothing names causes yet".to_owned()),
                ..judged("the cause flood is named", "cause_seconds", "never", Verdict::Pending)
            },
        ],
        summary: Summary {
            passed: lost < 0.01,
            held: if lost < 0.01 { 2 } else { 1 },
            decides,
            pending: 1,
            words: "two shops played".to_owned(),
            ..Summary::default()
        },
        ..RunReport::default()
    }
}

/// One second: `kept` of the shoppers' requests end well once it is broken.
fn row(second: u64, kept: u64) -> SecondRow {
    let stream = |ok: u64| StreamRow {
        due: 100,
        tries: 100,
        ok,
        failed: 100 - ok,
        answered: ok,
        p99_ms: Some(12.0),
        ..StreamRow::default()
    };
    let server = |share: f64| ServerRow {
        answers: 100,
        share: Some(share),
        busy: Some(5),
        saturated: Some(if second < 10 { 0.0 } else { 1.0 }),
        door_wrong: second > 15,
        ..ServerRow::default()
    };
    SecondRow {
        second,
        streams: vec![stream(if second < 10 { 100 } else { kept }), stream(100)],
        servers: vec![server(0.25), server(0.75)],
        database: None,
    }
}

fn timeline(refused: bool) -> Vec<TimelineEntry> {
    let entry = |at_seconds, kind, words: &str| TimelineEntry {
        at_seconds,
        kind,
        words: words.to_owned(),
        outcome: EntryOutcome::Ok,
        server: None,
    };
    let change = match refused {
        true => TimelineEntry {
            outcome: EntryOutcome::Refused("b would get all".to_owned()),
            ..entry(10.0, EntryKind::Change, "configuration applied")
        },
        false => entry(10.0, EntryKind::Change, "configuration applied \u{2014} reloaded"),
    };
    vec![
        change,
        entry(12.0, EntryKind::DoorNoticed, "b ejected"),
        entry(18.0, EntryKind::Undo, "configuration before"),
    ]
}

fn judged(measure: &str, key: &str, value_words: &str, verdict: Verdict) -> Judged {
    Judged {
        measure: measure.to_owned(),
        key: key.to_owned(),
        from_seconds: 10.0,
        to_seconds: 20.0,
        at_least: Some(0.99),
        at_most: None,
        unit: Counts::Share,
        value: Some(0.5),
        value_words: value_words.to_owned(),
        bound_words: "at least 99 %".to_owned(),
        pending: None,
        verdict,
        words: String::new(),
    }
}

fn comparison() -> String {
    page(&[run("tidegate", true, 0.0), run("nginx", true, 0.25), run("nginx", false, 0.5)])
}

#[test]
fn the_page_compares_the_front_doors() {
    let page = comparison();
    for part in [
        "Nothing was missed but what is pending: 2 held, 1 pending, in 1 deciding run",
        "3 runs: tidegate 1.0, nginx 1.0. Seed 7.",
        "<div class=\"big\">100 %</div>",
        "<div class=\"big\">75 %</div>",
        "<div class=\"big\">50 %</div>",
        "guard off",
        "<p>First paragraph.</p>",
        "refused</span><span class=\"words\">b would get all</span>",
        "went live</span><span class=\"words\">reloaded</span>",
        "b ejected",
        "pending: nothing names causes yet",
    ] {
        assert!(page.contains(part), "{part:?} is missing");
    }
    assert_eq!(page.matches("<svg class=\"drawing\"").count(), 3);
    assert_eq!(
        page.matches("role=\"img\" aria-label=\"").count(),
        3,
        "each drawing is told in words"
    );
    assert_eq!(
        page.matches("> pending</span>").count(),
        1,
        "only the run that decides has pending ones"
    );
}

#[test]
fn several_drills_begin_with_a_table_of_all() {
    let other = RunReport { drill: "other".to_owned(), ..run("nginx", false, 0.5) };
    let page = page(&[run("tidegate", true, 0.0), run("nginx", false, 0.25), other]);
    let (matrix, _) = page.split_once("<section").unwrap();
    for part in [
        "<span class=\"big\">100 %</span>",
        "<span class=\"big\">75 %</span>",
        "href=\"#drill-other\"",
    ] {
        assert!(matrix.contains(part), "{part:?} is missing");
    }
    assert_eq!(matrix.matches("<td>\u{2013}</td>").count(), 1, "what was not run is a dash");
}

#[test]
fn text_from_outside_stays_text() {
    let page = comparison();
    assert!(page.contains("Second &lt;b&gt;paragraph&lt;/b&gt;.") && page.contains("b&lt;"));
    for forbidden in ["<b>paragraph", "b<<", "<script", "http://", "https://", "url(", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn repetitions_are_drawn_once() {
    let page =
        page(&[run("tidegate", true, 0.0), run("tidegate", true, 0.0), run("tidegate", true, 0.5)]);
    assert_eq!(page.matches("<svg class=\"drawing\"").count(), 1);
    assert!(
        page.contains("differs in 3 runs") && page.contains("Not passed: 2 of 3 deciding runs")
    );
}

#[test]
fn any_run_is_drawn() {
    let mut long = run("tidegate", true, 0.1);
    long.seconds =
        (0..3_600).map(|second| SecondRow { second, ..long.seconds[3].clone() }).collect();
    let mut bare = RunReport { drill: "bare".to_owned(), ..RunReport::default() };
    bare.streams = (0..64).map(|_| StreamText::default()).collect();
    let mut sparse = run("nginx", true, 0.0);
    sparse.seconds[5] = SecondRow { second: 5, ..SecondRow::default() };
    let drawn = page(&[long, bare, sparse]);
    assert!(drawn.contains("each row holds 30 seconds"));
    assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
    assert!(page(&[]).contains("0 drills"));
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let part = |from: usize| {
        let value = f64::from(u8::from_str_radix(colour.get(from..from + 2).unwrap(), 16).unwrap());
        let value = value / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

fn colour<'a>(theme: &'a str, name: &str) -> &'a str {
    let (_, rest) = theme.split_once(&format!("--{name}:")).unwrap();
    rest.get(..7).unwrap()
}

#[test]
fn both_themes_have_contrast() {
    let (light, dark) = style::STYLE.split_once("prefers-color-scheme:dark").unwrap();
    for theme in [light, dark] {
        let check = |one: &str, other: &str, least: f64| {
            let (one_light, other_light) =
                (luminance(colour(theme, one)), luminance(colour(theme, other)));
            let contrast =
                (one_light.max(other_light) + 0.05) / (one_light.min(other_light) + 0.05);
            assert!(contrast >= least, "{one} on {other}: {contrast:.2}");
        };
        check("lost", "well", 3.0);
        check("lost", "band", 3.0);
        check("event", "on-event", 4.5);
        check("event", "band", 4.5);
        check("f4", "f2", 3.0);
        check("f4", "band", 4.5);
    }
}
