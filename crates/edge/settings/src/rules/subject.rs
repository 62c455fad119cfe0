//! What rules look at: a valid configuration, and where each part of it was written.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ops::Range;

use model::configuration::{Action, Configuration, Pool, Server};
use toml::Spanned;
use toml::de::DeValue;

use super::trials::{Trials, trials};
use super::{Found, Rule};
use crate::Environment;
use crate::finding::Finding;
use crate::route::asked_pool;
use crate::tcp::pools_of;

/// A configuration under judgement.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) environment: &'a Environment,
    /// The document the configuration was read from.
    root: &'a DeValue<'a>,
    /// What the simulation showed, once somebody asked for it.
    trials: OnceCell<Trials>,
}

/// Where a key path is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The value; of a table, its name.
    pub(crate) span: Range<usize>,
    /// False when only a table around it is written, and this is that table's place.
    pub(crate) is_written: bool,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(
        configuration: &'a Configuration,
        environment: &'a Environment,
        root: &'a DeValue<'a>,
    ) -> Self {
        Self { configuration, environment, root, trials: OnceCell::new() }
    }

    /// Where this key path is written, or else the nearest table around it. Elements of arrays
    /// are named by their number.
    pub(crate) fn place(&self, path: &[&str]) -> Place {
        let mut value = self.root;
        let mut span = 0..0;
        for step in path {
            let Some((key_span, next)) = child(value, step) else {
                return Place { span, is_written: false };
            };
            value = next.get_ref();
            span = key_span.filter(|_| value.is_table()).unwrap_or_else(|| next.span());
        }
        Place { span, is_written: true }
    }

    /// The place of this key path if somebody wrote it. Defaults are not held against anyone
    /// where what they stand beside was chosen.
    pub(crate) fn written(&self, path: &[&str]) -> Option<Range<usize>> {
        let place = self.place(path);
        place.is_written.then_some(place.span)
    }

    /// A finding of `rule` at this key path.
    pub(crate) fn found(&self, rule: &'static Rule, path: &[&str], message: String) -> Found {
        let finding = Finding::error(rule.name, self.place(path).span, message);
        Found { place: path.join("."), finding: Finding { severity: rule.severity, ..finding } }
    }

    /// For each pool, whether a TCP listener passes connections on to it.
    pub(crate) fn tcp_pools(&self) -> Vec<bool> {
        let mut used = vec![false; self.configuration.pools.len()];
        let listeners = self.configuration.listeners.iter();
        for pool in listeners.flat_map(|listener| pools_of(&listener.protocol)) {
            used.get_mut(pool).into_iter().for_each(|used| *used = true);
        }
        used
    }

    /// For each pool, whether a route or a TCP listener leads to it, or a route asks it who may come
    /// in.
    pub(crate) fn used_pools(&self) -> Vec<bool> {
        let mut used = self.tcp_pools();
        for route in &self.configuration.routes {
            match route.action {
                Action::Forward { pool, .. } => {
                    if let Some(used) = used.get_mut(pool) {
                        *used = true;
                    }
                }
                Action::Redirect { .. } | Action::Respond { .. } => {}
            }
            if let Some(used) = asked_pool(route).and_then(|pool| used.get_mut(pool)) {
                *used = true;
            }
        }
        used
    }

    /// Every pool simulated; done once for all rules.
    pub(crate) fn trials(&self) -> &Trials {
        self.trials.get_or_init(|| trials(self.configuration))
    }

    /// Says that the simulation did not reach everything.
    pub(crate) fn partly_simulated(&self, pools: usize) -> Found {
        let message = format!(
            "the pools are too large to simulate whole: {pools} were in part or not at all"
        );
        let finding = Finding::warning("partly-simulated", self.place(&["pools"]).span, message)
            .label("shares are not known for all of these")
            .help("`tidegate plan` replays recorded traffic through each pool that changes");
        Found { place: "pools".to_owned(), finding }
    }
}

fn child<'v>(
    value: &'v DeValue<'v>,
    step: &str,
) -> Option<(Option<Range<usize>>, &'v Spanned<DeValue<'v>>)> {
    match value {
        DeValue::Table(table) => {
            let (key, value) = table.get_key_value(step)?;
            Some((Some(key.span()), value))
        }
        DeValue::Array(array) => Some((None, array.get(step.parse::<usize>().ok()?)?)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

/// The servers of a pool, each address once: of several entries the door takes the first.
pub(crate) fn distinct(pool: &Pool) -> Vec<(usize, &Server)> {
    let mut seen = HashSet::new();
    let servers = pool.servers.iter().enumerate();
    servers.filter(|(_, server)| seen.insert(&server.address)).collect()
}

/// Of these, the servers that take new requests.
pub(crate) fn active(pool: &Pool) -> Vec<(usize, &Server)> {
    let takes = |(_, server): &(usize, &Server)| server.weight > 0 && !server.drain;
    distinct(pool).into_iter().filter(takes).collect()
}
