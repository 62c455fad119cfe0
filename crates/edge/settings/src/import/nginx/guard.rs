//! Who may enter a location: what the door cannot check it keeps closed.
//!
//! A site must not become open by being imported, so a location that nginx guards by addresses,
//! passwords, tokens or certificates is answered 403.

use super::action::{Action, Context};
use super::location::Location;
use super::tree::Node;
use crate::import::Place;

impl<'t> Context<'_, 't> {
    /// The answer of a location that not everyone may enter, or that nobody may ask for.
    pub(super) fn closed(&mut self, location: &Location<'t>) -> Option<Action> {
        let (level, place) = (&location.level, &location.node.place);
        if let Some(node) = level.own("internal").first() {
            self.site.mapped(node);
            return Some(
                Action::status(404, place).note("only nginx itself asks for this location"),
            );
        }
        let status = level.own("stub_status").first().copied();
        let lists = level.access();
        let denies = lists.iter().any(|node| node.name == "deny");
        if let Some(node) = status {
            self.site.refused(node, "the door has its own status: `[admin]`");
            if !denies && level.one("auth_basic").is_none_or(|node| node.arg(0) == "off") {
                let message = "the status page is open to everyone".to_owned();
                self.site.rule("admin-exposed", &node.place, message, "no `deny` stands beside it");
            }
        }
        if let Some(action) = self.lists(&lists, place) {
            return Some(action);
        }
        let checks =
            ["auth_basic", "auth_request", "auth_jwt"].iter().filter_map(|name| level.one(name));
        let checks: Vec<&Node> = checks.filter(|node| node.arg(0) != "off").collect();
        let verify = level.one("ssl_verify_client").filter(|node| node.arg(0) == "on");
        let except = location.node.children().iter().find(|node| node.name == "limit_except");
        let guards: Vec<&Node> = checks.into_iter().chain(verify).collect();
        for node in &guards {
            self.site.refused(node, "the door cannot check who may enter; it answers 403 here");
        }
        let name =
            guards.first().map(|node| node.name.as_str()).or(except.map(|_| "limit_except"))?;
        Some(
            Action::status(403, place)
                .note(format!("`{name}` guards this, and the door cannot: closed")),
        )
    }

    /// What lists of addresses come to: everyone, nobody, or what the door cannot tell.
    fn lists(&mut self, lists: &[&Node], place: &Place) -> Option<Action> {
        let first = lists.first()?;
        let is_all = |node: &Node| node.arg(0) == "all";
        let (allows, denies): (Vec<&Node>, Vec<&Node>) =
            lists.iter().copied().partition(|node| node.name == "allow");
        if is_all(first) {
            self.site.mapped(first);
            let rest = lists.iter().skip(1);
            rest.for_each(|node| self.site.ignored(node, "`all` before it decides"));
            let note = "nobody may enter";
            return (first.name == "deny").then(|| Action::status(403, place).note(note));
        }
        if denies.is_empty() {
            if !allows.iter().any(|node| is_all(node)) {
                let message = "addresses are allowed, and nobody is denied".to_owned();
                self.site.rule("allow-without-deny", &first.place, message, "no `deny` behind it");
            }
            allows
                .iter()
                .for_each(|node| self.site.ignored(node, "it restricts nothing without a `deny`"));
            return None;
        }
        lists.iter().for_each(|node| {
            self.site.refused(node, "the door has no lists of addresses; it answers 403 here");
        });
        Some(
            Action::status(403, place)
                .note("lists of addresses guard this, and the door has none: closed"),
        )
    }
}
