//! Workers on threads of their own, a server that answers with its name, and a plain client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http_door::live::{Known, Live};
use http_door::worker::{self, Command, Shared};
use model::Name;
use model::configuration::{
    Action, Admin, Admission, Balance, Changes, Class, Client, ClientLimits, ClientTimeouts,
    Configuration, Door as DoorSettings, Ejection, ErrorFormat, ForwardedStyle, Identity,
    Invariants, Listener, PathPattern, Pool, PoolAdmission, Retries, Route, Server, ServerAddress,
    ServerTimeouts, Telemetry, Treatment,
};
use net::clock;
use telemetry::Registry;
use tokio::sync::mpsc;

pub(crate) const SECONDS: Duration = Duration::from_secs(30);

/// What differs between the configurations of these tests.
pub(crate) struct Setup {
    pub(crate) version: &'static str,
    pub(crate) server: SocketAddr,
    pub(crate) methods: Vec<Name>,
    pub(crate) balance: Balance,
    pub(crate) workers: usize,
    /// What the client `partner` sends as `x-api-key`; without, there is none.
    pub(crate) key: Option<&'static str>,
}

/// Workers with one listener, of which each has a socket of its own.
pub(crate) struct Door {
    pub(crate) registry: Arc<Registry>,
    pub(crate) live: Arc<Live>,
    addresses: Vec<SocketAddr>,
    commands: Vec<mpsc::Sender<Command>>,
    _changes: mpsc::Receiver<worker::ServerChange>,
}

impl Door {
    pub(crate) fn start(setup: Setup) -> Self {
        let workers = setup.workers;
        let sockets: Vec<TcpListener> = (0..workers).map(|_| listening()).collect();
        let address = |socket: &TcpListener| socket.local_addr().expect("it is bound");
        let addresses: Vec<SocketAddr> = sockets.iter().map(address).collect();
        let registry = Arc::new(Registry::new(workers));
        let (sender, changes) = mpsc::channel(16);
        let shared = Shared::new(Arc::clone(&registry), None, sender);
        let live = build(setup, addresses[0], None);
        let start = |(index, socket): (usize, TcpListener)| {
            let (commands, receiver) = mpsc::channel(16);
            commands.try_send(Command::Listen("web".into(), socket)).expect("it has room");
            let (shared, live) = (Arc::clone(&shared), Arc::clone(&live));
            // It ends when the commands do and its connections have: nobody need wait for it.
            drop(std::thread::spawn(move || worker::run(index, shared, live, receiver)));
            commands
        };
        let commands = sockets.into_iter().enumerate().map(start).collect();
        Self { registry, live, addresses, commands, _changes: changes }
    }

    pub(crate) fn build(&self, setup: Setup, previous: Option<&Live>) -> Arc<Live> {
        build(setup, self.addresses[0], previous)
    }

    pub(crate) fn tell(&self, command: Command) {
        self.commands[0].try_send(command).expect("the worker runs and follows");
    }

    pub(crate) fn connect(&self) -> TcpStream {
        self.connect_to(0)
    }

    /// Connects to this worker.
    pub(crate) fn connect_to(&self, worker: usize) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[worker]).expect("the door listens");
        stream.set_read_timeout(Some(SECONDS)).expect("the time is not zero");
        stream
    }
}

fn listening() -> TcpListener {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.set_nonblocking(true).expect("a socket can be nonblocking");
    socket
}

fn build(setup: Setup, address: SocketAddr, previous: Option<&Live>) -> Arc<Live> {
    let configuration = Arc::new(configuration(setup, address));
    Arc::new(
        Live::build(&configuration, &Known::default(), previous, clock::now())
            .expect("there is no TLS to load"),
    )
}

fn configuration(setup: Setup, address: SocketAddr) -> Configuration {
    Configuration {
        version: setup.version.into(),
        door: DoorSettings {
            workers: setup.workers,
            drain: SECONDS,
            connections_max: 100,
            state: None,
        },
        listeners: vec![listener(address)],
        pools: vec![pool(setup.server, setup.balance)],
        routes: vec![Route {
            name: "all".into(),
            priority: 0,
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: PathPattern::Prefix("/".into()),
            methods: setup.methods,
            headers: Vec::new(),
            action: Action::Forward { pool: 0, rewrite: None },
            body_bytes_max: None,
            total_timeout: None,
            treatment: Treatment::default(),
            class: None,
        }],
        admission: Admission::default(),
        clients: setup.key.map(client).into_iter().collect(),
        limits: Vec::new(),
        admin: Admin { socket: None, tcp: None },
        telemetry: Telemetry { access_log: None },
        invariants: Invariants::default(),
        changes: Changes::default(),
        allowances: Vec::new(),
        files: Vec::new(),
    }
}

fn client(key: &str) -> Client {
    let hash = digest(&SHA256, key.as_bytes());
    let sha256 = hash.as_ref().try_into().expect("it is as long as it is");
    Client {
        name: "partner".into(),
        identities: vec![Identity::Header { name: "x-api-key".into(), sha256 }],
        rate: None,
        burst: 1,
        in_flight_max: None,
        class: Class::Normal,
        routes: Vec::new(),
        enabled: true,
        shared: false,
        headers: false,
    }
}

