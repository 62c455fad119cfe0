//! Gets certificates from an authority (ACME, RFC 8555), and renews them in time.
//!
//! It only writes files: what looks at the files of certificates takes a new one like any other.
//! Of two processes of which one takes over from the other, only that which goes on orders: it alone
//! accepts the connections by which the authority looks for answers.
//! Invariant: a certificate that works is never taken away; what fails is tried again later and
//! later, and no more than [`plan::ATTEMPTS_PER_DAY`] times in a day.

mod order;
mod plan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_door::challenges::Challenges;
use http_door::live::Live;
use model::configuration::Acme;
use model::fact::ObtainingFacts;
use net::clock;
use net::tls::{FileStatus, now_unix_s};
use tokio::task::JoinSet;

use super::control::Desk;
use super::operator::Operator;
use plan::Plan;

/// How long one order may take.
const ORDER_TIME: Duration = Duration::from_secs(300);

/// What is told of each certificate, by its file.
pub(super) type Obtaining = BTreeMap<PathBuf, ObtainingFacts>;

impl Operator {
    /// Begins to obtain certificates: this process serves, and no other one does for long.
    pub(super) fn obtain_certificates(&mut self) {
        let (desk, challenges) = (Arc::clone(&self.desk), Arc::clone(self.shared.challenges()));
        self.obtaining.spawn(work(desk, challenges));
    }
}

/// Looks each second at what is due, until it is dropped.
async fn work(desk: Arc<Desk>, challenges: Arc<Challenges>) {
    let mut plans: BTreeMap<PathBuf, Plan> = BTreeMap::new();
    let mut orders: JoinSet<(PathBuf, Result<(), String>)> = JoinSet::new();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = seconds.tick() => {
                let mut told = Obtaining::new();
                for (acme, file) in wanted(&desk.live()) {
                    let (path, life) = (acme.files.certificate.clone(), window(&acme, &file));
                    let plan = plans.entry(path.clone()).or_default();
                    if plan.begins(&life, now_unix_s(), clock::now()) {
                        orders.spawn(get(acme, Arc::clone(&challenges)));
                    }
                    told.insert(path, plan.facts(&life));
                }
                desk.tell_obtaining(told);
            }
            Some(Ok((path, result))) = orders.join_next() => {
                let Some(plan) = plans.get_mut(&path) else { continue };
                let path = path.display();
                let failure = result.as_ref().err().map(String::as_str);
                let pause = plan.ended(failure, now_unix_s(), clock::now());
                match result {
                    Ok(()) => tracing::info!(%path, "a new certificate was obtained"),
                    Err(why) => {
                        let failures = plan.failures();
                        tracing::error!(%path, why, failures, again_in = ?pause, "no certificate could be obtained: the one before stays");
                    }
                }
            }
        }
    }
}

/// What is to be obtained, with what is in use of it.
fn wanted(live: &Live) -> Vec<(Acme, FileStatus)> {
    let tls = live.configuration().listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let mut wanted: Vec<(Acme, FileStatus)> = Vec::new();
    for acme in tls.filter_map(|tls| tls.acme.as_ref()) {
        let path = &acme.files.certificate;
        // Several listeners may show the same one.
        if wanted.iter().any(|(known, _)| known.files.certificate == *path) {
            continue;
        }
        let in_use = live.secured().files().find(|(_, file)| file.path == *path);
        wanted.extend(in_use.map(|(_, file)| (acme.clone(), file.clone())));
    }
    wanted
}

/// From when to when the certificate in use is of use: never, where it lacks a host.
fn window(acme: &Acme, file: &FileStatus) -> std::ops::Range<i64> {
    let has = |host: &model::Name| file.names.iter().any(|name| **name == **host);
    match file.not_after_unix_s {
        Some(end) if acme.hosts.iter().all(has) => file.not_before_unix_s..end,
        Some(_) | None => 0..0,
    }
}

async fn get(acme: Acme, challenges: Arc<Challenges>) -> (PathBuf, Result<(), String>) {
    let ordered =
        tokio::time::timeout(ORDER_TIME, Box::pin(order::order(&acme, &challenges))).await;
    let result = match ordered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("the order took too long".to_owned()),
    };
    (acme.files.certificate, result)
}
