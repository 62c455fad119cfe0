//! Which registered client sends a request.
//!
//! In this order: by a header's value, by a signed token, by the certificate that was shown, by the
//! address; the first that knows the client decides. A connection remembers the value it sent last, so a client that keeps its
//! connection costs a comparison, and not a hash or a signature, for each request.
//! Invariant: what a connection remembers counts only for the table that it was found in.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use http_wire::{HeaderKind, RequestHead};
use ipnet::IpNet;
use model::configuration::{Client, Identity};
use model::{Name, Timestamp};
use net::clock;

use crate::connection::Origin;
use crate::token::{self, Tokens};

/// The longest value that a connection remembers; others are hashed each time.
const REMEMBERED_BYTES_MAX: usize = 1024;
/// Where a remembered value was found, when it was no header of [`Identities::headers`].
const IN_TOKEN: usize = usize::MAX;

/// What registered clients are known by.
#[derive(Debug)]
pub(crate) struct Identities {
    /// Tells this table from all others in the process.
    number: u64,
    headers: Vec<(Name, Secrets)>,
    tokens: Tokens,
    /// The longest prefix first.
    networks: Vec<(IpNet, usize)>,
    /// By a name in the client's certificate.
    certificates: BTreeMap<Name, usize>,
}

/// Clients by the hash of the value that they send in a header.
type Secrets = HashMap<[u8; 32], usize>;

/// What one connection remembers.
#[derive(Debug, Default)]
pub(crate) struct Known {
    value: Option<Value>,
    /// The table, and whose the peer's address is.
    network: Option<(u64, Option<usize>)>,
    /// The table, and whose its certificate is.
    certificate: Option<(u64, Option<usize>)>,
}

/// The last value that was looked up.
#[derive(Debug)]
struct Value {
    table: u64,
    place: usize,
    bytes: Vec<u8>,
    client: Option<usize>,
    /// When to look it up again.
    until: Timestamp,
}

/// The request that a client is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) bytes: &'a [u8],
    pub(crate) now: Timestamp,
    /// The names in the certificate of its connection; always the same on one connection.
    pub(crate) names: &'a [String],
}

impl<'a> Sender<'a> {
    /// Of a request whose head, in `bytes`, was complete at `now`.
    pub(crate) fn of(
        head: &'a RequestHead,
        bytes: &'a [u8],
        origin: &'a Origin,
        now: Timestamp,
    ) -> Self {
        let names = origin.certificate().map_or(&[][..], |shown| &shown.names);
        Self { head, bytes, now, names }
    }
}

