//! `tidegate import`: an nginx or HAProxy configuration as one of ours.
//!
//! The configuration goes to stdout; what was not carried over, and why, goes to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use settings::import::{self, Disk, Files as _};

use crate::commands::{complain, dialect, finish};
use crate::exit;

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// nginx.conf or haproxy.cfg; what it includes is followed
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Whose configuration it is; by default what its name and text say
    #[arg(long, value_name = "KIND")]
    from: Option<dialect::From>,

    /// Print one JSON document with the text and every directive
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ImportArguments) -> ExitCode {
    let told = || {
        // What cannot be read is said by the import itself.
        let text = Disk.read(&arguments.file).unwrap_or_default();
        dialect::of(&arguments.file, &text)
    };
    let kind = arguments.from.map_or_else(told, dialect::From::dialect);
    let imported = import::import(kind, &arguments.file, &Disk);
    let unreadable: Vec<_> =
        imported.findings.iter().filter(|finding| is_of_syntax(finding)).cloned().collect();
    if !unreadable.is_empty() {
        complain(&settings::render_text(&unreadable, &imported.sources, false));
    }
    let refused = import::counts(&imported.directives).refused;
    let code = match (unreadable.is_empty(), refused) {
        (false, _) => exit::usage(),
        (true, 0) => exit::clean(),
        (true, _) => exit::failed(),
    };
    if arguments.json {
        return finish(&format!("{}\n", import::render_import_json(&imported)), code);
    }
    // What the door does nearly the same is no reason to fail, and nothing to find out later.
    let is_inexact = |finding: &&settings::Finding| finding.rule == "inexact-import";
    let inexact: Vec<_> = imported.findings.iter().filter(is_inexact).cloned().collect();
    if !inexact.is_empty() {
        complain(&settings::render_text(&inexact, &imported.sources, false));
    }
    complain(&format!("what was not carried over:\n{}", import::render_import_text(&imported)));
    finish(&imported.text, code)
}

/// Whether the file could not be understood there; what rules say of it is for `check`.
fn is_of_syntax(finding: &settings::Finding) -> bool {
    let is_rule = settings::rules::rules().iter().any(|rule| rule.name == finding.rule);
    finding.severity == settings::Severity::Error && !is_rule
}
