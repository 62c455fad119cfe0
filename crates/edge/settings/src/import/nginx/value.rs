//! Values of header fields: nginx's variables as those of this door.
//!
//! A variable that the door has no counterpart of refuses the whole value: half a value would be
//! another one.

use super::forward::constant;
use super::level::Level;
use super::server::Server;
use super::target::expanded;
use crate::finding::quote;
use crate::import::fields::plain;

/// What is known where a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'k, 't> {
    pub(super) server: &'k Server<'t>,
    pub(super) level: &'k Level<'t>,
    /// What nginx calls the servers, where a request is passed on.
    pub(super) proxy_host: Option<&'k str>,
    /// Whether the door knows who the user is here.
    pub(super) has_user: bool,
}

/// A text with nginx's variables as a value of this door, or why it is none.
pub(super) fn value(text: &str, known: Known<'_, '_>) -> Result<String, String> {
    let mut text = text.to_owned();
    for path in ["$uri", "$document_uri"] {
        for query in ["$is_args$args", "$is_args$query_string"] {
            text = text.replace(&format!("{path}{query}"), "${request_uri}");
        }
    }
    expanded(&text, plain, |name| variable(name, known))
}

fn variable(name: &str, known: Known<'_, '_>) -> Result<String, String> {
    const OF_SERVERS: [&str; 3] = ["upstream_", "sent_http_", "sent_trailer_"];
    let here = |text: &str| Ok(text.to_owned());
    let unknown = |reason: &str| Err(format!("{}: {reason}", quote(&format!("${name}"))));
    match name {
        "remote_addr" | "proxy_protocol_addr" => here("{client_address}"),
        "realip_remote_addr" => here("{peer_address}"),
        "host" => here("{host}"),
        "http_host" => here("{authority}"),
        "scheme" => here("{scheme}"),
        "request_method" => here("{method}"),
        "uri" | "document_uri" => here("{path}"),
        "request_uri" => here("{target}"),
        "request_id" => here("{request_id}"),
        "remote_user" if known.has_user => here("{user}"),
        "remote_user" => unknown("the door knows a user only where it asks for a password"),
        "server_name" => match known.server.names.first() {
            Some((name, _)) if !name.starts_with('*') => Ok(plain(name)),
            _ => unknown("the server has no name of its own"),
        },
        "server_port" => known
            .server
            .port()
            .map_or_else(|| unknown("the server has several ports"), |port| Ok(port.to_string())),
        "proxy_host" => known
            .proxy_host
            .map_or_else(|| unknown("nothing is passed on here"), |host| Ok(plain(host))),
        "" => unknown("nginx itself refuses it"),
        _ if name.starts_with("ssl_client_") => {
            unknown("the door tells servers a client's certificate in `Client-Cert` (RFC 9440)")
        }
        _ if OF_SERVERS.iter().any(|start| name.starts_with(start)) => {
            unknown("a value of the door says what the request says, not what came of it")
        }
        _ => match (name.strip_prefix("http_"), constant(name, known.level)) {
            (Some(header), _) => {
                Ok(format!("{{header:{}}}", header.to_ascii_lowercase().replace('_', "-")))
            }
            (None, Some(constant)) => Ok(plain(&constant)),
            (None, None) => unknown("the door has no such variable"),
        },
    }
}
