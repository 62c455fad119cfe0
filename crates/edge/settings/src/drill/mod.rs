//! Reads drill files: a stack, a load, a timeline, what is expected; and files of a load alone.
//!
//! In the manner of the configuration: every mistake at once, with its place.
//! Invariant: a drill is made only when no finding is an error; then names resolve, ranges hold
//! and windows lie inside the drill.

mod behaviour;
mod change;
mod door;
mod event;
mod expect;
mod load;
mod raw;
mod request;
mod scope;
mod stack;

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use model::Name;
use model::drill::{DURATION_MAX, Drill};
use model::load::LoadPlan;
use toml::de::{DeTable, DeValue};

use crate::finding::{Finding, Findings, Severity};
use crate::reader::{Context, Table, Value};
use crate::{Environment, Source, TEXT_BYTES_MAX, reference, schema, syntax};
use scope::{Scope, line, prose};

pub use request::message_bytes;

/// What [`check_drill`] found out.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedDrill {
    /// The drill; `None` when any finding is an error.
    pub drill: Option<Drill>,
    /// All findings, sorted by place.
    pub findings: Vec<Finding>,
}

/// What [`load_plan`] found out.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedLoadPlan {
    /// The load; `None` when any finding is an error.
    pub plan: Option<LoadPlan>,
    /// All findings, sorted by place.
    pub findings: Vec<Finding>,
}

/// Checks the text of a drill: all its mistakes at once, or the drill it stands for, named after
/// the last part of [`Source::name`] without `.toml`.
#[must_use]
pub fn check_drill(source: &Source) -> CheckedDrill {
    let read = |root: &mut Table<'_>| drill(root, name(&source.name));
    let (drill, findings) = check(source, "the drill", read);
    CheckedDrill { drill, findings }
}

/// Checks a text of `[load.NAME]` tables alone: all its mistakes at once, or the load it stands for.
#[must_use]
pub fn load_plan(source: &Source) -> CheckedLoadPlan {
    let (plan, findings) = check(source, "the load", |root| load::load(root, None).1);
    CheckedLoadPlan { plan, findings }
}

/// The JSON Schema (draft 7) of a drill, with descriptions and defaults.
#[must_use]
pub fn drill_schema() -> serde_json::Value {
    let mut schema = schema::of::<raw::RawDrill>();
    // The model knows what a server does unless told otherwise; it is not written down twice.
    behaviour::add_defaults(&mut schema["properties"]["stack"]["properties"]["server"]);
    // Only what is expected can be out of reach.
    let symptom = &mut schema["properties"]["symptom"];
    let keys = symptom["items"]["properties"].as_object_mut();
    keys.and_then(|keys| keys.shift_remove("pending"));
    schema
}

/// The reference of drill files as Markdown: every key, type, default and description.
#[must_use]
pub fn drill_reference() -> String {
    reference::page(raw::INTRODUCTION, &drill_schema())
}

/// What a drill or load means depends on nothing outside its text, so that it means the same on
/// every machine.
const ANYWHERE: Environment = Environment {
    open_files_max: 0,
    processors: 1,
    user_is_root: false,
    uid: 0,
    runtime_dir: None,
    state_directory: None,
    state_home: None,
    now_unix_s: 0,
};

/// Reads a document; what `read` makes of it counts only without errors.
fn check<T>(
    source: &Source,
    name: &str,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> (Option<T>, Vec<Finding>) {
    let text = source.text.as_str();
    let findings = Findings::default();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("{name} is larger than 4 MiB");
        findings.add(Finding::error("too-large", 0..0, message));
        return (None, findings.finish(""));
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let (folder, files) = (&*source.folder, &RefCell::default());
    let context = Context { findings: &findings, folder, environment: &ANYWHERE, files };
    let root = DeValue::Table(document.into_inner());
    let made = Value::root(name, &root, context).table("a table").and_then(|mut root| {
        let made = read(&mut root);
        root.finish();
        made
    });
    let findings = syntax::join(&errors, findings.finish(text), text);
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    (made.filter(|_| !refused), findings)
}

/// The last part of a file's name without `.toml`, with what a name cannot hold replaced.
fn name(file: &str) -> Name {
    let stem = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix(".toml").unwrap_or(&stem);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = stem.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
    Name::from(if name.is_empty() { "drill".to_owned() } else { name })
}

fn drill(root: &mut Table<'_>, name: Name) -> Option<Drill> {
    let title = root.required("title", "title = \"A server is killed\"");
    let title = title.and_then(|value| line(&value, 120));
    let description = root.get("description").and_then(|value| prose(&value, 16_384));
    let duration = root.required("duration", "duration = \"20s\"");
    let duration =
        duration.and_then(|value| value.duration(&(Duration::from_secs(1)..=DURATION_MAX)));
    let ground = stack::ground(root);
    let mut scope = Scope {
        // With a duration that could not be read, no window is held against it.
        duration: duration.unwrap_or(DURATION_MAX),
        servers: ground.names.clone(),
        streams: None,
        has_database: ground.has_database,
    };
    let stack = stack::stack(root, ground, &scope);
    let mut table = root.sub("door");
    let door = door::door(&mut table, door::default_of(&scope), &scope);
    table.finish();
    let (streams, load) = load::load(root, Some(scope.duration));
    scope.streams = Some(streams).filter(|streams| !streams.is_empty());
    let events = event::events(root, (stack.as_ref(), &door), &scope);
    let symptoms = expect::expectations(root, "symptom", &scope);
    let expectations = expect::expectations(root, "expect", &scope);
    Some(Drill {
        name,
        title: title?,
        description: description.unwrap_or_default(),
        duration: duration?,
        stack: stack?,
        door,
        load: load?,
        events,
        symptoms,
        expectations,
    })
}
