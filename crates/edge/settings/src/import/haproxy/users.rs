//! `userlist` sections: names and passwords that `http-request auth` asks for.
//!
//! The door keeps hashes only. A user whose password it does not know how to check is refused, and
//! the others of his list are taken over: he cannot come in, and nobody else can in his place.

use std::collections::BTreeMap;

use super::super::Place;
use super::super::passwords::{ANEW, unknown};
use super::super::writer::Value;
use super::account::Account;
use super::acl::Acls;
use super::items::{Item, Line};
use super::section::Section;

/// Users of one list, at most.
const USERS_MAX: usize = 1_000;

/// Users that the door can ask for, with the lines that they come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Userlist {
    users: BTreeMap<String, (String, Place)>,
    items: Vec<Item>,
}

impl PartialEq for Userlist {
    /// Whether the same users come in by the same passwords.
    fn eq(&self, other: &Self) -> bool {
        let hashes = |list: &Self| -> Vec<(String, String)> {
            list.users.iter().map(|(name, (hash, _))| (name.clone(), hash.clone())).collect()
        };
        hashes(self) == hashes(other)
    }
}

impl Eq for Userlist {}

impl Userlist {
    /// `{ users = { ... }, realm = "..." }`.
    pub(super) fn value(&self, realm: &str) -> Value {
        let users = self
            .users
            .iter()
            .map(|(name, (hash, place))| (name.clone(), Value::text(hash.clone()).at(place)));
        let mut entries = vec![("users".to_owned(), Value::Table(users.collect()).here())];
        if !realm.is_empty() {
            entries.push(("realm".to_owned(), Value::text(realm).here()));
        }
        Value::Table(entries)
    }
}

/// The lists by name.
pub(super) type Userlists = BTreeMap<String, Userlist>;

/// Reads every `userlist`; those that no rule asks for are settled at the end.
pub(super) fn userlists(sections: &[Section], account: &mut Account) -> Userlists {
    let mut lists = Userlists::new();
    for section in sections.iter().filter(|section| section.head.text(0) == "userlist") {
        let mut list = Userlist { users: BTreeMap::new(), items: vec![section.head.item] };
        for line in &section.lines {
            match user(line) {
                Some(Ok((name, hash))) if list.users.len() < USERS_MAX => {
                    list.users.insert(name, (hash, line.place()));
                    list.items.push(line.item);
                }
                Some(Ok(_)) => account.items.refused(line.item, "a list has 1000 users at most"),
                Some(Err(reason)) => account.items.refused(line.item, reason),
                None => {
                    account.items.ignored(line.item, "rules of the door ask for users, not groups");
                }
            }
        }
        lists.insert(section.name.clone(), list);
    }
    lists
}

/// `user NAME password HASH`; `None` for a line that is about groups.
fn user(line: &Line) -> Option<Result<(String, String), String>> {
    if line.text(0) != "user" {
        return None;
    }
    if let Some(name) = line.variable(1) {
        return Some(Err(format!("the environment variable `{name}` is not known here")));
    }
    let (name, hash) = (line.text(1), line.text(3));
    Some(match line.text(2) {
        "password" if name.is_empty() || name.contains(':') => Err("this is no name".to_owned()),
        "password" => match unknown(hash) {
            None => Ok((name.to_owned(), hash.to_owned())),
            Some(kind) => {
                Err(format!("the password is kept {kind}: {ANEW}, and give what it writes"))
            }
        },
        _ => Err(format!(
            "the password stands there in clear, and the door keeps hashes only: {ANEW}, and write \
             `password` with what it writes"
        )),
    })
}

/// The one list that a condition asks for by `http_auth`, in its words or in those of its ACLs.
pub(super) fn list_of(
    words: &[&str],
    acls: &[&Line],
    lists: &Userlists,
) -> Result<Userlist, String> {
    let of_acls = acls
        .iter()
        .filter(|line| words.iter().any(|word| word.trim_start_matches('!') == line.text(1)));
    let all = of_acls.flat_map(|line| line.texts(2)).chain(words.iter().copied());
    let names = all.filter_map(|word| {
        let name = word.trim_start_matches('!').strip_prefix("http_auth(")?;
        Some(name.strip_suffix(')').unwrap_or(name))
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let [name] = names.as_slice() else {
        return Err("the door asks for the users of one `userlist`".to_owned());
    };
    let list = lists.get(*name).ok_or_else(|| format!("there is no `userlist {name}`"))?;
    if list.users.is_empty() {
        return Err(format!("no user of `{name}` is taken over"));
    }
    Ok(list.clone())
}

/// The list is in the TOML.
pub(super) fn settle(list: &Userlist, account: &mut Account) {
    list.items.iter().for_each(|item| account.items.mapped(*item));
}

/// What is left of lists that no rule asks for.
pub(super) fn settle_rest(lists: &Userlists, account: &mut Account) {
    for item in lists.values().flat_map(|list| &list.items) {
        if !account.items.is_settled(*item) {
            account.items.ignored(*item, "no rule that is taken over asks for it");
        }
    }
}

/// The ACLs of a proxy as they are for somebody who has shown who he is, or has not.
pub(super) fn acls_of(lines: &[&Line], acls: &Acls, is_known: bool) -> Acls {
    let facts = super::acl::Facts { is_known: Some(is_known), ..acls.facts() };
    Acls::read(lines.iter().copied(), facts)
}
