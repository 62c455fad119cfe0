//! The PROXY protocol, versions 1 and 2: who a connection is from, said by the proxy in front.
//!
//! As in <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. A header is the very first
//! thing on a connection; nothing behind it is looked at. What is malformed is refused at the first
//! byte that shows it: whoever may speak for others has no excuse for being unclear.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::configuration::ProxyVersion;

/// A version 1 header, its CRLF included, has no more bytes (section 2.1).
const V1_BYTES_MAX: usize = 107;
/// What a version 2 header begins with (section 2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a version 2 header before its addresses.
const V2_FIXED: usize = 16;
/// A whole header, of either version, may have so many bytes. Certificates' names and the like fit;
/// the 64 KiB that the format allows do not.
pub const PROXY_BYTES_MAX: usize = 4096;
/// The type of the TLV that holds a CRC-32C of the header (section 2.2.3).
const TLV_CRC32C: u8 = 0x03;

/// A whole PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its bytes; what follows belongs to the connection.
    pub length: usize,
    /// In which version it was written.
    pub version: ProxyVersion,
    /// Whose connection it is. `None`: the proxy's own (`LOCAL`, as for its health checks), or one
    /// whose ends have no address here (`UNKNOWN`, a Unix socket).
    pub endpoints: Option<Endpoints>,
}

/// The two ends of a connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client. Of the same family as `destination`.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin like neither version.
    NotProxy,
    /// A line of version 1 that is not as the protocol has it.
    BadLine,
    /// A version or command of version 2 that does not exist.
    BadCommand,
    /// A family or transport of version 2 that no TCP connection has.
    BadFamily,
    /// Less than its addresses need, or more than [`PROXY_BYTES_MAX`].
    BadLength,
    /// A TLV that does not end with the header.
    BadTlv,
    /// The checksum is not that of the header.
    BadChecksum,
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotProxy => "the connection does not begin with a PROXY header",
            Self::BadLine => "the line of the PROXY header is malformed",
            Self::BadCommand => "the PROXY header has an unknown version or command",
            Self::BadFamily => "the PROXY header is not of a TCP connection",
            Self::BadLength => "the PROXY header is too short for its addresses, or too long",
            Self::BadTlv => "a field of the PROXY header does not end with it",
            Self::BadChecksum => "the checksum of the PROXY header is wrong",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Reads the header that `bytes` begin with; `None` while more of it has to come. Never asks for
/// more than [`PROXY_BYTES_MAX`] bytes.
///
/// # Errors
/// When no bytes behind these could make them a header.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => read_v1(bytes),
        Some(_) => read_v2(bytes),
    }
}

/// Appends a header. `endpoints`: whose connection it is; `None` says that it is the door's own.
/// An IPv4 address beside an IPv6 one is written as an IPv6 one.
pub fn write_proxy_header(
    into: &mut Vec<u8>,
    version: ProxyVersion,
    endpoints: Option<&Endpoints>,
) {
    let endpoints = endpoints.map(|ends| one_family(ends.source, ends.destination));
    match version {
        ProxyVersion::V1 => write_v1(into, endpoints),
        ProxyVersion::V2 => write_v2(into, endpoints),
    }
}

/// Both addresses in one family: IPv4 only if both are.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let (from, to) = (canonical(source), canonical(destination));
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => IpAddr::V6(v6),
    };
    if from.0.is_ipv4() && to.0.is_ipv4() {
        (from.into(), to.into())
    } else {
        ((wide(from.0), from.1).into(), (wide(to.0), to.1).into())
    }
}

fn read_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    const PREFIX: &[u8] = b"PROXY ";
    let known = bytes.len().min(PREFIX.len());
    if bytes.get(..known) != PREFIX.get(..known) {
        return Err(ProxyError::NotProxy);
    }
    let within = bytes.get(..bytes.len().min(V1_BYTES_MAX)).unwrap_or_default();
    let Some(end) = memchr::memchr2(b'\r', b'\n', within) else {
        let full = bytes.len() >= V1_BYTES_MAX;
        return if full { Err(ProxyError::BadLine) } else { Ok(None) };
    };
    match (within.get(end), within.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if within.len() < V1_BYTES_MAX => return Ok(None),
        _ => return Err(ProxyError::BadLine),
    }
    let line = within.get(PREFIX.len()..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_not_text| ProxyError::BadLine)?;
    let endpoints = endpoints_of_line(line).ok_or(ProxyError::BadLine)?;
    Ok(Some(ProxyHeader { length: end + 2, version: ProxyVersion::V1, endpoints }))
}

/// What stands between `PROXY ` and the line's end; `None` when it is malformed.
fn endpoints_of_line(line: &str) -> Option<Option<Endpoints>> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let (source, destination) = match family {
        "TCP4" => (
            IpAddr::V4(source.parse::<Ipv4Addr>().ok()?),
            IpAddr::V4(destination.parse::<Ipv4Addr>().ok()?),
        ),
        "TCP6" => (
            IpAddr::V6(source.parse::<Ipv6Addr>().ok()?),
            IpAddr::V6(destination.parse::<Ipv6Addr>().ok()?),
        ),
        _ => return None,
    };
    Some(Some(Endpoints {
        source: (source, source_port).into(),
        destination: (destination, destination_port).into(),
    }))
}

