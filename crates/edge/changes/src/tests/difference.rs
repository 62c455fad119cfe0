//! What is said of each kind of change.

use std::time::Duration;

use model::configuration::{
    Action, Allowance, Balance, Check, CheckKind, HashKey, HeaderValue, HostPattern, JwtKey,
    PathPart, PoolTls, Rewrite, SharedQuotas, ValuePart, Variable,
};
use proptest::prelude::*;

use super::*;

/// The lines that a change gives, exactly.
fn check(change: impl FnOnce(&mut Configuration), expected: &[&str]) {
    assert_eq!(crate::difference(&configuration(), &changed(change)), expected);
}

#[test]
fn nothing_changed() {
    check(|to| to.version = "111111111111".into(), &[]);
}

#[test]
fn servers_with_their_shares() {
    check(
        |to| to.pools[0].servers[1].weight = 0,
        &[
            "pool api: weight of 10.0.0.2:80 from 1 to 0: its share falls from 33 % to 0 %",
            "pool api: shares of its other servers: 10.0.0.1:80 from 33 % to 50 %, \
             10.0.0.3:80 from 33 % to 50 %",
        ],
    );
    check(
        |to| to.pools[1].servers[0].drain = true,
        &[
            "pool web: drain of 10.0.0.11:80 from off to on: its share falls from 50 % to 0 %",
            "pool web: shares of its other servers: 10.0.0.12:80 from 50 % to 100 %",
        ],
    );
    check(
        |to| {
            to.pools[1].balance = Balance::RoundRobin;
            to.pools[1].servers.remove(1);
            to.pools[1].servers.push(server(13, 3));
        },
        &[
            "pool web: server 10.0.0.12:80 removed: its share of 50 % goes to the others",
            "pool web: server 10.0.0.13:80 added with weight 3: its share is 75 %",
            "pool web: shares of its other servers: 10.0.0.11:80 from 50 % to 25 %",
            "pool web: balance from p2c to round robin",
        ],
    );
}

#[test]
fn the_third_outage_is_in_the_words() {
    let weigh = |to: &mut Configuration| {
        to.pools[0].balance = Balance::RoundRobin;
        for (server, weight) in to.pools[0].servers.iter_mut().zip([90, 5, 5]) {
            server.weight = weight;
        }
    };
    check(
        weigh,
        &[
            "pool api: weight of 10.0.0.1:80 from 1 to 90: its share rises from 33 % to 90 %",
            "pool api: weight of 10.0.0.2:80 from 1 to 5: its share falls from 33 % to 5 %",
            "pool api: weight of 10.0.0.3:80 from 1 to 5: its share falls from 33 % to 5 %",
            "pool api: balance from p2c to round robin",
        ],
    );
}

#[test]
fn pools_and_routes_by_name() {
    check(
        |to| {
            to.pools.insert(0, pool("new", 21, &[1]));
            to.pools.remove(2);
            to.routes = vec![route("api", 1), route("next", 0)];
        },
        &[
            "pool web: removed with 2 servers, p2c",
            "pool new: added with 1 server, p2c",
            "route web: removed: listeners all, hosts any, path /web and below, methods any: pool web",
            "route next: added: listeners all, hosts any, path /next and below, methods any: pool new",
        ],
    );
    check(
        |to| {
            let rewrite = Some(Rewrite::Prefix("/v2".into()));
            to.routes[0].action = Action::Forward { pool: 1, rewrite };
            to.routes[0].hosts = vec![HostPattern::Wildcard(".example.com".into())];
            to.routes[0].methods = vec!["GET".into()];
            to.routes[1].listeners = vec!["web".into()];
        },
        &[
            "route api: its requests from pool api to pool web with its prefix replaced by /v2",
            "route api: hosts from any to *.example.com",
            "route api: methods from any to GET",
            "route web: listeners from all to web",
        ],
    );
    check(
        |to| {
            let parts = [PathPart::Text("/v2/$/".into()), PathPart::Group(1), PathPart::Group(12)];
            let rewrite = Some(Rewrite::Path(parts.to_vec()));
            to.routes[0].action = Action::Forward { pool: 0, rewrite };
            to.routes[0].path = PathPattern::Regex("^/api/(.*)".into());
            to.routes[0].priority = 10;
            to.routes[1].path = PathPattern::Start("/web".into());
        },
        &[
            "route api: its requests from pool api to pool api with its path replaced by /v2/$$/$1${12}",
            "route api: priority from 0 to 10",
            "route api: path from /api and below to what matches ^/api/(.*)",
            "route web: path from /web and below to all that begin with /web",
        ],
    );
    check(
        |to| {
            to.routes.push(route("next", 0));
            to.routes[2].priority = 1;
        },
        &[
            "route next: added: priority 1, listeners all, hosts any, path /next and below, methods any: pool api",
        ],
    );
    check(
        |to| to.routes.swap(0, 1),
        &["routes: they are tried in another order: web now comes before api"],
    );
}

