//! Turns the servers' names into addresses, again and again.
//!
//! Asks `/etc/hosts` first, then the system's name servers. Nothing is cached here: whoever asks
//! does so when the last answer has run out ([`next_refresh`]), and wants to know how things are.
//!
//! Invariant: an answer holds between one and 256 addresses, sorted, each once, so that equal
//! answers compare equal; an empty or failed answer is an error, and [`keep_last_good`] never
//! lets an error take an address away.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::{Name, RecordType};

mod hosts;

use hosts::HostsFile;

/// Addresses kept of one answer. Which ones does not depend on the order of the answer.
pub const ADDRESSES_MAX: usize = 256;

/// The shortest time between two lookups of a name, whatever its TTL says.
pub const REFRESH_MIN: Duration = Duration::from_secs(1);

/// How long an answer that does not come from DNS holds; the configured `resolve` is shorter.
const STATIC_TTL: Duration = Duration::from_secs(86_400);

/// One lookup, with all its retries and search domains.
const LOOKUP_WAIT_MAX: Duration = Duration::from_secs(10);

/// One question to one name server.
const QUESTION_WAIT_MAX: Duration = Duration::from_secs(2);

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 1 to [`ADDRESSES_MAX`]: IPv4 first, then IPv6, ascending, each once.
    pub addresses: Vec<IpAddr>,
    /// How long they hold: the shortest TTL of all records on the way, aliases included.
    pub ttl: Duration,
    /// False when one address family could not be asked (timeout, server failure).
    pub complete: bool,
}

/// Why a name has no addresses now. The last good ones stay in use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not a host name.
    #[error("{host:?} is not a valid host name")]
    Invalid {
        /// The name.
        host: String,
        /// What is wrong with it.
        source: ProtoError,
    },
    /// The name does not exist, or has no usable address.
    #[error("{host} has no address (no such name, or no A or AAAA record)")]
    NotFound {
        /// The name.
        host: String,
    },
    /// No name server answered in time.
    #[error("no name server answered for {host} in time")]
    Timeout {
        /// The name.
        host: String,
    },
    /// The name servers answered with a failure, or could not be reached.
    #[error("the lookup of {host} failed")]
    Failed {
        /// The name.
        host: String,
        /// What went wrong.
        source: NetError,
    },
    /// The system's configuration cannot be used.
    #[error("the system's resolver configuration (/etc/resolv.conf) cannot be used")]
    System {
        /// What is wrong.
        source: NetError,
    },
}

/// Looks names up. Cheap to share; belongs to the runtime it is first used on.
pub struct Resolver {
    dns: TokioResolver,
    hosts: Option<HostsFile>,
    /// Domains to try after a short name, best first.
    search: Vec<Name>,
    /// Names with at least so many dots are tried as they are first.
    dots_min: usize,
    /// Leave out addresses this machine has no route to.
    check_routes: bool,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("hosts", &self.hosts)
            .field("search", &self.search)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// As this machine is set up: `/etc/hosts` (read again when it changes) and
    /// `/etc/resolv.conf` (read once, here); without that file, the name server at 127.0.0.1.
    ///
    /// # Errors
    /// [`ResolveError::System`] when `/etc/resolv.conf` cannot be read or names no server.
    pub fn system() -> Result<Self, ResolveError> {
        let system = |source| ResolveError::System { source };
        let (config, options) = match hickory_resolver::system_conf::read_system_conf() {
            // Without the file, the name server is on this machine (resolv.conf(5)).
            Err(NetError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
                (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
            }
            other => other.map_err(system)?,
        };
        let search = config.domain().into_iter().chain(config.search()).cloned();
        let search = search.fold(Vec::new(), |mut known: Vec<Name>, domain| {
            if !known.contains(&domain) {
                known.push(domain);
            }
            known
        });
        let dots_min = options.ndots;
        let hosts = Some(HostsFile::new("/etc/hosts".into()));
        let dns = connect(config, options).map_err(system)?;
        Ok(Self { dns, hosts, search, dots_min, check_routes: true })
    }

    /// One name server, over UDP and TCP; no `/etc/hosts`, no search domains, and its answers are
    /// taken as they are.
    ///
    /// # Errors
    /// [`ResolveError::System`] when the client cannot be set up.
    pub fn with_nameserver(address: SocketAddr) -> Result<Self, ResolveError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
            .map(|mut connection| {
                connection.port = address.port();
                connection
            })
            .to_vec();
        let server = NameServerConfig::new(address.ip(), true, connections);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let dns = connect(config, ResolverOpts::default())
            .map_err(|source| ResolveError::System { source })?;
        Ok(Self { dns, hosts: None, search: Vec::new(), dots_min: 1, check_routes: false })
    }

