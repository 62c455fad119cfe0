//! `tidegate check`: every mistake of a configuration at once.
//!
//! The findings are this command's data, so they go to stdout.

use std::process::ExitCode;

use settings::{Environment, Severity};

use crate::cli::{CheckArguments, CheckFormat};
use crate::commands::{chain, complain, finish};
use crate::{exit, output};

pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    let source = match settings::read(&arguments.file) {
        Ok(source) => source,
        Err(error) => {
            complain(&chain(&error));
            return exit::usage();
        }
    };
    let checked = settings::check(&source, &Environment::detect());
    let code = if checked.configuration.is_some() { exit::clean() } else { exit::failed() };
    if arguments.json || arguments.format == CheckFormat::Json {
        return finish(&format!("{}\n", settings::render_json(&checked.findings, &source)), code);
    }
    let mut text = settings::render_text(&checked.findings, &source, output::colours_on_stdout());
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let errors =
        checked.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let summary = summary(errors, checked.findings.len() - errors);
    finish(&format!("{text}{}: {summary}\n", output::printable(&source.name)), code)
}

fn summary(errors: usize, others: usize) -> String {
    let counted =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    match (errors, others) {
        (0, 0) => "no findings, ready to run".to_owned(),
        (0, others) => format!("{}, ready to run", counted(others, "warning")),
        (errors, 0) => counted(errors, "error"),
        (errors, others) => format!("{}, {}", counted(errors, "error"), counted(others, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        for (errors, others, expected) in [
            (0, 0, "no findings, ready to run"),
            (0, 1, "1 warning, ready to run"),
            (1, 0, "1 error"),
            (2, 3, "2 errors, 3 warnings"),
        ] {
            assert_eq!(summary(errors, others), expected);
        }
    }
}
