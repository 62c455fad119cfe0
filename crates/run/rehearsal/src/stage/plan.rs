//! What every kind of front door is told before it writes its own configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::drill::DoorSetup;

/// Tries on all front doors: how many failures in a row, or successes, make a server down, or up.
pub(super) const FALL: u32 = 3;
pub(super) const RISE: u32 = 2;
/// Threads or worker processes of every front door.
pub(super) const WORKERS: u32 = 2;

/// Everything a configuration depends on.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// The drill's words.
    pub(super) setup: &'a DoorSetup,
    /// Names and addresses of all servers of the stack, in its order.
    pub(super) servers: &'a [(model::Name, SocketAddr)],
    /// Whether the front door's own protections are on.
    pub(super) guard: bool,
    /// Whether it is what the front door starts with.
    pub(super) first: bool,
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// Where its sockets, logs and temporary files are.
    pub(super) folder: &'a Path,
    /// Which configuration of this stage it is, so that one can ask whether it is live.
    pub(super) generation: u64,
    /// Open files that a process may have.
    pub(super) open_files: u64,
    /// Whether it runs as root, as in many containers.
    pub(super) root: bool,
}

/// A server that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    /// Its place in the stack.
    pub(super) index: usize,
    pub(super) address: SocketAddr,
    pub(super) weight: u32,
}

impl Plan<'_> {
    /// The servers that take traffic; those the set-up does not name are left out.
    pub(super) fn upstreams(&self) -> Vec<Upstream> {
        let weight = |name: &str| {
            self.setup.weights.iter().find(|(named, _)| &**named == name).map(|(_, weight)| *weight)
        };
        self.servers
            .iter()
            .enumerate()
            .filter_map(|(index, (name, address))| {
                Some(Upstream { index, address: *address, weight: weight(name)? })
            })
            .collect()
    }

    /// A file of the front door's own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// For a health check: a whole interval at most, and a second at most.
    pub(super) fn check_timeout_ms(&self) -> u128 {
        self.setup.check_interval.as_millis().clamp(10, 1_000)
    }

    /// To connect: as long as a whole answer at most, and three seconds at most.
    pub(super) fn connect_timeout_ms(&self) -> u128 {
        self.setup.timeout.as_millis().clamp(10, 3_000)
    }

    /// For an answer to begin.
    pub(super) fn timeout_ms(&self) -> u128 {
        self.setup.timeout.as_millis().max(10)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use model::Name;
    use model::drill::DoorBalance;

    use super::*;

    pub(in crate::stage) fn setup() -> DoorSetup {
        DoorSetup {
            balance: DoorBalance::Default,
            weights: vec![(Name::from("one"), 1), (Name::from("two"), 3)],
            check_path: "/health".to_owned(),
            check_interval: Duration::from_millis(500),
            timeout: Duration::from_secs(2),
            attempts: 2,
            client_rate_per_second: None,
            client_header: None,
            server_in_flight_max: None,
            forced: false,
        }
    }

    /// Calls `with` with a plan of three servers, of which `setup()` names two.
    pub(in crate::stage) fn planned<T>(
        setup: &DoorSetup,
        guard: bool,
        with: impl FnOnce(&Plan<'_>) -> T,
    ) -> T {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let servers = ["one", "two", "three"].map(Name::from);
        let servers: Vec<_> =
            servers.into_iter().zip(3_001..).map(|(name, port)| (name, address(port))).collect();
        with(&Plan {
            setup,
            servers: &servers,
            guard,
            first: true,
            listen: address(8_080),
            folder: Path::new("/tmp/a \"quoted\" folder"),
            generation: 7,
            open_files: 20_000,
            root: false,
        })
    }

    /// Each line of `expected` must be in `text`, each of `absent` must not.
    #[track_caller]
    pub(in crate::stage) fn check(text: &str, expected: &[&str], absent: &[&str]) {
        for line in expected {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        for line in absent {
            assert!(!text.contains(line), "{line:?} is in\n{text}");
        }
    }

    #[test]
    fn servers_that_are_not_named_get_no_traffic() {
        let found = planned(&setup(), true, |plan| {
            plan.upstreams().iter().map(|up| (up.index, up.weight)).collect::<Vec<_>>()
        });
        assert_eq!(found, [(0, 1), (1, 3)]);
    }
}
