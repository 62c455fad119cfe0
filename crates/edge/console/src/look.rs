//! The endpoints that show changes: how they stand, the history, what is live, the traffic.
//!
//! Invariant: nothing here changes the door, and nobody waits here for longer than 30 s.

use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::Semaphore;

use crate::answer::{Desk, Problem};
use crate::change::Waited;
use crate::{Refusal, RefusalKind};

/// The longest wait of `/v1/changes/wait`, and what it waits without `seconds`.
const WAIT_SECONDS_MAX: u64 = 30;
/// Callers that may wait at once, of each socket's 64 connections.
const WAITING_MAX: usize = 16;
/// What `/v1/generations` and `/v1/switches` give without `limit`.
const GENERATIONS_DEFAULT: u64 = 20;
/// The most they give.
const GENERATIONS_MAX: u64 = 1_000;

/// The places of those who wait.
#[derive(Debug)]
pub(crate) struct WaitingRoom(Semaphore);

impl Default for WaitingRoom {
    fn default() -> Self {
        Self(Semaphore::new(WAITING_MAX))
    }
}

/// `GET /v1/changes/wait`: answers once the generation is decided, or the time is over.
pub(crate) async fn wait(desk: &Desk, query: Option<&str>) -> Result<Waited, Problem> {
    const EXPECTED: &str = "Expected ?generation=N&seconds=S, both optional, S from 1 to 30.";
    let [number, seconds] = numbers(query, ["generation", "seconds"], EXPECTED)?;
    let seconds = seconds.unwrap_or(WAIT_SECONDS_MAX);
    if !(1..=WAIT_SECONDS_MAX).contains(&seconds) {
        return Err(bad_query(EXPECTED));
    }
    let _place = desk.waiting_room.0.try_acquire().map_err(|_full| {
        let detail = format!("{WAITING_MAX} callers wait already; ask again in a second.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    })?;
    let mut changes = desk.control.changes();
    let open = |changes: &tokio::sync::watch::Receiver<_>| {
        let status: &std::sync::Arc<model::generation::ChangeStatus> = &changes.borrow();
        status.open.as_ref().map(|open| open.number)
    };
    let number = number.or_else(|| open(&changes));
    let decided = changes
        .wait_for(|status| status.open.as_ref().is_none_or(|open| Some(open.number) != number));
    // Undecided when the time is over: the answer shows it.
    drop(tokio::time::timeout(Duration::from_secs(seconds), decided).await);
    let generation = match number {
        Some(number) => match desk.control.generation(number).await {
            Ok(kept) => Some(kept.generation),
            Err(Refusal { kind: RefusalKind::Unknown, .. }) => None,
            Err(refusal) => return Err(refusal.into()),
        },
        None => None,
    };
    let status = (**changes.borrow()).clone();
    Ok(Waited { generation, status })
}

/// What `/v1/generations` or `/v1/switches` was asked for: how many, and before which number.
pub(crate) fn page(query: Option<&str>) -> Result<(usize, Option<u64>), Problem> {
    const EXPECTED: &str = "Expected ?limit=L&before=N, both optional, L from 1 to 1000.";
    let [limit, before] = numbers(query, ["limit", "before"], EXPECTED)?;
    let limit = limit.unwrap_or(GENERATIONS_DEFAULT);
    if !(1..=GENERATIONS_MAX).contains(&limit) {
        return Err(bad_query(EXPECTED));
    }
    Ok((usize::try_from(limit).unwrap_or(usize::MAX), before))
}

/// The values of `names` in a query of whole numbers; any other name is refused.
fn numbers<const N: usize>(
    query: Option<&str>,
    names: [&str; N],
    expected: &'static str,
) -> Result<[Option<u64>; N], Problem> {
    let mut found = [None; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| bad_query(expected))?;
        let at = names.iter().position(|known| *known == name);
        let value = value.parse().map_err(|_not_a_number| bad_query(expected))?;
        let place = at.and_then(|at| found.get_mut(at)).ok_or_else(|| bad_query(expected))?;
        if place.replace(value).is_some() {
            return Err(bad_query(expected));
        }
    }
    Ok(found)
}

fn bad_query(expected: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_query", expected)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.kind {
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            RefusalKind::Stale => (StatusCode::CONFLICT, "stale"),
            RefusalKind::Open => (StatusCode::CONFLICT, "open"),
            RefusalKind::Unknown => (StatusCode::NOT_FOUND, "no_generation"),
            RefusalKind::NoClient => (StatusCode::NOT_FOUND, "no_client"),
            RefusalKind::NotRecorded => (StatusCode::SERVICE_UNAVAILABLE, "not_recorded"),
            RefusalKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, code, refusal.detail)
    }
}
