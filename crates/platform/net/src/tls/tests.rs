//! Real handshakes in memory, with certificates made for each test.

use std::io::Cursor;
use std::path::Path;

use model::configuration::{CertificateFiles, ListenerTls, PoolTls, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use tempfile::TempDir;

use super::*;

mod clients;

const ALPN: &[&[u8]] = &[b"http/1.1"];

/// A certificate authority and a folder with the files of its certificates.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        // Each authority has its own name, as real ones do.
        let name = folder.path().display().to_string();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn issue(&self, file: &str, names: &[&str]) -> CertificateFiles {
        self.issue_with(file, names, &rcgen::PKCS_ECDSA_P256_SHA256, 4096)
    }

    fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        algorithm: &'static rcgen::SignatureAlgorithm,
        last_year: i32,
    ) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        self.sign(file, params, algorithm)
    }

    fn sign(
        &self,
        file: &str,
        params: CertificateParams,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> CertificateFiles {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            ocsp: None,
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn pool(&self) -> PoolTls {
        PoolTls {
            server_name: None,
            roots: Some(self.path("roots.pem")),
            verify: true,
            certificate: None,
        }
    }
}

fn listener(certificates: &[CertificateFiles]) -> ListenerTls {
    ListenerTls {
        certificates: certificates.to_vec(),
        version_min: TlsVersion::Tls12,
        strict_sni: false,
        clients: None,
        acme: None,
    }
}

/// What both sides agreed on.
#[derive(Debug)]
struct Agreed {
    leaf: CertificateDer<'static>,
    kind: HandshakeKind,
    version: ProtocolVersion,
    group: Option<rustls::NamedGroup>,
    alpn: Option<Vec<u8>>,
}

/// One handshake; the server's error comes first, since the client's then is only an alert.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Agreed, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    // Twice more than needed, so that session tickets arrive too.
    for _ in 0..6 {
        carry(|bytes| client.write_tls(bytes), |bytes| server.read_tls(bytes));
        let served = server.process_new_packets();
        carry(|bytes| server.write_tls(bytes), |bytes| client.read_tls(bytes));
        let answered = client.process_new_packets();
        if let Err(error) = served {
            // An alert of the client is not the server's own verdict.
            return Err(match (error, answered) {
                (Error::AlertReceived(_), Err(own)) => own,
                (error, _) => error,
            });
        }
        answered?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Agreed {
        leaf: client.peer_certificates().unwrap()[0].clone().into_owned(),
        kind: client.handshake_kind().unwrap(),
        version: client.protocol_version().unwrap(),
        group: client.negotiated_key_exchange_group().map(|group| group.name()),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
    })
}

fn carry(
    mut write: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>,
    mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    while write(&mut bytes).unwrap() > 0 {}
    let mut bytes = Cursor::new(bytes);
    while read(&mut bytes).unwrap() > 0 {}
}

fn leaf(files: &CertificateFiles) -> CertificateDer<'static> {
    certificate::read_certificates(&files.certificate).unwrap().remove(0)
}

/// A client that looks at no certificate, so that only the server's choice counts.
fn any_client() -> Arc<ClientConfig> {
    client(&PoolTls { server_name: None, roots: None, verify: false, certificate: None }).unwrap()
}

/// Like [`any_client`], with one version of TLS and certain signatures.
fn client_of(version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates([]);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let accept_anything = any_client();
    config.dangerous().set_certificate_verifier(Arc::new(client::AcceptAnything));
    config.alpn_protocols = accept_anything.alpn_protocols.clone();
    Arc::new(config)
}

