//! More connections than there are files for.

use super::{Example, Report, Rule, Seen, Subject};
use crate::Severity;

pub(super) static RULE: Rule = Rule {
    name: "connections-above-open-files",
    number: Some(31),
    severity: Severity::Error,
    summary: "the connections are more than half of the files the process may open",
    rationale: "\
Each connection of a client needs a file, and mostly a second one to a server. Beyond half \
of the limit the door runs out of files in the middle of its peak, when it can open neither.",
    bad: Example::native(
        "\
[door]
connections = 100000000
",
    ),
    good: Example::native(
        "\
[door]
connections = 200
",
    ),
    seen: Seen::By(check),
};

fn check(subject: &Subject<'_>, report: &mut Report) {
    let door = subject.configuration.door.connections_max;
    judge(subject, report, (&["door", "connections"], door));
    for listener in &subject.configuration.listeners {
        let path = ["listen", &listener.name, "limits", "connections"];
        // What is not written is the door's, which was judged already.
        if subject.written(&path).is_some() {
            judge(subject, report, (&path, listener.limits.connections_max));
        }
    }
}

fn judge(subject: &Subject<'_>, report: &mut Report, (path, number): (&[&str], u32)) {
    let limit = subject.environment.connections_limit();
    if number <= limit {
        return;
    }
    let message = format!("{number} connections are more than half of the open files");
    let found = subject.found(&RULE, path, message);
    report.add(found.label(format!("at most {limit} here")).help(format!(
        "each needs a file to the client and one to the server, and {} may be open: \
         raise the limit (`ulimit -n`, systemd's LimitNOFILE) or lower this",
        subject.environment.open_files_max
    )));
}
