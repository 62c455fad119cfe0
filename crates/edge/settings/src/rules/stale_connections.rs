//! A request goes out on a connection that its server is just closing.

use std::net::SocketAddr;
use std::time::Duration;

use model::configuration::{Listener, Pool, ServerAddress};

use super::{Example, Report, Rule, Seen, Subject, distinct};
use crate::Severity;
use crate::finding::quote;
use crate::units::show_duration;

pub(super) static RULE: Rule = Rule {
    name: "stale-connections",
    number: Some(26),
    severity: Severity::Warning,
    summary: "idle server connections are kept longer than servers keep them",
    rationale: "\
When a server closes an idle connection while a request is on its way, the request fails. The \
door repeats it where that is safe; a POST is answered with 502. Whoever keeps connections \
longer loses this race, so the door must give them up first. It cannot see how long a server \
keeps them unless that sends `Keep-Alive: timeout`, which wins over `idle`. Defaults differ: \
gunicorn 2 s, Apache, Node.js and uvicorn 5 s, Tomcat 20 s, nginx 75 s. So this is said where \
`idle` is written above 75 s, longer than the most patient of these, and where a server is a \
listener of this very configuration that keeps connections no longer than the pool does.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { idle = \"5m\" }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
timeouts = { idle = \"4s\" }
",
    ),
    seen: Seen::By(check),
};

/// What nginx keeps idle connections by default, the longest of the servers in wide use.
const PATIENT: Duration = Duration::from_secs(75);

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let idle = pool.timeouts.idle;
        // Without idle connections nothing can be stale.
        if pool.idle_max == 0 {
            continue;
        }
        let path = ["pools", &pool.name, "timeouts", "idle"];
        let kept =
            format!("pool {} keeps idle connections {}", quote(&pool.name), show_duration(idle));
        if let Some(listener) = own_listener(pool, &subject.configuration.listeners) {
            let theirs = show_duration(listener.timeouts.keep_alive);
            let message =
                format!("{kept}, and listener {} ends them after {theirs}", quote(&listener.name));
            let found = subject.found(&RULE, &path, message).label("ended by the other side first");
            report.add(found.help(format!("set `idle` below {theirs}")));
        } else if idle > PATIENT && subject.written(&path).is_some() {
            let message = format!("{kept}, longer than most servers do");
            let found = subject.found(&RULE, &path, message).label("above 75s");
            report.add(found.help("set it below the keep-alive time of the servers"));
        }
    }
}

/// A listener that is a server of the pool and does not keep its connections longer than it.
fn own_listener<'l>(pool: &Pool, listeners: &'l [Listener]) -> Option<&'l Listener> {
    let servers = distinct(pool);
    listeners.iter().find(|listener| {
        listener.timeouts.keep_alive <= pool.timeouts.idle
            && servers.iter().any(|(_, server)| match &server.address {
                ServerAddress::Socket(address) => reaches(*address, listener.address),
                ServerAddress::Name { .. } => false,
            })
    })
}

/// Whether whoever dials `address` comes to who listens on `listened`, on the same machine.
fn reaches(address: SocketAddr, listened: SocketAddr) -> bool {
    let is_any = listened.ip().is_unspecified() && address.ip().is_loopback();
    address.port() == listened.port() && (is_any || address.ip() == listened.ip())
}
