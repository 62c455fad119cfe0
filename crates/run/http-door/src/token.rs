//! Signed tokens: JSON Web Tokens (RFC 7519) in `Authorization: Bearer`.
//!
//! They say two things. Which registered client sends a request ([`Tokens`], to count it), and
//! whether a request may use a route (`authenticate::jwt`). Both check signatures here, and remember
//! here what they found.
//!
//! The signature's algorithm is that of the key in the configuration, never what the token says
//! of itself (RFC 8725, section 3.1). A token whose claim names no client is not verified at all,
//! so a stranger cannot make the door compute signatures without knowing a client's name. What
//! was verified is remembered by its hash; a token that failed is not, so nobody can push others
//! out with tokens that he made up.
//!
//! A token that only says who sends says nothing of what he may do: that remains with the servers.
//! So there a token without `exp` is one that never expires, and `aud` is not looked at.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use model::configuration::JwtKey;
use model::{Name, Timestamp};
use serde_json::{Map, Value};

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the issuer's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(60);
/// How long a verified token is remembered at most, so that a clock that is set counts soon.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Verified tokens that a worker remembers.
const CACHE_MAX: usize = 1024;

/// The public key is none of a kind that is known.
#[derive(Debug)]
pub(crate) struct UnusableKey;

/// What a token says.
pub(crate) type Claims = Map<String, Value>;

/// A key whose signatures count, for what it signs with.
#[derive(Debug)]
pub(crate) struct Key {
    key: DecodingKey,
    validation: Validation,
}

impl Key {
    /// # Errors
    /// When the key cannot be used.
    pub(crate) fn new(settings: &JwtKey) -> Result<Self, UnusableKey> {
        let (algorithm, key) = match settings {
            JwtKey::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret)),
            JwtKey::Public(pem) => public_key(pem).ok_or(UnusableKey)?,
            JwtKey::Jwk { algorithm, json } => web_key(algorithm, json).ok_or(UnusableKey)?,
        };
        let mut validation = Validation::new(algorithm);
        // Times are compared with the door's own clock; see `time_left`.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self { key, validation })
    }

    /// What a token says that this key has signed.
    pub(crate) fn verify(&self, token: &[u8]) -> Option<Claims> {
        let verified = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?;
        // Who marks something as critical wants it understood, or the token refused (RFC 7515,
        // section 4.1.11).
        verified.header.crit.is_none().then_some(verified.claims)
    }
}

fn public_key(pem: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    // Each refuses the keys of the others.
    let rsa = DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key));
    let ec = || DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key));
    let ed = || DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
    rsa.or_else(|_| ec()).or_else(|_| ed()).ok()
}

fn web_key(algorithm: &str, json: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let key = DecodingKey::from_jwk(&serde_json::from_slice(json).ok()?).ok()?;
    Some((algorithm.parse().ok()?, key))
}

/// The clients that are known by a claim, by the key that signs for them.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
}

/// A key and the clients that it signs for.
#[derive(Debug)]
struct Issuer {
    settings: JwtKey,
    key: Key,
    clients: Vec<(Name, HashMap<Name, usize>)>,
}

impl Tokens {
    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// `client` is who sends tokens with this `claim`, signed by this key.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub(crate) fn add(
        &mut self,
        settings: &JwtKey,
        (claim, value): (&Name, &Name),
        client: usize,
    ) -> Result<(), UnusableKey> {
        let known = self.issuers.iter().position(|issuer| issuer.settings == *settings);
        let at = known.unwrap_or(self.issuers.len());
        if known.is_none() {
            let (settings, key) = (settings.clone(), Key::new(settings)?);
            self.issuers.push(Issuer { settings, key, clients: Vec::new() });
        }
        let Some(issuer) = self.issuers.get_mut(at) else { return Ok(()) };
        let place = issuer.clients.iter().position(|(name, _)| name == claim);
        let place = place.unwrap_or_else(|| {
            issuer.clients.push((claim.clone(), HashMap::new()));
            issuer.clients.len() - 1
        });
        issuer.clients[place].1.insert(value.clone(), client);
        Ok(())
    }

    /// Whose token stands in this value of `Authorization`, and until when it need not be looked at
    /// again. `table` tells the tables of clients apart.
    pub(crate) fn find(
        &self,
        cache: &mut Cache<usize>,
        table: u64,
        authorization: &[u8],
        (now, wall): (Timestamp, SystemTime),
    ) -> Option<(usize, Timestamp)> {
        let token = bearer(authorization)?;
        cache.find(table, token, now, || self.verify(token, wall).ok_or(())).ok()
    }

    /// Whose token it is, and for how long it still is.
    fn verify(&self, token: &[u8], wall: SystemTime) -> Option<(usize, Duration)> {
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
        let left = time_left(&claims, wall)?;
        for issuer in &self.issuers {
            let Some(client) = issuer.named(&claims) else { continue };
            if issuer.key.verify(token).is_some() {
                return Some((client, left));
            }
        }
        None
    }
}

impl Issuer {
    fn named(&self, claims: &Claims) -> Option<usize> {
        self.clients
            .iter()
            .find_map(|(claim, clients)| clients.get(claims.get(&**claim)?.as_str()?).copied())
    }
}

/// The token in a value of `Authorization`, if it is one of a bearer and not too long.
pub(crate) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(b"bearer ".len())?;
    let token = token.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ") && token.len() <= TOKEN_BYTES_MAX;
    is_bearer.then_some(token)
}

/// How long a token with these claims is still valid; `None` when it is not (RFC 7519, sections
/// 4.1.4 and 4.1.5).
pub(crate) fn time_left(claims: &Claims, wall: SystemTime) -> Option<Duration> {
    let now = wall.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(()));
    let leeway = LEEWAY.as_secs_f64();
    if let Some(not_before) = time("nbf")
        && not_before.ok()? > now + leeway
    {
        return None;
    }
    let Some(expires) = time("exp") else { return Some(Duration::MAX) };
    let left = expires.ok()? + leeway - now;
    if left > 0.0 { Some(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)) } else { None }
}

/// A worker's verified tokens, and what was found in them.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    verified: HashMap<(u64, [u8; 32]), (T, Timestamp)>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { verified: HashMap::new() }
    }
}

impl<T: Clone> Cache<T> {
    /// What was found in a token, and until when it need not be looked at again: as it is
    /// remembered, or as `verify` says with the time that it is still valid. `table` tells apart
    /// what it was looked for in.
    ///
    /// # Errors
    /// Those of `verify`.
    pub(crate) fn find<E>(
        &mut self,
        table: u64,
        token: &[u8],
        now: Timestamp,
        verify: impl FnOnce() -> Result<(T, Duration), E>,
    ) -> Result<(T, Timestamp), E> {
        let mut key = (table, [0; 32]);
        key.1.copy_from_slice(digest(&SHA256, token).as_ref());
        if let Some((found, until)) = self.verified.get(&key)
            && now < *until
        {
            return Ok((found.clone(), *until));
        }
        let (found, left) = verify()?;
        let until = now + left.min(REMEMBERED);
        if self.verified.len() >= CACHE_MAX {
            self.verified.clear();
        }
        self.verified.insert(key, (found.clone(), until));
        Ok((found, until))
    }
}

#[cfg(test)]
mod tests;
