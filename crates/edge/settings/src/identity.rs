//! Reads what a registered client is known by: `key`, or `keys` for several.
//!
//! A secret that is written here is hashed as it is read, or kept where `Debug` does not show it.
//! Invariant: no message holds a secret; excerpts of the text are masked where they are shown.

use std::io::Read as _;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use jsonwebtoken::DecodingKey;
use model::Name;
use model::configuration::{Identity, JwtKey};

use crate::finding::quote;
use crate::listen::network;
use crate::pool::token;
use crate::reader::{Table, Value};
use crate::server::host_name;

/// Identities of one client, at most.
const IDENTITIES_MAX: usize = 64;

/// Bytes of a value that a client is known by, at most.
const VALUE_BYTES_MAX: usize = 4_096;

/// Bytes of a URI in a certificate, at most: as many as a SPIFFE ID may have.
const URI_BYTES_MAX: usize = 2_048;

/// Bytes of a file that holds a key, at most.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a secret that tokens are signed with, at least: as many as the hash has (RFC 7518,
/// section 3.2).
const SECRET_BYTES_MIN: usize = 32;

const EXAMPLE: &str = "key = { header = \"x-api-key\", sha256 = \"...\" }";

/// An identity and what it was read from.
#[derive(Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) identity: Identity,
    pub(crate) value: Value<'a>,
}

/// Reads `key` or `keys` of a client.
pub(crate) fn identities<'a>(table: &mut Table<'a>) -> Vec<Placed<'a>> {
    let several = table.get("keys");
    if let (Some(value), Some(_)) = (&several, table.get("key")) {
        let message = "`key` and `keys` say the same thing".to_owned();
        value.invalid("conflicting-keys", message, "put all of them into `keys`");
    }
    let Some(value) = several else {
        let one = table.required("key", EXAMPLE);
        return one.map(|value| read(&value)).unwrap_or_default();
    };
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of tables");
        return Vec::new();
    };
    if array.is_empty() {
        let message = "`keys` must not be empty".to_owned();
        value.invalid("empty-list", message, format!("write `{EXAMPLE}`"));
    }
    let identities: Vec<Placed<'a>> = array.iter().flat_map(read).collect();
    if identities.len() > IDENTITIES_MAX {
        let message = format!("more than {IDENTITIES_MAX} keys of one client");
        value.invalid("too-many", message, "join networks, or register several clients");
    }
    identities
}

fn read<'a>(value: &Value<'a>) -> Vec<Placed<'a>> {
    let Some(mut table) =
        value.table("a table with `header`, `jwt_claim`, `certificate` or `network`")
    else {
        return Vec::new();
    };
    let ways = (
        table.get("header"),
        table.get("jwt_claim"),
        table.get("certificate"),
        table.get("network"),
    );
    let secret = Secret {
        sha256: table.get("sha256"),
        value: table.get("value"),
        secret_file: table.get("secret_file"),
        public_key_file: table.get("public_key_file"),
    };
    table.finish();
    let identities = match ways {
        (Some(header), None, None, None) => by_header(value, &header, secret).into_iter().collect(),
        (None, Some(claim), None, None) => by_claim(value, &claim, secret).into_iter().collect(),
        (None, None, Some(name), None) => {
            secret.refuse_all_but(&[], "certificate");
            by_certificate(&name).into_iter().collect()
        }
        (None, None, None, Some(networks)) => {
            secret.refuse_all_but(&[], "network");
            return by_network(&networks);
        }
        _ => {
            let message =
                "a client is known by a header, a token, a certificate or a network".to_owned();
            value.invalid(
                "conflicting-keys",
                message,
                format!(
                    "give one of `header`, `jwt_claim`, `certificate` and `network`, as in `{EXAMPLE}`"
                ),
            );
            Vec::new()
        }
    };
    identities.into_iter().map(|identity| Placed { identity, value: value.clone() }).collect()
}

/// What proves who a client is, as far as it is written.
struct Secret<'a> {
    sha256: Option<Value<'a>>,
    value: Option<Value<'a>>,
    secret_file: Option<Value<'a>>,
    public_key_file: Option<Value<'a>>,
}

impl Secret<'_> {
    /// Reports what has no meaning beside `other`.
    fn refuse_all_but(&self, keys: &[&str], other: &str) {
        let all = [&self.sha256, &self.value, &self.secret_file, &self.public_key_file];
        for value in all.into_iter().flatten().filter(|value| !keys.contains(&value.name)) {
            let message = format!("{} has no meaning beside {}", quote(value.name), quote(other));
            value.invalid("conflicting-keys", message, "remove one of them");
        }
    }
}

fn by_header(place: &Value<'_>, header: &Value<'_>, secret: Secret<'_>) -> Option<Identity> {
    secret.refuse_all_but(&["sha256", "value"], "header");
    let name = token(header, true);
    let sha256 = match (secret.sha256, secret.value) {
        (Some(value), None) => hash(&value),
        (None, Some(value)) => header_value(&value).map(|text| hashed(text.as_bytes())),
        _ => {
            let message = "a header is compared with one value".to_owned();
            let help = "give `sha256`, or `value`, which is hashed when it is read";
            place.invalid("conflicting-keys", message, help);
            None
        }
    };
    Some(Identity::Header { name: name?, sha256: sha256? })
}

