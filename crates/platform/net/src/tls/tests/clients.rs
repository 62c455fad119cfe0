//! Clients with certificates, those that were revoked, and OCSP responses, in real handshakes.

use std::time::Duration;

use ::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString};
use ::der::{Decode, Encode as _};
use model::configuration::ClientCertificates;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SanType};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    ResponderId, ResponseBytes, ResponseData, SingleResponse, Version,
};

use super::*;

/// Seconds of Unix time from now.
fn in_seconds(seconds: i64) -> i64 {
    now_unix_s() + seconds
}

impl Authority {
    /// Writes what it revoked into this file: these serial numbers, until then.
    fn revokes(&self, file: &str, serials: &[&CertificateDer<'_>], until_unix_s: i64) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let time = |unix_s: i64| epoch + Duration::from_secs(unix_s.try_into().unwrap());
        let revoked = |der: &&CertificateDer<'_>| RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(serial(der).as_slice()),
            revocation_time: time(in_seconds(-60)),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: time(in_seconds(-60)),
            next_update: time(until_unix_s),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        std::fs::write(self.path(file), list.pem().unwrap()).unwrap();
    }
}

fn serial(der: &CertificateDer<'_>) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).unwrap();
    certificate.raw_serial().to_vec()
}

fn der(files: &CertificateFiles) -> CertificateDer<'static> {
    certificate::read_certificates(&files.certificate).unwrap().remove(0)
}

/// A client that shows this certificate, and trusts the authority.
fn showing(authority: &Authority, files: Option<&CertificateFiles>) -> Arc<ClientConfig> {
    client(&PoolTls { certificate: files.cloned(), ..authority.pool() }).unwrap()
}

fn asking(shown: &CertificateFiles, authority: &Authority, lists: &[&str]) -> ListenerTls {
    let clients = ClientCertificates {
        roots: authority.path("roots.pem"),
        revocation: lists.iter().map(|list| authority.path(list)).collect(),
        required: true,
    };
    ListenerTls { clients: Some(clients), ..listener(std::slice::from_ref(shown)) }
}

/// What became of a handshake, in a word.
fn outcome(server: &ServerTls, client: &Arc<ClientConfig>) -> String {
    match handshake(&server.config(), client, "web.test") {
        Ok(agreed) => format!("{:?}", agreed.kind),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn clients_show_certificates() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let web = authority.issue("web", &["web.test"]);
    let good = authority.issue("good", &["partner.test"]);
    let ended = authority.issue_with("ended", &["a"], &rcgen::PKCS_ECDSA_P256_SHA256, 2020);
    let foreign = stranger.issue("foreign", &["partner.test"]);
    let required = asking(&web, &authority, &[]);
    let mut optional = required.clone();
    optional.clients.as_mut().unwrap().required = false;
    let required = ServerTls::load(&required, ALPN).unwrap();
    let optional = ServerTls::load(&optional, ALPN).unwrap();
    let check = |files: Option<&CertificateFiles>, expected: [&str; 2]| {
        for (server, expected) in [&required, &optional].into_iter().zip(expected) {
            let found = outcome(server, &showing(&authority, files));
            assert!(found.contains(expected), "{files:?}: {found}, not {expected}");
        }
    };
    check(Some(&good), ["Full", "Full"]);
    check(None, ["NoCertificatesPresented", "Full"]);
    // What is shown and not accepted is refused, even where nothing needs to be shown.
    check(Some(&ended), ["Expired", "Expired"]);
    check(Some(&foreign), ["UnknownIssuer", "UnknownIssuer"]);
}

#[test]
fn what_a_certificate_says_of_the_client() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let server = ServerTls::load(&asking(&web, &authority, &[]), ALPN).unwrap();
    let mut params = CertificateParams::new(vec!["Partner.Test".to_owned()]).unwrap();
    let uri = "spiffe://example/Billing";
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("192.0.2.1".parse().unwrap()));
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
    let files = authority.sign("partner", params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let name = ServerName::try_from("web.test").unwrap();
    let mut client = ClientConnection::new(showing(&authority, Some(&files)), name).unwrap();
    let mut connection = ServerConnection::new(server.config()).unwrap();
    assert_eq!(peer_certificate(&connection), None);
    for _ in 0..3 {
        carry(|bytes| client.write_tls(bytes), |bytes| connection.read_tls(bytes));
        connection.process_new_packets().unwrap();
        carry(|bytes| connection.write_tls(bytes), |bytes| client.read_tls(bytes));
        client.process_new_packets().unwrap();
    }
    let shown = peer_certificate(&connection).unwrap();
    assert_eq!(shown.names, ["partner.test", uri]);
    assert!(shown.subject.contains("O=Example"), "{}", shown.subject);
    assert_eq!(shown.der, der(&files).to_vec());
}