#[test]
fn what_moves_traffic_stands_first() {
    check(
        |to| {
            to.door.workers = 4;
            to.pools[0].timeouts.first_byte = Duration::from_millis(1_500);
            to.listeners[0].limits.body_bytes_max = 1 << 20;
            to.pools[1].balance = Balance::Maglev(HashKey::Header("x-user".into()));
        },
        &[
            "pool web: balance from p2c to maglev by header x-user",
            "pool api: first-byte timeout from 30s to 1s500ms",
            "listener web: body limit from 100MiB to 1MiB",
            "door: workers from 2 to 4",
        ],
    );
}

#[test]
fn clients_and_limits() {
    check(
        |to| {
            to.clients = vec![client("partner")];
            to.clients[0].class = Class::Critical;
            to.limits = vec![limit("per-address", 100)];
            to.routes[0].class = Some(Class::Bulk);
            to.pools[1].admission.adaptive = false;
            to.admission.unknown_rate = Some(Rate { count: 90, per: Duration::from_secs(60) });
        },
        &[
            "pool web: limit found by measuring from on to off",
            "route api: class from normal to bulk",
            "client partner: added: known by a key in header x-api-key, rate 50/s, critical",
            "limit per-address: added: 100/s with bursts of 100, by address, on all routes",
            "admission: rate of unregistered clients from none to 90/m",
        ],
    );
}

#[test]
fn secrets_are_not_told() {
    let with = |secret: &str, hash: u8| {
        changed(|to| {
            let (claim, value) = ("sub".into(), "partner".into());
            let key = JwtKey::Secret(secret.as_bytes().to_vec());
            to.clients = vec![client("partner")];
            to.clients[0].identities = vec![
                Identity::Header { name: "x-api-key".into(), sha256: [hash; 32] },
                Identity::Jwt { claim, value, key },
            ];
            let (url, name) = (format!("redis://me:{secret}@cache:6379").into(), "edge".into());
            let timeout = Duration::from_millis(100);
            to.admission.shared = Some(SharedQuotas { url, name, timeout });
        })
    };
    let lines = crate::difference(&with("Hemlock-1", 1), &with("Hemlock-2", 2));
    let expected = [
        "client partner: known by changed, still shown as a key in header x-api-key, a token with \
         sub = partner",
        "admission: shared quotas changed, still shown as edge at cache:6379 within 100ms",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn treatment_and_the_door() {
    check(
        |to| {
            let api = &mut to.pools[0];
            api.check = Some(Check {
                kind: CheckKind::Tcp,
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
                fall: 3,
                rise: 2,
            });
            api.tls =
                Some(PoolTls { server_name: None, roots: None, verify: true, certificate: None });
            api.in_flight_max = 50;
            api.ejection.failures = 0;
            to.invariants.share_max = 0.6;
            to.changes.watch = Duration::from_secs(90);
            to.allowances.push(Allowance {
                rule: "single-server".into(),
                at: Some("pools.web".into()),
                reason: "there is one".into(),
            });
        },
        &[
            "pool api: in flight at one server at most from none to 50",
            "pool api: ejection after failures in a row from 5 to never",
            "pool api: health checks added: TCP",
            "pool api: TLS to its servers from off to on",
            "invariants: share of one server at most from 90 % to 60 %",
            "changes: watched for from 30s to 1m30s",
            "allowed from now on: single-server at pools.web: \"there is one\"",
        ],
    );
}

#[test]
fn credentials_for_servers_are_not_shown() {
    let with = |password: &str| {
        let value = HeaderValue(vec![ValuePart::Text(format!("Basic {password}").into())]);
        let host = HeaderValue(vec![ValuePart::Variable(Variable::Host)]);
        let set = vec![("authorization".into(), value), ("x-host".into(), host)];
        changed(|to| to.routes[0].treatment.request_headers.set = set)
    };
    assert_eq!(
        crate::difference(&configuration(), &with("one")),
        ["route api: request headers from unchanged to with authorization = \"…\", \
             x-host = {host}"]
    );
    assert_eq!(
        crate::difference(&with("one"), &with("two")),
        ["route api: other credentials in its request headers"]
    );
}

#[test]
fn a_long_answer_that_differs_past_its_shown_part_is_told() {
    let answer = |end: &str| {
        let body = format!("{}{end}", "x".repeat(1_000)).into();
        Action::Respond { status: 200, body, content_type: "text/plain".into() }
    };
    let from = changed(|from| from.routes[0].action = answer("a"));
    let to = changed(|to| to.routes[0].action = answer("b"));
    let lines = crate::difference(&from, &to);
    assert!(lines.len() == 1 && lines[0].starts_with("route api: body of its answer changed"));
}

#[test]
fn at_most_200_lines_and_one_that_counts_the_rest() {
    let many = |first: u8| {
        let pools = (0..300).map(|number| pool(&format!("p{number}"), first, &[1]));
        changed(|to| to.pools = pools.collect())
    };
    let lines = crate::difference(&many(1), &many(2));
    assert_eq!((lines.len(), &*lines[200]), (201, "and 400 more"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_name_writes_to_the_terminal(name in any::<String>()) {
        let to = changed(|to| {
            to.pools[0].name = name.as_str().into();
            to.routes[0].name = name.as_str().into();
            to.routes[0].hosts = vec![HostPattern::Exact(name.as_str().into())];
            to.listeners[0].name = name.as_str().into();
        });
        for line in crate::difference(&configuration(), &to) {
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}