/// A port without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if plain && !padded { text.parse().ok() } else { None }
}

fn write_v1(into: &mut Vec<u8>, endpoints: Option<(SocketAddr, SocketAddr)>) {
    let mut line = String::with_capacity(V1_BYTES_MAX);
    let written = match endpoints {
        None => line.write_str("PROXY UNKNOWN\r\n"),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let ports = (source.port(), destination.port());
            write!(line, "PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1)
        }
    };
    written.expect("writing to a string does not fail");
    into.extend_from_slice(line.as_bytes());
}

fn read_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let known = bytes.len().min(V2_SIGNATURE.len());
    if bytes.get(..known) != V2_SIGNATURE.get(..known) {
        return Err(ProxyError::NotProxy);
    }
    let is_local = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyError::BadCommand),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // Unspecified, or a stream over IPv4, IPv6 or a Unix socket; the receiver of `LOCAL` ignores
    // it, as long as it exists.
    let addresses = match family {
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        0x12 | 0x22 | 0x32 if is_local => 0,
        _ => return Err(ProxyError::BadFamily),
    };
    let addresses = if is_local { 0 } else { addresses };
    let Some(length) = be16(bytes, 14) else { return Ok(None) };
    if length < addresses || V2_FIXED + length > PROXY_BYTES_MAX {
        return Err(ProxyError::BadLength);
    }
    let Some(header) = bytes.get(..V2_FIXED + length) else { return Ok(None) };
    // What `LOCAL` carries is ignored whole, addresses and all.
    if !is_local {
        check_tlvs(header, V2_FIXED + addresses)?;
    }
    let endpoints = if is_local { None } else { endpoints_of_v2(header, family) };
    Ok(Some(ProxyHeader { length: header.len(), version: ProxyVersion::V2, endpoints }))
}

fn endpoints_of_v2(header: &[u8], family: u8) -> Option<Endpoints> {
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            0x11 => header.get(at..)?.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
            0x21 => header.get(at..)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
            _ => None,
        }
    };
    let width = if family == 0x11 { 4 } else { 16 };
    let ports = V2_FIXED + 2 * width;
    let port = |at: usize| be16(header, at).and_then(|port| u16::try_from(port).ok());
    Some(Endpoints {
        source: (address(V2_FIXED)?, port(ports)?).into(),
        destination: (address(V2_FIXED + width)?, port(ports + 2)?).into(),
    })
}

/// Walks over the TLVs that begin at `at`; they must end with the header, and a checksum among
/// them must be right.
fn check_tlvs(header: &[u8], mut at: usize) -> Result<(), ProxyError> {
    let mut checksum = None;
    while at < header.len() {
        let length = be16(header, at + 1).ok_or(ProxyError::BadTlv)?;
        let value = header.get(at + 3..at + 3 + length).ok_or(ProxyError::BadTlv)?;
        if header.get(at) == Some(&TLV_CRC32C) {
            let told = <[u8; 4]>::try_from(value).map_err(|_length| ProxyError::BadTlv)?;
            if checksum.replace((at + 3, u32::from_be_bytes(told))).is_some() {
                return Err(ProxyError::BadTlv);
            }
        }
        at += 3 + length;
    }
    match checksum {
        Some((place, told)) if crc32c(header, place) != told => Err(ProxyError::BadChecksum),
        Some(_) | None => Ok(()),
    }
}

fn write_v2(into: &mut Vec<u8>, endpoints: Option<(SocketAddr, SocketAddr)>) {
    into.extend_from_slice(&V2_SIGNATURE);
    match endpoints {
        None => into.extend_from_slice(&[0x20, 0x00, 0, 0]),
        Some((source, destination)) => {
            into.extend_from_slice(if source.is_ipv4() {
                &[0x21, 0x11, 0, 12]
            } else {
                &[0x21, 0x21, 0, 36]
            });
            for address in [source, destination] {
                match address.ip() {
                    IpAddr::V4(v4) => into.extend_from_slice(&v4.octets()),
                    IpAddr::V6(v6) => into.extend_from_slice(&v6.octets()),
                }
            }
            into.extend_from_slice(&source.port().to_be_bytes());
            into.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
}

/// The big-endian number of two bytes at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_be_bytes(*pair)))
}

/// CRC-32C (RFC 3385, the polynomial of Castagnoli, reflected) of `header` with the four bytes at
/// `zeroed` taken as zero. Bit by bit: at most 4 KiB, once per connection, and rarely present.
fn crc32c(header: &[u8], zeroed: usize) -> u32 {
    let mut sum = u32::MAX;
    for (at, &byte) in header.iter().enumerate() {
        let is_zeroed = (zeroed..zeroed + 4).contains(&at);
        sum ^= if is_zeroed { 0 } else { u32::from(byte) };
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests;
