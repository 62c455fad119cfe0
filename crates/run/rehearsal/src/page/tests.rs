//! What every page keeps: everything escaped, nothing from elsewhere, contrast in both themes.

use super::chart::{Axis, Bar, Line, Lines, bars, lines};
use super::*;

const HOSTILE: &str = "</title><script>alert(1)</script>\" onload='x' &amp; \u{202e}\u{1b}[31m";

/// A page with `text` wherever text can go.
fn page(text: &str) -> String {
    let chart = Lines {
        title: text.to_owned(),
        across: Axis { label: text.to_owned(), unit: Unit::Seconds, ..Axis::default() },
        up: Axis { label: text.to_owned(), unit: Unit::Milliseconds, ..Axis::default() },
        lines: vec![Line {
            name: text.to_owned(),
            points: vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.0))],
            ..Line::default()
        }],
    };
    let bar = Bar { name: text.to_owned(), value: 1.0, note: text.to_owned(), tone: Tone::Bad };
    let mut page = Page::new(text, text);
    page.banner(Tone::Bad, text, &[text.to_owned()]);
    page.tiles(&[Tile {
        label: text.to_owned(),
        value: text.to_owned(),
        note: text.to_owned(),
        tone: Tone::Good,
    }]);
    let parts = [
        lines(&chart),
        bars(text, Unit::Count, &[bar]),
        table(text, &[text, text], &[vec![text.into(), Cell::new(text, Tone::Warning)]]),
        Html::titled(text, &Html::paragraphs(text)),
        Html::folded(text, &Html::preformatted(text)).wide(),
    ];
    page.section(text, parts);
    page.cards(text, [Html::stacked([Html::paragraph(text)])]);
    page.render()
}

/// The markup of a page, without its text.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|part| part.split('>').next()).collect()
}

#[test]
fn text_never_becomes_markup() {
    let (plain, hostile) = (page("plain"), page(HOSTILE));
    let names = |page: &str| -> Vec<String> {
        tags(page).iter().map(|tag| tag.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&plain), names(&hostile));
    assert!(
        !hostile.contains("onload='")
            && !hostile.contains('\u{202e}')
            && !hostile.contains('\u{1b}')
    );
    assert!(hostile.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn a_page_needs_nothing_else() {
    let page = page("plain");
    for foreign in
        ["<script", "<link", "<img", "@import", "url(", "src=", "href=", "http:", "https:"]
    {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_gap_is_a_gap() {
    let page = page("plain");
    // Two pieces of the line: one point each, so nothing is drawn across what was not measured.
    assert_eq!(page.matches("class=\"line l0\" stroke-dasharray").count(), 1);
    let path = page.split("class=\"line l0\" stroke-dasharray=\"none\" d=\"").nth(1).unwrap();
    let path = path.split('"').next().unwrap();
    assert_eq!(path.matches('M').count(), 2, "{path}");
}

/// The tokens of a theme, as they are in the sheet.
fn colour(theme: &str, name: &str) -> [f64; 3] {
    let text = theme.split(&format!("--{name}:#")).nth(1).unwrap_or_else(|| panic!("no {name}"));
    [0, 2, 4].map(|at| {
        let part = text.get(at..at + 2).unwrap();
        f64::from(u8::from_str_radix(part, 16).unwrap()) / 255.0
    })
}

/// The contrast of two colours by WCAG 2.2.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| -> f64 {
        let linear = colour.map(|part| {
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn both_themes_have_contrast() {
    let (light, dark) = style::STYLE.split_once("@media (prefers-color-scheme:dark)").unwrap();
    for theme in [light, dark] {
        let check = |name: &str, ground: &str, least: f64| {
            let found = contrast(colour(theme, name), colour(theme, ground));
            assert!(found >= least, "{name} on {ground}: {found:.2}");
        };
        for ground in ["ground", "card"] {
            check("ink", ground, 7.0);
            for name in ["soft", "good", "warning", "bad"] {
                check(name, ground, 4.5);
            }
        }
        for tone in ["good", "warning", "bad"] {
            check(tone, &format!("{tone}-ground"), 4.5);
            check("ink", &format!("{tone}-ground"), 4.5);
        }
        for line in 0..chart::LINES_MAX {
            check(&format!("l{line}"), "card", 3.0);
        }
    }
}
