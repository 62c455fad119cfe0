//! A PostgreSQL cluster of a drill's own: created in a scratch folder, filled, started, ended.
//!
//! It listens on 127.0.0.1 alone and trusts who connects; nothing in it is worth keeping, so it
//! never waits for the disk. PostgreSQL refuses to run as root: then an unprivileged account does.
//! Invariant: the cluster does not outlive the drill. Its keeper ends it; and when the drill is
//! killed, the kernel tells the cluster to end, as the keeper's thread ends with its process.

mod account;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use model::drill::Database;
use rustix::process::{Pid, Signal, kill_process};

use account::Account;

/// Who the sample applications connect as: no superuser, so that `max_connections` counts.
const APPLICATION: &str = "app";
/// Who looks at the cluster: the places that PostgreSQL reserves for superusers are left.
const OPERATOR: &str = "postgres";
/// The database with the table.
const NAME: &str = "postgres";
/// For creating the cluster, and for filling it.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// For the start, until connections are accepted.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Ports tried: another process may take one between our look and the start.
const PORTS_MAX: usize = 3;
/// Between two looks at a condition of another process.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How the cluster is told to end, and how long each may take: politely, at once, by force.
const ENDINGS: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(5)),
    (Signal::QUIT, Duration::from_secs(5)),
    (Signal::KILL, Duration::from_secs(5)),
];

/// A running cluster; ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    pid: u32,
    end: SyncSender<()>,
    keeper: Option<JoinHandle<()>>,
}

impl Postgres {
    /// Creates a cluster in a new folder `cluster` of `folder`, fills its table `orders`, and starts
    /// it. Blocks, for one to five seconds as a rule.
    ///
    /// As root, the folders above are opened for passing through (not for reading) as far as they
    /// lie in the system's folder for temporary files.
    ///
    /// # Errors
    /// In words: PostgreSQL is not installed (and how to), no unprivileged account, the end of the
    /// log of the program that failed.
    pub fn start(folder: &Path, database: &Database) -> Result<Self, String> {
        let (report, reported) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let (folder, database) = (folder.to_owned(), database.clone());
        let keeper = thread::Builder::new()
            .name("postgres-keeper".to_owned())
            .spawn(move || keep(&folder, &database, &report, &ended))
            .map_err(|error| format!("no thread for PostgreSQL: {error}"))?;
        let (pid, address) = reported
            .recv()
            .map_err(|error| format!("PostgreSQL was not started: {error}"))
            .flatten()?;
        Ok(Self { address, pid, end, keeper: Some(keeper) })
    }

    /// What sample applications are told as their `database`: `postgres://app@HOST:PORT/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{APPLICATION}@{}/{NAME}", self.address)
    }

    /// The same for a superuser, who gets in where applications are refused for want of connections.
    #[must_use]
    pub fn operator_url(&self) -> String {
        format!("postgres://{OPERATOR}@{}/{NAME}", self.address)
    }

    /// The process that all others of the cluster belong to. It stays this cluster's until
    /// [`end`](Self::end), even if it ends by itself. SIGQUIT ends it without a trace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens: 127.0.0.1 and a port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and removes its folder. Blocks, for 15 s at most, some 50 ms as a rule.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.end.try_send(()).is_err() {
            tracing::debug!("PostgreSQL's keeper has ended already");
        }
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            tracing::error!("the keeper of PostgreSQL panicked");
        }
    }
}

type Started = Result<(u32, SocketAddr), String>;

/// The life of a cluster, on a thread of its own: the kernel's notice of a parent's end is tied to
/// the thread that started the process, and a pool's thread may end long before the drill.
fn keep(folder: &Path, database: &Database, report: &SyncSender<Started>, end: &Receiver<()>) {
    let raised = Cluster::prepare(folder).and_then(|cluster| {
        let started = cluster.raise(database);
        Ok((started?, cluster))
    });
    match raised {
        Ok((mut server, _cluster)) => {
            if report.send(Ok((server.pid(), server.address))).is_ok() {
                match end.recv() {
                    // Told to end, or nobody is left who could tell.
                    Ok(()) | Err(_) => {}
                }
            }
            server.end();
        }
        Err(why) => drop(report.send(Err(why))),
    }
}

/// The files of a cluster and who may run it; the files are removed when dropped.
#[derive(Debug)]
struct Cluster {
    programs: PathBuf,
    account: Option<Account>,
    folder: PathBuf,
}

impl Cluster {
    fn prepare(folder: &Path) -> Result<Self, String> {
        let programs = account::programs()?;
        let account = Account::needed()?;
        let folder = folder.join("cluster");
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir(&folder).map_err(failed)?;
        let cluster = Self { programs, account, folder: folder.clone() };
        if let Some(account) = &cluster.account {
            account.give(&folder)?;
        }
        Ok(cluster)
    }

    fn raise(&self, database: &Database) -> Result<Server, String> {
        self.create()?;
        self.fill(database.rows)?;
        let mut why = String::new();
        for _ in 0..PORTS_MAX {
            match self.serve(database) {
                Ok(server) => return Ok(server),
                Err(failure) if failure.contains("could not bind") => why = failure,
                Err(failure) => return Err(failure),
            }
        }
        Err(why)
    }

    fn create(&self) -> Result<(), String> {
        let mut command = self.command("initdb", "TERM")?;
        command
            .args(["--username", OPERATOR, "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--wal-segsize=1", "--pgdata"])
            .arg(self.data());
        self.complete(command, "initdb")
    }

