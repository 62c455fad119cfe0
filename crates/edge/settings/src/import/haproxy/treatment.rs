//! What is done to requests and answers on their way: header rules, compression, passwords.
//!
//! HAProxy carries such rules out one by one as it comes to them; a route of this door has tables
//! for all that hold for its requests. What a later rule asks of a header that an earlier one has
//! changed the door asks of the header as it came, so such changes are refused.
//! Invariant: two routes whose treatments are alike do the same.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Place;
use super::super::fields::{Fields, Side};
use super::super::writer::{Placed, Value};
use super::condition::{Cell, Host};
use super::items::Item;
use super::replace::Rewrite;
use super::routes::{Rule, Then, TooMany};
use super::users::Userlist;

/// Said where a rule changes what a later one asks for.
const ASKED_LATER: &str = "a later rule asks for this header as it is then; the door's routes look at \
                           it as it came";

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Treat {
    /// A header is changed.
    Header {
        /// When.
        phase: Phase,
        /// Whether a back end says so.
        is_back: bool,
        /// How.
        change: Change,
        /// Its name, in lower case.
        name: String,
        /// Where that is said.
        place: Place,
    },
    /// Answers are compressed.
    Compress(Compress),
    /// Users are asked for their passwords.
    Ask {
        /// The users.
        users: Userlist,
        /// What browsers show.
        realm: String,
        /// Where that is said.
        place: Place,
    },
    /// The path goes to servers as another.
    Path(Rewrite),
}

/// Which messages a header is changed in, in the order in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests to servers.
    Request,
    /// Answers of servers.
    Response,
    /// All answers.
    After,
}

/// How a header is changed; values have this door's variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is removed.
    Remove,
    /// It replaces all of its name.
    Set(String),
    /// It stands beside others.
    Add(String),
}

/// How answers are compressed.
#[derive(Clone, Debug)]
pub(super) struct Compress {
    /// The smallest body, in bytes.
    pub(super) bytes_min: u64,
    /// The media types.
    pub(super) types: BTreeSet<String>,
    /// Where that is said.
    pub(super) place: Place,
}

impl PartialEq for Compress {
    fn eq(&self, other: &Self) -> bool {
        (self.bytes_min, &self.types) == (other.bytes_min, &other.types)
    }
}

impl Eq for Compress {}

/// What is done to the requests of a route, and to their answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Treatment {
    request: Fields,
    response: Fields,
    compress: Option<Compress>,
    ask: Option<(Userlist, String, At)>,
}

/// A place that makes no difference.
#[derive(Clone, Debug)]
struct At(Place);

impl PartialEq for At {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// Why rules were left out, by the line.
pub(super) type Failures = BTreeMap<Item, String>;

impl Treatment {
    /// Nothing is done.
    pub(super) fn none() -> Self {
        let (request, response) = (Fields::of(Side::Request), Fields::of(Side::Response));
        Self { request, response, compress: None, ask: None }
    }

    /// What `treats` come to, in the order of the rules. `is_passed`: whether the request goes to
    /// servers; of what HAProxy answers by itself it changes little.
    pub(super) fn of(treats: &[(&Treat, Item)], is_passed: bool, failures: &mut Failures) -> Self {
        let mut treatment = Self::none();
        let mut headers = Vec::new();
        for (treat, item) in treats {
            match treat {
                Treat::Header { phase, is_back, change, name, place } => {
                    // Answers pass the back end first.
                    let late = *phase != Phase::Request && !*is_back;
                    headers.push(((*phase, late), change, name.as_str(), place, *item));
                }
                Treat::Compress(compress) if is_passed => {
                    treatment.compress = Some(compress.clone());
                }
                Treat::Compress(_) | Treat::Path(_) => {}
                Treat::Ask { users, realm, place } => {
                    treatment.ask = Some((users.clone(), realm.clone(), At(place.clone())));
                }
            }
        }
        headers.sort_by_key(|(order, ..)| *order);
        for ((phase, _), change, name, place, item) in headers {
            if !is_passed && phase != Phase::After {
                continue;
            }
            if let Err(reason) = treatment.header(phase, change, (name, place)) {
                failures.insert(item, reason);
            }
        }
        treatment
    }

