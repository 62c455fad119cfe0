//! Reads an OCSP response that is sent along with a certificate (stapled), and says until when.
//!
//! Its signature is not verified: that is for the clients, who know whom they trust. What no client
//! would accept is not sent: a response about another certificate, one that is too old, one that
//! says the certificate was revoked (RFC 6960, section 4.2.2).
//! Invariant: bytes that are no OCSP response are an error, for then the wrong file is named.

use std::path::Path;

use der::Decode as _;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse, OcspResponseStatus, SingleResponse};

use super::TlsError;
use super::file::{FileKind, FileStatus, read};

/// A response that may be sent for a certificate.
#[derive(Debug)]
pub(super) struct Staple {
    pub(super) der: Vec<u8>,
    /// From when it may be sent, in seconds of Unix time.
    pub(super) from_unix_s: i64,
    /// Until when it may be sent, in seconds of Unix time.
    pub(super) until_unix_s: i64,
}

/// Reads the response in the file at `path` for the certificate of this serial number; no staple
/// where the status says why none is sent.
pub(super) fn load(path: &Path, serial: &[u8]) -> Result<(Option<Staple>, FileStatus), TlsError> {
    let der = read(path)?;
    let damaged = |problem: String| TlsError::Ocsp { path: path.to_path_buf(), problem };
    let response = OcspResponse::from_der(&der).map_err(|error| damaged(error.to_string()))?;
    let basic = match (response.response_status, &response.response_bytes) {
        (OcspResponseStatus::Successful, Some(bytes)) => {
            BasicOcspResponse::from_der(bytes.response.as_bytes())
                .map_err(|error| damaged(error.to_string()))?
        }
        (status, _) => return Err(damaged(format!("it holds no answer, but {status:?}"))),
    };
    let mut status = FileStatus {
        path: path.to_path_buf(),
        kind: FileKind::Ocsp,
        names: Vec::new(),
        not_before_unix_s: 0,
        not_after_unix_s: None,
        problem: None,
    };
    let of_this =
        |single: &&SingleResponse| is_same(single.cert_id.serial_number.as_bytes(), serial);
    let Some(single) = basic.tbs_response_data.responses.iter().find(of_this) else {
        status.problem = Some("it is about another certificate, so it is not sent".to_owned());
        return Ok((None, status));
    };
    status.not_before_unix_s = seconds(&single.this_update);
    status.not_after_unix_s = single.next_update.as_ref().map(seconds);
    let (until, problem) = match (&single.cert_status, status.not_after_unix_s) {
        (CertStatus::Revoked(_), _) => (None, Some("the certificate was revoked")),
        (CertStatus::Unknown(_), _) => (None, Some("its issuer does not know the certificate")),
        (CertStatus::Good(_), None) => (None, Some("it does not say until when it holds")),
        (CertStatus::Good(_), until) => (until, None),
    };
    status.problem = problem.map(|problem| format!("{problem}, so it is not sent"));
    let from_unix_s = status.not_before_unix_s;
    let staple = until.map(|until_unix_s| Staple { der, from_unix_s, until_unix_s });
    Ok((staple, status))
}

impl Staple {
    /// Whether it may be sent at `now_unix_s`.
    pub(super) fn holds(&self, now_unix_s: i64) -> bool {
        (self.from_unix_s..self.until_unix_s).contains(&now_unix_s)
    }
}

/// The same number: a DER integer may begin with a zero that keeps it positive.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let plain = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number.get(zeros..).unwrap_or_default().to_vec()
    };
    plain(one) == plain(other)
}

fn seconds(time: &x509_ocsp::OcspGeneralizedTime) -> i64 {
    i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
