//! Ways to keep passwords, as other balancers know them, and which of them this door knows.

/// What to do with passwords that the door does not know.
pub(super) const ANEW: &str = "make the passwords anew with `htpasswd -B`";

/// How a password is kept, when that is none of the ways the door knows: bcrypt and Argon2id.
pub(super) fn unknown(hash: &str) -> Option<&'static str> {
    let begins = |start: &str| hash.starts_with(start);
    match hash {
        _ if ["$2y$", "$2a$", "$2b$", "$argon2id$"].into_iter().any(begins) => None,
        _ if begins("$apr1$") => Some("as Apache's MD5 (`$apr1$`)"),
        _ if begins("$1$") => Some("as MD5 (`$1$`)"),
        _ if begins("$5$") || begins("$6$") => Some("as SHA-2 of crypt (`$5$`, `$6$`)"),
        _ if begins("{SHA}") || begins("{SSHA}") => Some("as SHA-1 (`{SHA}`, `{SSHA}`)"),
        _ if begins("{PLAIN}") => Some("in clear (`{PLAIN}`)"),
        _ if begins("$") => Some("in a way that the door does not know"),
        _ => Some("as DES of crypt, or in clear"),
    }
}

/// Whether the door shows this text where it asks for a password.
pub(super) fn is_realm(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte))
}
