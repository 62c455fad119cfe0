//! Which tokens are let in, with what, and what the others are told.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::configuration::JwtKey;
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const NOW: u64 = 2_000_000_000;

fn settings() -> JwtAuthentication {
    JwtAuthentication {
        keys: vec![(None, JwtKey::Secret(SECRET.to_vec()))],
        issuer: Some("https://issuer.example".into()),
        audiences: vec!["api".into(), "admin".into()],
        claims: vec![("scope".into(), "read".into())],
        headers: vec![("x-user".into(), "sub".into()), ("x-roles".into(), "roles".into())],
    }
}

/// Claims that are let in.
fn good() -> Value {
    json!({
        "sub": "alice", "iss": "https://issuer.example", "aud": ["other", "api"],
        "scope": "write read", "exp": NOW + 100,
    })
}

fn verify(settings: &JwtAuthentication, token: &str) -> Result<(Rc<Admitted>, Duration), Refused> {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    Issuer::new(settings, 0).unwrap().verify(token.as_bytes(), wall)
}

fn sign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// What a token with the good claims and these instead of some comes to; `null` takes one away.
#[track_caller]
fn check(changed: Value, expected: Result<&str, Refused>) {
    let mut claims = good();
    for (name, value) in changed.as_object().unwrap() {
        let claims = claims.as_object_mut().unwrap();
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    let found = verify(&settings(), &sign(&Header::new(Algorithm::HS256), &claims));
    let found = found.map(|(admitted, _)| String::from_utf8(admitted.lines.clone()).unwrap());
    assert_eq!(found.as_deref().map_err(|refused| *refused), expected, "{changed}");
}

#[test]
fn every_claim_that_is_asked_for_counts() {
    let alice = Ok("x-user: alice\r\n");
    check(json!({}), alice);
    check(json!({ "exp": null }), Err(Refused::Invalid("it never expires")));
    check(json!({ "exp": NOW - 59 }), alice);
    check(json!({ "exp": NOW - 60 }), Err(Refused::Invalid("it is not valid now")));
    check(json!({ "exp": "never" }), Err(Refused::Invalid("it is not valid now")));
    check(json!({ "nbf": NOW + 61 }), Err(Refused::Invalid("it is not valid now")));
    for iss in [json!(null), json!("https://issuer.example/"), json!(["https://issuer.example"])] {
        check(json!({ "iss": iss }), Err(Refused::Invalid("it is of another issuer")));
    }
    check(json!({ "aud": "admin" }), alice);
    for aud in [json!(null), json!("other"), json!([]), json!("other api")] {
        check(json!({ "aud": aud }), Err(Refused::Invalid("it is for another audience")));
    }
    for scope in [json!("read"), json!(["read"]), json!(["write", "read"])] {
        check(json!({ "scope": scope }), alice);
    }
    for scope in [json!(null), json!("write"), json!("reader"), json!({ "read": true })] {
        check(json!({ "scope": scope }), Err(Refused::Insufficient(0)));
    }
}

#[test]
fn claims_are_found_within_others() {
    let mut settings = settings();
    settings.claims = vec![("realm_access.roles".into(), "admin".into())];
    settings.headers = vec![("x-level".into(), "realm_access.level".into())];
    let check = |changed: Value, expected: Result<&str, Refused>| {
        let mut claims = good();
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        let found = verify(&settings, &sign(&Header::new(Algorithm::HS256), &claims));
        let found = found.map(|(admitted, _)| String::from_utf8(admitted.lines.clone()).unwrap());
        assert_eq!(found.as_deref().map_err(|refused| *refused), expected, "{changed}");
    };
    let lacks = || Err(Refused::Insufficient(0));
    check(
        json!({ "realm_access": { "roles": ["user", "admin"], "level": 3 } }),
        Ok("x-level: 3\r\n"),
    );
    check(json!({ "realm_access": { "roles": "admin" } }), Ok(""));
    check(json!({ "realm_access": { "roles": ["user"] } }), lacks());
    check(json!({ "realm_access": { "roles": { "admin": true } } }), lacks());
    check(json!({ "realm_access": "admin", "roles": ["admin"] }), lacks());
    check(json!({}), lacks());
    // A claim of the whole name is the one that is meant.
    check(json!({ "realm_access.roles": "admin" }), Ok(""));
    let both = json!({ "realm_access.roles": "user", "realm_access": { "roles": "admin" } });
    check(both, lacks());
}

#[test]
fn claims_become_fields_and_never_lines() {
    check(json!({ "roles": ["a", "b", 3] }), Ok("x-user: alice\r\nx-roles: a,b,3\r\n"));
    check(json!({ "roles": true, "sub": null }), Ok("x-roles: true\r\n"));
    check(
        json!({ "roles": { "a": ["b\r\nc"] } }),
        Ok(concat!("x-user: alice\r\n", r#"x-roles: {"a":["b\r\nc"]}"#, "\r\n")),
    );
    for name in ["a\r\nx-admin: 1", "a\nb", "a\0", " a", "\u{85}"] {
        check(json!({ "sub": name }), Err(Refused::Invalid("a claim is no text")));
    }
}

#[test]
fn a_key_with_an_id_is_for_tokens_that_name_it() {
    let mut settings = settings();
    settings.keys = vec![
        (Some("old".into()), JwtKey::Secret(b"another secret of thirty-two bytes".to_vec())),
        (Some("new".into()), JwtKey::Secret(SECRET.to_vec())),
    ];
    for (id, is_known) in
        [(Some("new"), true), (Some("old"), false), (Some("x"), false), (None, false)]
    {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = id.map(str::to_owned);
        assert_eq!(verify(&settings, &sign(&header, &good())).is_ok(), is_known, "{id:?}");
    }
}

#[test]
fn what_is_critical_and_not_known_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".to_owned()]);
    assert!(verify(&settings(), &sign(&header, &good())).is_err());
}

#[test]
fn a_refusal_says_why() {
    let issuer = Issuer::new(&settings(), 0).unwrap();
    let line = |refused| match issuer.challenge(refused) {
        Denied::Challenged(reason, line) => (reason, String::from_utf8(line).unwrap()),
        Denied::Refused(_) | Denied::Answered(_) => panic!("no challenge"),
    };
    let start = "www-authenticate: Bearer realm=\"restricted\", error=";
    assert_eq!(
        line(Refused::Invalid("why")),
        (
            Reason::Unauthenticated,
            format!("{start}\"invalid_token\", error_description=\"why\"\r\n")
        )
    );
    let scope = format!("{start}\"insufficient_scope\", scope=\"read\"\r\n");
    assert_eq!(line(Refused::Insufficient(0)), (Reason::Forbidden, scope));
}
