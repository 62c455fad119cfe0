//! The shape of `tls` as it is written; see the module above.

use schemars::JsonSchema;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawListenerTls {
    /// Certificates, chosen by the name the client asks for; the first when none matches. They are
    /// read again when the files change. Needed unless there is `acme`.
    #[schemars(length(min = 1))]
    certificates: Option<Vec<RawListenerCertificate>>,
    /// A certificate that the door obtains, and renews, by itself (ACME, RFC 8555). Whoever writes
    /// this agrees to the terms of the authority.
    acme: Option<RawAcme>,
    /// The oldest TLS version spoken.
    #[schemars(extend("default" = "1.2"))]
    version_min: Option<RawTlsVersion>,
    /// Refuse clients that ask for a name no certificate has.
    #[schemars(extend("default" = false))]
    strict_sni: Option<bool>,
    /// Ask clients for certificates. By default none is asked for.
    clients: Option<RawClientCertificates>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawListenerCertificate {
    /// PEM file of the chain, leaf first. Relative to the configuration's folder.
    certificate: String,
    /// PEM file of the private key.
    key: String,
    /// File of an OCSP response (DER) for the leaf. It is sent along as long as it holds.
    ocsp: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawAcme {
    /// The hosts it is for, without wildcards.
    #[schemars(length(min = 1, max = 100), extend("examples" = [["www.example.com", "example.com"]]))]
    hosts: Vec<String>,
    /// Whom the authority may write to.
    #[schemars(extend("examples" = ["mailto:ops@example.com"]))]
    contact: Option<String>,
    /// The URL of the authority's directory.
    #[schemars(extend("default" = "https://acme-v02.api.letsencrypt.org/directory"))]
    directory: Option<String>,
    /// PEM file of whoever issued the directory's own certificate; the system's roots by default.
    roots: Option<String>,
    /// How the authority sees that the hosts are served here: by a plain request on port 80, or by a
    /// TLS handshake on port 443.
    #[schemars(extend("default" = "http-01"))]
    challenge: Option<RawChallenge>,
}

#[derive(JsonSchema)]
enum RawChallenge {
    #[schemars(rename = "http-01")]
    Http01,
    #[schemars(rename = "tls-alpn-01")]
    TlsAlpn01,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RawClientCertificates {
    /// PEM file of the authorities whose certificates are accepted.
    roots: String,
    /// PEM files of revocation lists. With any, a client is refused when its certificate, or one
    /// between it and the authority, is on a list, is covered by none, or by one that is too old.
    #[schemars(length(min = 1, max = 64))]
    revocation: Option<Vec<String>>,
    /// Refuse clients without a certificate. Otherwise they are let in as unknown; a certificate
    /// that is not accepted is refused either way.
    #[schemars(extend("default" = true))]
    required: Option<bool>,
}

#[derive(JsonSchema)]
enum RawTlsVersion {
    #[schemars(rename = "1.2")]
    V12,
    #[schemars(rename = "1.3")]
    V13,
}

/// What the door shows to servers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawCertificate {
    /// PEM file of the chain, leaf first. Relative to the configuration's folder.
    certificate: String,
    /// PEM file of the private key.
    key: String,
}
