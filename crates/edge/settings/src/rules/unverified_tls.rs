//! Encrypted to whoever answers.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "unverified-tls",
    number: None,
    severity: Severity::Warning,
    summary: "the certificates of servers are not verified",
    rationale: "\
Without verification anyone on the way can pose as the server: what is encrypted is read all \
the same. The issuer of private certificates belongs into `roots`.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:443\", \"10.0.0.2:443\"]
check = { path = \"/health\" }
tls = { verify = false }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:443\", \"10.0.0.2:443\"]
check = { path = \"/health\" }
tls = true
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        if pool.tls.as_ref().is_none_or(|tls| tls.verify) {
            continue;
        }
        let message = "the servers' certificates are not verified".to_owned();
        let found = subject.found(&RULE, &["pools", &pool.name, "tls", "verify"], message);
        report.add(
            found
                .label("anyone on the way can pose as the server")
                .help("name the issuer in `roots` instead"),
        );
    }
}