    /// Fills the table while nobody is connected, which needs no client and no waiting.
    fn fill(&self, rows: u32) -> Result<(), String> {
        let text = format!(
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer integer NOT NULL, amount_cents bigint NOT NULL, note text NOT NULL)\n\
             INSERT INTO orders SELECT n, n % 1000, n::bigint * 7919 % 100000, md5(n::text) FROM generate_series(1, {rows}) AS n\n\
             VACUUM ANALYZE orders\n\
             CREATE ROLE {APPLICATION} LOGIN\n\
             GRANT SELECT ON orders TO {APPLICATION}\n"
        );
        let path = self.folder.join("fill.sql");
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        fs::write(&path, text).map_err(failed)?;
        let mut command = self.command("postgres", "QUIT")?;
        command.arg("--single").arg("-D").arg(self.data());
        settings(&mut command, &["exit_on_error=on"]);
        command.arg(NAME).stdin(File::open(&path).map_err(failed)?);
        self.complete(command, "postgres")
    }

    fn serve(&self, database: &Database) -> Result<Server, String> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = free.map_err(|error| format!("no free port: {error}"))?;
        let mut command = self.command("postgres", "QUIT")?;
        command.arg("-D").arg(self.data());
        settings(
            &mut command,
            &[
                "listen_addresses=127.0.0.1",
                &format!("port={}", address.port()),
                "unix_socket_directories=",
                &format!("max_connections={}", database.connections_max),
                "logging_collector=off",
                "log_checkpoints=off",
            ],
        );
        let child = command.spawn().map_err(|error| format!("postgres: {error}"))?;
        let mut server = Server { child, address };
        match self.await_start(&mut server) {
            Ok(()) => Ok(server),
            Err(why) => {
                server.end();
                Err(why)
            }
        }
    }

    /// The server says in its own file when it accepts connections.
    fn await_start(&self, server: &mut Server) -> Result<(), String> {
        let status = self.data().join("postmaster.pid");
        let started = wait_until(START_TIMEOUT, || {
            if let Ok(Some(ended)) = server.child.try_wait() {
                return Some(Err(ended));
            }
            let text = fs::read_to_string(&status).ok()?;
            (text.lines().nth(7)?.trim_end() == "ready").then_some(Ok(()))
        });
        match started {
            Some(Ok(())) => Ok(()),
            Some(Err(ended)) => Err(self.failure("postgres", &format!("ended, {ended}"))),
            None => Err(self.failure("postgres", "did not start in time")),
        }
    }

    /// Runs a program to its end.
    fn complete(&self, mut command: Command, program: &str) -> Result<(), String> {
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let mut failed = None;
        let ended = wait_until(PREPARE_TIMEOUT, || match child.try_wait() {
            Ok(ended) => ended,
            Err(error) => {
                failed = Some(error.to_string());
                None
            }
        });
        match ended {
            Some(ended) if ended.success() => Ok(()),
            Some(ended) => Err(self.failure(program, &format!("failed, {ended}"))),
            None => {
                end_child(&mut child);
                Err(self.failure(program, failed.as_deref().unwrap_or("did not end in time")))
            }
        }
    }

    /// A program of PostgreSQL under the right account, which the kernel sends a signal when this
    /// thread ends, and whose output goes to a log in the folder.
    fn command(&self, program: &str, signal: &str) -> Result<Command, String> {
        let path = self.log(program);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let log = File::create(&path).map_err(failed)?;
        let mut command = Command::new("setpriv");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        if let Some(account) = &self.account {
            command.args(account.arguments());
        }
        command.args(["--pdeathsig", signal, "--"]).arg(self.programs.join(program));
        // A group of its own: Ctrl-C at the terminal is for the drill, which ends this in order.
        command.current_dir(&self.folder).process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.log"))
    }

    /// What happened to a program, with the end of its log.
    fn failure(&self, program: &str, what: &str) -> String {
        let log = fs::read(self.log(program)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("{program} {what}: {}", lines.join("; "))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "PostgreSQL's files could not be removed");
        }
    }
}

/// Settings of every server process of the cluster, and these.
fn settings(command: &mut Command, more: &[&str]) {
    let always = [
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "shared_buffers=16MB",
        // In files of the cluster instead of /dev/shm, so that even SIGKILL leaves nothing there.
        "dynamic_shared_memory_type=mmap",
        // The same query costs the same each time.
        "autovacuum=off",
        "jit=off",
        "max_parallel_workers_per_gather=0",
    ];
    for setting in always.iter().chain(more) {
        command.arg("-c").arg(setting);
    }
}

/// A started server.
#[derive(Debug)]
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        end_child(&mut self.child);
    }
}

/// Tells a process to end, ever less politely. It was not awaited before, so its id is its own.
fn end_child(child: &mut Child) {
    for (signal, within) in ENDINGS {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, "PostgreSQL has ended already");
        }
        let ended: Option<io::Result<ExitStatus>> =
            wait_until(within, || child.try_wait().transpose());
        match ended {
            Some(Ok(_)) => return,
            Some(Err(error)) => tracing::warn!(%error, "PostgreSQL cannot be awaited"),
            None => tracing::warn!(?signal, "PostgreSQL does not end"),
        }
    }
}

/// Looks again and again until there is something to see, or the time is over.
fn wait_until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = net::clock::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if net::clock::now().since(begin) >= within {
            return None;
        }
        // There is no condition of another process to wait on that is both portable and bounded.
        thread::park_timeout(LOOK_PAUSE);
    }
}

#[cfg(test)]
mod tests;
