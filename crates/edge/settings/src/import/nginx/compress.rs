//! `gzip`, and the modules many add for `brotli` and `zstd`, as one `compress`.
//!
//! Each has settings of its own there; a route of this door has one level, one smallest size and
//! one list of types for all codings: those of the coding that clients get first.

use std::collections::BTreeSet;

use super::level::Level;
use super::site::{Keys, Site, inline};
use super::units::bytes;
use crate::import::writer::Value;

/// The modules, the most preferred first: prefix, name of the coding, level and smallest size that
/// it has without a word.
const MODULES: [(&str, &str, u64, u64); 3] =
    [("zstd", "zstd", 1, 20), ("brotli", "br", 6, 20), ("gzip", "gzip", 1, 20)];

/// Types that an asterisk stands for.
const ALL_TYPES: [&str; 6] = ["application/*", "audio/*", "font/*", "image/*", "text/*", "video/*"];

const ONE: &str = "a route of the door has one of it for all codings: that of the first";

/// Writes `compress` where a level that passes requests on asks for it.
pub(super) fn compression(level: &Level<'_>, (keys, site): (&mut Keys, &mut Site)) {
    let is_on = |module: &str| level.one(module).filter(|node| node.arg(0) == "on");
    let switches = MODULES.iter().filter_map(|(module, ..)| level.one(module)).collect::<Vec<_>>();
    switches.iter().for_each(|node| site.settle(node, Ok(())));
    for (module, ..) in MODULES.iter().filter(|(module, ..)| is_on(module).is_none()) {
        off(module, level, site);
    }
    let on: Vec<_> = MODULES.iter().filter(|(module, ..)| is_on(module).is_some()).collect();
    let Some((first, _, level_default, min_default)) = on.first() else { return };
    let Some(place) = is_on(first).map(|node| node.place.clone()) else { return };

    let codings = on.iter().map(|(_, coding, ..)| Value::text(*coding).here()).collect();
    let mut entries = vec![("codings", Value::Array(codings).here())];
    let number = |name: &str| level.one(&format!("{first}_{name}"));
    let given = number("comp_level").and_then(|node| node.arg(0).parse::<u64>().ok());
    let place_of = |name: &str| number(name).map_or(place.clone(), |node| node.place.clone());
    let strength = Value::Integer(given.unwrap_or(*level_default).clamp(1, 9));
    entries.push(("level", strength.at(&place_of("comp_level"))));
    let min = number("min_length").and_then(|node| bytes(node.arg(0))).unwrap_or(*min_default);
    entries.push(("min", Value::bytes(min).at(&place_of("min_length"))));
    let types = types(first, level).into_iter().map(|kind| Value::text(kind).here()).collect();
    entries.push(("types", Value::Array(types).at(&place_of("types"))));
    keys.push(("compress", inline(entries), place));
    for (module, ..) in &on {
        settings(module, module == first, level, site);
    }
}

/// The media types that are compressed; pages always are.
fn types(module: &str, level: &Level<'_>) -> BTreeSet<String> {
    let mut types = BTreeSet::from(["text/html".to_owned()]);
    for text in level.all(&format!("{module}_types")).iter().flat_map(|node| node.texts()) {
        if text == "*" {
            types.extend(ALL_TYPES.map(str::to_owned));
        } else if text
            .split_once('/')
            .is_some_and(|(a, b)| crate::pool::is_token(a) && crate::pool::is_token(b))
        {
            types.insert(text.to_ascii_lowercase());
        }
    }
    // The messages of calls are compressed by gRPC itself.
    types.retain(|kind| !kind.starts_with("application/grpc"));
    types
}

/// Says what became of the settings of a module that is on.
fn settings(module: &str, is_first: bool, level: &Level<'_>, site: &mut Site) {
    for name in ["comp_level", "min_length", "types"] {
        for node in level.all(&format!("{module}_{name}")) {
            if is_first {
                site.settle(node, Ok(()));
            } else {
                site.ignored(node, ONE);
            }
        }
    }
    for node in level.all(&format!("{module}_vary")) {
        if node.arg(0) == "on" {
            site.settle(node, Ok(()));
        } else {
            site.ignored(node, "the door always says `Vary`: caches give wrong answers without it");
        }
    }
    for node in level.all(&format!("{module}_proxied")) {
        if node.texts().any(|text| text == "any") {
            site.settle(node, Ok(()));
        } else {
            site.ignored(node, "the door compresses for proxies as for any client");
        }
    }
}

fn off(module: &str, level: &Level<'_>, site: &mut Site) {
    for name in ["comp_level", "min_length", "types", "vary", "proxied"] {
        for node in level.all(&format!("{module}_{name}")) {
            site.ignored(node, format!("`{module}` is off here"));
        }
    }
}