#[test]
fn the_server_name_chooses_the_certificate() {
    let authority = Authority::new();
    let exact = authority.issue("exact", &["www.example.com", "example.com"]);
    let wildcard = authority.issue("wildcard", &["*.example.com"]);
    let other = authority.issue("other", &["OTHER.example.net"]);
    let all = [exact.clone(), wildcard.clone(), other.clone()];
    let lenient = ServerTls::load(&listener(&all), ALPN).unwrap();
    let strict_settings = ListenerTls { strict_sni: true, ..listener(&all) };
    let strict = ServerTls::load(&strict_settings, ALPN).unwrap();

    let check = |name: &str, expected: Option<&CertificateFiles>| {
        let shown = handshake(&lenient.config(), &any_client(), name).unwrap();
        assert_eq!(shown.leaf, leaf(expected.unwrap_or(&exact)), "{name}");
        match (handshake(&strict.config(), &any_client(), name), expected) {
            (Ok(shown), Some(expected)) => assert_eq!(shown.leaf, leaf(expected), "{name}"),
            (Err(error), None) => {
                assert!(error.to_string().contains("no server certificate chain"), "{error}");
            }
            (result, _) => panic!("{name}: {result:?}"),
        }
    };
    check("www.example.com", Some(&exact));
    check("example.com", Some(&exact));
    check("WWW.Example.COM", Some(&exact));
    check("api.example.com", Some(&wildcard));
    check("other.example.net", Some(&other));
    // A wildcard is exactly one label.
    check("a.b.example.com", None);
    check("com", None);
    check("unknown.test", None);
    // An address is sent as no server name at all.
    check("192.0.2.1", None);
}

#[test]
fn the_client_gets_a_certificate_it_understands() {
    let authority = Authority::new();
    let ed25519 = authority.issue_with("a", &["x.test"], &rcgen::PKCS_ED25519, 4096);
    let ecdsa = authority.issue_with("b", &["x.test"], &rcgen::PKCS_ECDSA_P384_SHA384, 4096);
    let server = load(&listener(&[ed25519.clone(), ecdsa.clone()]), ALPN).unwrap();
    assert_eq!(handshake(&server, &any_client(), "x.test").unwrap().leaf, leaf(&ed25519));

    #[derive(Debug)]
    struct OnlyEcdsa;
    impl rustls::client::danger::ServerCertVerifier for OnlyEcdsa {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP384_SHA384]
        }
    }
    let mut config = (*any_client()).clone();
    config.dangerous().set_certificate_verifier(Arc::new(OnlyEcdsa));
    for name in ["x.test", "unknown.test"] {
        let agreed = handshake(&server, &Arc::new(config.clone()), name).unwrap();
        assert_eq!(agreed.leaf, leaf(&ecdsa), "{name}");
    }
}

#[test]
fn a_request_for_a_host_of_another_certificate_is_misdirected() {
    let authority = Authority::new();
    let web = authority.issue("web", &["example.com", "*.example.com"]);
    let bank = authority.issue("bank", &["bank.example.com"]);
    let tls = ServerTls::load(&listener(&[web, bank]), ALPN).unwrap();
    let check = |server_name: &str, host: &str, expected: bool| {
        assert_eq!(tls.serves_both(Some(server_name), host), expected, "{server_name} {host}");
    };
    check("example.com", "example.com", true);
    check("example.com", "Www.example.com", true);
    check("www.example.com", "example.com", true);
    check("www.example.com", "bank.example.com", false);
    check("bank.example.com", "www.example.com", false);
    check("bank.example.com", "bank.example.com.", true);
    check("www.example.com", "a.b.example.com", false);
    // A name that nothing matches is answered with the default certificate.
    check("unknown.test", "www.example.com", true);
    check("unknown.test", "unknown.test", true);
    check("unknown.test", "other.test", false);
}

