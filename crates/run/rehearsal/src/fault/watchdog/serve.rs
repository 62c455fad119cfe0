//! The watchdog's own side: takes leases from a pipe and undoes what is left at its end.
//!
//! Invariant: a lease is acknowledged only after it was registered and what it is about was
//! taken hold of.

use std::path::PathBuf;
use std::sync::Arc;

use model::Timestamp;
use model::time::saturating_nanos;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::Instant;

use super::undo::{Held, undo_all};
use super::{Answer, LINE_BYTES_MAX, Order, Outcome};
use crate::fault::lease::Leases;

/// What a watchdog may touch.
#[derive(Clone, Debug)]
pub struct Grounds {
    /// The folder that folders of drills lie in; it exists. Nothing outside it is removed.
    pub scratch: PathBuf,
    /// The session of the drill, if it is known: its processes share it.
    pub session: Option<u32>,
}

/// Serves until `input` ends, then undoes what is still leased, newest first.
///
/// A line that is no order ends it likewise: whoever writes such a line cannot be relied on.
///
/// # Errors
/// In words, for the log: the scratch folder is not there, or something could not be undone.
pub async fn serve(
    input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    grounds: Grounds,
) -> Result<(), String> {
    let scratch = grounds.scratch.canonicalize();
    let scratch = scratch.map_err(|error| format!("{}: {error}", grounds.scratch.display()))?;
    let grounds = Arc::new(Grounds { scratch, ..grounds });
    let mut input = BufReader::new(input);
    let (mut leases, began) = (Leases::new(), Instant::now());
    let (mut failed, mut line) = (0, Vec::new());
    say(&mut output, Answer { id: 0, outcome: Outcome::Ready }).await;
    loop {
        let rest = u64::try_from(LINE_BYTES_MAX.saturating_sub(line.len())).unwrap_or_default();
        let mut limited = (&mut input).take(rest);
        let next_end = leases.next_end();
        // What was read of a line stays in `line` when a lease ends first.
        tokio::select! {
            read = limited.read_until(b'\n', &mut line) => {
                if !matches!(read, Ok(count) if count > 0) || line.last() != Some(&b'\n') {
                    break;
                }
            }
            () = until(began, next_end) => {
                failed += undo_all(leases.due(passed(began)), &grounds).await;
                continue;
            }
        }
        let Ok(order) = serde_json::from_slice::<Order>(&line) else {
            tracing::error!("the drill wrote a line that is no order; all its faults are undone");
            break;
        };
        line.clear();
        let id = order.id;
        let outcome = obey(order, &mut leases, passed(began), &grounds);
        say(&mut output, Answer { id, outcome }).await;
    }
    failed += undo_all(leases.all(), &grounds).await;
    if failed == 0 { Ok(()) } else { Err(format!("{failed} faults could not be undone")) }
}

fn obey(order: Order, leases: &mut Leases<Held>, now: Timestamp, grounds: &Grounds) -> Outcome {
    let Some(undo) = order.undo else {
        return if leases.release(order.id).is_some() { Outcome::Released } else { Outcome::Over };
    };
    let end = order.lasting_ms.map(|lasting| now + std::time::Duration::from_millis(lasting));
    let leased = Held::take(undo, grounds).and_then(|held| leases.lease(order.id, held, end));
    leased.map_or_else(Outcome::Refused, |()| Outcome::Leased)
}

async fn say(output: &mut (impl AsyncWrite + Unpin), answer: Answer) {
    let Ok(mut line) = serde_json::to_vec(&answer) else { return };
    line.push(b'\n');
    if let Err(error) = output.write_all(&line).await {
        // The end of its input follows, and with it everything is undone.
        tracing::debug!(%error, "the drill no longer listens");
    }
}

fn passed(began: Instant) -> Timestamp {
    Timestamp::from_nanos(saturating_nanos(began.elapsed()))
}

async fn until(began: Instant, end: Option<Timestamp>) {
    match end {
        Some(end) => tokio::time::sleep_until(began + end.since(Timestamp::ZERO)).await,
        None => std::future::pending().await,
    }
}
