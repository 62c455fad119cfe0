//! `tidegate check`: every mistake of a configuration at once, its own or another balancer's, and
//! what it would change in a door that runs.
//!
//! The findings are this command's data, so they go to stdout.

use std::path::Path;
use std::process::ExitCode;

use model::Configuration;
use settings::import::{self, Dialect, Disk, Files as _};
use settings::{Environment, Finding, ReadError, Severity, Source};

use crate::cli::{CheckArguments, CheckFormat};
use crate::commands::change::Comparison;
use crate::commands::{block_on, chain, complain, dialect, finish};
use crate::{exit, output};

/// The name of the findings that stand for broken invariants in formats that have findings alone.
const BROKEN: &str = "broken-invariant";

/// What was read and found, of all files.
#[derive(Debug, Default)]
struct Found {
    sources: Vec<Source>,
    findings: Vec<Finding>,
    /// For each file on the command line: its summary.
    summaries: Vec<String>,
    /// Whether a door is to be compared with.
    compares: bool,
    /// What the last file stands for, if that is asked for and it is a configuration.
    candidate: Option<Configuration>,
}

pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    if let Some(misuse) = arguments.against.misuse(arguments.files.len()) {
        complain(&misuse);
        return exit::usage();
    }
    let mut found = Found { compares: arguments.against.is_asked(), ..Found::default() };
    let environment = Environment::detect();
    for path in &arguments.files {
        let from = arguments.from.map(dialect::From::dialect);
        if let Err(error) = found.read(path, from, &environment) {
            complain(&chain(&error));
            return exit::usage();
        }
    }
    let Some(candidate) = found.candidate.take().filter(|_| found.compares) else {
        return show(arguments, &found, None);
    };
    block_on(async {
        let folder = found.sources.first().map(|source| source.folder.clone()).unwrap_or_default();
        match arguments.against.compare(&candidate, &found.findings, &folder).await {
            Ok(comparison) => show(arguments, &found, comparison.as_ref()),
            Err(why) => {
                // What was found is worth showing all the same; the run failed either way.
                let _found = show(arguments, &found, None);
                complain(&why);
                exit::failed()
            }
        }
    })
}

