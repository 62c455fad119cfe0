//! nginx's configuration to TOML.
//!
//! `lexer` and `tree` read files as nginx reads them; `walk` goes through the contexts and gives
//! every directive its fate; `server`, `location`, `action` and `pool` turn sites into listeners,
//! routes and pools, `guard`, `forward` and `treatment` help; `site` holds what was made.
//! Invariant: every directive that was read has exactly one fate.

mod action;
mod clients;
mod compress;
mod connections;
mod forward;
mod glob;
mod guard;
mod headers;
mod known;
mod level;
mod lexer;
mod limit;
mod listen;
mod location;
mod path;
mod pool;
mod regex;
mod server;
mod site;
mod subrequest;
mod target;
mod treatment;
mod tree;
mod units;
mod upstream;
mod users;
mod value;
mod walk;

use std::path::Path;

use super::ledger::Ledger;
use super::{Files, Imported};

/// Reads and translates.
pub(super) fn import(path: &Path, files: &dyn Files) -> Imported {
    let mut ledger = Ledger::default();
    let tree = tree::Reader::new(files, &mut ledger, path).read(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let site = walk::walk(&tree, users::users(&tree, folder, files));
    let toml = site.finish(&mut ledger);
    ledger.finish(toml)
}
