//! What befalls a whole sample application rather than one request: lost memory, and pauses.
//!
//! Invariant: no more memory is lost than the settings' bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::sample::SampleSettings;
use tokio::sync::watch;

use super::processor::World;

/// Between two losses of memory.
const LOSS_PAUSE: Duration = Duration::from_millis(100);

type Settings = watch::Receiver<Arc<SampleSettings>>;

/// Stands still as often and as long as set; a change of the settings begins a new round.
/// Ends when there are no settings any more.
pub(super) async fn pauses(mut settings: Settings, world: Arc<World>) {
    loop {
        let (every, time) = {
            let settings = settings.borrow_and_update();
            (
                Duration::from_millis(settings.pause_every_ms),
                Duration::from_millis(settings.pause_ms),
            )
        };
        let between = every.saturating_sub(time);
        if between.is_zero() || time.is_zero() {
            if settings.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(between) => world.stand_still(time),
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

/// Loses memory as fast as set, into `lost_bytes`; gives it back when told to lose none.
/// Ends when the bound is reached, or when there are no settings any more.
pub(super) async fn leak(mut settings: Settings, lost_bytes: &AtomicUsize) {
    let mut lost: Vec<u8> = Vec::new();
    loop {
        let (per_second, max) = {
            let settings = settings.borrow_and_update();
            (settings.leak_bytes_per_second, settings.leak_bytes_max)
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        if per_second == 0 {
            lost = Vec::new();
            lost_bytes.store(0, Ordering::Relaxed);
            if settings.changed().await.is_err() {
                return;
            }
            continue;
        }
        let (begin, before) = (net::clock::now(), lost.len());
        while !settings.has_changed().unwrap_or(true) {
            let over = net::clock::now().since(begin);
            let more = u128::from(per_second) * over.as_micros() / 1_000_000;
            let now = before.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)).min(max);
            // Written to, so that the system must truly provide it.
            lost.resize(now.max(lost.len()), 1);
            lost_bytes.store(lost.len(), Ordering::Relaxed);
            if lost.len() >= max {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOSS_PAUSE) => {}
                _ = settings.changed() => break,
            }
        }
    }
}
