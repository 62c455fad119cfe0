//! `ssl_verify_client`: certificates of clients.
//!
//! nginx asks for them by server; this door asks on a whole listener, so what all servers of a
//! listener ask alike becomes the listener's, and anything else is refused, with what it guards
//! closed.

use super::server::Server;
use super::site::{Site, inline};
use super::tree::Node;
use crate::import::writer::{Placed, Value};

/// What one server asks of its clients.
struct Asked<'t> {
    verify: Option<&'t Node>,
    roots: Option<&'t Node>,
    list: Option<&'t Node>,
}

impl<'t> Asked<'t> {
    fn of(server: &Server<'t>) -> Self {
        let one = |name: &str| server.level.one(name);
        let verify = one("ssl_verify_client").filter(|node| node.arg(0) != "off");
        Self { verify, roots: one("ssl_client_certificate"), list: one("ssl_crl") }
    }

    fn nodes(&self) -> impl Iterator<Item = &'t Node> {
        let nodes = self.verify.into_iter().chain(self.roots).chain(self.list);
        // Without the first the others do nothing.
        nodes.filter(|_| self.verify.is_some())
    }

    fn words(&self) -> Vec<(&'t str, &'t str)> {
        self.nodes().map(|node| (node.name.as_str(), node.arg(0))).collect()
    }
}

/// What a listener asks of its clients; of every directive that says so it is said what becomes of
/// it.
pub(super) fn clients(servers: &[&Server<'_>], site: &mut Site) -> Option<Placed> {
    let asked: Vec<Asked<'_>> = servers.iter().map(|server| Asked::of(server)).collect();
    for server in servers {
        let off = server.level.one("ssl_verify_client").filter(|node| node.arg(0) == "off");
        off.into_iter().for_each(|node| site.settle(node, Ok(())));
    }
    let first = asked.first()?;
    let is_same = asked.iter().all(|other| other.words() == first.words());
    let result = if is_same {
        value(first)
    } else {
        Err("the servers of a listener differ in it, and the door asks for certificates on a whole \
             listener: give these a listener of their own"
            .to_owned())
    };
    let fate = result.as_ref().map(|_| ()).map_err(Clone::clone);
    for node in asked.iter().flat_map(Asked::nodes) {
        site.settle(node, fate.clone());
    }
    result.ok().flatten()
}

fn value(asked: &Asked<'_>) -> Result<Option<Placed>, String> {
    let Some(verify) = asked.verify else { return Ok(None) };
    let is_required = match verify.arg(0) {
        "on" => true,
        "optional" => false,
        _ => return Err("the door lets in no certificate of an unknown authority".to_owned()),
    };
    let roots = asked.roots.ok_or("the door needs the authorities in `ssl_client_certificate`")?;
    let mut entries = vec![("roots", Value::text(roots.arg(0)).at(&roots.place))];
    if let Some(list) = asked.list {
        let files = vec![Value::text(list.arg(0)).at(&list.place)];
        entries.push(("revocation", Value::Array(files).here()));
    }
    if !is_required {
        entries.push(("required", Value::Boolean(false).here()));
    }
    Ok(Some(inline(entries).at(&verify.place)))
}
