//! nginx's configuration to TOML.
//!
//! `lexer` and `tree` read files as nginx reads them; `walk` goes through the contexts and gives
//! every directive its fate; `server`, `location`, `action` and `pool` turn sites into listeners,
//! routes and pools, `guard`, `forward` and `treatment` help; `site` holds what was made. Which location
//! takes a request is for `asked`, `expression` and `variants`, what becomes of its path for `rewrite`;
//! `stream` passes connections on.
//! Invariant: every directive that was read has exactly one fate.

mod action;
mod asked;
mod atoms;
mod clients;
mod compress;
mod connections;
mod expression;
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
mod rewrite;
mod server;
mod site;
mod stream;
mod subrequest;
mod target;
mod treatment;
mod tree;
mod units;
mod upstream;
mod users;
mod value;
mod variants;
mod walk;

use std::path::Path;

use super::ledger::Ledger;
use super::{Files, Imported};

/// What differs on every site, whatever its directives.
const NOTES: [&str; 3] = [
    "nginx compares paths without their empty segments (`//`), the door as they came",
    "nginx passes an upgrade to WebSocket on where headers are set for it, the door wherever a route \
     leads to servers",
    "where nginx redirects to a path it names host and port; the door sends the path, which leads to \
     the same place",
];

/// Reads and translates.
pub(super) fn import(path: &Path, files: &dyn Files) -> Imported {
    let mut ledger = Ledger::default();
    let tree = tree::Reader::new(files, &mut ledger, path).read(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let site = walk::walk(&tree, users::users(&tree, folder, files));
    if !site.routes.is_empty() {
        NOTES.into_iter().for_each(|note| ledger.note(note));
    }
    let toml = site.finish(&mut ledger);
    ledger.finish(toml)
}
