//! Imports go down only: derives each crate's floor from its path and reads every dependency.
//!
//! Dev-dependencies, build-dependencies and those of other platforms count as well. What lies
//! outside `crates/` (`tests`, `xtask`) stands outside the house: it may import any room, and
//! no room imports it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};

use super::Finding;
use crate::shell;

/// Each floor and the floors it may import from.
const FLOORS: [(&str, &[&str]); 7] = [
    ("nouns", &[]),
    ("wire", &["nouns"]),
    ("decide", &["nouns"]),
    ("platform", &["nouns"]),
    ("edge", &["nouns", "decide", "platform"]),
    ("run", &["nouns", "wire", "decide", "platform"]),
    ("app", &["nouns", "wire", "decide", "platform", "edge", "run"]),
];

/// Floors of plain Rust: no runtime, no sockets, no TLS, not even through another crate.
const PLAIN: [&str; 3] = ["nouns", "wire", "decide"];

/// What plain floors may not reach.
const RUNTIMES: [&str; 7] = ["tokio", "mio", "hyper", "rustls", "async-std", "smol", "axum"];

/// The one room that reads TOML.
const TOML_ROOM: &str = "settings";

/// A package as far as the rules look at it.
#[derive(Debug)]
struct Room {
    name: String,
    /// The floor, or `None` outside the house.
    floor: Option<String>,
    manifest: String,
    imports: Vec<String>,
}

/// Reads `cargo metadata` and applies the rules.
pub(super) fn check() -> anyhow::Result<Vec<Finding>> {
    let root = shell::root();
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .context("cargo metadata failed")?;
    let mut findings = Vec::new();
    let mut rooms = Vec::new();
    for package in metadata.workspace_packages() {
        match room(&root, package) {
            Ok(room) => rooms.push(room),
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(imports(&rooms));
    findings.extend(toml(&rooms));
    findings.extend(runtimes(&metadata, &rooms));
    Ok(findings)
}

/// Places a package by its path: `crates/<floor>/<name>`, or outside the house.
fn room(root: &Path, package: &Package) -> Result<Room, Finding> {
    let folder = package.manifest_path.parent().map(|folder| folder.as_std_path());
    let below = folder.and_then(|folder| folder.strip_prefix(root).ok()).unwrap_or(root);
    let parts: Vec<String> =
        below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let manifest = below.join("Cargo.toml").display().to_string();
    let known = |floor: &str| FLOORS.iter().any(|(name, _)| *name == floor);
    let floor = match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["crates", floor, name] if known(floor) && name == package.name.as_str() => {
            Some(floor.to_owned())
        }
        ["crates", ..] => {
            return Err(Finding::new(
                manifest,
                format!("`{}` is on no floor", package.name),
                "move it to crates/<floor>/<its own name>; the floors are in ARCHITECTURE.md",
            ));
        }
        _ => None,
    };
    let imports = package.dependencies.iter().map(|import| import.name.clone()).collect();
    Ok(Room { name: package.name.to_string(), floor, manifest, imports })
}

/// Imports go down, never sideways, never up, never out of the house.
fn imports(rooms: &[Room]) -> Vec<Finding> {
    let floors: BTreeMap<&str, Option<&str>> =
        rooms.iter().map(|room| (room.name.as_str(), room.floor.as_deref())).collect();
    let mut findings = Vec::new();
    for room in rooms {
        let Some(floor) = room.floor.as_deref() else {
            continue;
        };
        let allowed = FLOORS.iter().find(|(name, _)| *name == floor).map_or(&[][..], |row| row.1);
        for import in &room.imports {
            let Some(target) = floors.get(import.as_str()) else {
                continue; // Not ours.
            };
            if target.is_some_and(|target| allowed.contains(&target)) {
                continue;
            }
            let target = target.unwrap_or("outside the floors");
            findings.push(Finding::new(
                &room.manifest,
                format!("`{}` ({floor}) imports `{import}` ({target})", room.name),
                format!(
                    "{floor} may import {}: meet through `model`, or through a trait of the \
                     consumer that app/tidegate connects",
                    if allowed.is_empty() { "nothing of ours".into() } else { allowed.join(", ") }
                ),
            ));
        }
    }
    findings
}

/// Only one room knows TOML.
fn toml(rooms: &[Room]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for room in rooms.iter().filter(|room| room.name != TOML_ROOM) {
        for import in room.imports.iter().filter(|import| import.starts_with("toml")) {
            findings.push(Finding::new(
                &room.manifest,
                format!("`{}` depends on `{import}`", room.name),
                format!("only `{TOML_ROOM}` knows TOML: take checked types of `model`"),
            ));
        }
    }
    findings
}

/// Plain floors reach no runtime, at any depth.
fn runtimes(metadata: &Metadata, rooms: &[Room]) -> Vec<Finding> {
    let plain: BTreeMap<&str, &Room> = rooms
        .iter()
        .filter(|room| room.floor.as_deref().is_some_and(|floor| PLAIN.contains(&floor)))
        .map(|room| (room.name.as_str(), room))
        .collect();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(room) = plain.get(package.name.as_str()) else {
            continue;
        };
        for path in runtime_paths(metadata, &package.id) {
            findings.push(Finding::new(
                &room.manifest,
                format!("`{}` reaches a runtime: {path}", room.name),
                "nouns, wire and decide are plain Rust: let the caller do the waiting",
            ));
        }
    }
    findings
}

