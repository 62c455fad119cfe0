//! TLS that is passed on by its server name, as it came: rustls on both ends, and hellos that
//! nobody honest sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use black_box::tcp::{connect, rest};
use black_box::{Door, PATIENCE, TcpServer, eventually};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// A TLS server with a certificate of its own, that says its name and ends.
struct TlsServer {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    stopping: Arc<AtomicBool>,
}

impl TlsServer {
    fn start(name: &'static str, host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).expect("it is made");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks these")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("the key is the certificate's");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a listening socket has an address");
        let (config, stopping) = (Arc::new(config), Arc::<AtomicBool>::default());
        std::thread::spawn({
            let stopping = Arc::clone(&stopping);
            move || {
                let sockets = listener.incoming().flatten();
                for socket in sockets.take_while(|_| !stopping.load(Ordering::SeqCst)) {
                    drop(socket.set_read_timeout(Some(PATIENCE)));
                    let session = ServerConnection::new(Arc::clone(&config)).expect("it begins");
                    let mut stream = StreamOwned::new(session, socket);
                    drop(stream.write_all(name.as_bytes()));
                    stream.conn.send_close_notify();
                    drop(stream.flush());
                }
            }
        });
        Self { address, certificate, stopping }
    }

    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks these")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// What the server behind the door says to who asks for `host`, verified with its certificate.
fn ask(door: &Door, config: Arc<ClientConfig>, host: &str) -> std::io::Result<String> {
    let name = ServerName::try_from(host.to_owned()).expect("the name is valid");
    let session = ClientConnection::new(config, name).expect("it begins");
    let mut stream = StreamOwned::new(session, connect(door.first_address()));
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn text(pools: &[(&str, SocketAddr)], listen: &str) -> String {
    let pools: Vec<String> = pools
        .iter()
        .map(|(name, address)| format!("[pools.{name}]\nservers = [\"{address}\"]\n"))
        .collect();
    format!(
        "[listen.tls]\naddress = \"127.0.0.1:0\"\nmode = \"tcp\"\n{listen}\n{}\n\
         [telemetry]\naccess_log = {{ file = \"{{dir}}/access\" }}\n",
        pools.concat()
    )
}

/// The first bytes that a client of `host` sends.
fn hello_for(host: &str, config: Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from(host.to_owned()).expect("the name is valid");
    let mut session = ClientConnection::new(config, name).expect("it begins");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("a vector takes bytes");
    bytes
}

/// The same message, in records of at most `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let message = &hello[5..];
    message
        .chunks(size)
        .flat_map(|part| {
            let length = u16::try_from(part.len()).expect("parts are short").to_be_bytes();
            [&[22, 3, 1][..], &length, part].concat()
        })
        .collect()
}

#[test]
fn names_lead_to_their_servers_and_keep_their_certificates() {
    let one = TlsServer::start("one", "a.example.com");
    let other = TlsServer::start("other", "x.b.example.com");
    let door = Door::start(&text(
        &[("one", one.address), ("other", other.address)],
        "sni = { \"A.example.com\" = \"one\", \"*.b.example.com\" = \"other\" }",
    ));
    assert_eq!(ask(&door, one.client(), "a.example.com").unwrap(), "one");
    assert_eq!(ask(&door, one.client(), "A.EXAMPLE.com").unwrap(), "one");
    assert_eq!(ask(&door, other.client(), "x.b.example.com").unwrap(), "other");
    let line = door.access_lines(3).pop().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["host"], &line["pool"]), (&"x.b.example.com".into(), &"other".into()));
    assert_eq!(line["reason"], serde_json::Value::Null);
    // Nobody serves these; the server of another name is not asked.
    for host in ["b.example.com", "x.y.b.example.com", "c.example.com"] {
        ask(&door, one.client(), host).unwrap_err();
    }
    let ended = ["reason=\"unknown_server_name\""];
    assert_eq!(door.metric("tidegate_tcp_connections_ended_total", &ended), 3.0);
}

