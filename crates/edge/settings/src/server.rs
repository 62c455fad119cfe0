//! Reads the servers of a pool, and host names wherever they stand.
//!
//! Invariant: a host name that is accepted can be put into a `Host` header or a DNS query as it
//! is: lower case, letters, digits, `-`, `_` and dots.

use std::net::{IpAddr, SocketAddr};

use model::Name;
use model::configuration::{Server, ServerAddress};

use crate::finding::quote;
use crate::reader::{Table, Value};

const SERVERS_EXAMPLE: &str = "servers = [\"127.0.0.1:3001\"]";

/// Reads `servers`.
pub(crate) fn servers(table: &mut Table<'_>) -> Option<Vec<Server>> {
    let value = table.required("servers", SERVERS_EXAMPLE)?;
    let Some(array) = value.as_array() else {
        value.wrong_type("an array of servers");
        return None;
    };
    if array.is_empty() {
        let message = "`servers` must not be empty".to_owned();
        value.invalid("empty-list", message, format!("write `{SERVERS_EXAMPLE}`"));
        return None;
    }
    // All are read before any is missed, so that every mistake is reported.
    let read: Vec<Option<Server>> = array.iter().map(server).collect();
    read.into_iter().collect()
}

fn server(value: &Value<'_>) -> Option<Server> {
    if value.as_text().is_some() {
        let address = server_address(value)?;
        return Some(Server { address, weight: 1, zone: None, drain: false });
    }
    let mut table = value.table("addresses or tables with `address`")?;
    let address = table.required("address", "address = \"127.0.0.1:3001\"");
    let address = address.and_then(|value| server_address(&value));
    let weight = table.number("weight", 1, 0..=1_000);
    let zone = table.get("zone").and_then(|value| value.word());
    let drain = table.boolean("drain", false);
    table.finish();
    Some(Server { address: address?, weight, zone, drain })
}

fn server_address(value: &Value<'_>) -> Option<ServerAddress> {
    let text = value.text()?;
    match parse_address(text) {
        Ok(address) => Some(address),
        Err(help) => {
            let message = format!("{} is not the address of a server", quote(text));
            value.invalid("invalid-address", message, help);
            None
        }
    }
}

fn parse_address(text: &str) -> Result<ServerAddress, &'static str> {
    const PORT_HELP: &str = "a server's port is a number from 1 to 65535";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(PORT_HELP)
        } else {
            Ok(ServerAddress::Socket(address))
        };
    }
    if text.contains("://") {
        return Err("leave out the scheme; for https set `tls = true` in the pool");
    }
    if text.parse::<IpAddr>().is_ok() || !text.contains(':') {
        return Err("add a port, as in \"127.0.0.1:3001\" or \"api.internal:3001\"");
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(PORT_HELP)?;
    let host = host_name(host)?;
    Ok(ServerAddress::Name { host, port })
}

/// A host name in lower case, or what is wrong with it.
pub(crate) fn host_name(text: &str) -> Result<Name, &'static str> {
    let lower = text.to_ascii_lowercase();
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !text.is_ascii() {
        return Err("write a name outside ASCII in its `xn--` form");
    }
    if lower.ends_with('.') {
        return Err("leave out the last dot");
    }
    if lower.len() > 253 || !lower.split('.').all(label_is_valid) {
        return Err(
            "a host name is made of labels of letters, digits, `-` and `_`, joined by dots",
        );
    }
    // A last label of digits only would be an IP address written wrongly.
    if lower.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit())) {
        return Err("this looks like an IP address, but is none");
    }
    Ok(Name::from(lower))
}
