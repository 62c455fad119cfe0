//! The controls of the door on a public address.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use std::net::IpAddr;

pub(super) static RULE: Rule = Rule {
    name: "admin-exposed",
    number: Some(41),
    severity: Severity::Error,
    summary: "the admin interface listens on a public address, or on every address",
    rationale: "\
Who reaches it can change where all requests go; its token crosses the network unencrypted. \
Loopback is right, and a private address of one network is let through: the token protects \
it there. Every address (`0.0.0.0`) is refused, because it is public on the day the machine \
gets a public address.",
    bad: Example::native(
        "\
[admin]
address = \"0.0.0.0:9900\"
token_file = \"token\"
",
    ),
    good: Example::native(
        "\
[admin]
address = \"127.0.0.1:9900\"
token_file = \"token\"
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let Some(tcp) = &subject.configuration.admin.tcp else { return };
    if is_within(tcp.address.ip()) {
        return;
    }
    let message = "the admin interface can be reached from other networks".to_owned();
    let found = subject.found(&RULE, &["admin", "address"], message);
    report.add(found.label("neither loopback nor private").help(
        "its token crosses the network unencrypted: listen on 127.0.0.1 or a private address, or use the socket",
    ));
}

/// Whether only this machine, or one private network, reaches an address.
fn is_within(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
