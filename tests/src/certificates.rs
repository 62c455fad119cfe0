//! Certificates made for a test, and clients that speak TLS to a door.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;

use crate::{Client, Door, PATIENCE};

/// The serial numbers of all that is issued.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A certificate authority with a folder for what it issues.
pub struct Authority {
    folder: TempDir,
    /// Signs.
    pub issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What was issued: files, and the same in memory.
#[derive(Debug)]
pub struct Issued {
    /// The name of its files, without `.pem` and `.key`.
    pub file: String,
    /// Where they are.
    pub folder: PathBuf,
    /// Its number.
    pub serial: SerialNumber,
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Issued {
    /// The certificate in base64.
    #[must_use]
    pub fn base64(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join(format!("{}.pem", self.file)));
        let text = text.expect("it was written");
        text.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// An authority of some name.
    #[must_use]
    pub fn new() -> Self {
        Self::named("Authority of a test")
    }

    /// An authority of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("keys can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        std::fs::write(folder.path().join("roots.pem"), issuer.pem()).expect("it is writable");
        Self { folder, issuer }
    }

    /// The file of its own certificate.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// Issues for these names into `file.pem` and `file.key`, over what was there.
    pub fn issue(&self, file: &str, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.sign(file, CertificateParams::new(names).expect("the names are valid"))
    }

    fn sign(&self, file: &str, mut params: CertificateParams) -> Issued {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let serial = SerialNumber::from(number);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let folder = self.folder.path().to_owned();
        write(&folder.join(format!("{file}.pem")), &certificate.pem());
        write(&folder.join(format!("{file}.key")), &key.serialize_pem());
        let (der, key) = (certificate.der().clone(), key.serialize_der());
        Issued { file: file.to_owned(), folder, serial, der, key }
    }

    /// The same, for a year that ends it.
    pub fn issue_until(&self, file: &str, names: &[&str], year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.sign(file, params)
    }

    /// The same, for these URIs.
    pub fn issue_for(&self, file: &str, uris: &[&str]) -> Issued {
        let mut params = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("the URI is ASCII"));
        params.subject_alt_names = uris.iter().map(uri).collect();
        self.sign(file, params)
    }

    /// Writes the list of what it revoked into this file, over what was there.
    pub fn revoke(&self, file: &str, revoked_list: &[&Issued]) {
        let revoked = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_list.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("the authority signs");
        write(&self.folder.path().join(file), &list.pem().expect("a list is PEM"));
    }

    /// A client's configuration that shows this, and trusts this authority.
    #[must_use]
    pub fn client_showing(&self, issued: &Issued) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the authority is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(issued.key.clone()).expect("a key is a key");
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks these")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![issued.der.clone()], key)
            .expect("key and certificate fit");
        Arc::new(config)
    }

    /// A client's configuration that trusts this authority, and offers these protocols.
    #[must_use]
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_speaking(protocols, rustls::ALL_VERSIONS)
    }

    /// The same, of these versions.
    #[must_use]
    pub fn client_speaking(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the authority is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider speaks these")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Writes a file.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the folder is writable");
}

/// What the listener asks of clients.
#[must_use]
pub fn asking(authority: &Authority, more: &str) -> String {
    format!(", clients = {{ roots = \"{}\"{more} }}", authority.roots().display())
}

/// Lines of `[listen.web]` for these certificates.
#[must_use]
pub fn listen(issued: &[&Issued], more: &str) -> String {
    let files: Vec<String> = issued
        .iter()
        .map(|Issued { file, folder, .. }| {
            let path = folder.join(file);
            let path = path.display();
            format!("{{ certificate = \"{path}.pem\", key = \"{path}.key\" }}")
        })
        .collect();
    format!("tls = {{ certificates = [{}]{more} }}", files.join(", "))
}

/// A connection to a door.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Completes a handshake, asking for `name`.
///
/// # Errors
/// Why the door, or the client, refused.
pub fn handshake(
    door: &Door,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<Tls, std::io::Error> {
    handshake_at(door.first_address(), config, name)
}

/// The same with the listener at this address.
///
/// # Errors
/// Why the door, or the client, refused.
pub fn handshake_at(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<Tls, std::io::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("the name is valid");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a valid client");
    let socket = TcpStream::connect(address).expect("the door listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Completes a handshake that must succeed.
#[track_caller]
#[must_use]
pub fn connect(door: &Door, config: &Arc<ClientConfig>, name: &str) -> Tls {
    handshake(door, config, name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Speaks HTTP over it.
#[must_use]
pub fn client(stream: Tls) -> Client {
    let socket = stream.sock.try_clone().expect("a socket can be cloned");
    Client::over_wire(Box::new(stream), socket)
}

/// What the door showed.
#[must_use]
pub fn certificate(stream: &Tls) -> CertificateDer<'static> {
    let chain = stream.conn.peer_certificates().expect("the door showed its certificate");
    chain[0].clone().into_owned()
}

/// A request for this host.
#[must_use]
pub fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
