//! A check that asks less than clients do.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use model::configuration::{Check, CheckKind};

pub(super) static RULE: Rule = Rule {
    name: "shallow-check",
    number: Some(15),
    severity: Severity::Warning,
    summary: "an HTTP pool is checked by connecting only",
    rationale: "\
The kernel accepts connections for a process that hangs, and for one whose database is gone. \
A request to a path that does what the application needs finds both.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = \"tcp\"
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let pools = subject.configuration.pools.iter().zip(subject.tcp_pools());
    // Of a pool of connections nothing else is known that could be asked.
    for (pool, _) in pools.filter(|(_, is_tcp)| !is_tcp) {
        let Some(Check { kind: CheckKind::Tcp, .. }) = &pool.check else { continue };
        let message = format!("the check of pool {} only connects", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "check"], message);
        report.add(
            found
                .label("a process that hangs passes it")
                .help("ask for a path: `check = { path = \"/health\" }`"),
        );
    }
}