impl Identities {
    /// The table for these clients; `None` when there are none, so that nobody is looked for.
    ///
    /// # Errors
    /// The client whose tokens' key cannot be used.
    pub(crate) fn build(clients: &[Client]) -> Result<Option<Self>, Name> {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        if clients.is_empty() {
            return Ok(None);
        }
        let mut headers: BTreeMap<&Name, Secrets> = BTreeMap::new();
        let mut tokens = Tokens::default();
        let mut networks = Vec::new();
        let mut certificates = BTreeMap::new();
        for (index, client) in clients.iter().enumerate() {
            for identity in &client.identities {
                match identity {
                    Identity::Header { name, sha256 } => {
                        headers.entry(name).or_default().insert(*sha256, index);
                    }
                    Identity::Jwt { claim, value, key } => {
                        tokens
                            .add(key, (claim, value), index)
                            .map_err(|_unusable| client.name.clone())?
                    }
                    Identity::Network(network) => networks.push((*network, index)),
                    Identity::Certificate(name) => {
                        certificates.insert(name.clone(), index);
                    }
                }
            }
        }
        networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        let headers = headers.into_iter().map(|(name, secrets)| (name.clone(), secrets)).collect();
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Self { number, headers, tokens, networks, certificates }))
    }

    /// Tells it from all other tables of the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The client that sent this request, by index in the configuration. `address` is asked for
    /// only when networks are configured, and remembered when it is the `peer` itself.
    pub(crate) fn find(
        &self,
        sender: Sender<'_>,
        known: &mut Known,
        cache: &mut token::Cache<usize>,
        (is_peer, address): (bool, impl FnOnce() -> IpAddr),
    ) -> Option<usize> {
        for (place, (name, secrets)) in self.headers.iter().enumerate() {
            let Some(value) = sender.head.header_named(sender.bytes, name) else { continue };
            let found = self.remembered(known, (place, value), sender.now, || {
                let hash = digest(&SHA256, value);
                let hash: &[u8; 32] = hash.as_ref().try_into().ok()?;
                Some((*secrets.get(hash)?, None))
            });
            if found.is_some() {
                return found;
            }
        }
        if !self.tokens.is_empty()
            && let Some(value) = sender.head.header(sender.bytes, HeaderKind::Authorization)
        {
            let found = self.remembered(known, (IN_TOKEN, value), sender.now, || {
                // A token has to be valid when its request comes, not when it is looked up again.
                let since = clock::now().since(sender.now);
                let wall = clock::wall();
                let times = (sender.now, wall.checked_sub(since).unwrap_or(wall));
                let (client, until) = self.tokens.find(cache, self.number, value, times)?;
                Some((client, Some(until)))
            });
            if found.is_some() {
                return found;
            }
        }
        if let Some(client) = self.of_certificate(sender.names, known) {
            return Some(client);
        }
        if self.networks.is_empty() {
            return None;
        }
        match known.network {
            Some((table, client)) if is_peer && table == self.number => client,
            _ => {
                let client = self.of_address(address());
                known.network = is_peer.then_some((self.number, client));
                client
            }
        }
    }

    /// The client at the other end of a connection of which nothing is read: by its certificate's
    /// names, or else by its address.
    pub(crate) fn of_origin(&self, origin: &Origin) -> Option<usize> {
        let names = origin.certificate().map_or(&[][..], |shown| &shown.names);
        let of_certificate = names.iter().find_map(|name| self.certificates.get(name.as_str()));
        of_certificate.copied().or_else(|| self.of_address(origin.peer.ip().to_canonical()))
    }

    fn of_certificate(&self, names: &[String], known: &mut Known) -> Option<usize> {
        if self.certificates.is_empty() || names.is_empty() {
            return None;
        }
        match known.certificate {
            Some((table, client)) if table == self.number => client,
            Some(_) | None => {
                let found = names.iter().find_map(|name| self.certificates.get(name.as_str()));
                known.certificate = Some((self.number, found.copied()));
                found.copied()
            }
        }
    }

    fn of_address(&self, address: IpAddr) -> Option<usize> {
        let found = self.networks.iter().find(|(network, _)| network.contains(&address));
        found.map(|(_, client)| *client)
    }

    /// What the connection remembers of `value`, or what `look` finds.
    fn remembered(
        &self,
        known: &mut Known,
        (place, value): (usize, &[u8]),
        now: Timestamp,
        look: impl FnOnce() -> Option<(usize, Option<Timestamp>)>,
    ) -> Option<usize> {
        if let Some(last) = &known.value
            && last.bytes == value
            && (last.table, last.place) == (self.number, place)
            && now < last.until
        {
            return last.client;
        }
        let found = look();
        // A token that is not valid yet may be later.
        let forgettable = place == IN_TOKEN && found.is_none();
        if value.len() <= REMEMBERED_BYTES_MAX && !forgettable {
            let mut bytes = known.value.take().map(|last| last.bytes).unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(value);
            let forever = Timestamp::from_nanos(u64::MAX);
            known.value = Some(Value {
                table: self.number,
                place,
                bytes,
                client: found.map(|(client, _)| client),
                until: found.and_then(|(_, until)| until).unwrap_or(forever),
            });
        }
        found.map(|(client, _)| client)
    }
}

#[cfg(test)]
mod tests {
    use http_wire::HeadLimits;
    use model::configuration::{Class, JwtKey};

