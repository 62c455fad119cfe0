//! What of the files beside the configuration was read again goes live: certificates, users, keys.
//!
//! Invariant: it is put together with what is live now, or not at all; what went live in the
//! meantime has read its own files.

use std::sync::Arc;

use net::clock;

use super::operator::Operator;
use super::{certificates, key_files};
use crate::commands::chain;

impl Operator {
    /// Puts certificates that were read again before new handshakes, and before new connections to
    /// servers. Those that are open stay, unless whom a listener trusts changed.
    pub(super) async fn renew(&mut self, found: certificates::Found) {
        let current = self.desk.live();
        // What went live in the meantime has read its own files; the next look is at those.
        if let Some(secured) = found.secured.filter(|_| Arc::ptr_eq(&found.live, &current)) {
            let known = self.desk.known();
            match current.with_certificates(secured, &known, (&current, clock::now())) {
                Ok(live) => {
                    self.put_live(&Arc::new(live)).await;
                    for (owner, files) in found.renewed {
                        tracing::info!(%owner, ?files, "certificates changed: new connections use them");
                    }
                }
                Err(error) => tracing::error!(error = %chain(&error), "nothing changed"),
            }
        }
        self.certificates.take(self.desk.live().secured(), &self.desk.obtaining());
    }

    /// Lets those in who may come by what files of users and keys say now, and nobody else.
    pub(super) async fn renew_files(&mut self, found: key_files::Found) {
        let current = self.desk.live();
        // What went live in the meantime is looked at next.
        if !Arc::ptr_eq(&found.live, &current) {
            return;
        }
        let Some(configuration) = found.renewed else { return };
        let known = self.desk.known();
        match current.with_files(&configuration, &known, (&current, clock::now())) {
            Ok(live) => {
                self.put_live(&Arc::new(live)).await;
                let files = found.changed;
                tracing::info!(
                    ?files,
                    "users or keys changed: requests are asked by them from now on"
                );
            }
            Err(error) => tracing::error!(error = %chain(&error), "nothing changed"),
        }
    }
}
