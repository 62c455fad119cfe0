//! Pools: how requests are spread over servers, and how servers are treated.

use std::time::Duration;

use model::capacity::Capacity;
use model::configuration::{
    Balance, Check, CheckKind, Ejection, HashKey, Pool, PoolAdmission, PoolTls, ProxyVersion,
    Retries, ServerProtocol, ServerTimeouts,
};

use super::lines::{About, Concern, Lines};
use super::{Pair, servers};
use crate::words;

pub(super) fn tell(pair: Pair<'_, Pool>, trials_left: &mut usize, lines: &mut Lines) {
    let (from, to) = match pair {
        (Some(from), Some(to)) => (from, to),
        (Some(gone), None) => return whole(gone, "removed with", lines),
        (None, Some(new)) => return whole(new, "added with", lines),
        (None, None) => return,
    };
    if from == to {
        return;
    }
    let Pool {
        name,
        servers: _,
        balance,
        zone,
        check,
        tls,
        timeouts,
        retries,
        ejection,
        slow_start,
        in_flight_max,
        admission,
        idle_max,
        resolve,
        capacity,
        peak_per_second,
        protocol,
        proxy_protocol,
    } = from;
    let mut about = lines.about(format!("pool {}", words::text(name)));
    servers::tell(from, to, trials_left, &mut about);
    about.traffic("balance", balance, &to.balance, words_of_balance);
    about.traffic("zone", zone, &to.zone, |zone| words::or_none(zone.as_ref(), words::name));
    about.field("in flight at one server at most", in_flight_max, &to.in_flight_max, |limit| {
        words::limit(*limit)
    });
    let PoolAdmission { adaptive, wait_max, burst_wait_max } = admission;
    about.field("limit found by measuring", adaptive, &to.admission.adaptive, |on| {
        words::switch(*on)
    });
    about.field("longest wait for a place", wait_max, &to.admission.wait_max, words::duration);
    let burst_wait = &to.admission.burst_wait_max;
    about.field("longest wait of a burst", burst_wait_max, burst_wait, words::duration);
    tell_timeouts(timeouts, &to.timeouts, &mut about);
    tell_retries(retries, &to.retries, &mut about);
    tell_ejection(ejection, &to.ejection, &mut about);
    tell_check(check.as_ref(), to.check.as_ref(), &mut about);
    tell_tls(tls.as_ref(), to.tls.as_ref(), &mut about);
    about.field("protocol", protocol, &to.protocol, words_of_protocol);
    about.field("PROXY header", proxy_protocol, &to.proxy_protocol, words_of_proxy);
    about.field("slow start", slow_start, &to.slow_start, words::duration);
    about.field("idle connections at most", idle_max, &to.idle_max, usize::to_string);
    about.field("names are resolved every", resolve, &to.resolve, words::duration);
    about.field("measured capacity", capacity, &to.capacity, |capacity| {
        words::or_none(capacity.as_ref(), |capacity: &Capacity| {
            format!("{:.0}/s", capacity.per_second)
        })
    });
    about.field("peak", peak_per_second, &to.peak_per_second, |peak| {
        words::or_none(peak.as_ref(), |peak| format!("{peak}/s"))
    });
}

fn words_of_protocol(protocol: &ServerProtocol) -> String {
    let words = match protocol {
        ServerProtocol::Http1 => "HTTP/1.1",
        ServerProtocol::Http2 => "HTTP/2",
        ServerProtocol::Tcp => "TCP",
    };
    words.to_owned()
}

fn words_of_proxy(version: &Option<ProxyVersion>) -> String {
    words::or_none(version.as_ref(), |version| {
        let words = match version {
            ProxyVersion::V1 => "version 1",
            ProxyVersion::V2 => "version 2",
        };
        words.to_owned()
    })
}

fn whole(pool: &Pool, what: &str, lines: &mut Lines) {
    lines.say(Concern::Traffic, || {
        let servers = words::count(pool.servers.len(), "server");
        let balance = words_of_balance(&pool.balance);
        format!("pool {}: {what} {servers}, {balance}", words::text(&pool.name))
    });
}

fn words_of_balance(balance: &Balance) -> String {
    match balance {
        Balance::P2c => "p2c".to_owned(),
        Balance::LeastRequest => "least request".to_owned(),
        Balance::RoundRobin => "round robin".to_owned(),
        Balance::Random => "random".to_owned(),
        Balance::Maglev(key) => match key {
            HashKey::ClientAddress => "maglev by client address".to_owned(),
            HashKey::Path => "maglev by path".to_owned(),
            HashKey::Header(name) => format!("maglev by header {}", words::text(name)),
            HashKey::Cookie(name) => format!("maglev by cookie {}", words::text(name)),
        },
    }
}