#[test]
fn revoked_clients_are_refused_and_so_is_doubt() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let (good, bad) = (authority.issue("good", &["a.test"]), authority.issue("bad", &["b.test"]));
    let check = |files: &CertificateFiles, lists: &[&str], expected: &str| {
        let server = ServerTls::load(&asking(&web, &authority, lists), ALPN).unwrap();
        let found = outcome(&server, &showing(&authority, Some(files)));
        assert!(found.contains(expected), "{lists:?}: {found}, not {expected}");
    };
    authority.revokes("now.crl", &[&der(&bad)], in_seconds(3_600));
    authority.revokes("old.crl", &[], in_seconds(-1));
    check(&good, &["now.crl"], "Full");
    check(&bad, &["now.crl"], "Revoked");
    check(&good, &["old.crl"], "ExpiredRevocationList");
    // A list of another authority says nothing about this one's.
    let stranger = Authority::new();
    stranger.revokes("other.crl", &[], in_seconds(3_600));
    std::fs::copy(stranger.path("other.crl"), authority.path("other.crl")).unwrap();
    check(&good, &["other.crl"], "UnknownRevocationStatus");
}

/// A resumed session is not verified again, so none may outlive the terms that it began under.
#[test]
fn threat_45_sessions_end_when_whom_to_trust_changes() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let partner = authority.issue("partner", &["a.test"]);
    authority.revokes("list.crl", &[], in_seconds(3_600));
    let settings = asking(&web, &authority, &["list.crl"]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let before = ServerTls::load(&settings, ALPN).unwrap();
        let chosen = showing(&authority, Some(&partner));
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(
                certificate::read_roots(&authority.path("roots.pem")).unwrap().0,
            )
            .with_client_cert_resolver(Arc::clone(&chosen.client_auth_cert_resolver));
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Arc::new(client);
        assert_eq!(outcome(&before, &client), "Full");
        assert_eq!(outcome(&before, &client), "Resumed");
        let same = before.reload(&settings, ALPN).unwrap();
        assert_eq!(outcome(&same, &client), "Resumed");
        authority.revokes("list.crl", &[&der(&partner)], in_seconds(3_600));
        let revoked = same.reload(&settings, ALPN).unwrap();
        assert!(outcome(&revoked, &client).contains("Revoked"));
        authority.revokes("list.crl", &[], in_seconds(3_600));
        // Nor does one that began without a certificate reach a listener that asks for one.
        let plain = ServerTls::load(&listener(std::slice::from_ref(&web)), ALPN).unwrap();
        let nobody = showing(&authority, None);
        assert_eq!(outcome(&plain, &nobody), "Full");
        let asks = plain.reload(&settings, ALPN).unwrap();
        assert!(outcome(&asks, &nobody).contains("NoCertificatesPresented"));
    }
}

/// Contradictory or damaged settings of whom to trust are an error, never nobody or everybody.
#[test]
fn threat_45_bad_files_of_clients_are_explained() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    std::fs::write(authority.path("empty.crl"), "").unwrap();
    let torn = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    std::fs::write(authority.path("torn.crl"), torn).unwrap();
    let check = |settings: &ListenerTls, expected: &str| {
        let error = load(settings, ALPN).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&asking(&web, &authority, &["empty.crl"]), "empty.crl holds no revocation list");
    check(&asking(&web, &authority, &["torn.crl"]), "torn.crl");
    check(&asking(&web, &authority, &["none.crl"]), "cannot read");
    let mut settings = asking(&web, &authority, &[]);
    settings.clients.as_mut().unwrap().roots = authority.path("empty.crl");
    check(&settings, "holds no certificate");
}

#[test]
fn a_server_sees_the_doors_certificate() {
    let authority = Authority::new();
    let (web, door) = (authority.issue("web", &["web.test"]), authority.issue("door", &["door"]));
    let server = ServerTls::load(&asking(&web, &authority, &[]), ALPN).unwrap();
    let pool = PoolTls { certificate: Some(door.clone()), ..authority.pool() };
    let tls = ClientTls::load(&pool, ALPN).unwrap();
    handshake(&server.config(), &tls.config(), "web.test").unwrap();
    let files: Vec<_> = tls.files().iter().map(|file| (file.kind, file.path.clone())).collect();
    let roots = authority.path("roots.pem");
    assert_eq!(
        files,
        [(FileKind::Roots, roots), (FileKind::Certificate, door.certificate.clone())]
    );
    let mixed = CertificateFiles { key: web.key, ..door };
    let pool = PoolTls { certificate: Some(mixed), ..authority.pool() };
    assert!(matches!(ClientTls::load(&pool, ALPN).unwrap_err(), TlsError::KeyMismatch { .. }));
}

fn decoded<T: for<'a> Decode<'a>>(bytes: &[u8]) -> T {
    T::from_der(bytes).unwrap_or_else(|_| panic!("no DER: {bytes:?}"))
}

/// SHA-256.
const ALGORITHM: &[u8] = &[48, 11, 6, 9, 96, 134, 72, 1, 101, 3, 4, 2, 1];

