//! What is written down of a connection that was passed on, or refused before anything was read
//! of it: one record of the access log.

use std::time::Duration;

use model::Reason;
use net::clock;
use telemetry::{AccessRecord, Phases};

use super::Visit;
use crate::connection::Origin;
use crate::record::bare;
use crate::worker::Worker;

/// A connection was passed on, or could not be.
pub(super) fn passed(visit: &Visit, duration: Duration) {
    let Some(log) = &visit.worker.shared.log else { return };
    let view = &visit.view;
    let pool = visit.pool.map(|index| view.live.configuration.pools[index].name.clone());
    let server = visit.pool.zip(visit.tried.last());
    log.record(AccessRecord {
        // When its first byte could have come.
        at: clock::wall().checked_sub(duration).unwrap_or_else(clock::wall),
        client_name: visit.standing.client().cloned(),
        host: visit.server_name.clone(),
        reason: visit.reason,
        pool,
        server: server.map(|(pool, server)| view.pools[pool].servers[*server].address),
        attempts: u32::try_from(visit.tried.len()).unwrap_or(u32::MAX),
        bytes_in: visit.bytes_in,
        bytes_out: visit.bytes_out,
        phases: Phases {
            waited: visit.waited,
            connect: visit.connect,
            total: duration,
            ..Phases::default()
        },
        ..bare(&visit.worker, view, &visit.origin)
    });
}

/// A connection was turned away before anything but its start was read: counts it, and writes down
/// why.
pub(crate) fn refused(worker: &Worker, origin: &Origin, reason: Reason) {
    worker.metrics.connection_refused(reason);
    let Some(log) = &worker.shared.log else { return };
    log.record(AccessRecord { reason: Some(reason), ..bare(worker, &worker.view(), origin) });
}
