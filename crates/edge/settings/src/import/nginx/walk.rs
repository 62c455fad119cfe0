//! Goes through the contexts of a configuration: main, `http`, `server`, and what is not ours.
//!
//! Each level is gathered before what is in it is looked at, since nginx does not care for the
//! order of what it inherits. A file without `http`, as lie in `conf.d`, is read as if it stood
//! in one.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::known::{Known, foreign_module, known};
use super::level::Level;
use super::server::servers;
use super::site::Site;
use super::stream::stream;
use super::tree::{Node, unknown};
use super::upstream::{Upstreams, upstreams};
use crate::finding::Finding;
use crate::import::Place;

/// Where directives stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Main,
    Http,
    Server,
    Location,
    Upstream,
}

/// Directives that have a block, by where they may stand.
const BLOCKS: &[(&str, &[Inside])] = &[
    ("http", &[Inside::Main]),
    ("events", &[Inside::Main]),
    ("stream", &[Inside::Main]),
    ("mail", &[Inside::Main]),
    ("server", &[Inside::Http]),
    ("upstream", &[Inside::Http]),
    ("location", &[Inside::Server, Inside::Location]),
    ("if", &[Inside::Server, Inside::Location]),
    ("limit_except", &[Inside::Location]),
    ("types", &[Inside::Http, Inside::Server, Inside::Location]),
    ("map", &[Inside::Http]),
    ("geo", &[Inside::Http]),
    ("split_clients", &[Inside::Http]),
    ("charset_map", &[Inside::Http]),
    ("match", &[Inside::Http]),
];

/// Reads a whole tree. `users`: what is known of each file of users.
pub(super) fn walk(tree: &[Node], users: BTreeMap<String, Result<(), String>>) -> Site {
    let mut site = Site::default();
    site.users = users;
    let has = |name: &str| tree.iter().any(|node| node.name == name && node.block.is_some());
    let is_part = ["server", "upstream", "location", "map", "geo", "split_clients", "types"];
    if has("http") || !is_part.into_iter().any(has) {
        main(tree, &mut site);
    } else {
        http(tree, None, &mut site);
    }
    site.sweep(tree);
    site
}

fn main(tree: &[Node], site: &mut Site) {
    let level = level(tree, None, Inside::Main, site);
    if let Some(node) = level.one("worker_processes") {
        workers(node, site);
    }
    for node in tree.iter().filter(|node| node.block.is_some()) {
        if site.knows(node) {
            continue;
        }
        match node.name.as_str() {
            "http" => {
                site.mapped(node);
                http(node.children(), Some(&level), site);
            }
            "events" => site.ignore_all(node, "the door's workers wait for events by themselves"),
            "stream" => {
                site.mapped(node);
                stream(node.children(), &level, site);
            }
            "mail" => site.refuse_all(node, "the door proxies HTTP, not mail"),
            _ => site.refuse_all(node, "it belongs into another context"),
        }
    }
}

fn workers(node: &Node, site: &mut Site) {
    match node.arg(0).parse::<u64>() {
        Ok(count) if (1..=256).contains(&count) => {
            site.workers = Some((count, node.place.clone()));
            site.mapped(node);
        }
        Ok(_) => site.refused(node, "the door has 1 to 256 workers"),
        Err(_) => site.ignored(node, "one worker per processor is the door's own default"),
    }
}

fn http<'t>(nodes: &'t [Node], around: Option<&Rc<Level<'t>>>, site: &mut Site) {
    let level = level(nodes, around, Inside::Http, site);
    let upstreams: Upstreams<'t> = upstreams(nodes, site);
    for node in nodes.iter().filter(|node| node.is_data) {
        if !site.knows(node) {
            data(node, site);
        }
    }
    // Locations without a server, as lie in folders for snippets, are judged as one server's.
    let is_snippet = nodes.iter().any(|node| node.name == "location" && node.block.is_some());
    let servers_given: Vec<&Node> = if is_snippet {
        Vec::new()
    } else {
        nodes.iter().filter(|node| node.name == "server" && !site.knows(node)).collect()
    };
    servers(&servers_given, is_snippet.then_some(nodes), (&level, &upstreams), site);
}

/// Maps, geo tables and types: the door has none, but their expressions are judged.
fn data(node: &Node, site: &mut Site) {
    for entry in node.children().iter().filter(|_| node.name == "map") {
        if let Some(expression) = entry.name.strip_prefix("~*").or(entry.name.strip_prefix('~')) {
            site.expression(expression, &entry.place);
        }
    }
    let reason = match node.name.as_str() {
        "types" => "the door serves no files, so it needs no types for them",
        "map" if node.arg(0) == "$http_upgrade" => "the door passes upgrades on by itself",
        _ => {
            "the door has no variables; where this one is needed, the directive that uses it \
              is refused"
        }
    };
    site.ignore_all(node, reason);
}

/// Gathers the plain directives of a block, and says of each what is sure already. Blocks that
/// belong here are left to the caller.
pub(super) fn level<'t>(
    nodes: &'t [Node],
    around: Option<&Rc<Level<'t>>>,
    inside: Inside,
    site: &mut Site,
) -> Rc<Level<'t>> {
    let mut level = Level::within(around);
    for node in nodes {
        let block = BLOCKS.iter().find(|(name, _)| *name == node.name);
        let is_server_of_upstream = inside == Inside::Upstream && node.name == "server";
        match (block.filter(|_| !is_server_of_upstream), known(&node.name)) {
            (Some((_, places)), _) => structure(node, places.contains(&inside), inside, site),
            (None, Some(_)) if node.block.is_some() => {
                let message = format!("directive `{}` is not terminated by \";\"", node.name);
                shape(&node.place, message, site);
                site.refuse_all(node, "nginx itself refuses it: it has no block");
            }
            (None, Some(Known::Code)) if node.name == "include" => site.mapped(node),
            (None, Some(Known::Code)) => {
                level.add(node);
                site.waiting(node);
                passing(node, site);
            }
            (None, Some(Known::Refused(reason))) => {
                level.add(node);
                site.refused(node, reason);
            }
            (None, Some(Known::Ignored(reason))) => {
                level.add(node);
                site.ignored(node, reason);
            }
            (None, None) => stranger(node, site),
        }
    }
    Rc::new(level)
}

/// What concerns the request that goes to a server, wherever it stands.
fn passing(node: &Node, site: &mut Site) {
    match (node.name.as_str(), node.arg(0)) {
        ("proxy_http_version" | "merge_slashes" | "real_ip_recursive", _) => site.mapped(node),
        ("proxy_redirect", "off") => site.mapped(node),
        ("proxy_redirect", _) => {
            site.ignored(node, "the door leaves the servers' redirects as they are")
        }
        _ => {}
    }
}

fn structure(node: &Node, belongs: bool, inside: Inside, site: &mut Site) {
    if node.block.is_none() {
        let message = format!("directive `{}` has no opening \"{{\"", node.name);
        shape(&node.place, message, site);
        site.refused(node, "nginx itself refuses it: its block is missing");
    } else if !(belongs || (inside == Inside::Http && node.name == "location")) {
        site.refuse_all(node, "nginx does not take it here: it belongs into another block");
    }
}

fn shape(place: &Place, message: String, site: &mut Site) {
    let finding = Finding::error("syntax", 0..0, message).label("nginx refuses this");
    site.finding(place, finding);
}

fn stranger(node: &Node, site: &mut Site) {
    match foreign_module(&node.name) {
        Some(module) => site.refuse_all(node, &format!("it is of {module}, not of nginx")),
        None => site.refuse_all(node, &unknown(&node.name)),
    }
}
