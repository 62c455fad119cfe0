//! Reads users and the hashes of their passwords, as `htpasswd` writes them or in the
//! configuration itself.
//!
//! A hash that takes seconds, or much memory, would let whoever guesses passwords keep the door
//! busy: such ones are refused here, so that each hash costs a bounded time.

use std::collections::BTreeMap;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use model::Name;

use crate::finding::quote;
use crate::identity::file_bytes;
use crate::reader::Value;

/// Users of one route, at most.
const USERS_MAX: usize = 10_000;

/// Bytes of a file of users, at most.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The costs of bcrypt that are taken: at the highest, a hash takes about a second.
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 4..=14;

/// The most memory of Argon2id, in KiB, times its passes: at the highest, a hash takes about a
/// second.
const ARGON2_WORK_MAX: u64 = 1 << 20;
const ARGON2_MEMORY_MAX: u32 = 256 << 10;

const MAKE: &str =
    "make it with `htpasswd -n -B -C 12 NAME`, or with `argon2` for Argon2id in PHC format";

/// The users in a file with a name, a colon and a hash in each line.
pub(super) fn of_file(value: &Value<'_>) -> Option<Vec<(Name, Name)>> {
    let bytes = file_bytes(value, FILE_BYTES_MAX)?;
    let mut users = BTreeMap::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match user_of(line, &users) {
            Ok(None) => {}
            Ok(Some((name, hash))) => drop(users.insert(name, hash)),
            Err(problem) => {
                let file = value.as_text().unwrap_or_default();
                let message = format!("line {number} of {} {problem}", quote(file));
                value.invalid("invalid-users", message, MAKE);
                return None;
            }
        }
    }
    checked(value, users)
}

/// The user in a line; none in one that is empty or a comment.
fn user_of(line: &[u8], known: &BTreeMap<Name, Name>) -> Result<Option<(Name, Name)>, String> {
    let line = std::str::from_utf8(line).map_err(|_no_text| "is no UTF-8 text".to_owned())?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line.split_once(':').ok_or("has no colon between a name and a hash")?;
    check_name(name)?;
    check_hash(hash)?;
    if known.contains_key(name) {
        return Err("names a user that stands above already".to_owned());
    }
    Ok(Some((Name::from(name), Name::from(hash))))
}

/// The users in a table of names and hashes.
pub(super) fn of_table(value: &Value<'_>) -> Option<Vec<(Name, Name)>> {
    let table = value.table("a table of names and hashes")?;
    let mut users = BTreeMap::new();
    let mut is_whole = true;
    for entry in table.entries() {
        let Some(hash) = entry.text() else {
            is_whole = false;
            continue;
        };
        let checked = check_name(entry.name).and_then(|()| check_hash(hash));
        if let Err(problem) = checked {
            let message = format!("this user {problem}");
            entry.invalid("invalid-users", message, MAKE);
            is_whole = false;
            continue;
        }
        users.insert(Name::from(entry.name), Name::from(hash));
    }
    if is_whole { checked(value, users) } else { None }
}

fn checked(value: &Value<'_>, users: BTreeMap<Name, Name>) -> Option<Vec<(Name, Name)>> {
    if users.is_empty() {
        let message = format!("{} names nobody", quote(value.name));
        value.invalid("empty-list", message, MAKE);
        return None;
    }
    if users.len() > USERS_MAX {
        let message = format!("more than {USERS_MAX} users of one route");
        value.invalid("too-many", message, "ask a server that knows them, with `forward_auth`");
        return None;
    }
    Some(users.into_iter().collect())
}

/// A name that can be sent (RFC 7617, section 2) and shown.
fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=255).contains(&name.len())
        && !name.contains(':')
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    if fits { Ok(()) } else { Err("has a name that nobody can send".to_owned()) }
}

fn check_hash(hash: &str) -> Result<(), String> {
    if hash.starts_with("$argon2id$") {
        return check_argon2id(hash);
    }
    let bcrypt = ["$2y$", "$2b$", "$2a$"].iter().find_map(|prefix| hash.strip_prefix(prefix));
    let Some((cost, rest)) = bcrypt.and_then(|rest| rest.split_once('$')) else {
        return Err("has a hash that is neither bcrypt nor Argon2id".to_owned());
    };
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits || rest.len() != 53 || !rest.bytes().all(is_base64) {
        return Err("has a broken hash of bcrypt".to_owned());
    }
    if cost.parse().is_ok_and(|cost: u32| BCRYPT_COST.contains(&cost)) {
        return Ok(());
    }
    let (least, most) = (BCRYPT_COST.start(), BCRYPT_COST.end());
    Err(format!("has a hash of bcrypt with a cost that is not from {least} to {most}"))
}

fn check_argon2id(hash: &str) -> Result<(), String> {
    let parsed = PasswordHash::new(hash).ok().filter(|parsed| {
        parsed.hash.is_some() && parsed.salt.is_some() && hash.starts_with("$argon2id$v=19$")
    });
    let params = parsed.and_then(|parsed| Params::try_from(&parsed).ok());
    let Some(params) = params else { return Err("has a broken hash of Argon2id".to_owned()) };
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > ARGON2_MEMORY_MAX || work > ARGON2_WORK_MAX {
        return Err("has a hash of Argon2id that takes more than 256 MiB, or seconds".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_of_two_kinds_and_of_bounded_cost() {
        let salted = "R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
        let argon2 = |parameters: &str| {
            format!("$argon2id$v=19${parameters}$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")
        };
        let bcrypt = |start: &str| format!("{start}{salted}");
        for good in [
            bcrypt("$2y$10$"),
            bcrypt("$2b$04$"),
            bcrypt("$2a$14$"),
            argon2("m=65536,t=3,p=4"),
            argon2("m=19456,t=2,p=1"),
        ] {
            assert_eq!(check_hash(&good), Ok(()), "{good}");
        }
        for bad in [
            bcrypt("$2y$15$"),
            bcrypt("$2y$03$"),
            bcrypt("$2y$+9$"),
            bcrypt("$2x$10$"),
            bcrypt("$2y$10$a"),
            "$2y$10$".to_owned(),
            "$apr1$x$y".to_owned(),
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
            "password".to_owned(),
            String::new(),
            argon2("m=1048576,t=1,p=1"),
            argon2("m=131072,t=9,p=1"),
            argon2("m=1,t=1"),
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ".to_owned(),
            "$argon2i$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
        ] {
            assert!(check_hash(&bad).is_err(), "{bad}");
        }
    }
}