    /// The addresses of `host`: a DNS name, or an address, which stands for itself.
    ///
    /// # Errors
    /// See [`ResolveError`]; it comes after at most 10 s.
    pub async fn lookup(&self, host: &str) -> Result<Answer, ResolveError> {
        if let Some(addresses) = self.without_dns(host) {
            return Ok(Answer { addresses, ttl: STATIC_TTL, complete: true });
        }
        let name = Name::from_str_relaxed(host)
            .map_err(|source| ResolveError::Invalid { host: host.to_owned(), source })?;
        match tokio::time::timeout(LOOKUP_WAIT_MAX, self.ask_all(host, &name)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ResolveError::Timeout { host: host.to_owned() }),
        }
    }

    /// Addresses that need no name server: literals, `/etc/hosts`, and `localhost` (RFC 6761).
    fn without_dns(&self, host: &str) -> Option<Vec<IpAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(vec![address]);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let listed = self.hosts.as_ref().map(|hosts| hosts.lookup(&host)).unwrap_or_default();
        let listed = tidy(listed);
        if !listed.is_empty() {
            return Some(listed);
        }
        (host == "localhost" || host.ends_with(".localhost"))
            .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// Tries the name with each search domain. Both families are asked under one name before the
    /// next is tried, so that an answer never mixes two names.
    async fn ask_all(&self, host: &str, name: &Name) -> Result<Answer, ResolveError> {
        for candidate in candidates(name, &self.search, self.dots_min) {
            let (v4, v6) = tokio::join!(
                Box::pin(self.ask(candidate.clone(), RecordType::A)),
                Box::pin(self.ask(candidate, RecordType::AAAA)),
            );
            let found = combine(v4, v6).map_err(|failure| failure.into_error(host))?;
            if let Some(mut answer) = found {
                if self.check_routes {
                    answer.addresses = leave_out(answer.addresses, has_route);
                }
                return Ok(answer);
            }
        }
        Err(ResolveError::NotFound { host: host.to_owned() })
    }

    /// One question. `Ok(None)`: the servers say that there is nothing.
    async fn ask(&self, name: Name, kind: RecordType) -> Result<Option<Found>, NetError> {
        let lookup = match self.dns.lookup(name, kind).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_no_records_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut found = Found { addresses: Vec::new(), ttl_s: u32::MAX };
        for record in lookup.answers() {
            found.ttl_s = found.ttl_s.min(record.ttl);
            // An alias on the way counts for the TTL only.
            found.addresses.extend(record.data.ip_addr());
        }
        Ok(Some(found).filter(|found| !found.addresses.is_empty()))
    }
}

/// When to look the name up again: `result` is of the lookup just made, `configured` the pool's
/// `resolve`, `failures` how many lookups in a row have failed, this one included.
///
/// After an answer: its TTL, at most `configured`. After a failure: 1 s, doubled by each further
/// one, at most `configured`. Never less than [`REFRESH_MIN`]. The caller adds jitter.
#[must_use]
pub fn next_refresh(
    result: &Result<Answer, ResolveError>,
    configured: Duration,
    failures: u32,
) -> Duration {
    let longest = configured.max(REFRESH_MIN);
    match result {
        Ok(answer) => answer.ttl.clamp(REFRESH_MIN, longest),
        Err(_) => {
            let doublings = failures.saturating_sub(1).min(31);
            REFRESH_MIN.saturating_mul(1 << doublings).min(longest)
        }
    }
}