    use super::*;

    fn client(name: &str, identities: Vec<Identity>) -> Client {
        Client {
            name: name.into(),
            identities,
            rate: None,
            burst: 1,
            in_flight_max: None,
            class: Class::Normal,
            routes: Vec::new(),
            enabled: true,
            shared: false,
            headers: false,
        }
    }

    fn header(name: &str, value: &str) -> Identity {
        let hash = digest(&SHA256, value.as_bytes());
        Identity::Header { name: name.into(), sha256: hash.as_ref().try_into().unwrap() }
    }

    fn clients() -> Vec<Client> {
        let network = |text: &str| Identity::Network(text.parse().unwrap());
        let jwt = Identity::Jwt {
            claim: "client_id".into(),
            value: "token".into(),
            key: JwtKey::Secret(b"of nobody".to_vec()),
        };
        vec![
            client("wide", vec![network("10.0.0.0/8"), network("2001:db8::/32")]),
            client("narrow", vec![network("10.1.0.0/16")]),
            client("partner", vec![header("x-api-key", "one"), header("x-api-key", "two")]),
            client("other", vec![header("x-other", "one"), jwt]),
            client("shown", vec![Identity::Certificate("spiffe://example/shown".into())]),
        ]
    }

    /// Finds the client of each of these requests, all on one connection from `address`.
    fn check(address: &str, requests: &[(&str, Option<&str>)]) {
        check_with((address, &[]), requests);
    }

    /// The same, with these names in its certificate.
    fn check_with((address, names): (&str, &[&str]), requests: &[(&str, Option<&str>)]) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let clients = clients();
        let tables =
            [&clients, &clients].map(|clients| Identities::build(clients).unwrap().unwrap());
        let (mut known, mut cache) = (Known::default(), token::Cache::default());
        for (headers, expected) in requests {
            // Each is asked for twice, so that what is remembered answers too, and of a second
            // table, for which it must not.
            for table in [&tables[0], &tables[0], &tables[1]] {
                let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
                let mut head = RequestHead::default();
                head.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
                let now = Timestamp::ZERO;
                let sender = Sender { head: &head, bytes: text.as_bytes(), now, names: &names };
                let address = || address.parse().unwrap();
                let found = table.find(sender, &mut known, &mut cache, (true, address));
                let name = found.map(|index| &*clients[index].name);
                assert_eq!(name, *expected, "{headers:?}");
            }
        }
    }

    #[test]
    fn a_client_is_known_by_its_header() {
        check(
            "192.0.2.1",
            &[
                ("x-api-key: one\r\n", Some("partner")),
                ("X-API-Key: two\r\n", Some("partner")),
                ("x-api-key: three\r\n", None),
                ("", None),
                ("x-other: one\r\n", Some("other")),
                ("x-other: two\r\n", None),
                ("x-api-key: three\r\nx-other: one\r\n", Some("other")),
                ("authorization: Bearer x.y.z\r\n", None),
            ],
        );
    }

    #[test]
    fn the_narrowest_network_counts_and_a_header_before_it() {
        check("10.1.2.3", &[("", Some("narrow")), ("x-api-key: one\r\n", Some("partner"))]);
        check("10.2.2.3", &[("", Some("wide")), ("x-api-key: none\r\n", Some("wide"))]);
        check("2001:db8:1::1", &[("", Some("wide"))]);
        check("192.0.2.1", &[("", None)]);
    }

    #[test]
    fn a_certificate_counts_behind_a_header_and_before_a_network() {
        let shown = ["other.example", "spiffe://example/shown"];
        check_with(
            ("10.1.2.3", &shown),
            &[("", Some("shown")), ("x-api-key: one\r\n", Some("partner"))],
        );
        check_with(("10.1.2.3", &shown[..1]), &[("", Some("narrow"))]);
    }

    #[test]
    fn without_clients_there_is_nothing_to_look_at() {
        assert!(Identities::build(&[]).unwrap().is_none());
    }
}