#[test]
fn sessions_resume_and_survive_a_reload() {
    let authority = Authority::new();
    let settings = listener(&[authority.issue("a", &["a.test", "b.test"])]);
    let tls = ServerTls::load(&settings, ALPN).unwrap();
    for (version, expected) in [
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let client = client_of(version);
        let kinds = |server: &ServerTls, name: &str| {
            let agreed = handshake(&server.config(), &client, name).unwrap();
            assert_eq!(agreed.version, expected);
            assert_eq!(agreed.alpn.as_deref(), Some(&b"http/1.1"[..]));
            agreed.kind
        };
        assert_eq!(kinds(&tls, "a.test"), HandshakeKind::Full);
        assert_eq!(kinds(&tls, "a.test"), HandshakeKind::Resumed);
        assert_eq!(kinds(&tls, "b.test"), HandshakeKind::Full);
        let reloaded = tls.reload(&settings, ALPN).unwrap();
        assert_eq!(kinds(&reloaded, "a.test"), HandshakeKind::Resumed);
        let elsewhere = ServerTls::load(&settings, ALPN).unwrap();
        assert_eq!(kinds(&elsewhere, "a.test"), HandshakeKind::Full);
    }
}

/// Without tickets, TLS 1.2 sessions are kept by the server.
#[test]
fn tls12_sessions_resume_without_tickets() {
    let authority = Authority::new();
    let server = load(&listener(&[authority.issue("a", &["a.test"])]), ALPN).unwrap();
    let mut config = (*client_of(&rustls::version::TLS12)).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8)
        .tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
    let config = Arc::new(config);
    assert_eq!(handshake(&server, &config, "a.test").unwrap().kind, HandshakeKind::Full);
    assert_eq!(handshake(&server, &config, "a.test").unwrap().kind, HandshakeKind::Resumed);
}

/// A resumed session must not reach a name that the certificates no longer carry.
#[test]
fn a_session_does_not_outlive_its_certificate_under_strict_sni() {
    let authority = Authority::new();
    let strict = |files| ListenerTls { strict_sni: true, ..listener(&[files]) };
    let before = ServerTls::load(&strict(authority.issue("a", &["a.test"])), ALPN).unwrap();
    let after = before.reload(&strict(authority.issue("b", &["b.test"])), ALPN).unwrap();
    let client = any_client();
    handshake(&before.config(), &client, "a.test").unwrap();
    handshake(&after.config(), &client, "a.test").unwrap_err();
}

#[test]
fn the_profile_is_mozilla_intermediate() {
    let authority = Authority::new();
    let files = authority.issue("a", &["a.test"]);
    let server = load(&listener(std::slice::from_ref(&files)), ALPN).unwrap();
    let agreed = handshake(&server, &any_client(), "a.test").unwrap();
    assert_eq!(agreed.version, ProtocolVersion::TLSv1_3);
    assert_eq!(agreed.group, Some(rustls::NamedGroup::X25519MLKEM768));
    assert_eq!(server.max_early_data_size, 0);
    for suite in &server.crypto_provider().cipher_suites {
        let name = format!("{:?}", suite.suite());
        let forward_secret = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        let aead = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_");
        assert!(forward_secret && aead, "{name}");
    }

    let modern = ListenerTls { version_min: TlsVersion::Tls13, ..listener(&[files]) };
    let modern = load(&modern, ALPN).unwrap();
    let error = handshake(&modern, &client_of(&rustls::version::TLS12), "a.test").unwrap_err();
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error}");
}

