//! Reads `tls` of listeners, and the certificates that the door shows.

use std::path::PathBuf;

use model::Name;
use model::configuration::{
    Acme, AcmeChallenge, CertificateFiles, ClientCertificates, Door, ListenerTls, TlsVersion,
};

use crate::finding::quote;
use crate::reader::{Table, Value};
use crate::server::host_name;

/// The directory of Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Hosts of one certificate that the door obtains, at most: what authorities sign.
const ACME_HOSTS_MAX: usize = 100;

/// Files of revocation lists, at most.
const REVOCATION_MAX: usize = 64;

/// `[listen.NAME] tls`.
pub(crate) fn of_listener(value: &Value<'_>, door: &Door) -> Option<ListenerTls> {
    let mut table = value.table("a table")?;
    let acme = table.get("acme");
    let obtains = acme.is_some();
    let certificates = certificates(&mut table, obtains);
    let acme = acme.and_then(|value| acme_of(&value, door));
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let version_min = table.choice("version_min", TlsVersion::Tls12, &versions);
    let strict_sni = table.boolean("strict_sni", false);
    let clients = table.get("clients");
    let asks = clients.is_some();
    let clients = clients.and_then(|value| clients_of(&value));
    table.finish();
    // Never a listener that asks nobody where the text says that it asks.
    if asks && clients.is_none() || obtains && acme.is_none() {
        return None;
    }
    let mut certificates = certificates?;
    certificates.extend(acme.iter().map(|acme| acme.files.clone()));
    Some(ListenerTls { certificates, version_min, strict_sni, clients, acme })
}

/// All of the files; none need be named where the door obtains one by itself.
fn certificates(table: &mut Table<'_>, obtains: bool) -> Option<Vec<CertificateFiles>> {
    let example = "certificates = [{ certificate = \"web.pem\", key = \"web.key\" }]";
    let value = if obtains {
        table.get("certificates")
    } else {
        Some(table.required("certificates", example)?)
    };
    let Some(value) = value else { return Some(Vec::new()) };
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of tables");
        return None;
    };
    if array.is_empty() {
        let message = "`certificates` must not be empty".to_owned();
        value.invalid("empty-list", message, format!("add one: `{example}`"));
    }
    // All are read before any is missed, so that every mistake is reported.
    let read: Vec<Option<CertificateFiles>> = array.iter().map(listeners_certificate).collect();
    read.into_iter().collect()
}

/// A certificate that the door obtains by itself.
fn acme_of(value: &Value<'_>, door: &Door) -> Option<Acme> {
    let mut table = value.table("a table with `hosts`")?;
    let hosts = table.required("hosts", "hosts = [\"www.example.com\"]");
    let hosts = hosts.and_then(|value| hosts_of(&value));
    let contact = table.get("contact").and_then(|value| begins(&value, "mailto:"));
    let directory = table
        .get("directory")
        .map_or(Some(Name::from(DIRECTORY)), |value| begins(&value, "https://"));
    let roots = table.get("roots");
    let trusts = roots.is_some();
    let roots = roots.and_then(|value| value.file());
    let kinds = [("http-01", AcmeChallenge::Http01), ("tls-alpn-01", AcmeChallenge::TlsAlpn01)];
    let challenge = table.choice("challenge", AcmeChallenge::Http01, &kinds);
    table.finish();
    let Some(state) = &door.state else {
        let message = "there is no folder to keep the account and the certificate in".to_owned();
        value.invalid("conflicting-keys", message, "set `state` in `[door]` to a folder");
        return None;
    };
    if trusts && roots.is_none() {
        return None;
    }
    let folder = state.folder.join("acme");
    let hosts = hosts?;
    // Named for the first: others may come and go.
    let own = folder.join(&**hosts.first()?);
    let (certificate, key) = (own.join("certificate.pem"), own.join("key.pem"));
    let files = CertificateFiles { certificate, key, ocsp: None };
    Some(Acme { hosts, contact, directory: directory?, roots, challenge, folder, files })
}

fn hosts_of(value: &Value<'_>) -> Option<Vec<Name>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of hosts");
        return None;
    };
    if array.is_empty() || array.len() > ACME_HOSTS_MAX {
        let message = format!("one certificate has 1 to {ACME_HOSTS_MAX} hosts");
        value.invalid("empty-list", message, "write `hosts = [\"www.example.com\"]`");
        return None;
    }
    let host = |value: &Value<'_>| {
        let text = value.text()?;
        let help = match host_name(text) {
            Ok(name) if name.parse::<std::net::IpAddr>().is_err() => return Some(name),
            Ok(_) => "an address is no host",
            Err(help) => help,
        };
        value.invalid("invalid-host", format!("{} is not a host", quote(text)), help);
        None
    };
    let read: Vec<Option<Name>> = array.iter().map(host).collect();
    read.into_iter().collect()
}

/// A URL of this scheme.
fn begins(value: &Value<'_>, scheme: &str) -> Option<Name> {
    let text = value.text()?;
    let rest = text.strip_prefix(scheme);
    let plain = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
    if rest.is_some_and(plain) && text.len() <= 2_048 {
        return Some(Name::from(text));
    }
    let message = format!("{} does not begin with `{scheme}`", quote(text));
    value.invalid("invalid-url", message, format!("write it as `{scheme}...`"));
    None
}

fn listeners_certificate(value: &Value<'_>) -> Option<CertificateFiles> {
    let mut table = value.table("tables with `certificate` and `key`")?;
    let pair = pair(&mut table);
    let ocsp = table.get("ocsp");
    table.finish();
    let named = ocsp.is_some();
    let ocsp = ocsp.and_then(|value| value.file());
    if named && ocsp.is_none() {
        return None;
    }
    pair.map(|(certificate, key)| CertificateFiles { certificate, key, ocsp })
}

/// What the door shows to servers.
pub(crate) fn pools_certificate(value: &Value<'_>) -> Option<CertificateFiles> {
    let mut table = value.table("a table with `certificate` and `key`")?;
    let pair = pair(&mut table);
    table.finish();
    pair.map(|(certificate, key)| CertificateFiles { certificate, key, ocsp: None })
}

fn pair(table: &mut Table<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate = table.required("certificate", "certificate = \"web.pem\"");
    let key = table.required("key", "key = \"web.key\"");
    let (certificate, key) =
        (certificate.and_then(|value| value.file()), key.and_then(|value| value.file()));
    Some((certificate?, key?))
}

fn clients_of(value: &Value<'_>) -> Option<ClientCertificates> {
    let mut table = value.table("a table with `roots`")?;
    let roots = table.required("roots", "roots = \"clients.pem\"").and_then(|value| value.file());
    let revocation = table.get("revocation").map_or(Some(Vec::new()), |value| lists(&value));
    let required = table.boolean("required", true);
    table.finish();
    Some(ClientCertificates { roots: roots?, revocation: revocation?, required })
}

fn lists(value: &Value<'_>) -> Option<Vec<PathBuf>> {
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of files");
        return None;
    };
    if array.is_empty() {
        let message = "`revocation` must not be empty".to_owned();
        value.invalid("empty-list", message, "name a file, or remove it");
    }
    if array.len() > REVOCATION_MAX {
        let message = format!("more than {REVOCATION_MAX} files of revocation lists");
        value.invalid("too-many", message, "put several lists into one file");
    }
    let read: Vec<Option<PathBuf>> = array.iter().map(Value::file).collect();
    read.into_iter().collect()
}
