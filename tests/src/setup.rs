//! Writes the configuration of a door in front of given servers.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::{Backend, Door};

/// The configuration of a door with the listener `web`, the pool `api`, and a route to it for
/// everything.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    servers: Vec<String>,
    listen: String,
    pool: String,
    route: String,
    more: String,
    without_route: bool,
}

impl Setup {
    /// In front of these servers.
    #[must_use]
    pub fn of(backends: &[&Backend]) -> Self {
        Self::at(&backends.iter().map(|backend| backend.address()).collect::<Vec<_>>())
    }

    /// In front of servers at these addresses.
    #[must_use]
    pub fn at(addresses: &[SocketAddr]) -> Self {
        let servers = addresses.iter().map(ToString::to_string).collect();
        Self { servers, ..Self::default() }
    }

    /// Adds lines to `[listen.web]`.
    #[must_use]
    pub fn listen(mut self, lines: &str) -> Self {
        self.listen.push_str(lines);
        self.listen.push('\n');
        self
    }

    /// Adds lines to `[pools.api]`.
    #[must_use]
    pub fn pool(mut self, lines: &str) -> Self {
        self.pool.push_str(lines);
        self.pool.push('\n');
        self
    }

    /// Lets in whatever comes, for tests that are not about overload: a machine that stands still
    /// for a moment is none of its servers, and the requests that come at once after it would be
    /// taken for one.
    #[must_use]
    pub fn never_overloaded(self) -> Self {
        self.pool("adaptive = false")
    }

    /// Adds lines to `[routes.api]`, whose path is `/`.
    #[must_use]
    pub fn route(mut self, lines: &str) -> Self {
        self.route.push_str(lines);
        self.route.push('\n');
        self
    }

    /// Leaves `[routes.api]` out.
    #[must_use]
    pub fn without_route(mut self) -> Self {
        self.without_route = true;
        self
    }

    /// Adds whole tables; `{dir}` stands for the folder of the configuration.
    #[must_use]
    pub fn more(mut self, tables: &str) -> Self {
        self.more.push_str(tables);
        self.more.push('\n');
        self
    }

    /// The configuration.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("[listen.web]\naddress = \"127.0.0.1:0\"\n{}\n", self.listen);
        if !self.servers.is_empty() {
            let servers: Vec<String> = self.servers.iter().map(|s| format!("\"{s}\"")).collect();
            let servers = servers.join(", ");
            write!(text, "[pools.api]\nservers = [{servers}]\n{}\n", self.pool)
                .expect("a string takes text");
            if !self.without_route {
                write!(text, "[routes.api]\npath = \"/\"\npool = \"api\"\n{}\n", self.route)
                    .expect("a string takes text");
            }
        }
        text + &self.more
    }

    /// Starts the door.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Door {
        Door::start(&self.text())
    }
}