impl Found {
    /// Reads and checks one file, in its own language unless `from` names one.
    fn read(
        &mut self,
        path: &Path,
        from: Option<Dialect>,
        environment: &Environment,
    ) -> Result<(), ReadError> {
        let read = settings::read(path);
        let kind = from.unwrap_or_else(|| match &read {
            Ok(source) => dialect::of(path, &source.text),
            // Other balancers take any bytes.
            Err(_) => dialect::of(path, &Disk.read(path).unwrap_or_default()),
        });
        match (kind, read) {
            (Dialect::Native, read) => self.native(read?, environment),
            (Dialect::Nginx | Dialect::Haproxy, Ok(_) | Err(ReadError::NotText { .. })) => {
                self.foreign(kind, path, environment);
            }
            (Dialect::Nginx | Dialect::Haproxy, Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn native(&mut self, source: Source, environment: &Environment) {
        let checked = settings::check(&source, environment);
        self.candidate = checked.configuration.or(checked.overridable);
        self.summaries.push(summary(&source.name, &checked.findings, "ready to run"));
        self.add(vec![source], checked.findings);
    }

    fn foreign(&mut self, kind: Dialect, path: &Path, environment: &Environment) {
        let imported = import::import(kind, path, &Disk);
        let findings = import::check_imported(&imported, environment);
        if self.compares {
            let folder = imported.sources.first().map(|source| source.folder.clone());
            let source = Source {
                name: "imported.toml".to_owned(),
                text: imported.text.clone(),
                folder: folder.unwrap_or_default(),
            };
            let checked = settings::check(&source, environment);
            self.candidate = checked.configuration.or(checked.overridable);
        }
        let counts = import::counts(&imported.directives);
        let directives = format!(
            "{} directives understood, {} not supported, {} without effect here",
            counts.mapped, counts.refused, counts.ignored
        );
        self.summaries.push(summary(&path.display().to_string(), &findings, &directives));
        self.add(imported.sources, findings);
    }

    fn add(&mut self, sources: Vec<Source>, findings: Vec<Finding>) {
        let first = self.sources.len();
        self.sources.extend(sources);
        let moved =
            findings.into_iter().map(|finding| Finding { file: finding.file + first, ..finding });
        self.findings.extend(moved);
    }
}

/// Prints what was found. A comparison decides the exit code by what is new; without one, every
/// error counts.
fn show(arguments: &CheckArguments, found: &Found, comparison: Option<&Comparison>) -> ExitCode {
    let errors =
        |findings: &[Finding]| findings.iter().any(|finding| finding.severity == Severity::Error);
    let failed = match comparison {
        Some(comparison) => errors(&comparison.new) || !comparison.broken.is_empty(),
        None => errors(&found.findings),
    };
    let code = if failed { exit::failed() } else { exit::clean() };
    let format = if arguments.json { CheckFormat::Json } else { arguments.format };
    let text = match format {
        CheckFormat::Text => text(found, comparison),
        CheckFormat::Json => format!("{}\n", json(found, comparison)),
        CheckFormat::Sarif => {
            format!("{}\n", settings::render_sarif(&all(found, comparison), &found.sources))
        }
        CheckFormat::Junit => settings::render_junit(&all(found, comparison), &found.sources),
        CheckFormat::Github => settings::render_github(&all(found, comparison), &found.sources),
    };
    finish(&text, code)
}

/// The findings, and broken invariants as findings.
fn all(found: &Found, comparison: Option<&Comparison>) -> Vec<Finding> {
    let broken = comparison.map(|comparison| comparison.broken.as_slice()).unwrap_or_default();
    found
        .findings
        .iter()
        .cloned()
        .chain(broken.iter().map(|words| broken_invariant(words)))
        .collect()
}

/// An invariant has no place of its own: it is shown at the beginning of the file.
fn broken_invariant(words: &str) -> Finding {
    Finding {
        rule: BROKEN,
        severity: Severity::Error,
        message: output::printable(words).into_owned(),
        file: 0,
        span: 0..0,
        label: String::new(),
        help: None,
        related: None,
        line: 1,
        column: 1,
    }
}

fn text(found: &Found, comparison: Option<&Comparison>) -> String {
    let colour = output::colours_on_stdout();
    let mut text = settings::render_text(&found.findings, &found.sources, colour);
    for summary in &found.summaries {
        text.push_str(&format!("{summary}\n"));
    }
    let Some(comparison) = comparison else { return text };
    let against = format!("against generation {}", comparison.generation);
    if comparison.changes.is_empty() {
        text.push_str(&format!("{against}: no difference\n"));
    } else {
        text.push_str(&format!("{against}:\n"));
    }
    for line in &comparison.changes {
        text.push_str(&format!("  - {}\n", output::printable(line)));
    }
    let errors =
        comparison.new.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        text.push_str(&format!(
            "  {} that the live configuration does not have\n",
            counted(errors, "error")
        ));
    }
    for line in &comparison.broken {
        text.push_str(&format!("  would break: {}\n", output::printable(line)));
    }
    text
}

/// An array of findings; with a comparison, an object that has it as `findings`.
fn json(found: &Found, comparison: Option<&Comparison>) -> serde_json::Value {
    let findings = settings::render_json(&found.findings, &found.sources);
    let Some(comparison) = comparison else { return findings };
    serde_json::json!({
        "findings": findings,
        "against": {
            "generation": comparison.generation,
            "new": settings::render_json(&comparison.new, &found.sources),
            "changes": comparison.changes,
            "broken": comparison.broken,
        },
    })
}

/// `tidegate.toml: 1 error, 2 warnings`; without errors, `remark` is the last word.
fn summary(name: &str, findings: &[Finding], remark: &str) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let counts = match (errors, findings.len() - errors) {
        (0, 0) => format!("no findings, {remark}"),
        (0, others) => format!("{}, {remark}", counted(others, "warning")),
        (errors, 0) => counted(errors, "error"),
        (errors, others) => format!("{}, {}", counted(errors, "error"), counted(others, "warning")),
    };
    format!("{}: {counts}", output::printable(name))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let error = broken_invariant("");
        let warning = Finding { severity: Severity::Warning, ..error.clone() };
        for (findings, expected) in [
            (vec![], "a: no findings, ready to run"),
            (vec![&warning], "a: 1 warning, ready to run"),
            (vec![&error], "a: 1 error"),
            (vec![&error, &warning, &error, &warning, &warning], "a: 2 errors, 3 warnings"),
        ] {
            let findings: Vec<Finding> = findings.into_iter().cloned().collect();
            assert_eq!(summary("a", &findings, "ready to run"), expected);
        }
    }
}