    fn header(
        &mut self,
        phase: Phase,
        change: &Change,
        (name, place): (&str, &Place),
    ) -> Result<(), String> {
        let fields = if phase == Phase::Request { &mut self.request } else { &mut self.response };
        if let Change::Set(value) | Change::Add(value) = change
            && phase == Phase::Request
            && headers_in(value).any(|name| fields.has(name))
        {
            return Err("a rule before it changes the header that it reads".to_owned());
        }
        match change {
            Change::Remove => fields.remove(name, place),
            Change::Set(value) => fields.set(name, value, place),
            Change::Add(value) => fields.add(name, value, place),
        }
    }

    /// The keys of its route.
    pub(super) fn keys(&self) -> Vec<(&'static str, Value, Place)> {
        let mut keys = Vec::new();
        if let Some((users, realm, At(place))) = &self.ask {
            keys.push(("basic_auth", users.value(realm), place.clone()));
        }
        for (key, fields) in
            [("request_headers", &self.request), ("response_headers", &self.response)]
        {
            if let (Some(value), Some(place)) = (fields.value(false), fields.place()) {
                keys.push((key, value, place.clone()));
            }
        }
        if let Some(Compress { bytes_min, types, place }) = &self.compress {
            let codings = vec![Value::text("gzip").here()];
            let types = types.iter().map(|kind| Value::text(kind.clone()).here()).collect();
            let entries: Vec<(String, Placed)> = vec![
                ("codings".to_owned(), Value::Array(codings).here()),
                // Without `tune.comp.maxlevel` HAProxy compresses as fast as it can.
                ("level".to_owned(), Value::Integer(1).here()),
                ("min".to_owned(), Value::bytes(*bytes_min).here()),
                ("types".to_owned(), Value::Array(types).here()),
            ];
            keys.push(("compress", Value::Table(entries), place.clone()));
        }
        keys
    }
}

/// Whether what is done reads the path, as it is then.
pub(super) fn reads_path(treat: &Treat) -> bool {
    let Treat::Header { phase: Phase::Request, change, .. } = treat else { return false };
    let (Change::Set(value) | Change::Add(value)) = change else { return false };
    ["{path}", "{target}"].iter().any(|variable| value.contains(variable))
}

/// The names of the headers that a value reads.
fn headers_in(value: &str) -> impl Iterator<Item = &str> {
    let parts = value.split("{header:").skip(1);
    parts.filter_map(|part| part.split('}').next())
}

/// The lines that change a header of requests which a later rule asks for.
pub(super) fn asked_later(rules: &[Rule], rest: &mut usize) -> Result<Failures, TooMany> {
    let mut failures = Failures::new();
    judge(rules, &mut BTreeSet::new(), (rest, &mut failures)).ok_or(TooMany)?;
    Ok(failures)
}

/// Adds to `asked` what these rules ask for, from the last to the first.
fn judge(
    rules: &[Rule],
    asked: &mut BTreeSet<String>,
    (rest, failures): (&mut usize, &mut Failures),
) -> Option<()> {
    for rule in rules.iter().rev() {
        match &rule.then {
            Then::Treat(Treat::Header { phase: Phase::Request, name, .. })
                if asked.contains(name) =>
            {
                failures.insert(rule.item, ASKED_LATER.to_owned());
            }
            Then::Treat(_) | Then::Act(_) => {}
            Then::Rules(inner) => {
                let mut behind = BTreeSet::new();
                judge(inner, &mut behind, (rest, failures))?;
                asked.extend(behind);
            }
        }
        let mut cells: BTreeSet<Cell> = BTreeSet::new();
        rule.when.cells(&mut cells, rest)?;
        for cell in cells {
            if cell.host != Host::Any {
                asked.insert("host".to_owned());
            }
            asked.extend(cell.headers.into_keys());
        }
    }
    Some(())
}

/// The rules without those that are done to some requests only, and the lines of these: for when
/// they are too many to be told apart by routes.
pub(super) fn unconditional(rules: &[Rule], lost: &mut BTreeSet<Item>) -> Vec<Rule> {
    let mut kept = Vec::new();
    for rule in rules {
        let is_always = rule.when == super::condition::Expression::Constant(true);
        match &rule.then {
            Then::Treat(Treat::Header { .. }) if !is_always => {
                lost.insert(rule.item);
            }
            Then::Rules(inner) => {
                let then = Then::Rules(std::rc::Rc::new(unconditional(inner, lost)));
                kept.push(Rule { then, ..rule.clone() });
            }
            Then::Treat(_) | Then::Act(_) => kept.push(rule.clone()),
        }
    }
    kept
}
