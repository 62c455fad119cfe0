//! Rules in words: one explained, or all of them as a page.

use std::fmt::Write as _;

use super::structure::STRUCTURE;
use super::{Dialect, Example, Rule, Seen, find, rules};

/// What a name in a finding means, as plain text; `None` for a name that no finding has.
#[must_use]
pub fn explain(name: &str) -> Option<String> {
    if let Some(rule) = find(name) {
        return Some(rule_text(rule));
    }
    let (name, meaning) = STRUCTURE.iter().find(|(known, _)| *known == name)?;
    Some(format!("{name}\n\n{meaning}\n\nThis is no rule, so nothing sets it aside.\n"))
}

fn rule_text(rule: &Rule) -> String {
    let severity = rule.severity.as_str();
    let mut text = format!(
        "{} ({severity}{})\n\n{}\n\n{}\n",
        rule.name,
        seen_by(rule),
        sentence(rule.summary),
        rule.rationale
    );
    for (title, example) in [("Bad", rule.bad), ("Good", rule.good)] {
        write!(text, "\n{title}:\n\n").expect("a String takes all text");
        for line in example.text.lines() {
            let line = format!("    {line}");
            writeln!(text, "{}", line.trim_end()).expect("a String takes all text");
        }
    }
    text
}

/// Where a rule is found, if not in every configuration.
fn seen_by(rule: &Rule) -> &'static str {
    match (rule.seen, rule.bad.dialect) {
        (Seen::By(_), _) | (Seen::Import, Dialect::Native) => "",
        (Seen::Change, _) => ", in changes",
        (Seen::Import, Dialect::Nginx) => ", in nginx configurations",
        (Seen::Import, Dialect::Haproxy) => ", in HAProxy configurations",
    }
}

/// A summary as a sentence of its own.
fn sentence(summary: &str) -> String {
    let mut characters = summary.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", characters.as_str())
}

const INTRODUCTION: &str = "\
# Rules

Generated from the rules by `cargo run -p settings --example generate`; do not edit.

What `tidegate check` finds in a configuration that can be read. A rule that is an error refuses the
configuration wherever one is taken: by `check`, at the start, at a reload, by `apply`. The same rules
judge configurations of nginx and HAProxy. `tidegate explain RULE` shows one.

A rule is set aside for a place, or everywhere, by its name and a reason; an allowance that sets
nothing aside is reported:

```toml
[[allow]]
rule = \"single-server\"
at = \"pools.web\"
reason = \"one server is all there is until March\"
```

In the examples, what is not shown is sound.
";

/// All rules as a page of Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n| rule | severity | finds |\n| --- | --- | --- |\n");
    for rule in rules() {
        let (name, severity) = (rule.name, rule.severity.as_str());
        writeln!(text, "| [`{name}`](#{name}) | {severity}{} | {} |", seen_by(rule), rule.summary)
            .expect("a String takes all text");
    }
    for rule in rules() {
        section(&mut text, rule);
    }
    text.push_str("\n## Mistakes that are no rules\n\n");
    text.push_str("They leave no configuration to judge, so nothing sets them aside.\n\n");
    text.push_str("| name | meaning |\n| --- | --- |\n");
    for (name, meaning) in &STRUCTURE {
        writeln!(text, "| `{name}` | {} |", meaning.replace('|', "\\|"))
            .expect("a String takes all text");
    }
    text
}

fn section(text: &mut String, rule: &Rule) {
    let severity = rule.severity.as_str();
    write!(
        text,
        "\n## {}\n\n{} ({severity}{})\n\n{}\n",
        rule.name,
        sentence(rule.summary),
        seen_by(rule),
        rule.rationale
    )
    .expect("a String takes all text");
    for (title, example) in [("Bad", rule.bad), ("Good", rule.good)] {
        let Example { dialect, text: example } = example;
        let language = match dialect {
            Dialect::Native => "toml",
            Dialect::Nginx => "nginx",
            Dialect::Haproxy => "haproxy",
        };
        write!(text, "\n{title}:\n\n```{language}\n{example}```\n")
            .expect("a String takes all text");
    }
}
