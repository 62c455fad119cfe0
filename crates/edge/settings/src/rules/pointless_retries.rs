//! A retry that has nowhere else to go.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::ServerAddress;

pub(super) static RULE: Rule = Rule {
    name: "pointless-retries",
    number: Some(24),
    severity: Severity::Warning,
    summary: "retries are configured in a pool of one server",
    rationale: "\
A retry goes to a server that was not tried yet. In a pool of one there is none: the setting \
promises what it cannot do. Only what was written is reported, the default is not.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\"]
check = { path = \"/health\" }
retries = { attempts = 3 }

[[allow]]
rule = \"single-server\"
reason = \"so that the example breaks one rule only\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\"]
check = { path = \"/health\" }

[[allow]]
rule = \"single-server\"
reason = \"so that the example breaks one rule only\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        let path = ["pools", &pool.name, "retries", "attempts"];
        let [server] = pool.servers.as_slice() else { continue };
        let is_one = matches!(server.address, ServerAddress::Socket(_));
        if !is_one || pool.retries.attempts_max < 2 || subject.written(&path).is_none() {
            continue;
        }
        let message = format!("pool {} has no second server to try", quote(&pool.name));
        let found = subject.found(&RULE, &path, message);
        report.add(found.label("never used").help("add a server, or leave this out"));
    }
}
