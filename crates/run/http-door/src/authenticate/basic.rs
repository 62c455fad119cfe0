//! Name and password (RFC 7617).
//!
//! Invariant: a name that nobody has costs as much time as one that somebody has: the password is
//! then compared with the hash of a user that the name chooses, and refused whatever comes of it.

use std::hash::{BuildHasher, RandomState};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::Name;
use model::Reason;
use model::configuration::BasicAuthentication;

use super::{Denied, authorization, bytes_of, unavailable, unless_left};
use crate::admit;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::heads::write_field;
use crate::worker::Worker;

/// The longest value of `Authorization` that is looked at.
const VALUE_BYTES_MAX: usize = 2_048;

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The users of a route.
#[derive(Debug)]
pub(super) struct Users {
    /// By name, in the order of names; at least one.
    users: Vec<(Name, Hash)>,
    /// The line that asks for a password.
    challenge: Vec<u8>,
}

/// The hash of a password. Kept out of `Debug`.
#[derive(Clone)]
pub(super) struct Hash(pub(super) Name);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Users {
    pub(super) fn new(settings: &BasicAuthentication) -> Self {
        let mut users: Vec<_> =
            settings.users.iter().map(|(name, hash)| (name.clone(), Hash(hash.clone()))).collect();
        users.sort_by(|one, other| one.0.cmp(&other.0));
        let mut challenge = Vec::new();
        let value = format!("Basic realm=\"{}\", charset=\"UTF-8\"", settings.realm);
        write_field(&mut challenge, b"www-authenticate", value.as_bytes());
        Self { users, challenge }
    }

    /// The hash that a password is compared with, and whether it is that of a user of this name.
    fn hash(&self, name: &[u8], secret: &RandomState) -> Option<(&Hash, bool)> {
        let found = self.users.binary_search_by(|(known, _)| known.as_bytes().cmp(name));
        let at = found.unwrap_or_else(|_| {
            let count = u64::try_from(self.users.len()).unwrap_or(u64::MAX).max(1);
            usize::try_from(secret.hash_one(name) % count).unwrap_or(0)
        });
        self.users.get(at).map(|(_, hash)| (hash, found.is_ok()))
    }

    fn challenge(&self) -> Denied {
        Denied::Challenged(Reason::Unauthenticated, self.challenge.clone())
    }
}

/// Lets in who sends the password of a user.
pub(super) async fn check(
    worker: &Worker,
    client: &mut Client,
    exchange: &mut Exchange,
    (users, secret): (&Users, &RandomState),
) -> Result<(), Denied> {
    let told = authorization(&exchange.request, bytes_of(client)).and_then(credentials);
    let Some((name, password)) = told else { return Err(users.challenge()) };
    let Some((hash, is_user)) = users.hash(&name, secret) else { return Err(users.challenge()) };
    let address = admit::address_key(client, exchange, &client.listener.settings(), secret);
    let hashing = (&worker.shared.hashing, address);
    let verified = worker.passwords.verify(hash, &password, hashing);
    let right = unless_left(client, verified).await?.map_err(|_busy| unavailable())?;
    if !(right && is_user) {
        return Err(users.challenge());
    }
    exchange.user.extend_from_slice(&name);
    Ok(())
}

/// The name and the password in a value of `Authorization`.
fn credentials(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, coded) = value.split_at_checked(b"basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || coded.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut name = BASE64.decode(coded.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &name)?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_colon() {
        fn check(value: &str, expected: Option<(&str, &str)>) {
            let found = credentials(value.as_bytes());
            let found = found.as_ref().map(|(name, password)| (&name[..], &password[..]));
            let expected = expected.map(|(name, password)| (name.as_bytes(), password.as_bytes()));
            assert_eq!(found, expected, "{value:?}");
        }
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ", Some(("Aladdin", "open sesame")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic Og==", Some(("", "")));
        for refused in
            ["", "Basic", "Basic ", "Basic YWJj", "Basic !!!!", "Bearer YTpi", "BasicYTpi"]
        {
            check(refused, None);
        }
    }

    #[test]
    fn a_name_that_nobody_has_is_compared_all_the_same() {
        let user = |name: &str| (Name::from(name), Name::from(format!("hash of {name}")));
        let users = ["zoe", "alice", "bob"].map(user).to_vec();
        let users = Users::new(&BasicAuthentication { realm: "staff".into(), users });
        let secret = RandomState::new();
        for name in ["alice", "bob", "zoe"] {
            let (hash, known) = users.hash(name.as_bytes(), &secret).unwrap();
            assert_eq!((&*hash.0, known), (&*format!("hash of {name}"), true));
        }
        let stranger = |name: &str| users.hash(name.as_bytes(), &secret).unwrap();
        for name in ["", "carol", "ALICE"] {
            assert!(!stranger(name).1);
            assert_eq!(stranger(name).0.0, stranger(name).0.0, "the same hash each time");
        }
    }
}
