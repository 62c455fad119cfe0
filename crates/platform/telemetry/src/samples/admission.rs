//! The samples of who was let in.
//!
//! Invariant: every label value is a name of the configuration, a reason, a class or a rank. What
//! a client chooses, its address included, is no label: a flood would make the series grow.

use model::Reason;
use model::configuration::Class;

use super::View;
use crate::text::FamilyWriter;

/// What shared quotas are called while the server that holds them answers.
const SHARED: &str = "shared";

pub(crate) fn limit(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for pool in &view.snapshot.pools {
        family.maybe(&[&pool.name], pool.queue.limit.map(f64::from));
    }
}

pub(crate) fn in_flight(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for pool in &view.snapshot.pools {
        family.count(&[&pool.name], u64::from(pool.queue.in_flight));
    }
}

pub(crate) fn waiting(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for pool in &view.snapshot.pools {
        family.count(&[&pool.name], u64::from(pool.queue.waiting));
    }
}

pub(crate) fn waited(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, waits) in &view.admission.pools {
        family.count(&[pool], waits.count);
    }
}

pub(crate) fn wait(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, waits) in &view.admission.pools {
        family.sample(&[pool], waits.us as f64 / 1e6);
    }
}

pub(crate) fn overloaded(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for pool in &view.snapshot.pools {
        family.count(&[&pool.name], u64::from(pool.queue.overloaded));
    }
}

pub(crate) fn let_in(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for pool in &view.snapshot.pools {
        for class in Class::ALL {
            let share = match class.cmp(&pool.queue.class) {
                std::cmp::Ordering::Less => 1.0,
                std::cmp::Ordering::Equal => pool.queue.class_share,
                std::cmp::Ordering::Greater => 0.0,
            };
            family.sample(&[&pool.name, class.name()], share);
        }
    }
}

pub(crate) fn refused(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for reason in Reason::ADMISSION {
        // Written even at zero, so that a rate sees the very first refusal.
        let count = view.admission.refused.get(reason.index()).copied().unwrap_or_default();
        family.count(&[reason.code()], count);
    }
}

pub(crate) fn observed(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for reason in Reason::ADMISSION {
        let count = view.admission.observed.get(reason.index()).copied().unwrap_or_default();
        family.count(&[reason.code()], count);
    }
}

pub(crate) fn client_requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (client, asked) in &view.admission.clients {
        family.count(&[client], asked.requests);
    }
}

pub(crate) fn client_refused(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (client, asked) in &view.admission.clients {
        family.count(&[client], asked.refused);
    }
}

pub(crate) fn client_in_flight(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for client in &view.snapshot.admission.clients {
        family.count(&[&client.name], client.in_flight);
    }
}

pub(crate) fn client_enabled(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for client in &view.snapshot.admission.clients {
        family.count(&[&client.name], u64::from(client.enabled));
    }
}

pub(crate) fn client_demoted(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for client in &view.snapshot.admission.clients {
        family.count(&[&client.name], u64::from(client.demoted));
    }
}

pub(crate) fn limit_requests(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (limit, asked) in &view.admission.limits {
        family.count(&[limit], asked.requests);
    }
}

pub(crate) fn limit_refused(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (limit, asked) in &view.admission.limits {
        family.count(&[limit], asked.refused);
    }
}

pub(crate) fn talker_share(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (talker, rank) in view.snapshot.admission.talkers.iter().zip(1_u32..=20) {
        family.sample(&[&rank.to_string()], talker.share);
    }
}

pub(crate) fn buffers(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.snapshot.admission.buffer_bytes);
}

pub(crate) fn server_in_flight_max(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    for (pool, server) in view.gauges() {
        family.maybe(&[pool, &server.address], server.in_flight_max.map(f64::from));
    }
}

pub(crate) fn quota_shared(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    let shared = view.snapshot.admission.shared.as_ref();
    family.maybe(&[], shared.map(|shared| if shared.state == SHARED { 1.0 } else { 0.0 }));
}

pub(crate) fn quota_leased(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.admission.leased);
}

pub(crate) fn quota_alone(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.admission.alone);
}

pub(crate) fn quota_failed(view: &View<'_>, family: &mut FamilyWriter<'_>) {
    family.count(&[], view.admission.failed);
}
