//! Requests that two routes claim with equal right.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;
use crate::finding::quote;
use crate::order::equals;

pub(super) static RULE: Rule = Rule {
    name: "ambiguous-default",
    number: Some(35),
    severity: Severity::Warning,
    summary: "requests match two routes, and only the order in the file decides between them",
    rationale: "\
The most specific route wins. Of two equally specific ones that do different things, the one \
that comes first in the file takes the requests that match both: moving a table then moves \
traffic, which no reader expects of this format. The same is meant by a default that nobody \
chose: in nginx, the first `server` of an address where none is marked `default_server`.",
    bad: Example::native(
        "\
[routes.mobile]
path = \"/\"
headers = { x-device = \"mobile\" }
pool = \"api\"

[routes.beta]
path = \"/\"
headers = { x-channel = \"beta\" }
respond = { status = 404 }
",
    ),
    good: Example::native(
        "\
[routes.mobile]
path = \"/\"
headers = { x-device = \"mobile\" }
pool = \"api\"

[routes.beta]
path = \"/\"
headers = { x-device = \"mobile\", x-channel = \"beta\" }
respond = { status = 404 }
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    for (first, second) in equals(&subject.configuration.routes) {
        let (name, other) = (quote(&second.name), quote(&first.name));
        let message = format!("some requests match both route {name} and route {other}");
        let found = subject.found(&RULE, &["routes", &second.name], message);
        let other = subject.place(&["routes", &first.name]);
        report.add(
            found
                .label("comes second, so it loses them")
                .related(other.span, "comes first in the file")
                .help("make one of them more specific"),
        );
    }
}
