//! The system's hosts file, read again when it changes.
//!
//! Invariant: a file that is missing or cannot be read holds no names; it never fails a lookup.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What is read of the file; the rest is ignored.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A hosts file and what it held when it was last read.
#[derive(Debug)]
pub(super) struct HostsFile {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Time of change and length, by which a change is noticed.
    version: Option<(SystemTime, u64)>,
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl HostsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// The addresses of `host` (lower case, no final dot), in file order; empty when it is not in
    /// the file. One `stat`, and a read of the file only after a change.
    pub(super) fn lookup(&self, host: &str) -> Vec<IpAddr> {
        let version = std::fs::metadata(&self.path)
            .and_then(|metadata| Ok((metadata.modified()?, metadata.len())))
            .ok();
        // A panic while the lock was held leaves at worst an older, whole table.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.version != version {
            *known = Known { version, addresses: parse(&self.read()) };
        }
        known.addresses.get(host).cloned().unwrap_or_default()
    }

    fn read(&self) -> String {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_length) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no hosts file");
                String::new()
            }
        }
    }
}

/// `address name name ... # comment`, one per line; lines that are not are skipped.
fn parse(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut addresses: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            addresses.entry(name).or_default().push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, expected: &[&str]) {
        let found = parse(text).remove(host).unwrap_or_default();
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(found, expected, "{host} in {text:?}");
    }

    #[test]
    fn lines_are_addresses_and_names() {
        check("127.0.0.1 localhost\n::1 localhost", "localhost", &["127.0.0.1", "::1"]);
        check("10.0.0.1\tDb.Example.  db # db old", "db.example", &["10.0.0.1"]);
        check("10.0.0.1\tdb.example db # db old", "db", &["10.0.0.1"]);
        check("10.0.0.1 a # old", "old", &[]);
        check("# 10.0.0.1 a\nnot-an-address a\n10.0.0.2", "a", &[]);
        check("10.0.0.1 a\r\n10.0.0.2 a\r\n", "a", &["10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = HostsFile::new(path.clone());
        assert_eq!(hosts.lookup("db"), Vec::<IpAddr>::new());
        std::fs::write(&path, "10.0.0.1 db\n").unwrap();
        assert_eq!(hosts.lookup("db"), vec![IpAddr::from([10, 0, 0, 1])]);
        std::fs::write(&path, "10.0.0.12 db\n").unwrap();
        assert_eq!(hosts.lookup("db"), vec![IpAddr::from([10, 0, 0, 12])]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(hosts.lookup("db"), Vec::<IpAddr>::new());
    }
}