#[test]
fn what_has_no_name_goes_to_the_pool() {
    let named = TlsServer::start("named", "a.example.com");
    let rest_of = TcpServer::start("");
    let door = Door::start(&text(
        &[("named", named.address), ("rest", rest_of.address())],
        "pool = \"rest\"\nsni = { \"a.example.com\" = \"named\" }",
    ));
    assert_eq!(ask(&door, named.client(), "a.example.com").unwrap(), "named");
    // Another name, and no TLS at all.
    let hello = hello_for("c.example.com", named.client());
    let mut client = connect(door.first_address());
    client.write_all(&hello).unwrap();
    let mut echoed = vec![0; hello.len()];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, hello, "it is passed on as it came");
    let mut client = connect(door.first_address());
    black_box::tcp::check_echo(&mut client, "EHLO me\r\n");
}

#[test]
fn threat_42_a_fragmented_client_hello_keeps_its_name() {
    let secret = TcpServer::start("");
    let open = TcpServer::start("");
    let door = Door::start(&text(
        &[("secret", secret.address()), ("open", open.address())],
        "pool = \"open\"\nsni = { \"a.example.com\" = \"secret\" }\ntimeouts = { handshake = \"1s\" }",
    ));
    let some = TlsServer::start("", "a.example.com");
    let hello = hello_for("a.example.com", some.client());
    for size in [1, 3, 50, 10_000] {
        let bytes = in_records(&hello, size);
        for piece in [7, bytes.len()] {
            let mut client = connect(door.first_address());
            bytes.chunks(piece).for_each(|part| client.write_all(part).unwrap());
            let mut echoed = vec![0; bytes.len()];
            client.read_exact(&mut echoed).unwrap();
            assert!(echoed == bytes, "records of {size}, pieces of {piece}");
        }
    }
    assert_eq!(secret.connections(), 8);
    // What has two readings, or none, or does not come to its end, reaches no server at all.
    let spoilt = |at: usize, value: u8| {
        let mut bytes = hello.clone();
        bytes[at] = value;
        bytes
    };
    let other_record_between =
        [&in_records(&hello, 50)[..55], &[21, 3, 1, 0, 2, 1, 0], &hello[55..]].concat();
    let empty_record = [&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0][..], &hello[6..]].concat();
    let endless = [22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff].repeat(4_000);
    for (what, bytes) in [
        ("another record between", other_record_between),
        ("an empty record", empty_record),
        ("a message longer than its record", spoilt(8, 0xff)),
        ("a message shorter than its record", spoilt(8, hello[8] - 1)),
        ("no end", endless),
        ("cut short", hello[..hello.len() - 1].to_vec()),
    ] {
        let mut client = connect(door.first_address());
        drop(client.write_all(&bytes));
        assert_eq!(rest(&mut client), b"", "{what}");
    }
    assert_eq!((secret.connections(), open.connections()), (8, 0));
    let ended = |reason: &str| {
        door.metric("tidegate_tcp_connections_ended_total", &[&format!("\"{reason}\"")])
    };
    eventually("they are counted", || ended("bad_client_hello") + ended("hello_timeout") == 6.0);
    assert!(ended("hello_timeout") <= 3.0, "{}", door.metrics());
    assert!(door.resident_bytes() < 100 << 20);
}

#[test]
fn tls_may_end_at_the_door() {
    let server = TcpServer::start("behind TLS");
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let listen = format!(
        "pool = \"one\"\ntls = {{ certificates = [{{ certificate = \"{}\", key = \"{}\" }}] }}",
        certificate.display(),
        key.display()
    );
    let door = Door::start(&text(&[("one", server.address())], &listen));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.example.com").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, connect(door.first_address()));
    stream.write_all(b" and back").unwrap();
    let mut bytes = [0; 19];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"behind TLS and back");
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let line: serde_json::Value = serde_json::from_str(&door.access_lines(1)[0]).unwrap();
    assert_eq!(
        (&line["tls_server_name"], &line["protocol"]),
        (&"a.example.com".into(), &"TCP".into())
    );
}
