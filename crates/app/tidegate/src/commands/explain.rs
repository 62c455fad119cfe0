//! `tidegate explain`: what a rule finds, why it is one, and how it looks mended.

use std::process::ExitCode;

use clap::Args;
use settings::rules::{self, Dialect, Example, Rule};

use crate::commands::table::table;
use crate::commands::{complain, finish};
use crate::{exit, output};

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The name of a rule or of another finding; without it, all rules
    #[arg(value_name = "RULE")]
    rule: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ExplainArguments) -> ExitCode {
    match &arguments.rule {
        Some(name) => one(name, arguments.json),
        None => all(arguments.json),
    }
}

fn one(name: &str, json: bool) -> ExitCode {
    if json && let Some(rule) = rules::find(name) {
        return finish(&format!("{}\n", object(rule)), exit::clean());
    }
    let Some(text) = rules::explain(name) else {
        let help = match rules::closest_rule(name) {
            Some(closest) => format!("did you mean `{closest}`?"),
            None => "`tidegate explain` lists all rules".to_owned(),
        };
        complain(&format!("there is no rule {name:?}: {help}"));
        return exit::usage();
    };
    let text = if json {
        format!("{}\n", serde_json::json!({ "name": name, "text": text }))
    } else {
        text
    };
    finish(&text, exit::clean())
}

fn all(json: bool) -> ExitCode {
    if json {
        let objects: Vec<_> = rules::rules().iter().map(|rule| object(rule)).collect();
        return finish(&format!("{}\n", serde_json::Value::from(objects)), exit::clean());
    }
    let row = |rule: &&Rule| {
        vec![
            rule.number.map(|number| number.to_string()).unwrap_or_default().into(),
            rule.name.into(),
            rule.severity.as_str().into(),
            rule.summary.into(),
        ]
    };
    let rows: Vec<_> = rules::rules().iter().map(row).collect();
    let headings = [">NUMBER", "RULE", "SEVERITY", "WHAT IT FINDS"];
    finish(&table(&headings, &rows, output::colours_on_stdout()), exit::clean())
}

fn object(rule: &Rule) -> serde_json::Value {
    let example = |example: Example| {
        let language = match example.dialect {
            Dialect::Native => "native",
            Dialect::Nginx => "nginx",
            Dialect::Haproxy => "haproxy",
        };
        serde_json::json!({ "language": language, "text": example.text })
    };
    serde_json::json!({
        "name": rule.name,
        "number": rule.number,
        "severity": rule.severity.as_str(),
        "summary": rule.summary,
        "rationale": rule.rationale,
        "bad": example(rule.bad),
        "good": example(rule.good),
    })
}