/// The shortest path to each runtime that a package reaches.
fn runtime_paths(metadata: &Metadata, from: &PackageId) -> Vec<String> {
    let Some(resolve) = &metadata.resolve else {
        return Vec::new();
    };
    let edges: BTreeMap<&PackageId, &[PackageId]> =
        resolve.nodes.iter().map(|node| (&node.id, &node.dependencies[..])).collect();
    let name = |id: &PackageId| metadata[id].name.to_string();
    let mut paths = Vec::new();
    let mut seen = BTreeSet::from([from]);
    let mut next = VecDeque::from([(from, name(from))]);
    while let Some((package, path)) = next.pop_front() {
        for dependency in edges.get(package).copied().unwrap_or_default() {
            if !seen.insert(dependency) {
                continue;
            }
            let path = format!("{path} -> {}", name(dependency));
            if RUNTIMES.contains(&name(dependency).as_str()) {
                paths.push(path);
            } else {
                next.push_back((dependency, path));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::{FLOORS, Room, imports, toml};

    /// `floor/name: import import`, one room a line; `-` is outside the house.
    fn rooms(script: &str) -> Vec<Room> {
        let line = |line: &str| {
            let (place, imports) = line.split_once(':')?;
            let (floor, name) = place.trim().split_once('/')?;
            Some(Room {
                name: name.to_owned(),
                floor: (floor != "-").then(|| floor.to_owned()),
                manifest: format!("{name}/Cargo.toml"),
                imports: imports.split_whitespace().map(str::to_owned).collect(),
            })
        };
        script.lines().filter_map(line).collect()
    }

    fn check(script: &str, expected: &[&str]) {
        let rooms = rooms(script);
        let found: Vec<String> =
            imports(&rooms).into_iter().chain(toml(&rooms)).map(|finding| finding.what).collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn imports_go_down_only() {
        check(
            "nouns/model: serde\nwire/codec: model\ndecide/pick: model\nplatform/net: model tokio\n\
             edge/settings: model pick net toml-span\nrun/door: model codec pick net\n\
             app/tide: model codec pick net settings door\n-/xtask: tide model",
            &[],
        );
        check(
            "nouns/model: pick\ndecide/pick: model",
            &["`model` (nouns) imports `pick` (decide)"],
        );
        check("decide/pick: codec\nwire/codec:", &["`pick` (decide) imports `codec` (wire)"]);
        check("edge/settings: codec\nwire/codec:", &["`settings` (edge) imports `codec` (wire)"]);
        check("run/door: settings\nedge/settings:", &["`door` (run) imports `settings` (edge)"]);
        check("run/door: drill\nrun/drill:", &["`door` (run) imports `drill` (run)"]);
        check("app/tide: xtask\n-/xtask:", &["`tide` (app) imports `xtask` (outside the floors)"]);
    }

    #[test]
    fn only_settings_knows_toml() {
        check("edge/settings: toml-span\nrun/door: toml", &["`door` depends on `toml`"]);
        check("-/xtask: toml_edit", &["`xtask` depends on `toml_edit`"]);
    }

    #[test]
    fn no_floor_may_import_itself_or_one_above() {
        for (index, (floor, allowed)) in FLOORS.iter().enumerate() {
            for target in *allowed {
                let below = FLOORS.iter().position(|(name, _)| name == target);
                assert!(below.is_some_and(|below| below < index), "{floor} imports {target}");
            }
        }
    }
}
