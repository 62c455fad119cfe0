//! Free ports for servers and front doors.
//!
//! They are drawn below the range from which the system takes ports for outgoing connections:
//! a server that is down for a while must find its own port free when it starts again, and
//! nobody who connects to it meanwhile may be connected to himself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below this are left to others.
const PORT_MIN: u16 = 10_000;
/// Begin of the outgoing range where the system does not tell.
const OUTGOING_MIN: u16 = 32_768;
/// Draws before the system is asked for any port at all.
const DRAWS: usize = 200;

/// An address on the loopback interface that was free a moment ago: whoever binds it must be
/// ready to ask again.
///
/// # Errors
/// In words, when there is none.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let end = range.ok().as_deref().and_then(outgoing_min).unwrap_or(OUTGOING_MIN);
    if end > PORT_MIN {
        for _ in 0..DRAWS {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORT_MIN..end)));
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

/// Whether a process failed because somebody else took its port meanwhile, by the end of its log.
pub(super) fn is_taken(why: &str) -> bool {
    // `Address in use` or `Address already in use`, by who says it.
    why.to_ascii_lowercase().contains("in use")
}

/// The first number of `LOW HIGH`.
fn outgoing_min(range: &str) -> Option<u16> {
    range.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_below_the_outgoing_range() {
        assert_eq!(outgoing_min("32768\t60999\n"), Some(32_768));
        assert_eq!(outgoing_min(""), None);
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let end = outgoing_min(&range).unwrap();
        let port = free_address().unwrap().port();
        assert!(end <= PORT_MIN || (PORT_MIN..end).contains(&port), "{port}");
    }
}
