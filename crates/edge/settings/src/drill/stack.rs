//! Reads `[stack]` and `[servers.NAME]`: what stands behind the door.

use model::Name;
use model::drill::{Database, SERVERS_MAX, Stack};
use model::sample::SampleSettings;

use super::behaviour::behaviour;
use super::scope::Scope;
use crate::finding::quote;
use crate::reader::{Table, Value};

/// The names of servers that are given by their number.
const NAMES: &str = "abcdefghijklmnopqrstuvwxyz";

/// `[stack]`, before the servers' own settings are known.
#[derive(Debug)]
pub(super) struct Ground {
    /// `None`: could not be read.
    pub(super) names: Option<Vec<Name>>,
    base: SampleSettings,
    database: Option<Database>,
    pub(super) has_database: bool,
}

/// Reads `[stack]`.
pub(super) fn ground(root: &mut Table<'_>) -> Ground {
    let value = root.required("stack", "stack = { servers = 3 }");
    let Some(mut table) = value.and_then(|value| value.table("a table")) else {
        let base = SampleSettings::default();
        return Ground { names: None, base, database: None, has_database: true };
    };
    let names = table.required("servers", "servers = 3").and_then(|value| names_of(&value));
    let mut base = SampleSettings::default();
    if let Some(mut server) = table.get("server").and_then(|value| value.table("a table")) {
        base = behaviour(&mut server, &base);
        server.finish();
    }
    let has_database = table.has("database");
    let database = table.get("database").and_then(|value| database(&value));
    table.finish();
    Ground { names, base, database, has_database }
}

fn names_of(value: &Value<'_>) -> Option<Vec<Name>> {
    if value.is_integer() {
        let count = value.number(&(1..=NAMES.len()))?;
        return Some(NAMES.chars().take(count).map(|name| Name::from(name.to_string())).collect());
    }
    let Some(array) = value.as_array() else {
        value.wrong_type("a number of servers or an array of names");
        return None;
    };
    if !(1..=SERVERS_MAX).contains(&array.len()) {
        let message = format!("a stack has 1 to {SERVERS_MAX} servers");
        value.invalid("out-of-range", message, "write `servers = 3` or `servers = [\"a\", \"b\"]`");
        return None;
    }
    let mut names = Vec::new();
    for element in &array {
        let name = element.word()?;
        if names.contains(&name) {
            let message = format!("server {} is listed twice", quote(&name));
            element.invalid("duplicate-name", message, "give each server its own name");
            return None;
        }
        names.push(name);
    }
    Some(names)
}

fn database(value: &Value<'_>) -> Option<Database> {
    let mut table = value.table("a table")?;
    let database = Database {
        connections_max: table.number("connections", 100, 10..=1_000),
        rows: table.number("rows", 10_000, 0..=1_000_000),
    };
    table.finish();
    Some(database)
}

/// The whole stack: the common settings, and over them each server's own of `[servers.NAME]`.
pub(super) fn stack(root: &mut Table<'_>, ground: Ground, scope: &Scope) -> Option<Stack> {
    let mut own = Vec::new();
    for (_, value) in root.named("servers") {
        let name = scope.server_key(&value);
        let Some(mut table) = value.table("a table") else { continue };
        let settings = behaviour(&mut table, &ground.base);
        table.finish();
        own.extend(name.map(|name| (name, settings)));
    }
    let named = |name: &Name| {
        let own = own.iter().find(|(other, _)| other == name);
        let settings = own.map_or(&ground.base, |(_, settings)| settings).clone();
        SampleSettings { name: name.as_ref().to_owned(), ..settings }
    };
    let servers: Vec<SampleSettings> = ground.names?.iter().map(named).collect();
    if let (Some(value), false) = (root.get("stack"), scope.has_database)
        && servers.iter().any(|server| server.routes.iter().any(|route| route.queries > 0))
    {
        scope.needs_database(&value.named("queries"));
    }
    Some(Stack { servers, database: ground.database })
}
