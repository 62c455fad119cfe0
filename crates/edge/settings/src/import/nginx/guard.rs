//! Who may enter a location: what the door can check it checks, the rest it keeps closed.
//!
//! A site must not become open by being imported, so a location that nginx guards by addresses,
//! by tokens, or in a way that the door does not know, is answered 403.

use std::collections::BTreeSet;

use super::action::{Action, Context};
use super::level::Level;
use super::location::{Location, Locations};
use super::site::{Keys, inline};
use super::target::variables;
use super::tree::Node;
use crate::import::Place;
use crate::import::passwords::is_realm;
use crate::import::writer::Value;

/// What lets requests into a location.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// The keys of the route that say so.
    pub(super) keys: Keys,
    /// Whether the door knows who the user is.
    pub(super) has_user: bool,
    /// Names of headers that whoever lets a request in writes for the server.
    pub(super) copied: BTreeSet<String>,
}

/// Whether an `if` lets in only who shows something, such as a certificate or a header: it guards
/// what it stands in, and the door cannot ask that.
pub(super) fn closes(node: &Node) -> bool {
    const OF_CLIENT: [&str; 6] =
        ["ssl_client_", "cookie_", "arg_", "http_", "remote_user", "remote_addr"];
    const OF_PROGRAM: [&str; 4] = ["http_host", "http_user_agent", "http_referer", "http_upgrade"];
    let denies =
        |inner: &Node| inner.name == "return" && ["401", "403", "444"].contains(&inner.arg(0));
    let words: Vec<&str> = node.texts().collect();
    let joined = words.join(" ");
    let inner = joined.trim_start_matches('(').trim_end_matches(')').trim();
    let Some(variable) = inner.strip_prefix('$') else { return false };
    let end = variable.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (name, asked) =
        variable.split_at_checked(end.unwrap_or(variable.len())).unwrap_or_default();
    let is_of_client = OF_CLIENT.iter().any(|start| name.starts_with(start));
    let asked = asked.trim();
    let is_shown = asked.starts_with('!') || asked == "=";
    node.children().iter().any(denies) && is_of_client && !OF_PROGRAM.contains(&name) && is_shown
}

