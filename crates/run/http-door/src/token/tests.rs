//! Tokens as issuers sign them, and as nobody should: what is taken, and for whom.

use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn tokens(key: JwtKey) -> Tokens {
    let mut tokens = Tokens::default();
    tokens.add(&key, (&"client_id".into(), &"partner".into()), 3).unwrap();
    tokens
}

fn sign(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn hmac(claims: &Value) -> String {
    sign(Algorithm::HS256, claims, &EncodingKey::from_secret(SECRET))
}

/// Whom a token with these claims is of, signed by the shared secret.
#[track_caller]
fn check(claims: &Value, expected: Option<usize>) {
    let found = tokens(JwtKey::Secret(SECRET.to_vec())).verify(hmac(claims).as_bytes(), wall());
    assert_eq!(found.map(|(client, _)| client), expected, "{claims}");
}

#[test]
fn a_claim_names_the_client_while_the_token_is_valid() {
    check(&json!({ "client_id": "partner" }), Some(3));
    check(&json!({ "client_id": "partner", "exp": 2_000_000_001, "aud": "api" }), Some(3));
    check(&json!({ "client_id": "partner", "exp": 1_999_999_941 }), Some(3));
    check(&json!({ "client_id": "partner", "exp": 1_999_999_940 }), None);
    check(&json!({ "client_id": "partner", "exp": "soon" }), None);
    check(&json!({ "client_id": "partner", "nbf": 2_000_000_060 }), Some(3));
    check(&json!({ "client_id": "partner", "nbf": 2_000_000_061 }), None);
    check(&json!({ "client_id": "stranger" }), None);
    check(&json!({ "client_id": 3 }), None);
    check(&json!({ "sub": "partner" }), None);
}

#[test]
fn a_token_that_was_signed_otherwise_is_nobodys() {
    let claims = json!({ "client_id": "partner" });
    let tokens = tokens(JwtKey::Secret(SECRET.to_vec()));
    let whose = |token: &str| tokens.verify(token.as_bytes(), wall()).map(|(client, _)| client);
    let good = hmac(&claims);
    assert_eq!(whose(&good), Some(3));
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    assert_eq!(whose(&sign(Algorithm::HS256, &claims, &other)), None);
    let stronger = EncodingKey::from_secret(SECRET);
    assert_eq!(whose(&sign(Algorithm::HS512, &claims, &stronger)), None);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = message.split_once('.').unwrap();
    // {"alg":"none"}
    assert_eq!(whose(&format!("eyJhbGciOiJub25lIn0.{payload}.")), None);
    assert_eq!(whose(&format!("eyJhbGciOiJub25lIn0.{payload}.{signature}")), None);
    for text in ["", ".", "..", "a.b.c", message] {
        assert_eq!(whose(text), None, "{text:?}");
    }
}

#[test]
fn the_kind_of_a_public_key_says_how_it_signs() {
    let claims = json!({ "client_id": "partner" });
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let keys = [
        (Algorithm::RS256, &rsa, EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes())),
        (Algorithm::ES256, &ec, EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes())),
        (Algorithm::EdDSA, &ed, EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes())),
    ];
    let keys = keys.map(|(algorithm, pair, signing)| (algorithm, pair, signing.unwrap()));
    for (algorithm, pair, _) in &keys {
        let pem = pair.public_key_pem().into_bytes();
        let tokens = tokens(JwtKey::Public(pem.clone()));
        for (other, _, signing) in &keys {
            let token = sign(*other, &claims, signing);
            let expected = (other == algorithm).then_some((3, Duration::MAX));
            assert_eq!(
                tokens.verify(token.as_bytes(), wall()),
                expected,
                "{algorithm:?} {other:?}"
            );
        }
        // A public key is no secret: whoever knows it must not sign with it.
        let forged = sign(Algorithm::HS256, &claims, &EncodingKey::from_secret(&pem));
        assert_eq!(tokens.verify(forged.as_bytes(), wall()), None);
    }
    for text in ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        let key = JwtKey::Public(text.into());
        assert!(Tokens::default().add(&key, (&"a".into(), &"b".into()), 0).is_err(), "{text:?}");
    }
}

#[test]
fn a_verified_token_is_remembered_until_it_ends() {
    let mut cache = Cache::default();
    let known = tokens(JwtKey::Secret(SECRET.to_vec()));
    let nobody = Tokens::default();
    let value = |claims: &Value| format!("bearer  {}", hmac(claims)).into_bytes();
    let short = value(&json!({ "client_id": "partner", "exp": 1_999_999_945 }));
    let first = Timestamp::ZERO + Duration::from_secs(1);
    let until = first + Duration::from_secs(5);
    let mut find =
        |tokens: &Tokens, table, now| tokens.find(&mut cache, table, &short, (now, wall()));
    assert_eq!(find(&known, 1, first), Some((3, until)));
    assert_eq!(find(&nobody, 1, first), Some((3, until)));
    assert_eq!(find(&nobody, 2, first), None);
    assert_eq!(find(&nobody, 1, until), None);
    let long = value(&json!({ "client_id": "partner" }));
    let found = known.find(&mut cache, 1, &long, (first, wall()));
    assert_eq!(found, Some((3, first + REMEMBERED)));
    for text in ["", "Bearer", "Basic cGFydG5lcg==", "Bearer "] {
        let found = known.find(&mut cache, 1, text.as_bytes(), (first, wall()));
        assert_eq!(found, None, "{text:?}");
    }
}

#[test]
fn a_full_memory_begins_anew() {
    let mut cache = Cache::default();
    let known = tokens(JwtKey::Secret(SECRET.to_vec()));
    for number in 0..=CACHE_MAX {
        let token = hmac(&json!({ "client_id": "partner", "jti": number }));
        let value = format!("Bearer {token}");
        let found = known.find(&mut cache, 1, value.as_bytes(), (Timestamp::ZERO, wall()));
        assert!(found.is_some() && cache.verified.len() <= CACHE_MAX, "{number}");
    }
    assert_eq!(cache.verified.len(), 1);
}