fn tell_timeouts(from: &ServerTimeouts, to: &ServerTimeouts, about: &mut About<'_>) {
    let ServerTimeouts { connect, first_byte, progress, total, idle, tunnel_idle } = from;
    about.field("connect timeout", connect, &to.connect, words::duration);
    about.field("first-byte timeout", first_byte, &to.first_byte, words::duration);
    about.field("progress timeout", progress, &to.progress, words::duration);
    about.field("total timeout", total, &to.total, |total: &Option<Duration>| {
        words::or_none(total.as_ref(), words::duration)
    });
    about.field("idle timeout", idle, &to.idle, words::duration);
    about.field("idle timeout of tunnels", tunnel_idle, &to.tunnel_idle, words::duration);
}

fn tell_retries(from: &Retries, to: &Retries, about: &mut About<'_>) {
    let Retries { attempts_max, budget, budget_min_per_second, on_status } = from;
    about.field("attempts at most", attempts_max, &to.attempts_max, u32::to_string);
    about.field("retry budget", budget, &to.budget, |share| words::share(*share));
    about.field(
        "retries that are always allowed",
        budget_min_per_second,
        &to.budget_min_per_second,
        |rate| format!("{rate}/s"),
    );
    about.field("retry on 502, 503 and 504", on_status, &to.on_status, |on| words::switch(*on));
}

fn tell_ejection(from: &Ejection, to: &Ejection, about: &mut About<'_>) {
    let Ejection { failures, pause, pause_max, share_max } = from;
    about.field("ejection after failures in a row", failures, &to.failures, |failures| {
        if *failures == 0 { "never".to_owned() } else { failures.to_string() }
    });
    about.field("ejection pause", pause, &to.pause, words::duration);
    about.field("longest ejection pause", pause_max, &to.pause_max, words::duration);
    about.field("ejected share at most", share_max, &to.share_max, |share| words::share(*share));
}

fn tell_check(from: Option<&Check>, to: Option<&Check>, about: &mut About<'_>) {
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => {
            let line = format!("health checks ({}) removed", words_of_check(&from.kind));
            return about.say(Concern::Treatment, &line);
        }
        (None, Some(to)) => {
            let line = format!("health checks added: {}", words_of_check(&to.kind));
            return about.say(Concern::Treatment, &line);
        }
        (None, None) => return,
    };
    let Check { kind, interval, timeout, fall, rise } = from;
    about.field("health check", kind, &to.kind, words_of_check);
    about.field("checks every", interval, &to.interval, words::duration);
    about.field("check timeout", timeout, &to.timeout, words::duration);
    about.field("failed checks that take a server down", fall, &to.fall, u32::to_string);
    about.field("passed checks that bring a server back", rise, &to.rise, u32::to_string);
}

fn words_of_check(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Tcp => "TCP".to_owned(),
        CheckKind::Grpc { service } => {
            let of = service
                .as_ref()
                .map_or_else(String::new, |service| format!(" of {}", words::text(service)));
            format!("gRPC health{of}")
        }
        CheckKind::Http { path, host, status, body } => {
            let host = host
                .as_ref()
                .map_or_else(String::new, |host| format!(" of host {}", words::text(host)));
            let status = words::list(status, |(low, high)| {
                if low == high { low.to_string() } else { format!("{low} to {high}") }
            });
            let body = body.as_ref().map_or_else(String::new, |body| {
                format!(" with {} in the body", words::text(body))
            });
            format!("GET {}{host}, status {status}{body}", words::text(path))
        }
    }
}

fn tell_tls(from: Option<&PoolTls>, to: Option<&PoolTls>, about: &mut About<'_>) {
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(_), None) => {
            return about.say(Concern::Treatment, "TLS to its servers from on to off");
        }
        (None, Some(_)) => {
            return about.say(Concern::Treatment, "TLS to its servers from off to on");
        }
        (None, None) => return,
    };
    let PoolTls { server_name, roots, verify, certificate } = from;
    about.field("the door's own certificate", certificate, &to.certificate, |files| {
        words::or_none(files.as_ref(), |files| words::text(files.certificate.display()).to_string())
    });
    about.field("server name in TLS", server_name, &to.server_name, |name| {
        name.as_ref().map_or_else(|| "the server's".to_owned(), words::name)
    });
    about.field("trusted roots", roots, &to.roots, |roots| {
        roots.as_ref().map_or_else(|| "the system's".to_owned(), |path| words::text(path.display()))
    });
    about.field("certificates are verified", verify, &to.verify, |on| words::switch(*on));
}
