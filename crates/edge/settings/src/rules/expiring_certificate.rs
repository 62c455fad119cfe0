//! A certificate that ends soon, or has ended.

use std::io::Read as _;
use std::path::Path;

use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "expiring-certificate",
    number: None,
    severity: Severity::Warning,
    summary: "a certificate in use ends within 14 days, or has ended",
    rationale: "\
Once it has ended clients refuse to connect, all of them within a second; a list of revoked \
certificates that has ended refuses every client that it covers. What renews certificates by \
itself does so weeks before. Only files that can be read as PEM are judged here; what else is \
wrong with them is told when the door starts. While it runs, \
`tidegate_certificate_expiry_timestamp_seconds` says the same.",
    bad: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8443\"
tls = { certificates = [{ certificate = \"ended.pem\", key = \"a.key\" }] }
",
    ),
    good: Example::native(
        "\
[listen.web]
address = \"0.0.0.0:8443\"
tls = { certificates = [{ certificate = \"a.pem\", key = \"a.key\" }] }
",
    ),
    seen: Seen::By(check),
};

const DAY_S: i64 = 86_400;
const DAYS_FEW: i64 = 14;

/// Bytes that are read of a file, at most; the door reads no larger ones either.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn check(subject: &Subject<'_>, report: &mut Report) {
    for listener in &subject.configuration.listeners {
        let Some(tls) = &listener.tls else { continue };
        let mut judge = |place: &[&str], path: &Path| {
            let place = [&["listen", &listener.name, "tls"], place].concat();
            judge(subject, report, (&place, path));
        };
        for (index, files) in tls.certificates.iter().enumerate() {
            // What the door obtains it also renews.
            if tls.acme.as_ref().is_some_and(|acme| acme.files == *files) {
                continue;
            }
            let index = index.to_string();
            judge(&["certificates", &index, "certificate"], &files.certificate);
        }
        let Some(clients) = &tls.clients else { continue };
        judge(&["clients", "roots"], &clients.roots);
        for (index, list) in clients.revocation.iter().enumerate() {
            judge(&["clients", "revocation", &index.to_string()], list);
        }
    }
    for pool in &subject.configuration.pools {
        let Some(tls) = &pool.tls else { continue };
        let mut judge = |place: &[&str], path: &Path| {
            let place = [&["pools", &pool.name, "tls"], place].concat();
            judge(subject, report, (&place, path));
        };
        if let Some(files) = &tls.certificate {
            judge(&["certificate", "certificate"], &files.certificate);
        }
        if let Some(roots) = &tls.roots {
            judge(&["roots"], roots);
        }
    }
}

fn judge(subject: &Subject<'_>, report: &mut Report, (place, path): (&[&str], &Path)) {
    let Some(end) = first_end(path) else { return };
    let days = end.saturating_sub(subject.environment.now_unix_s).div_euclid(DAY_S);
    if days >= DAYS_FEW {
        return;
    }
    let file = quote(&path.to_string_lossy());
    let message = match days {
        ..0 => format!("what {file} holds has ended"),
        0 => format!("what {file} holds ends within a day"),
        1 => format!("what {file} holds ends in 1 day"),
        _ => format!("what {file} holds ends in {days} days"),
    };
    report.add(
        subject
            .found(&RULE, place, message)
            .label("connections are refused from then on")
            .help("renew it; the door reads the file again by itself"),
    );
}

/// When the first of the leaf, or of several lists, ends. What is no PEM of either is for others
/// to judge.
fn first_end(path: &Path) -> Option<i64> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    let mut ends = Vec::new();
    for block in Pem::iter_from_buffer(&text).map_while(Result::ok) {
        match block.label.as_str() {
            // The leaf comes first. The intermediates behind it live longer.
            "CERTIFICATE" => {
                let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
                return Some(certificate.validity().not_after.timestamp());
            }
            "X509 CRL" => {
                let (_, list) = CertificateRevocationList::from_der(&block.contents).ok()?;
                ends.extend(list.next_update().map(|end| end.timestamp()));
            }
            _ => {}
        }
    }
    ends.into_iter().min()
}
