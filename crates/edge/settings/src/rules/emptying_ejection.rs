//! Ejection may set every server of a pool aside.

use super::{Example, Report, Rule, Seen, Subject, active};
use crate::Severity;
use crate::finding::quote;

pub(super) static RULE: Rule = Rule {
    name: "emptying-ejection",
    number: Some(18),
    severity: Severity::Error,
    summary: "`ejection.share_max` lets a whole pool be set aside",
    rationale: "\
A fault that all servers share, such as a database that hangs, makes all of them fail. If \
ejection may then set the last one aside, slow answers become no answers. At least one \
server must stay.",
    bad: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
ejection = { share_max = 1.0 }
",
    ),
    good: Example::native(
        "\
[pools.api]
servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]
check = { path = \"/health\" }
ejection = { share_max = 0.5 }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for pool in &subject.configuration.pools {
        // Of a single server none is ever left over: that is another rule's.
        let may_empty = pool.ejection.failures > 0 && pool.ejection.share_max >= 1.0;
        if !may_empty || active(pool).len() < 2 {
            continue;
        }
        let message = format!("ejection may set all servers of pool {} aside", quote(&pool.name));
        let found = subject.found(&RULE, &["pools", &pool.name, "ejection", "share_max"], message);
        report.add(found.label("the whole pool").help("write `share_max = 0.5`"));
    }
}
