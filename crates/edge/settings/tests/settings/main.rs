//! The settings as their callers see them: text in, findings and configuration out.
//!
//! One binary for all of them, so that there is one thing to link.

mod authentication;
mod clients;
mod compression;
mod configuration;
mod drills;
mod expressions;
mod findings;
mod headers;
mod import_haproxy;
mod import_haproxy_corpus;
mod import_haproxy_rules;
mod import_nginx;
mod import_nginx_locations;
mod rendering;
mod robustness;
mod routes;
mod rules;
mod shape;
mod syntax;
mod tcp;

use std::path::{Path, PathBuf};

use settings::{Checked, Environment, Finding, Source};

/// A machine of round numbers.
fn environment() -> Environment {
    Environment {
        open_files_max: 1_024,
        processors: 4,
        user_is_root: false,
        uid: 1_000,
        runtime_dir: None,
        state_directory: None,
        state_home: None,
        now_unix_s: NOW_UNIX_S,
    }
}

/// 2026-01-01T00:00:00Z.
const NOW_UNIX_S: i64 = 1_767_225_600;

/// A certificate that ends at the beginning of this day, as PEM.
fn certificate_until(year: i32, month: u8, day: u8) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(year, month, day);
    let key = rcgen::KeyPair::generate().expect("keys can be made");
    params.self_signed(&key).expect("it signs itself").pem()
}

fn source(text: &str, folder: &Path) -> Source {
    Source { name: "tidegate.toml".to_owned(), text: text.to_owned(), folder: folder.to_owned() }
}

fn check(text: &str) -> Checked {
    settings::check(&source(text, &PathBuf::from("/nonexistent")), &environment())
}

/// One finding in a line: `error[rule] 1:2 message (label) help: help`.
fn line(finding: &Finding) -> String {
    let help = finding.help.as_ref().map(|help| format!(" help: {help}")).unwrap_or_default();
    format!(
        "{}[{}] {}:{} {} ({}){help}",
        finding.severity.as_str(),
        finding.rule,
        finding.line,
        finding.column,
        finding.message,
        finding.label,
    )
}

fn lines(checked: &Checked) -> Vec<String> {
    checked.findings.iter().map(line).collect()
}

/// As `htpasswd -B -C 4` makes it.
const PASSWORD_HASH: &str = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

/// One key of each kind that is taken, and one of each of some that are not (RFC 7517, appendix A;
/// RFC 8037, appendix A).
const KEY_SET: &str = r#"{"keys": [
    {"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig",
     "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
    {"kty": "RSA", "e": "AQAB", "alg": "PS256", "kid": "2", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"},
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "EC", "crv": "P-256", "kid": "enc", "use": "enc",
     "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
     "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
    {"kty": "oct", "kid": "secret", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
    {"kty": "other", "kid": "unknown"}
]}"#;

/// A folder with files to name: `a.pem`, `a.key`, `token` (valid), `short` (too short), `secret`
/// (of 32 bytes), `public.pem`, `users` (alice and bob), `jwks.json`, and `capacity.json` (1000
/// requests/s).
fn folder_with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in [
        ("a.pem", "certificate"),
        ("a.key", "key"),
        ("token", "0123456789abcdef\n"),
        ("short", "0123456789\n"),
        ("secret", "0123456789abcdef0123456789abcdef\n"),
        ("public.pem", PUBLIC_KEY),
        ("capacity.json", CAPACITY),
        ("users", &format!("# of the staff\nalice:{PASSWORD_HASH}\n\nbob:{PASSWORD_HASH}\r\n")),
        ("jwks.json", KEY_SET),
    ] {
        std::fs::write(folder.path().join(name), content).expect("a file in it");
    }
    let ended = certificate_until(2025, 12, 31);
    std::fs::write(folder.path().join("ended.pem"), ended).expect("a file in it");
    folder
}

/// The example of RFC 8410, section 10.1.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

const CAPACITY: &str = r#"{
  "url": "http://127.0.0.1:8080/", "measured_at": "2026-01-02T03:04:05Z",
  "per_second": 1000, "low_per_second": 1000, "high_per_second": 1050,
  "p99_ms_max": 50, "failed_share_max": 0.01, "bound_by": "latency"
}"#;
