//! Who is disabled by hand: the switch that turns off a registered client while it does harm.
//!
//! It lies above the configuration: a client is let in when the configuration enables it and
//! nobody has disabled it since. A client is refused first and recorded then, because a flood does
//! not wait for the disk; it is let in again the other way round.
//! Invariants: what the journal says of a client is what holds after a restart; only a client that
//! is enabled again, or is not in a configuration that was confirmed, is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use console::{Refusal, RefusalKind, RegisteredClient, SwitchOrder};
use http_door::live::Live;
use journal::{JournalError, NewSwitch};
use model::Configuration;
use model::configuration::Client;
use model::fact::{ClientFacts, Snapshot};
use model::switch::Switch;
use net::clock;

use super::book::Book;

/// The clients that are disabled by hand.
#[derive(Debug)]
pub(super) struct Switches {
    disabled: Mutex<BTreeMap<String, Switch>>,
    /// Held while a switch is recorded: the journal has them in the order in which they hold.
    turn: tokio::sync::Mutex<()>,
}

impl Switches {
    /// What the journal knows, as it was found: it may turn out later that it cannot be written.
    /// Takes effect in what is to be live.
    ///
    /// # Errors
    /// When it cannot be read: a client that was disabled must not be let in unnoticed.
    pub(super) fn open(book: &Book, live: &Live) -> Result<Self, JournalError> {
        let disabled = book.ask_and_wait(|journal| journal.disabled())?;
        let disabled: BTreeMap<_, _> =
            disabled.into_iter().map(|switch| (switch.client.clone(), switch)).collect();
        let switches = Self { disabled: Mutex::new(disabled), turn: tokio::sync::Mutex::new(()) };
        switches.put_in_effect(live);
        Ok(switches)
    }

    /// Who disabled this client, if anybody did.
    fn of(&self, client: &str) -> Option<Switch> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner).get(client).cloned()
    }

    fn set(&self, switch: Switch) {
        let mut disabled = self.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        if switch.enabled {
            disabled.remove(&switch.client);
        } else {
            disabled.insert(switch.client.clone(), switch);
        }
    }

    /// Lets the workers see who is disabled; takes effect with their next request.
    pub(super) fn put_in_effect(&self, live: &Live) {
        for (index, client) in live.configuration().clients.iter().enumerate() {
            let enabled = self.of(&client.name).is_none();
            live.admission().clients().set_enabled(index, enabled);
        }
    }

    /// Forgets those that are not in a configuration that stays.
    pub(super) fn forget(&self, configuration: &Configuration, book: &Book) {
        let known = |name: &str| configuration.clients.iter().any(|client| *client.name == *name);
        let mut disabled = self.disabled.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<String> = disabled.keys().filter(|name| !known(name)).cloned().collect();
        for client in gone {
            disabled.remove(&client);
            let switch = NewSwitch {
                client,
                enabled: true,
                at: telemetry::rfc3339(clock::wall()),
                author: "door".to_owned(),
                reason: "it is no longer in the configuration".to_owned(),
            };
            let book = book.clone();
            // Nobody waits for it; what is not written now is found again at the next start.
            drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = book.ask_and_wait(|journal| journal.switch(&switch)) {
                    tracing::warn!(%error, client = switch.client, "that it left is not recorded");
                }
            }));
        }
    }

    /// The clients of a configuration, with what the last second saw of them.
    pub(super) fn clients(
        &self,
        configuration: &Configuration,
        second: Option<&Snapshot>,
    ) -> Vec<RegisteredClient> {
        let seen = second.map_or(&[][..], |second| &second.admission.clients);
        let told = |client: &Client| {
            let seen = seen.iter().find(|facts| *facts.name == *client.name).cloned();
            let disabled = self.of(&client.name);
            let enabled = client.enabled && disabled.is_none();
            let facts = seen.unwrap_or_else(|| unseen(client));
            RegisteredClient {
                facts: ClientFacts { enabled, ..facts },
                routes: client.routes.iter().map(ToString::to_string).collect(),
                in_flight_max: client.in_flight_max,
                disabled,
            }
        };
        configuration.clients.iter().map(told).collect()
    }
}

/// A client before its first second.
fn unseen(client: &Client) -> ClientFacts {
    ClientFacts {
        name: client.name.to_string(),
        class: client.class,
        limit_per_second: client.rate.map(|rate| rate.per_second()),
        ..ClientFacts::default()
    }
}

/// What a switch needs of the door.
pub(super) struct At<'a> {
    pub(super) switches: &'a Switches,
    pub(super) book: &'a Book,
    /// What is live in the moment.
    pub(super) live: &'a (dyn Fn() -> Arc<Live> + Sync),
}

/// Disables a client, or takes that back. Says in words what came of it.
///
/// # Errors
/// When there is no such client, and when it cannot be recorded. A client that is to be disabled
/// is so all the same, until the door ends.
pub(super) async fn switch(at: &At<'_>, order: SwitchOrder) -> Result<String, Refusal> {
    let live = (at.live)();
    let mut clients = live.configuration().clients.iter();
    let Some(client) = clients.find(|client| *client.name == *order.client) else {
        let name = &order.client;
        let detail = format!(
            "there is no client {name:?} in the live configuration: `tidegate client list` shows those there are"
        );
        return Err(Refusal::new(RefusalKind::NoClient, detail));
    };
    match order.enabled {
        false => disable(at, order).await,
        true => enable(at, client, order).await,
    }
}

