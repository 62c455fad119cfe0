//! Reads the keys whose signatures count: one in a file of its own, or a JSON Web Key Set
//! (RFC 7517).
//!
//! What a key signs with is settled here, by the key: a token has no say in it.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use model::Name;
use model::configuration::JwtKey;

use crate::finding::quote;
use crate::identity::{file_bytes, public_key, shared_secret};
use crate::reader::Value;

/// Keys of one set, at most.
const KEYS_MAX: usize = 64;

/// Bytes of a file that holds a set, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

type Keys = Vec<(Option<Name>, JwtKey)>;

/// Reads the one of the three that is given. `place` is the table they stand in.
pub(super) fn keys(
    place: &Value<'_>,
    public: Option<Value<'_>>,
    secret: Option<Value<'_>>,
    set: Option<Value<'_>>,
) -> Option<Keys> {
    match (public, secret, set) {
        (Some(file), None, None) => Some(vec![(None, JwtKey::Public(public_key(&file)?))]),
        (None, Some(file), None) => Some(vec![(None, JwtKey::Secret(shared_secret(&file)?))]),
        (None, None, Some(file)) => key_set(&file),
        _ => {
            let message = "a token's signature is checked with keys of one file".to_owned();
            let help = "give one of `public_key_file`, `secret_file` (HS256) and `jwks_file`";
            place.invalid("conflicting-keys", message, help);
            None
        }
    }
}

fn key_set(value: &Value<'_>) -> Option<Keys> {
    let bytes = file_bytes(value, FILE_BYTES_MAX)?;
    let file = value.as_text().unwrap_or_default();
    let set = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let Some(members) = set.as_ref().and_then(|set| set.get("keys")?.as_array()) else {
        let message = format!("{} is no JSON Web Key Set", quote(file));
        value.invalid("invalid-key", message, "it begins with `{\"keys\": [`");
        return None;
    };
    // Of a kind that is not known, a key may be meant for something else (RFC 7517, section 5).
    let keys: Keys = members.iter().filter_map(key).collect();
    if keys.is_empty() || keys.len() > KEYS_MAX {
        let message = format!("{} has no public key that signs tokens, or too many", quote(file));
        let help = format!(
            "1 to {KEYS_MAX} keys are taken: RSA, P-256, P-384 or Ed25519, not of `use` `enc`"
        );
        value.invalid("invalid-key", message, help);
        return None;
    }
    Some(keys)
}

fn key(member: &serde_json::Value) -> Option<(Option<Name>, JwtKey)> {
    let json = member.to_string().into_bytes();
    let jwk: Jwk = serde_json::from_slice(&json).ok()?;
    let signs =
        jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let algorithm = algorithm_of(&jwk).filter(|_| signs && DecodingKey::from_jwk(&jwk).is_ok())?;
    let id = jwk.common.key_id.as_deref().map(Name::from);
    Some((id, JwtKey::Jwk { algorithm: Name::from(format!("{algorithm:?}")), json }))
}

/// What a public key signs with: as it says, if it can; else the commonest of its kind.
#[expect(clippy::wildcard_enum_match_arm, reason = "a kind of key that is not known signs nothing")]
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let said = jwk.common.key_algorithm;
    let only =
        |own: KeyAlgorithm, algorithm| said.is_none_or(|said| said == own).then_some(algorithm);
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => match said.unwrap_or(KeyAlgorithm::RS256) {
            KeyAlgorithm::RS256 => Some(Algorithm::RS256),
            KeyAlgorithm::RS384 => Some(Algorithm::RS384),
            KeyAlgorithm::RS512 => Some(Algorithm::RS512),
            KeyAlgorithm::PS256 => Some(Algorithm::PS256),
            KeyAlgorithm::PS384 => Some(Algorithm::PS384),
            KeyAlgorithm::PS512 => Some(Algorithm::PS512),
            _ => None,
        },
        AlgorithmParameters::EllipticCurve(params) => match params.curve {
            EllipticCurve::P256 => only(KeyAlgorithm::ES256, Algorithm::ES256),
            EllipticCurve::P384 => only(KeyAlgorithm::ES384, Algorithm::ES384),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(params) => match params.curve {
            EllipticCurve::Ed25519 => only(KeyAlgorithm::EdDSA, Algorithm::EdDSA),
            _ => None,
        },
        _ => None,
    }
}