/// A ClientHello as a client sends it that speaks at most `version`, with a suite, a group and a
/// signature that the server has.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session; ECDHE-ECDSA with AES-128-GCM; no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    // Extensions: ECDSA P-256 with SHA-256, X25519, extended master secret.
    body.extend([0, 20, 0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 29, 0, 23, 0, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend(body);
    record(&message)
}

fn record(payload: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    record.extend(payload);
    record
}

#[test]
fn versions_before_1_2_are_refused() {
    let authority = Authority::new();
    let server = load(&listener(&[authority.issue("a", &["a.test"])]), ALPN).unwrap();
    let check = |version: [u8; 2], accepted: bool| {
        let mut connection = ServerConnection::new(Arc::clone(&server)).unwrap();
        connection.read_tls(&mut Cursor::new(old_hello(version))).unwrap();
        match connection.process_new_packets() {
            Ok(_) => assert!(accepted, "{version:?}"),
            Err(Error::PeerIncompatible(reason)) => {
                let expected = rustls::PeerIncompatible::Tls12NotOffered;
                assert!(!accepted && reason == expected, "{version:?}: {reason:?}");
            }
            Err(error) => panic!("{version:?}: {error:?}"),
        }
    };
    check([3, 3], true);
    check([3, 2], false);
    check([3, 1], false);
    check([3, 0], false);
}

/// Threat 42: the ClientHello arrives in many records, and each record in many reads.
#[test]
fn a_fragmented_hello_is_put_together() {
    let authority = Authority::new();
    let first = authority.issue("a", &["a.test"]);
    let second = authority.issue("b", &["b.test"]);
    let strict = ListenerTls { strict_sni: true, ..listener(&[first, second]) };
    let server = load(&strict, ALPN).unwrap();
    for (fragment_bytes, read_bytes) in [(1, 1), (5, 3), (64, 1), (600, 7)] {
        let name = ServerName::try_from("b.test").unwrap();
        let mut client = ClientConnection::new(any_client(), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let fragments: Vec<u8> = hello[5..].chunks(fragment_bytes).flat_map(record).collect();

        let mut connection = ServerConnection::new(Arc::clone(&server)).unwrap();
        for part in fragments.chunks(read_bytes) {
            connection.read_tls(&mut Cursor::new(part)).unwrap();
            connection.process_new_packets().unwrap();
        }
        assert_eq!(connection.server_name(), Some("b.test"), "{fragment_bytes}");
        assert!(connection.wants_write(), "the server answers the whole hello");
    }
}

#[test]
fn the_server_is_verified() {
    let authority = Authority::new();
    let good = authority.issue("good", &["a.test", "192.0.2.1"]);
    let expired =
        authority.issue_with("expired", &["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, 2020);
    let stranger = Authority::new();
    let trusting = client(&authority.pool()).unwrap();
    let check = |files: &CertificateFiles, name: &str, expected: &str| {
        let server = load(&listener(std::slice::from_ref(files)), ALPN).unwrap();
        let result = handshake(&server, &trusting, name);
        let text = result.map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned());
        assert!(text.contains(expected), "{name}: {text}");
        // Verification off accepts the same certificate.
        handshake(&server, &any_client(), name).unwrap();
    };
    check(&good, "a.test", "ok");
    check(&good, "192.0.2.1", "ok");
    check(&good, "b.test", "NotValidForName");
    check(&good, "192.0.2.2", "NotValidForName");
    check(&expired, "a.test", "Expired");
    check(&stranger.issue("a", &["a.test"]), "a.test", "UnknownIssuer");
    let server = load(&listener(&[good]), ALPN).unwrap();
    handshake(&server, &trusting, "a.test").unwrap();
    let again = handshake(&server, &trusting, "a.test").unwrap();
    assert_eq!(again.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(again.kind, HandshakeKind::Resumed);
}

/// What the children of [`the_systems_roots_are_trusted`] run.
#[test]
fn child_loads_the_systems_roots() {
    match client(&PoolTls { server_name: None, roots: None, verify: true, certificate: None }) {
        Ok(_) => println!("roots: some"),
        Err(TlsError::NoRoots) => println!("roots: none"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_systems_roots_are_trusted() {
    let authority = Authority::new();
    std::fs::write(authority.path("none.pem"), "").unwrap();
    for (file, expected) in [("roots.pem", "roots: some"), ("none.pem", "roots: none")] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::tests::child_loads_the_systems_roots", "--nocapture"])
            .env("SSL_CERT_FILE", authority.path(file))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(expected), "{file}: {output}");
    }
}

#[test]
fn names_to_verify_are_dns_names_or_addresses() {
    fn check(name: &str, expected: Option<&str>) {
        let found = server_name(name).ok().map(|name| name.to_str().into_owned());
        assert_eq!(found.as_deref(), expected, "{name}");
    }
    check("db.example", Some("db.example"));
    check("db.example.", Some("db.example"));
    check("192.0.2.1", Some("192.0.2.1"));
    check("2001:db8::1", Some("2001:db8::1"));
    check("[2001:db8::1]", Some("2001:db8::1"));
    check("not a name", None);
    check("db.example:443", None);
    check("", None);
}

#[test]
fn bad_files_are_explained() {
    let authority = Authority::new();
    let good = authority.issue("good", &["a.test"]);
    let other = authority.issue("other", &["b.test"]);
    let nameless = authority.issue("nameless", &[]);
    let write = |file: &str, text: &str| {
        std::fs::write(authority.path(file), text).unwrap();
        authority.path(file)
    };
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let reversed = write(
        "reversed.pem",
        &format!("{}{}", text(&authority.path("roots.pem")), text(&good.certificate)),
    );
    let empty = write("empty.pem", "");
    let cut = write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let junk = write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let unusable =
        write("unusable.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let missing = authority.path("missing.pem");
    let large = write("large.pem", &"x".repeat(4 * 1024 * 1024 + 1));

    let check = |certificate: &Path, key: &Path, expected: &str| {
        let files =
            CertificateFiles { certificate: certificate.into(), key: key.into(), ocsp: None };
        let error = load(&listener(&[files]), ALPN).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&good.certificate, &other.key, "does not belong to the first certificate in");
    check(&reversed, &good.key, "must come first");
    check(&missing, &good.key, "cannot read");
    check(&good.certificate, &missing, "missing.pem");
    check(&empty, &good.key, "empty.pem holds no certificate");
    check(&good.key, &good.certificate, "good.key holds no certificate");
    check(&cut, &good.key, "cut.pem is not valid PEM");
    check(&junk, &good.key, "certificate 1 of");
    check(&good.certificate, &good.certificate, "swapped");
    check(&good.certificate, &empty, "expected PEM");
    check(&good.certificate, &encrypted, "it is encrypted");
    check(&good.certificate, &unusable, "cannot be used");
    check(&large, &good.key, "larger than");

    load(&listener(std::slice::from_ref(&nameless)), ALPN).unwrap();
    let strict = ListenerTls { strict_sni: true, ..listener(&[nameless]) };
    assert!(matches!(load(&strict, ALPN).unwrap_err(), TlsError::NoNames { .. }));
    assert!(matches!(load(&listener(&[]), ALPN).unwrap_err(), TlsError::NoCertificates));

    // Threat 45: contradictory options are refused, not resolved to the weaker one.
    let contradiction = PoolTls { verify: false, ..authority.pool() };
    assert!(matches!(client(&contradiction).unwrap_err(), TlsError::RootsUnused));
    let no_roots = PoolTls { roots: Some(empty), ..authority.pool() };
    assert!(matches!(client(&no_roots).unwrap_err(), TlsError::NoCertificate { .. }));
}

#[test]
fn names_and_dates_are_reported() {
    let authority = Authority::new();
    let first = authority.issue("a", &["B.test", "a.test", "*.c.test", "192.0.2.1", "a.test"]);
    let expired = authority.issue_with("b", &["b.test"], &rcgen::PKCS_ECDSA_P256_SHA256, 2020);
    let tls = ServerTls::load(&listener(&[first.clone(), expired]), ALPN).unwrap();
    let [status, old] = tls.files() else { panic!("two certificates") };
    assert_eq!(status.path, first.certificate);
    assert_eq!(status.names, ["b.test", "a.test", "*.c.test"]);
    assert!(status.days_left(now_unix_s()).unwrap() > 365_000);
    // 2020-01-01T00:00:00Z.
    assert_eq!(old.not_after_unix_s, Some(1_577_836_800));
    assert!(old.days_left(now_unix_s()).unwrap() < 0);
    for (left_s, expected) in [(86_400, 1), (86_399, 0), (0, 0), (-1, -1), (-86_400, -1)] {
        assert_eq!(days_left(1_000_000 + left_s, 1_000_000), expected, "{left_s}");
    }
}