fn hashed(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// 64 hex digits.
fn hash(value: &Value<'_>) -> Option<[u8; 32]> {
    let text = value.text()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.bytes().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 64) else {
        let message = "`sha256` has 64 hex digits".to_owned();
        let help = "make it with `printf %s \"$KEY\" | sha256sum`";
        value.invalid("invalid-hash", message, help);
        return None;
    };
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(hash)
}

/// A value that a request can have in a header. Never quoted: it is a secret.
fn header_value<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = value.text()?;
    let is_sent = !text.is_empty()
        && text.len() <= VALUE_BYTES_MAX
        && text.trim() == text
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !is_sent {
        let message = "this is not a header's value".to_owned();
        let help = "use 1 to 4096 visible ASCII characters, without blanks at the ends";
        value.invalid("invalid-header", message, help);
    }
    is_sent.then_some(text)
}

fn by_claim(place: &Value<'_>, claim: &Value<'_>, secret: Secret<'_>) -> Option<Identity> {
    secret.refuse_all_but(&["value", "secret_file", "public_key_file"], "jwt_claim");
    if secret.value.is_none() {
        let message = "`jwt_claim` needs `value`".to_owned();
        place.invalid("missing-key", message, "add the claim's `value`");
    }
    let (claim, value) = (claim_text(claim), secret.value.and_then(|value| claim_text(&value)));
    let key = match (secret.secret_file, secret.public_key_file) {
        (Some(file), None) => shared_secret(&file).map(JwtKey::Secret),
        (None, Some(file)) => public_key(&file).map(JwtKey::Public),
        _ => {
            let message = "a token's signature is checked with one key".to_owned();
            let help = "give `secret_file` (HS256), or `public_key_file`";
            place.invalid("conflicting-keys", message, help);
            None
        }
    };
    Some(Identity::Jwt { claim: claim?, value: value?, key: key? })
}

pub(crate) fn claim_text(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    let is_plain = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    if !is_plain {
        let message = format!("{} has 1 to 256 printable characters", quote(value.name));
        value.invalid("invalid-text", message, "write it as the issuer of tokens does");
    }
    is_plain.then(|| Name::from(text))
}

/// The bytes of a file that holds a key, without the line's end that editors leave.
fn key_file(value: &Value<'_>) -> Option<Vec<u8>> {
    let mut bytes = file_bytes(value, FILE_BYTES_MAX)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Some(bytes)
}

/// The bytes of a file; reports one that cannot be read, or is larger than allowed.
pub(crate) fn file_bytes(value: &Value<'_>, bytes_max: u64) -> Option<Vec<u8>> {
    let path = value.file()?;
    value.context.files.borrow_mut().insert(path.clone());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let message = format!("cannot read {}", quote(&path.to_string_lossy()));
        value.invalid("unreadable-file", message, error.to_string());
        return None;
    }
    if bytes.len() as u64 > bytes_max {
        let most = bytes_max >> 10;
        let message = format!("{} is larger than {most} KiB", quote(&path.to_string_lossy()));
        value.invalid("too-large", message, "name a file that holds what is needed only");
        return None;
    }
    Some(bytes)
}

/// The secret of an issuer, in a file.
pub(crate) fn shared_secret(value: &Value<'_>) -> Option<Vec<u8>> {
    let bytes = key_file(value)?;
    if bytes.len() >= SECRET_BYTES_MIN {
        return Some(bytes);
    }
    let message =
        format!("a secret that tokens are signed with has at least {SECRET_BYTES_MIN} bytes");
    value.invalid("short-token", message, "make one with `openssl rand -hex 32`");
    None
}

/// A public key in PEM, in a file.
pub(crate) fn public_key(value: &Value<'_>) -> Option<Vec<u8>> {
    let bytes = key_file(value)?;
    // What the door tries, in its order.
    let is_key = DecodingKey::from_rsa_pem(&bytes).is_ok()
        || DecodingKey::from_ec_pem(&bytes).is_ok()
        || DecodingKey::from_ed_pem(&bytes).is_ok();
    if is_key {
        return Some(bytes);
    }
    let message = "this is no public key in PEM of RSA, P-256 or Ed25519".to_owned();
    let help = "it begins with `-----BEGIN PUBLIC KEY-----`; make one from a private key with \
                `openssl pkey -pubout`";
    value.invalid("invalid-key", message, help);
    None
}

/// A DNS name, in lower case, or a URI as it is.
fn by_certificate(value: &Value<'_>) -> Option<Identity> {
    let text = value.text()?;
    let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && rest.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            && text.len() <= URI_BYTES_MAX
    });
    if is_uri {
        return Some(Identity::Certificate(Name::from(text)));
    }
    match host_name(text) {
        Ok(name) => Some(Identity::Certificate(name)),
        Err(help) => {
            let message = format!("{} is neither a DNS name nor a URI", quote(text));
            value.invalid("invalid-host", message, help);
            None
        }
    }
}

fn by_network<'a>(value: &Value<'a>) -> Vec<Placed<'a>> {
    let several = value.as_array();
    if several.as_ref().is_some_and(Vec::is_empty) {
        let message = "`network` must not be empty".to_owned();
        value.invalid("empty-list", message, "name a network, such as \"10.1.0.0/16\"");
    }
    let values = several.unwrap_or_else(|| vec![value.clone()]);
    let placed = |value: Value<'a>| {
        let network: IpNet = network(&value)?;
        Some(Placed { identity: Identity::Network(network), value })
    };
    values.into_iter().filter_map(placed).collect()
}
