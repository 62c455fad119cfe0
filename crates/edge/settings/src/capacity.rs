//! Reads the file of a measured capacity, as `load capacity --write` leaves it.

use std::io::Read as _;
use std::path::Path;

use model::capacity::Capacity;

use crate::finding::{printable, quote};
use crate::reader::Value;

/// Bytes of such a file, at most; it holds a dozen numbers.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The capacity in the file that `value` names.
pub(crate) fn capacity(value: &Value<'_>) -> Option<Capacity> {
    let path = value.file()?;
    let read = read(&path);
    if let Err(why) = &read {
        let message = format!("{} holds no measured capacity", quote(&path.to_string_lossy()));
        let help =
            format!("write it with `tidegate load capacity --write`: {}", printable(why, 200));
        value.invalid("invalid-capacity", message, help);
    }
    read.ok()
}

fn read(path: &Path) -> Result<Capacity, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("larger than 64 KiB".to_owned());
    }
    let capacity: Capacity = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let rates = [capacity.low_per_second, capacity.per_second, capacity.high_per_second];
    let is_band = rates.is_sorted() && rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
    if is_band { Ok(capacity) } else { Err("its rates are no band".to_owned()) }
}