async fn disable(at: &At<'_>, order: SwitchOrder) -> Result<String, Refusal> {
    let (switches, name) = (at.switches, order.client.clone());
    let known = switches.of(&name);
    if let Some(Switch { at, author, reason, .. }) = known.filter(is_recorded) {
        return Ok(format!("client {name} is disabled already, since {at} by {author}: {reason}"));
    }
    let new = new(order);
    let unrecorded = unrecorded(&new);
    switches.set(unrecorded.clone());
    switches.put_in_effect(&(at.live)());
    let _turn = switches.turn.lock().await;
    // Somebody may have enabled it while this one waited for its turn.
    switches.set(unrecorded);
    switches.put_in_effect(&(at.live)());
    let recorded = at.book.ask(move |journal| journal.switch(&new)).await;
    let switch = recorded.map_err(|refusal| {
        let detail = format!(
            "client {name} is disabled until the door ends, but not beyond: {}",
            refusal.detail
        );
        Refusal::new(refusal.kind, detail)
    })?;
    switches.set(switch);
    Ok(format!(
        "client {name} is disabled; `tidegate client enable {name} --reason TEXT` undoes it"
    ))
}

async fn enable(at: &At<'_>, client: &Client, order: SwitchOrder) -> Result<String, Refusal> {
    let (switches, name) = (at.switches, &client.name);
    let _turn = switches.turn.lock().await;
    let configured =
        "the configuration disables it: `enabled = false` in its table; change it there";
    match switches.of(name) {
        None if client.enabled => return Ok(format!("client {name} is enabled already")),
        None => {
            let detail = format!("client {name}: {configured}");
            return Err(Refusal::new(RefusalKind::Invalid, detail));
        }
        // What is not in the journal need not be taken back there.
        Some(switch) if !is_recorded(&switch) => switches.set(unrecorded(&new(order))),
        Some(_) => {
            let new = new(order);
            let switch = at.book.ask(move |journal| journal.switch(&new)).await?;
            switches.set(switch);
        }
    }
    switches.put_in_effect(&(at.live)());
    if client.enabled {
        return Ok(format!(
            "client {name} is enabled; `tidegate client disable {name} --reason TEXT` undoes it"
        ));
    }
    Ok(format!("client {name} is no longer disabled by hand, but {configured}"))
}

fn new(order: SwitchOrder) -> NewSwitch {
    let SwitchOrder { author, client, enabled, reason } = order;
    NewSwitch { client, enabled, at: telemetry::rfc3339(clock::wall()), author, reason }
}

/// What holds before the journal has given it a number.
fn unrecorded(new: &NewSwitch) -> Switch {
    let NewSwitch { client, enabled, at, author, reason } = new.clone();
    Switch { number: 0, client, enabled, at, author, reason }
}

fn is_recorded(switch: &Switch) -> bool {
    switch.number > 0
}

#[cfg(test)]
mod tests {
    use http_door::live::Known;
    use settings::{Environment, Source};

    use super::*;

    /// What is live with these clients.
    fn live(clients: &str) -> Arc<Live> {
        let text = format!(
            "[listen.a]\naddress = \"127.0.0.1:0\"\n[routes.r]\npath = \"/\"\nrespond = {{ status = 204 }}\n{clients}"
        );
        let source = Source { name: "test".to_owned(), text, folder: "/".into() };
        let checked = settings::check(&source, &Environment::detect());
        let configuration = Arc::new(checked.configuration.or(checked.overridable).unwrap());
        Arc::new(Live::build(&configuration, &Known::default(), None, clock::now()).unwrap())
    }

    fn order(enabled: bool, reason: &str) -> SwitchOrder {
        let (author, client) = ("ada".to_owned(), "partner".to_owned());
        SwitchOrder { author, client, enabled, reason: reason.to_owned() }
    }

    const PARTNER: &str = "[clients.partner]\nkey = { network = [\"192.0.2.0/24\"] }\n";

    #[tokio::test]
    async fn a_client_is_disabled_even_when_that_cannot_be_recorded() {
        let book = Book::in_memory().unwrap();
        let live = live(PARTNER);
        let switches = Switches::open(&book, &live).unwrap();
        let at = At { switches: &switches, book: &book, live: &|| Arc::clone(&live) };
        let enabled = || live.admission().clients().facts()[0].enabled;
        // The journal takes no such reason.
        let refusal = switch(&at, order(false, &"x".repeat(3_000))).await.unwrap_err();
        assert_eq!((refusal.kind, enabled()), (RefusalKind::NotRecorded, false));
        assert!(refusal.detail.contains("until the door ends"), "{refusal}");
        let recorded = switch(&at, order(false, "a flood")).await.unwrap();
        assert!(recorded.contains("is disabled"), "{recorded}");
        // One that cannot be recorded as enabled stays disabled.
        let refusal = switch(&at, order(true, &"x".repeat(3_000))).await.unwrap_err();
        assert_eq!((refusal.kind, enabled()), (RefusalKind::NotRecorded, false));
        switch(&at, order(true, "it stopped")).await.unwrap();
        assert!(enabled());
    }

    #[tokio::test]
    async fn who_left_a_configuration_that_stays_is_forgotten() {
        let book = Book::in_memory().unwrap();
        let (before, after) = (live(PARTNER), live(""));
        let switches = Switches::open(&book, &before).unwrap();
        let at = At { switches: &switches, book: &book, live: &|| Arc::clone(&before) };
        switch(&at, order(false, "a flood")).await.unwrap();
        switches.forget(before.configuration(), &book);
        assert!(switches.of("partner").is_some());
        switches.forget(after.configuration(), &book);
        assert!(switches.of("partner").is_none());
        while !book.ask(|journal| journal.disabled()).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
