//! The checks that other programs make: rustfmt, clippy, cargo-deny.
//!
//! Their own output says what and where; the finding adds what to type.

use super::Finding;
use crate::{say, shell};

/// The version of cargo-deny that is installed when there is none.
const DENY_VERSION: &str = "0.20.2";

/// `cargo fmt --check`.
pub(super) fn formatting() -> anyhow::Result<Vec<Finding>> {
    let status = shell::show("cargo", &["fmt", "--all", "--check"])?;
    Ok(finding(status.success(), "cargo fmt --check", "not formatted", "cargo fmt --all"))
}

/// Clippy over every target, every warning an error.
pub(super) fn clippy() -> anyhow::Result<Vec<Finding>> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let status = shell::show("cargo", &arguments)?;
    Ok(finding(
        status.success(),
        "cargo clippy",
        "clippy objects, see above",
        "repair it, or `#[expect(..., reason = \"...\")]` where the reason convinces",
    ))
}

/// cargo-deny: what we ship, under which licences, from where, and known vulnerabilities.
pub(super) fn deny() -> anyhow::Result<Vec<Finding>> {
    if !shell::succeeds("cargo", &["deny", "--version"]) {
        say::note("cargo-deny is missing and is built once; this takes some minutes");
        let version = ["--version", DENY_VERSION];
        shell::must("cargo", &[&["install", "--locked", "cargo-deny"], &version[..]].concat())?;
    }
    let base = ["deny", "--workspace", "--log-level", "warn", "check", "--hide-inclusion-graph"];
    let status = shell::show("cargo", &[&base[..], &["bans", "licenses", "sources"]].concat())?;
    let mut findings = finding(
        status.success(),
        "cargo deny check bans licenses sources",
        "cargo-deny objects, see above",
        "choose another crate, or extend deny.toml with the reason",
    );
    if shell::succeeds("cargo", &["deny", "fetch", "db"]) {
        let status = shell::show("cargo", &[&base[..], &["advisories"]].concat())?;
        findings.extend(finding(
            status.success(),
            "cargo deny check advisories",
            "a dependency has a known vulnerability, or is no longer maintained",
            "update it (`cargo update -p CRATE`), or replace it",
        ));
    } else {
        say::note("advisories not checked: their database could not be fetched");
    }
    Ok(findings)
}

fn finding(success: bool, place: &str, what: &str, remedy: &str) -> Vec<Finding> {
    if success { Vec::new() } else { vec![Finding::new(place, what, remedy)] }
}
