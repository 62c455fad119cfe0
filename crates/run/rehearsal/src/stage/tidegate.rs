//! tidegate as the front door of a drill.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::drill::{DoorBalance, DoorSetup};
use model::fact::{ServerState, Snapshot};

use super::look::Seen;
use super::plan::{FALL, Plan, RISE, WORKERS};

/// Its configuration in the folder of the stage.
pub(super) const CONFIGURATION: &str = "tidegate.toml";

/// Its admin socket.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// The arguments that make `tidegate` serve.
pub(super) fn arguments(folder: &Path) -> Vec<String> {
    let configuration = folder.join(CONFIGURATION).display().to_string();
    ["--log", "warn", "run", "--config", &configuration].map(str::to_owned).into()
}

/// The whole configuration. With the guard off there are no checks, no second tries, no ejection
/// and no limits, no rule refuses anything, and no change is watched.
pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let setup = plan.setup;
    let servers: Vec<String> = plan
        .upstreams()
        .iter()
        .map(|up| format!("  {{ address = \"{}\", weight = {} }},\n", up.address, up.weight))
        .collect();
    let mut text = format!(
        "[door]\nworkers = {WORKERS}\ndrain = \"2s\"\nstate = {}\n\n\
         [listen.web]\naddress = \"{}\"\n\n\
         [admin]\nsocket = {}\n\n\
         [routes.web]\npath = \"/\"\npool = \"web\"\n\n\
         [pools.web]\nservers = [\n{}]\nbalance = {}\n\
         timeouts = {{ connect = \"{}ms\", first_byte = \"{}ms\" }}\n",
        quoted(&plan.path("state").display().to_string()),
        plan.listen,
        quoted(&socket(plan.folder).display().to_string()),
        servers.concat(),
        balance(&setup.balance),
        plan.connect_timeout_ms(),
        plan.timeout_ms(),
    );
    let protections = if plan.guard {
        let limit = setup.server_in_flight_max.unwrap_or(0);
        format!(
            "check = {{ path = {}, interval = \"{}ms\", timeout = \"{}ms\", fall = {FALL}, rise = {RISE} }}\n\
             retries = {{ attempts = {}, on_status = true }}\n\
             in_flight_max = {limit}\n{}",
            quoted(&setup.check_path),
            setup.check_interval.as_millis(),
            plan.check_timeout_ms(),
            setup.attempts,
            clients(setup),
        )
    } else {
        "retries = { attempts = 1 }\nejection = false\nslow_start = \"0s\"\nadaptive = false\n\n\
         [changes]\nwatch = \"0s\"\n"
            .to_owned()
    };
    write!(text, "{protections}").expect("a string takes text");
    for rule in allowed(plan) {
        write!(text, "\n[[allow]]\nrule = \"{rule}\"\nreason = {}\n", quoted(REASON))
            .expect("a string takes text");
    }
    text
}

/// Which client is which, and what each may send; what the servers bear, the door finds by itself.
fn clients(setup: &DoorSetup) -> String {
    let flow = setup.client_header.as_ref().map(|name| {
        format!("\n[admission]\nflow = {{ header = {} }}\n", quoted(&name.to_ascii_lowercase()))
    });
    let limit = setup
        .client_rate_per_second
        .map(|rate| format!("\n[limits.clients]\nby = \"client\"\nrate = \"{rate}/s\"\n"));
    flow.into_iter().chain(limit).collect()
}

/// Why a drill sets rules aside.
const REASON: &str = "this is what the drill is about";