impl<'t> Context<'_, 't> {
    /// How the door asks who may enter; or the answer of a location that is closed.
    pub(super) fn guard(
        &mut self,
        location: &Location<'t>,
        locations: &Locations<'t>,
    ) -> Result<Guard, Box<Action>> {
        let (level, place) = (&location.level, &location.node.place);
        if let Some(node) = level.own("internal").first() {
            self.site.mapped(node);
            let action = Action::status(404, place);
            return Err(Box::new(action.note("only nginx itself asks for this location")));
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
            return Err(Box::new(action));
        }
        let checks = ["auth_basic", "auth_request", "auth_jwt"];
        let checks = checks.iter().filter_map(|name| level.one(name));
        let (off, checks): (Vec<&Node>, Vec<&Node>) = checks.partition(|node| node.arg(0) == "off");
        off.into_iter().for_each(|node| self.site.settle(node, Ok(())));
        // Of a location without a name it is known for which methods it is closed.
        let is_named = locations.named.values().any(|named| named.node.place == *place);
        let except = location.node.children().iter().find(|node| node.name == "limit_except");
        let except = except.filter(|_| is_named);
        let verify = level.one("ssl_verify_client").filter(|node| node.arg(0) == "on");
        let verify = verify.filter(|node| !self.site.is_mapped(node));
        let children = location.node.children().iter();
        let conditions = children.filter(|node| node.name == "if" && closes(node));
        let others = except.into_iter().chain(verify).chain(conditions);
        let (guard, reason) = match (checks.as_slice(), others.map(|node| &node.name).next()) {
            (_, Some(name)) => (None, format!("`{name}` guards this too")),
            ([], None) => return Ok(Guard::default()),
            ([check], None) => match self.asked(check, level, locations) {
                Ok(guard) => (Some(guard), String::new()),
                Err(reason) => (None, reason),
            },
            (_, None) => (None, "a route of the door asks in one way".to_owned()),
        };
        if let Some(guard) = guard {
            return Ok(guard);
        }
        for node in checks.iter().copied().chain(verify) {
            self.site.settle(node, Err(format!("{reason}; the door answers 403 here")));
        }
        let name = checks.first().or(verify.as_ref()).map(|node| node.name.as_str());
        let name = name.unwrap_or("limit_except");
        let note = format!("`{name}` guards this, and the door cannot: closed");
        Err(Box::new(Action::status(403, place).note(note)))
    }

    /// How the door asks as `check` does.
    fn asked(
        &mut self,
        check: &'t Node,
        level: &Level<'t>,
        locations: &Locations<'t>,
    ) -> Result<Guard, String> {
        let guard = match check.name.as_str() {
            "auth_basic" => self.passwords(check, level)?,
            "auth_request" => self.subrequest(check, level, locations)?,
            _ => self.tokens(check, level)?,
        };
        self.site.settle(check, Ok(()));
        for node in level.all("error_page") {
            if node.texts().any(|text| ["401", "403"].contains(&text)) {
                let reason = "the door has no page of its own for those it does not let in: let the \
                              server that is asked redirect them";
                self.site.refused(node, reason);
            }
        }
        Ok(guard)
    }

    /// `auth_basic`, with the file of its users.
    fn passwords(&mut self, check: &Node, level: &Level<'t>) -> Result<Guard, String> {
        let realm = check.arg(0);
        if !variables(realm).is_empty() || !(realm.is_empty() || is_realm(realm)) {
            return Err("a realm of the door is a fixed text of visible ASCII".to_owned());
        }
        let file = level.one("auth_basic_user_file").ok_or("it names no file of users")?;
        let name = file.arg(0);
        let known = match self.site.users.get(name) {
            _ if !variables(name).is_empty() => {
                Err("the door reads users from a file that is named when it starts".to_owned())
            }
            Some(known) => known.clone(),
            None => Err("there are more files of users than the import looks at".to_owned()),
        };
        self.site.settle(file, known.clone());
        known.map_err(|_reason| "its users cannot be taken over".to_owned())?;
        let mut entries = vec![("users_file", Value::text(name).at(&file.place))];
        if !realm.is_empty() {
            entries.push(("realm", Value::text(realm).here()));
        }
        let keys = vec![("basic_auth", inline(entries), check.place.clone())];
        Ok(Guard { keys, has_user: true, copied: BTreeSet::new() })
    }

    /// `auth_jwt`, with the file of the keys that sign tokens.
    fn tokens(&mut self, check: &Node, level: &Level<'t>) -> Result<Guard, String> {
        if check.texts().skip(1).any(|text| text.starts_with("token=")) {
            return Err("the door takes tokens from `Authorization`".to_owned());
        }
        if level.one("auth_jwt_type").is_some_and(|node| node.arg(0) != "signed") {
            return Err("the door's tokens are signed, not encrypted".to_owned());
        }
        for name in ["auth_jwt_require", "auth_jwt_key_request"] {
            if !level.all(name).is_empty() {
                return Err(format!("`{name}` asks for more than the door does"));
            }
        }
        let [file] = level.all("auth_jwt_key_file") else {
            return Err("the door needs one file of keys".to_owned());
        };
        if !variables(file.arg(0)).is_empty() {
            return Err("the door reads keys from a file that is named when it starts".to_owned());
        }
        for node in [Some(*file), level.one("auth_jwt_type")].into_iter().flatten() {
            self.site.settle(node, Ok(()));
        }
        let mut entries = vec![("jwks_file", Value::text(file.arg(0)).at(&file.place))];
        let (mut claims, mut copied) = (Vec::new(), BTreeSet::new());
        for node in level.all("proxy_set_header") {
            let name = node.arg(0).to_ascii_lowercase();
            let claim = node.arg(1).strip_prefix("$jwt_claim_");
            if let Some(claim) = claim.filter(|_| copied.insert(name.clone())) {
                claims.push((name, Value::text(claim).at(&node.place)));
                self.site.settle(node, Ok(()));
            }
        }
        if !claims.is_empty() {
            entries.push(("headers", Value::Table(claims).here()));
        }
        let keys = vec![("jwt_auth", inline(entries), check.place.clone())];
        Ok(Guard { keys, has_user: false, copied })
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