/// The addresses to use after a lookup: those of the answer, and the last good ones for what the
/// lookup could not tell. A failure changes nothing; an incomplete answer keeps the addresses of
/// the family that it has none of.
#[must_use]
pub fn keep_last_good(last: &[IpAddr], result: &Result<Answer, ResolveError>) -> Vec<IpAddr> {
    let Ok(answer) = result else {
        return last.to_vec();
    };
    let mut addresses = answer.addresses.clone();
    if !answer.complete {
        let has_v4 = addresses.iter().any(IpAddr::is_ipv4);
        let has_v6 = addresses.iter().any(IpAddr::is_ipv6);
        let missing = |address: &&IpAddr| if address.is_ipv4() { !has_v4 } else { !has_v6 };
        addresses.extend(last.iter().filter(missing));
    }
    tidy(addresses)
}

/// What one question brought.
#[derive(Debug)]
struct Found {
    addresses: Vec<IpAddr>,
    ttl_s: u32,
}

/// A question that got no answer, not even "there is nothing".
#[derive(Debug)]
struct Failure(NetError);

impl Failure {
    fn into_error(self, host: &str) -> ResolveError {
        let host = host.to_owned();
        if matches!(self.0, NetError::Timeout) {
            ResolveError::Timeout { host }
        } else {
            ResolveError::Failed { host, source: self.0 }
        }
    }
}

/// One answer of the two families. A failure of one alone must not hide the other: many name
/// servers fail for AAAA. When nothing was found and one failed, nobody knows.
fn combine(
    v4: Result<Option<Found>, NetError>,
    v6: Result<Option<Found>, NetError>,
) -> Result<Option<Answer>, Failure> {
    let mut addresses = Vec::new();
    let mut ttl_s = u32::MAX;
    let mut failure = None;
    for result in [v6, v4] {
        match result {
            Ok(Some(found)) => {
                addresses.extend(found.addresses);
                ttl_s = ttl_s.min(found.ttl_s);
            }
            Ok(None) => {}
            Err(error) => failure = Some(Failure(error)),
        }
    }
    let addresses = tidy(addresses);
    match (addresses.is_empty(), failure) {
        (true, Some(failure)) => Err(failure),
        (true, None) => Ok(None),
        (false, failure) => {
            let ttl = Duration::from_secs(u64::from(ttl_s));
            Ok(Some(Answer { addresses, ttl, complete: failure.is_none() }))
        }
    }
}

/// Sorted, each once, at most [`ADDRESSES_MAX`]. The unspecified address would be this machine
/// itself (block lists answer with it), and nobody connects to a group: both are left out.
fn tidy(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|address| {
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        !address.is_unspecified() && !address.is_multicast() && !broadcast
    });
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// Leaves out addresses that cannot be reached from here (RFC 6724 rule 1), such as IPv6 ones on
/// a machine without IPv6; all stay when none would be left.
fn leave_out(addresses: Vec<IpAddr>, usable: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let kept: Vec<IpAddr> = addresses.iter().copied().filter(|&address| usable(address)).collect();
    if kept.is_empty() { addresses } else { kept }
}

/// Whether the kernel knows a route. Connecting a UDP socket sends nothing.
fn has_route(address: IpAddr) -> bool {
    let local: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The port is of no matter; 9 is "discard".
    UdpSocket::bind((local, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

/// The fully qualified names to ask for, in order: with the search domains first when the name
/// has fewer than `dots_min` dots, otherwise as it is first. A final dot means: only as it is.
fn candidates(name: &Name, search: &[Name], dots_min: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    // Too long a name with the domain is simply not one to ask for.
    let searched = search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let mut names: Vec<Name> = if dots >= dots_min {
        std::iter::once(whole).chain(searched).collect()
    } else {
        searched.chain(std::iter::once(whole)).collect()
    };
    let mut known = Vec::with_capacity(names.len());
    names.retain(|name| {
        let new = !known.contains(name);
        known.push(name.clone());
        new
    });
    names
}

/// The DNS client: no cache, no hosts file, aliases kept for their TTL.
fn connect(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.timeout = options.timeout.min(QUESTION_WAIT_MAX);
    options.attempts = options.attempts.min(3);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

#[cfg(test)]
mod tests;
