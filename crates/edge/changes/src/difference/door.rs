//! The door itself: process, admin interface, logs, invariants and how it is changed.

use model::configuration::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, AdminTcp, Allowance, Changes, Door,
    Invariants, Rollback, State, Telemetry,
};

use super::lines::{Concern, Lines};
use crate::words;

pub(super) fn door(from: &Door, to: &Door, lines: &mut Lines) {
    let Door { workers, drain, connections_max, state } = from;
    let mut about = lines.about("door");
    about.field("connections at most", connections_max, &to.connections_max, u32::to_string);
    about.door("workers", workers, &to.workers, usize::to_string);
    about.door("drain", drain, &to.drain, words::duration);
    about.door("state", state, &to.state, |state| {
        words::or_none(state.as_ref(), |State { folder, required }| {
            let need = if *required { "" } else { ", not required" };
            format!("{}{need}", words::text(folder.display()))
        })
    });
}

pub(super) fn admin(from: &Admin, to: &Admin, lines: &mut Lines) {
    let Admin { socket, tcp } = from;
    let mut about = lines.about("admin");
    about.door("socket", socket, &to.socket, |socket| {
        words::or_none(socket.as_ref(), |path| words::text(path.display()))
    });
    about.door("address", tcp, &to.tcp, |tcp| {
        words::or_none(tcp.as_ref(), |AdminTcp { address, token_file }| {
            format!("{address} with the token in {}", words::text(token_file.display()))
        })
    });
}

pub(super) fn telemetry(from: &Telemetry, to: &Telemetry, lines: &mut Lines) {
    let Telemetry { access_log } = from;
    lines.about("telemetry").door("access log", access_log, &to.access_log, |log| {
        words::or_none(log.as_ref(), access_log_words)
    });
}

fn access_log_words(log: &AccessLog) -> String {
    let AccessLog { target, format } = log;
    let target = match target {
        AccessLogTarget::Stdout => "standard output".to_owned(),
        AccessLogTarget::File(path) => words::text(path.display()),
    };
    let format = match format {
        AccessLogFormat::Json => "JSON",
        AccessLogFormat::Clf => "CLF",
        AccessLogFormat::Ecs => "ECS",
    };
    format!("{format} to {target}")
}

pub(super) fn invariants(from: &Invariants, to: &Invariants, lines: &mut Lines) {
    let Invariants { share_max, eligible_min, keep_routes, limit_drop_max } = from;
    let mut about = lines.about("invariants");
    let share = |share: &f64| words::share(*share);
    about.door("share of one server at most", share_max, &to.share_max, share);
    about.door("eligible servers at least", eligible_min, &to.eligible_min, u32::to_string);
    about.door("routes are kept", keep_routes, &to.keep_routes, |on| words::switch(*on));
    about.door("drop of a limit at most", limit_drop_max, &to.limit_drop_max, share);
}

pub(super) fn changes(from: &Changes, to: &Changes, lines: &mut Lines) {
    let Changes { watch, rollback, move_max, requests_min, history_max } = from;
    let mut about = lines.about("changes");
    about.door("watched for", watch, &to.watch, words::duration);
    about.door("rollback", rollback, &to.rollback, |rollback| {
        match rollback {
            Rollback::Automatic => "automatic",
            Rollback::Observe => "observed only",
        }
        .to_owned()
    });
    about
        .door("requests moved at once at most", move_max, &to.move_max, |part| words::share(*part));
    about.door("requests for a verdict", requests_min, &to.requests_min, u64::to_string);
    about.door("generations kept", history_max, &to.history_max, u32::to_string);
}

pub(super) fn allowances(from: &[Allowance], to: &[Allowance], lines: &mut Lines) {
    let said = |Allowance { rule, at, reason }: &Allowance| {
        let place = at.as_ref().map_or_else(|| "everywhere".to_owned(), words::name);
        format!("{} at {place}: {}", words::text(rule), words::text(reason))
    };
    for allowance in from.iter().filter(|allowance| !to.contains(allowance)) {
        lines.say(Concern::Door, || format!("no longer allowed: {}", said(allowance)));
    }
    for allowance in to.iter().filter(|allowance| !from.contains(allowance)) {
        lines.say(Concern::Door, || format!("allowed from now on: {}", said(allowance)));
    }
}