/// An OCSP response about this serial number, signed by nobody: only clients verify that.
fn ocsp(serial: &[u8], cert_status: CertStatus, until: Option<i64>) -> Vec<u8> {
    let at = |unix_s: i64| {
        let time = Duration::from_secs(unix_s.try_into().unwrap());
        OcspGeneralizedTime(GeneralizedTime::from_unix_duration(time).unwrap())
    };
    let hash = || OctetString::new(vec![7; 20]).unwrap();
    let integer = [&[2, u8::try_from(serial.len()).unwrap()], serial].concat();
    let single = SingleResponse {
        cert_id: CertId {
            hash_algorithm: decoded(ALGORITHM),
            issuer_name_hash: hash(),
            issuer_key_hash: hash(),
            serial_number: decoded(&integer),
        },
        cert_status,
        this_update: at(in_seconds(-60)),
        next_update: until.map(at),
        single_extensions: None,
    };
    let basic = BasicOcspResponse {
        tbs_response_data: ResponseData {
            version: Version::V1,
            responder_id: ResponderId::ByKey(hash()),
            produced_at: at(in_seconds(-60)),
            responses: vec![single],
            response_extensions: None,
        },
        signature_algorithm: decoded(ALGORITHM),
        signature: BitString::from_bytes(&[1]).unwrap(),
        certs: None,
    };
    let response = OcspResponse {
        response_status: OcspResponseStatus::Successful,
        response_bytes: Some(ResponseBytes {
            response_type: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1"),
            response: OctetString::new(basic.to_der().unwrap()).unwrap(),
        }),
    };
    response.to_der().unwrap()
}

/// Remembers the OCSP response that came with a certificate.
#[derive(Debug, Default)]
struct Stapled(std::sync::Mutex<Vec<u8>>);

impl rustls::client::danger::ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        *self.0.lock().unwrap() = ocsp_response.to_vec();
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn an_ocsp_response_is_sent_while_it_holds() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    let (own, path) = (serial(&der(&web)), authority.path("web.ocsp"));
    let files = CertificateFiles { ocsp: Some(path.clone()), ..web };
    let good = CertStatus::good;
    let check = |response: &[u8], sent: bool, expected: Option<&str>| {
        std::fs::write(&path, response).unwrap();
        let tls = ServerTls::load(&listener(std::slice::from_ref(&files)), ALPN).unwrap();
        let verifier = Arc::new(Stapled::default());
        let mut config = (*any_client()).clone();
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as Arc<_>);
        handshake(&tls.config(), &Arc::new(config), "web.test").unwrap();
        let seen = verifier.0.lock().unwrap().clone();
        assert_eq!(seen, if sent { response } else { &[] });
        let [_, status] = tls.files() else { panic!("a certificate and its response") };
        let trouble = status.trouble(now_unix_s());
        match expected {
            None => assert_eq!(trouble, None),
            Some(expected) => assert!(trouble.as_ref().unwrap().contains(expected), "{trouble:?}"),
        }
    };
    check(&ocsp(&own, good(), Some(in_seconds(3_600))), true, None);
    check(&ocsp(&own, good(), Some(in_seconds(-1))), false, Some("has expired"));
    check(&ocsp(&own, good(), None), false, Some("until when"));
    check(&ocsp(&[1], good(), Some(in_seconds(3_600))), false, Some("another certificate"));
    let at = OcspGeneralizedTime(GeneralizedTime::from_unix_duration(Duration::ZERO).unwrap());
    let revoked = x509_ocsp::RevokedInfo { revocation_time: at, revocation_reason: None };
    let revoked = ocsp(&own, CertStatus::revoked(revoked), Some(in_seconds(3_600)));
    check(&revoked, false, Some("was revoked"));
    // What is no response at all names the wrong file, or is torn.
    let whole = ocsp(&own, good(), Some(in_seconds(3_600)));
    let torn = whole.get(..whole.len() - 1).unwrap();
    for bytes in [&b"-----BEGIN"[..], b"", torn, &[48, 3, 10, 1, 3]] {
        std::fs::write(&path, bytes).unwrap();
        let error = load(&listener(std::slice::from_ref(&files)), ALPN).unwrap_err();
        assert!(error.to_string().contains("is no OCSP response"), "{error}");
    }
}

#[test]
fn files_that_were_touched_are_noticed() {
    let authority = Authority::new();
    let web = authority.issue("web", &["web.test"]);
    authority.revokes("list.crl", &[], in_seconds(3_600));
    let settings = asking(&web, &authority, &["list.crl"]);
    let tls = ServerTls::load(&settings, ALPN).unwrap();
    let changed = || tls.stamps().again().changed_since(tls.stamps());
    assert_eq!(changed(), [""; 0].map(PathBuf::from));
    // In place, and by renaming another over it: the same bytes, but another file.
    authority.revokes("list.crl", &[], in_seconds(7_200));
    std::fs::copy(&web.key, authority.path("copy")).unwrap();
    std::fs::rename(authority.path("copy"), &web.key).unwrap();
    assert_eq!(changed(), [authority.path("list.crl"), web.key.clone()]);
    std::fs::remove_file(&web.certificate).unwrap();
    assert!(changed().contains(&web.certificate));
}