fn listener(address: SocketAddr) -> Listener {
    Listener {
        protocol: model::configuration::ListenerProtocol::default(),
        proxy_protocol: false,
        name: "web".into(),
        address,
        tls: None,
        trusted_proxies: Vec::new(),
        forwarded: ForwardedStyle::XForwarded,
        limits: ClientLimits {
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 1024,
            connections_max: 100,
            connections_per_address_max: 100,
        },
        timeouts: ClientTimeouts {
            handshake: SECONDS,
            head: SECONDS,
            body: SECONDS,
            keep_alive: SECONDS,
        },
        errors: ErrorFormat::Text,
    }
}

fn pool(server: SocketAddr, balance: Balance) -> Pool {
    let address = ServerAddress::Socket(server);
    Pool {
        protocol: model::configuration::ServerProtocol::default(),
        proxy_protocol: None,
        name: "api".into(),
        servers: vec![Server { address, weight: 1, zone: None, drain: false }],
        balance,
        zone: None,
        check: None,
        tls: None,
        timeouts: ServerTimeouts {
            connect: SECONDS,
            first_byte: SECONDS,
            progress: SECONDS,
            total: None,
            idle: SECONDS,
            tunnel_idle: SECONDS,
        },
        retries: Retries {
            attempts_max: 1,
            budget: 0.0,
            budget_min_per_second: 0,
            on_status: false,
        },
        ejection: Ejection { failures: 0, pause: SECONDS, pause_max: SECONDS, share_max: 0.5 },
        slow_start: Duration::ZERO,
        in_flight_max: 100,
        admission: PoolAdmission { adaptive: false, wait_max: SECONDS, ..PoolAdmission::default() },
        idle_max: 10,
        resolve: SECONDS,
        capacity: None,
        peak_per_second: None,
    }
}

/// A server that answers with its name; `/wait` is answered when it is released, `/events` never
/// ends, and behind `/socket` whatever is sent is answered in the same way.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    waiting: Receiver<()>,
    released: SyncSender<()>,
}

impl Origin {
    pub(crate) fn start(name: &'static str) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (tell, waiting) = sync_channel(1);
        let (released, release) = sync_channel(1);
        let release = Arc::new(Mutex::new(release));
        let serve = move |stream: TcpStream| -> JoinHandle<()> {
            let (tell, release) = (tell.clone(), Arc::clone(&release));
            std::thread::spawn(move || answer(stream, name, &tell, &release))
        };
        drop(std::thread::spawn(move || socket.incoming().flatten().map(serve).for_each(drop)));
        Self { address, waiting, released }
    }

    pub(crate) fn has_request_waiting(&self) {
        self.waiting.recv_timeout(SECONDS).expect("the request arrives");
    }

    pub(crate) fn has_no_request_waiting(&self) {
        assert!(self.waiting.try_recv().is_err(), "a request arrived that never should");
    }

    pub(crate) fn release(&self) {
        self.released.send(()).expect("the server runs");
    }
}

fn answer(mut stream: TcpStream, name: &str, tell: &SyncSender<()>, release: &Mutex<Receiver<()>>) {
    // The door sends a head of this size in one piece.
    let mut head = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut head) {
        if head[..count].starts_with(b"GET /wait ") {
            tell.send(()).expect("the test waits for it");
            release.lock().expect("nobody panicked").recv().expect("the test releases it");
        }
        if head[..count].starts_with(b"GET /events ") {
            let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
            drop(stream.write_all(events.as_bytes()));
            continue;
        }
        if head[..count].starts_with(b"GET /socket ") {
            let agreed = "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                          sec-websocket-accept: x\r\n\r\n";
            drop(stream.write_all(agreed.as_bytes()));
            continue;
        }
        let length = name.len();
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

pub(crate) fn get(client: &mut TcpStream, path: &str, headers: &str) -> (u16, String) {
    send(client, "GET", path, headers);
    receive(client)
}

pub(crate) fn post(client: &mut TcpStream) -> (u16, String) {
    send(client, "POST", "/", "content-length: 0\r\n");
    receive(client)
}

pub(crate) fn send(client: &mut TcpStream, method: &str, path: &str, headers: &str) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: example.org\r\n{headers}\r\n");
    client.write_all(head.as_bytes()).expect("the door reads");
}

/// Opens a WebSocket with this `x-api-key`; in it a `get` is answered by the server.
pub(crate) fn websocket(mut client: TcpStream, key: &str) -> TcpStream {
    let headers = format!(
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nx-api-key: {key}\r\n"
    );
    send(&mut client, "GET", "/socket", &headers);
    assert!(receive_head(&mut client).starts_with("HTTP/1.1 101 "));
    client
}

/// The status and the body of a response that says its length; what follows it stays unread.
pub(crate) fn receive(client: &mut TcpStream) -> (u16, String) {
    let head = receive_head(client);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).expect("it says its length");
    let mut body = vec![0; length];
    client.read_exact(&mut body).expect("the whole body comes");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("it has a status"), String::from_utf8(body).expect("it is text"))
}

fn receive_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let count = client.read(&mut byte).expect("the door answers in time");
        assert!(count > 0, "the connection ended after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("it is text")
}
