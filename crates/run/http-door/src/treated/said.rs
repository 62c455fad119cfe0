//! What a request says of itself, for values of header fields.
//!
//! Invariant: nothing that is said here holds a line end or NUL: the codec has refused them in what
//! came, and what the door makes itself has none.

use http_wire::{Header, HeaderKind, RequestHead};
use model::Name;
use model::configuration::{Listener, Variable};

use crate::connection::Origin;

/// One request, as far as values can speak of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) bytes: &'a [u8],
    pub(super) origin: &'a Origin,
    pub(super) listener: &'a Listener,
    pub(super) request_id: &'a [u8],
    /// The name of the registered client.
    pub(super) client: Option<&'a Name>,
    /// Who was authenticated.
    pub(super) user: &'a [u8],
}

impl Said<'_> {
    /// Writes the value of `variable`; nothing where there is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, variable: &Variable) {
        let (head, bytes) = (self.head, self.bytes);
        match variable {
            Variable::ClientAddress if self.origin.trusted => {
                let client = self.origin.client(head, bytes, self.listener);
                out.extend_from_slice(client.to_string().as_bytes());
            }
            Variable::ClientAddress | Variable::PeerAddress => {
                out.extend_from_slice(self.origin.peer_text.as_bytes());
            }
            Variable::Host => {
                let start = out.len();
                out.extend_from_slice(head.host.map_or(&[][..], |host| host.of(bytes)));
                out.iter_mut().skip(start).for_each(|byte| byte.make_ascii_lowercase());
            }
            Variable::Authority => {
                out.extend_from_slice(head.authority.map_or(&[][..], |span| span.of(bytes)));
            }
            Variable::Scheme => out.extend_from_slice(self.scheme().as_bytes()),
            Variable::Method => out.extend_from_slice(head.method_text.of(bytes)),
            Variable::Path => out.extend_from_slice(head.path().as_bytes()),
            Variable::Target => {
                out.extend_from_slice(head.path().as_bytes());
                if let Some(query) = head.query() {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
            }
            Variable::RequestId => out.extend_from_slice(self.request_id),
            // What a route is called is known before any request.
            Variable::Route => {}
            Variable::Client => {
                out.extend_from_slice(self.client.map_or(&[][..], |name| name.as_bytes()));
            }
            Variable::User => out.extend_from_slice(self.user),
            Variable::Header(name) => {
                let found = head.headers.iter().find(|header| {
                    header.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())
                        && self.believes(header)
                });
                out.extend_from_slice(found.map_or(&[][..], |header| header.value.of(bytes)));
            }
        }
    }

    /// As a trusted proxy told it, or else of the connection.
    fn scheme(&self) -> &'static str {
        let told = self.head.header(self.bytes, HeaderKind::XForwardedProto);
        match told.filter(|_| self.origin.trusted) {
            Some(told) if told.eq_ignore_ascii_case(b"https") => "https",
            Some(told) if told.eq_ignore_ascii_case(b"http") => "http",
            _ if self.origin.tls => "https",
            _ => "http",
        }
    }

    /// What an untrusted peer says of itself is worth as little in a value as in its own field.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds are the client's own to say")]
    fn believes(&self, header: &Header) -> bool {
        match header.kind {
            HeaderKind::ClientCert
            | HeaderKind::Forwarded
            | HeaderKind::XForwardedFor
            | HeaderKind::XForwardedHost
            | HeaderKind::XForwardedOther
            | HeaderKind::XForwardedPort
            | HeaderKind::XForwardedProto
            | HeaderKind::XRealIp
            | HeaderKind::XRequestId => self.origin.trusted,
            _ => !header.hop_by_hop,
        }
    }
}
