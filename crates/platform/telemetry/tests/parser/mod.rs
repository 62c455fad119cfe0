//! A strict parser of both exposition formats, for tests only.
//!
//! It takes what the formats allow and refuses the rest: families out of one piece, type before
//! samples, suffixes that fit the type, unique series, complete histograms, `# EOF` at the end.

use std::collections::{BTreeMap, BTreeSet};

/// One family as the page describes it.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// One line of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Parses a page; `openmetrics` tells which format it must be in.
pub(crate) fn parse(page: &str, openmetrics: bool) -> Result<BTreeMap<String, Family>, String> {
    let mut body = page.strip_suffix('\n').ok_or("the page must end in a line feed")?;
    if openmetrics {
        body = body.strip_suffix("\n# EOF").ok_or("the page must end in # EOF")?;
    }
    let mut families = BTreeMap::<String, Family>::new();
    let mut series = BTreeSet::new();
    let mut current = String::new();
    for line in body.split('\n') {
        let wrong = |why: &str| format!("{why}: {line:?}");
        if line.chars().any(char::is_control) || line.is_empty() || line != line.trim() {
            return Err(wrong("a control character, an empty line or outer space"));
        }
        if let Some(comment) = line.strip_prefix("# ") {
            describe(comment, openmetrics, &mut families, &mut current)
                .map_err(|why| wrong(&why))?;
            continue;
        }
        let sample = parse_sample(line).map_err(|why| wrong(&why))?;
        if !series.insert((sample.name.clone(), sample.labels.clone())) {
            return Err(wrong("a series twice"));
        }
        let family =
            families.get_mut(&current).ok_or_else(|| wrong("a sample before any family"))?;
        fits(&current, family, &sample, openmetrics).map_err(|why| wrong(&why))?;
        family.samples.push(sample);
    }
    for (name, family) in &families {
        if family.kind.is_empty() || family.help.is_empty() {
            return Err(format!("{name} lacks type or help"));
        }
        if family.kind == "histogram" {
            check_histogram(family).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(families)
}

/// A HELP, TYPE or UNIT line; a new family's name starts the family, once.
fn describe(
    comment: &str,
    openmetrics: bool,
    families: &mut BTreeMap<String, Family>,
    current: &mut String,
) -> Result<(), String> {
    let mut parts = comment.splitn(3, ' ');
    let (what, name, text) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    check_name(name, true)?;
    if name != current {
        if families.contains_key(name) {
            return Err("a family in two pieces".to_owned());
        }
        name.clone_into(current);
        families.insert(name.to_owned(), Family::default());
    }
    let family = families.get_mut(name).ok_or("no family")?;
    if !family.samples.is_empty() {
        return Err("a description after samples".to_owned());
    }
    match what {
        "HELP" if family.help.is_empty() => family.help = unescape(text, openmetrics)?,
        "TYPE" if family.kind.is_empty() => {
            let kinds: &[&str] = if openmetrics {
                &["counter", "gauge", "histogram", "info"]
            } else {
                &["counter", "gauge", "histogram"]
            };
            if !kinds.contains(&text) {
                return Err("an unknown type".to_owned());
            }
            text.clone_into(&mut family.kind);
        }
        "UNIT" if openmetrics && family.unit.is_none() => {
            if !name.ends_with(&format!("_{text}")) {
                return Err("a unit that the name does not end in".to_owned());
            }
            family.unit = Some(text.to_owned());
        }
        _ => return Err("an unknown or repeated description".to_owned()),
    }
    Ok(())
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let name_end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(name_end);
    check_name(name, true)?;
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label without value")?;
            check_name(label, false)?;
            let end = closing_quote(after).ok_or("an open quote")?;
            let (value, after) = after.split_at(end);
            if labels.insert(label.to_owned(), unescape(value, true)?).is_some() {
                return Err("a label twice".to_owned());
            }
            rest = after.strip_prefix('"').ok_or("no closing quote")?;
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').ok_or("neither comma nor brace after a label")?;
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "NaN" => f64::NAN,
        _ if value.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) => {
            value.parse().map_err(|error| format!("no number, {error}"))?
        }
        _ => return Err("no number".to_owned()),
    };
    Ok(Sample { name: name.to_owned(), labels, value })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(index),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("an unknown escape {other:?}")),
            },
            '"' if quotes => return Err("a bare quote".to_owned()),
            other => other,
        });
    }
    Ok(plain)
}

fn check_name(name: &str, colons: bool) -> Result<(), String> {
    let fits = |(index, byte): (usize, u8)| {
        byte.is_ascii_alphabetic()
            || byte == b'_'
            || (colons && byte == b':')
            || (index > 0 && byte.is_ascii_digit())
    };
    if !name.is_empty() && name.bytes().enumerate().all(fits) {
        Ok(())
    } else {
        Err(format!("a bad name {name:?}"))
    }
}

/// The sample's name, labels and value fit the family's type.
fn fits(name: &str, family: &Family, sample: &Sample, openmetrics: bool) -> Result<(), String> {
    let suffix = sample.name.strip_prefix(name).ok_or("a sample of another family")?;
    let fits = match family.kind.as_str() {
        "counter" if openmetrics => suffix == "_total" && sample.value >= 0.0,
        "counter" => suffix.is_empty() && name.ends_with("_total") && sample.value >= 0.0,
        "gauge" => suffix.is_empty(),
        "info" => suffix == "_info" && sample.value == 1.0,
        "histogram" => {
            ["_bucket", "_sum", "_count"].contains(&suffix)
                && (suffix == "_bucket") == sample.labels.contains_key("le")
                && sample.value >= 0.0
        }
        _ => return Err("a sample before its type".to_owned()),
    };
    if fits { Ok(()) } else { Err(format!("a sample that does not fit a {}", family.kind)) }
}

/// Every histogram has rising bounds and counts, ends in +Inf, and its count equals that bucket.
fn check_histogram(family: &Family) -> Result<(), String> {
    let mut groups = BTreeMap::<BTreeMap<String, String>, Vec<&Sample>>::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        groups.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in groups {
        let buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|sample| Some((sample.labels.get("le")?, sample.value)))
            .map(|(bound, count)| {
                // OpenMetrics asks for a canonical float: 1.0, not 1.
                let canonical = bound == "+Inf" || bound.contains('.');
                (
                    if canonical {
                        bound.replace("+Inf", "inf").parse().unwrap_or(f64::NAN)
                    } else {
                        f64::NAN
                    },
                    count,
                )
            })
            .collect();
        let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let value = |end: &str| {
            samples.iter().find(|sample| sample.name.ends_with(end)).map(|sample| sample.value)
        };
        let last = buckets.last().copied().unwrap_or_default();
        if !rising
            || last.0 != f64::INFINITY
            || value("_count") != Some(last.1)
            || value("_sum").is_none()
        {
            return Err(format!("a broken histogram at {labels:?}"));
        }
    }
    Ok(())
}