/// The rules that this drill sets aside: with the guard on, only that there is one server, where
/// the stack has one or the drill begins so; with the guard off, those that protect against what
/// drills do.
fn allowed(plan: &Plan<'_>) -> Vec<&'static str> {
    const UNGUARDED: [&str; 4] =
        ["lopsided-distribution", "narrow-hash-key", "no-health-check", "one-active-server"];
    let single = plan.servers.len() == 1 || (plan.first && plan.upstreams().len() == 1);
    let single = (single || !plan.guard).then_some("single-server");
    let unguarded = UNGUARDED.into_iter().filter(|_| !plan.guard);
    single.into_iter().chain(unguarded).collect()
}

fn balance(balance: &DoorBalance) -> String {
    match balance {
        DoorBalance::Default => "\"p2c\"".to_owned(),
        DoorBalance::RoundRobin => "\"round-robin\"".to_owned(),
        DoorBalance::HashPath => "{ maglev = \"path\" }".to_owned(),
        DoorBalance::HashHeader(name) => {
            format!("{{ maglev = {{ header = {} }} }}", quoted(name))
        }
    }
}

/// Debug writes the escapes that TOML's basic strings share with Rust, for text in UTF-8.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// How the door sees the server at this address.
pub(super) fn seen(snapshot: &Snapshot, address: SocketAddr) -> Option<Seen> {
    let address = address.to_string();
    let mut servers = snapshot.pools.iter().flat_map(|pool| &pool.servers);
    let server = servers.find(|server| server.address == address)?;
    let (state, wrong) = match server.state {
        ServerState::Unknown => ("unknown", false),
        ServerState::Up => ("up", false),
        ServerState::SlowStart => ("slow start", false),
        ServerState::Ejected => ("ejected", true),
        ServerState::Down => ("down", true),
        ServerState::Draining => ("draining", false),
    };
    Some(Seen { state: state.to_owned(), wrong })
}

/// Whether the door has made up its mind about all its servers.
pub(super) fn has_looked(snapshot: &Snapshot) -> bool {
    let mut servers = snapshot.pools.iter().flat_map(|pool| &pool.servers);
    servers.all(|server| server.state != ServerState::Unknown)
}

#[cfg(test)]
mod tests {
    use model::Name;
    use model::fact::{PoolFacts, ServerFacts};

    use super::super::plan::tests::{check, planned, setup};
    use super::*;

    #[test]
    fn the_guard_is_checks_retries_ejection_and_limits() {
        let setup = DoorSetup { server_in_flight_max: Some(9), attempts: 3, ..setup() };
        check(
            &planned(&setup, true, configuration),
            &[
                "socket = \"/tmp/a \\\"quoted\\\" folder/admin.sock\"\n",
                "address = \"127.0.0.1:3001\", weight = 1 }",
                "address = \"127.0.0.1:3002\", weight = 3 }",
                "check = { path = \"/health\", interval = \"500ms\", timeout = \"500ms\", fall = 3, rise = 2 }\n",
                "retries = { attempts = 3, on_status = true }\n",
                "in_flight_max = 9\n",
                "first_byte = \"2000ms\"",
            ],
            &["127.0.0.1:3003", "ejection", "[[allow]]", "[changes]", "[limits", "[admission]"],
        );
        check(
            &planned(&setup, false, configuration),
            &[
                "retries = { attempts = 1 }\n",
                "ejection = false\n",
                "adaptive = false\n",
                "[changes]\nwatch = \"0s\"\n",
                "rule = \"single-server\"\n",
                "rule = \"no-health-check\"\n",
            ],
            &["check =", "in_flight_max", "on_status"],
        );
    }

    #[test]
    fn clients_are_told_apart_and_limited_as_the_drill_says() {
        let setup = DoorSetup {
            client_header: Some(Name::from("X-Api-Key")),
            client_rate_per_second: Some(50),
            ..setup()
        };
        let lines = [
            "\n[admission]\nflow = { header = \"x-api-key\" }\n",
            "\n[limits.clients]\nby = \"client\"\nrate = \"50/s\"\n",
        ];
        check(&planned(&setup, true, configuration), &lines, &[]);
        check(&planned(&setup, false, configuration), &[], &["[admission]", "[limits"]);
    }

    #[test]
    fn balances() {
        let with = |balance| planned(&DoorSetup { balance, ..setup() }, true, configuration);
        check(&with(DoorBalance::Default), &["balance = \"p2c\"\n"], &[]);
        check(&with(DoorBalance::RoundRobin), &["balance = \"round-robin\"\n"], &[]);
        check(&with(DoorBalance::HashPath), &["balance = { maglev = \"path\" }\n"], &[]);
        check(
            &with(DoorBalance::HashHeader(Name::from("x-tenant"))),
            &["balance = { maglev = { header = \"x-tenant\" } }\n"],
            &[],
        );
    }

    #[test]
    fn servers_are_seen_by_their_address() {
        let server = |address: &str, state| ServerFacts {
            address: address.to_owned(),
            state,
            ..ServerFacts::default()
        };
        let servers = vec![
            server("127.0.0.1:3001", ServerState::Up),
            server("127.0.0.1:3002", ServerState::Ejected),
        ];
        let pools = vec![PoolFacts { servers, ..PoolFacts::default() }];
        let snapshot = Snapshot { pools, ..Snapshot::default() };
        let seen = |address: &str| {
            seen(&snapshot, address.parse().unwrap()).map(|seen| (seen.state, seen.wrong))
        };
        assert_eq!(seen("127.0.0.1:3001"), Some(("up".to_owned(), false)));
        assert_eq!(seen("127.0.0.1:3002"), Some(("ejected".to_owned(), true)));
        assert_eq!(seen("127.0.0.1:3003"), None);
        assert!(has_looked(&snapshot));
    }
}
