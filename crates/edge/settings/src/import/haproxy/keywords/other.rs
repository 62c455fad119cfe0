//! Sections that are neither the process nor a proxy.

use super::Treatment;
use super::Treatment::{Ignored, Own, Refused};

/// A kind of section all of whose keywords share one fate.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct OtherSection {
    /// The keyword that opens it.
    pub(in super::super) name: &'static str,
    /// What becomes of the section and of every line in it.
    pub(in super::super) fate: Treatment,
    /// The keywords it knows.
    pub(in super::super) keywords: &'static [&'static str],
}

impl OtherSection {
    /// What becomes of a line that begins with this word; `None` when it is unknown here.
    pub(in super::super) fn treatment(&self, word: &str) -> Option<Treatment> {
        self.keywords.contains(&word).then_some(self.fate)
    }
}

/// All of them.
pub(super) static SECTIONS: [OtherSection; 14] = [
    OtherSection {
        name: "peers",
        fate: Ignored("peers share stick tables, and the door has none"),
        keywords: &[
            "bind",
            "default-bind",
            "default-server",
            "disabled",
            "enabled",
            "log",
            "peer",
            "server",
            "shards",
            "table",
        ],
    },
    OtherSection {
        name: "resolvers",
        fate: Ignored(
            "the door asks the name servers of the system, again and again while it runs",
        ),
        keywords: &[
            "accepted_payload_size",
            "hold",
            "nameserver",
            "parse-resolv-conf",
            "resolve_retries",
            "timeout",
        ],
    },
    OtherSection {
        name: "mailers",
        fate: Ignored("the door sends no mail"),
        keywords: &["mailer", "timeout"],
    },
    OtherSection { name: "userlist", fate: Own, keywords: &["group", "user"] },
    OtherSection {
        name: "program",
        fate: Refused("the door starts no programs"),
        keywords: &["command", "group", "option", "user"],
    },
    OtherSection {
        name: "cache",
        fate: Ignored("the door keeps no answers: every request reaches a server"),
        keywords: &[
            "max-age",
            "max-object-size",
            "max-secondary-entries",
            "process-vary",
            "total-max-size",
        ],
    },
    OtherSection {
        name: "http-errors",
        fate: Ignored("the door words its own errors"),
        keywords: &["errorfile"],
    },
    OtherSection {
        name: "ring",
        fate: Ignored("the door has a bounded queue of its own for log records"),
        keywords: &["backing-file", "description", "format", "maxlen", "server", "size", "timeout"],
    },
    OtherSection {
        name: "log-forward",
        fate: Refused("the door forwards no logs"),
        keywords: &["backlog", "bind", "dgram-bind", "log", "maxconn", "option", "timeout"],
    },
    OtherSection {
        name: "fcgi-app",
        fate: Refused("the door speaks HTTP to its servers, not FastCGI"),
        keywords: &[
            "acl",
            "docroot",
            "index",
            "log-stderr",
            "option",
            "pass-header",
            "path-info",
            "set-param",
        ],
    },
    OtherSection {
        name: "crt-store",
        fate: Refused("name the certificates of a listener in its `tls.certificates`"),
        keywords: &["crt-base", "key-base", "load"],
    },
    OtherSection {
        name: "log-profile",
        fate: Ignored("the door's log has its own formats"),
        keywords: &["log-tag", "on"],
    },
    OtherSection {
        name: "traces",
        fate: Ignored("it is for the developers of HAProxy"),
        keywords: &["trace"],
    },
    OtherSection {
        name: "acme",
        fate: Refused("the door asks no authority for certificates"),
        keywords: &[
            "account-key",
            "bits",
            "challenge",
            "contact",
            "curves",
            "directory",
            "keytype",
            "map",
            "acme-vars",
            "provider-name",
        ],
    },
];
