//! Recorded access logs as load: what was asked, when, is asked again.
//!
//! Reads the common and the combined log format, and lines of JSON: the door's own, the Elastic
//! Common Schema, and what nginx and Caddy write. A log has no bodies and no credentials, so by
//! default only the methods that change nothing (GET, HEAD, OPTIONS) are replayed.
//! Pure: lines in, requests out. Invariant: bounded, and every line is either a request or counted
//! under the reason why it is none.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::Name;
use model::load::ReplayRequest;
use serde_json::Value;

/// Lines of a log that are read; the rest is left out, and that is said.
pub const LINES_MAX: usize = 1_000_000;
/// Bytes of one line; a longer one is skipped.
pub const LINE_BYTES_MAX: usize = 64 * 1_024;

/// Where a line of JSON may have its time, its method and its target. A dot also stands for an
/// object inside an object.
const TIME_KEYS: &[&str] = &["time", "@timestamp", "timestamp", "time_iso8601", "ts"];
const METHOD_KEYS: &[&str] = &["method", "http.request.method", "request_method", "request.method"];
const TARGET_KEYS: &[&str] = &["target", "url.original", "request_uri", "request.uri", "uri"];

/// How a log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct Replaying {
    /// 2.0: in half the time. Above 0.
    pub speed: f64,
    /// Also what may change something, such as POST: without its body.
    pub any_method: bool,
    /// Requests that are due later than this, from the first, are left out.
    pub until: Option<Duration>,
}

/// What a log came to.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// In order of their time, the first at zero.
    pub requests: Arc<[ReplayRequest]>,
    /// Lines that are no request, by the reason why.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Whether there were more lines than [`LINES_MAX`].
    pub cut: bool,
}

/// One usable line.
struct Entry {
    at: Timestamp,
    method: Name,
    target: Name,
}

/// Reads a log.
///
/// # Errors
/// When it cannot be read; never because of what is in it.
pub fn read(log: impl BufRead, replaying: Replaying) -> io::Result<Replay> {
    let mut entries = Vec::new();
    let mut replay = Replay::default();
    let mut names = HashSet::new();
    let mut lines = Lines { log, line: Vec::new() };
    let mut count = 0_usize;
    while let Some(line) = lines.next()? {
        if count == LINES_MAX {
            replay.cut = true;
            break;
        }
        count += 1;
        match entry(line, replaying.any_method, &mut names) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(reason) => *replay.skipped.entry(reason).or_default() += 1,
        }
    }
    // A line is written when its request ends, so a log is not in order of their begins.
    entries.sort_by_key(|entry| entry.at);
    let mut requests = timed(&entries, replaying.speed);
    if let Some(until) = replaying.until {
        requests.retain(|request| request.due <= until);
    }
    replay.requests = requests.into();
    Ok(replay)
}

/// The same distances as in the log, divided by the speed.
fn timed(entries: &[Entry], speed: f64) -> Vec<ReplayRequest> {
    let Some(first) = entries.first() else { return Vec::new() };
    let whole_seconds = entries.iter().all(|entry| entry.at.subsec_nanosecond() == 0);
    let mut requests = Vec::with_capacity(entries.len());
    for same in entries.chunk_by(|one, other| one.at == other.at) {
        // A log that tells only seconds would make bursts of what was spread over each of them.
        let gap = if whole_seconds { 1.0 / (0..same.len()).map(|_| 1.0).sum::<f64>() } else { 0.0 };
        let mut offset = 0.0;
        for entry in same {
            let since = first.at.duration_until(entry.at).as_secs_f64() + offset;
            let due = Duration::try_from_secs_f64(since / speed).unwrap_or(Duration::MAX);
            let (method, target) = (Name::clone(&entry.method), Name::clone(&entry.target));
            requests.push(ReplayRequest { due, method, target });
            offset += gap;
        }
    }
    requests
}

/// Lines of bounded length.
struct Lines<R> {
    log: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; a longer one than allowed is cut, which makes it too long.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        let read = (&mut self.log).take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read > LINE_BYTES_MAX {
            self.skip_line()?;
        }
        Ok(Some(&self.line))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let room = self.log.fill_buf()?;
            if room.is_empty() {
                return Ok(());
            }
            let end = room.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(room.len(), |end| end + 1);
            self.log.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// One line: a request, nothing (an empty line), or the reason why it is not used.
fn entry(
    line: &[u8],
    any_method: bool,
    names: &mut HashSet<Name>,
) -> Result<Option<Entry>, &'static str> {
    if line.len() > LINE_BYTES_MAX {
        return Err("longer than 64 KiB");
    }
    let text = std::str::from_utf8(line).ok().ok_or("not text")?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (at, method, target) =
        if text.starts_with('{') { json_line(text)? } else { common_line(text)? };
    if matches!(method.as_str(), "" | "-") || matches!(target.as_str(), "" | "-") {
        return Err("without a request");
    }
    if !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err("with an unusable method");
    }
    if !any_method && !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return Err("with a method that may change something");
    }
    let path = origin_form(&target);
    if target.ends_with("...(truncated)") || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("with an unusable target");
    }
    if !path.starts_with('/') {
        return Err("with an unusable target");
    }
    let mut named = |text: &str| match names.get(text) {
        Some(name) => Name::clone(name),
        None => {
            let name = Name::from(text);
            names.insert(Name::clone(&name));
            name
        }
    };
    Ok(Some(Entry { at, method: named(&method), target: named(path) }))
}

/// The path and query of `http://host/path?query`, or the target as it is.
fn origin_form(target: &str) -> &str {
    let Some(rest) = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"))
    else {
        return target;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// `client - user [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 ...`
fn common_line(text: &str) -> Result<(Timestamp, String, String), &'static str> {
    let (_, rest) = text.split_once('[').ok_or("in no known format")?;
    let (time, rest) = rest.split_once(']').ok_or("in no known format")?;
    let at = Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", time).ok().ok_or("without a time")?;
    let (_, quoted) = rest.split_once('"').ok_or("in no known format")?;
    let request = unescaped(quoted).ok_or("in no known format")?;
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // `GET /a b HTTP/1.1`: nobody can tell what was asked.
    if words.count() > 1 {
        return Err("with an unusable target");
    }
    Ok((at, method.to_owned(), target.to_owned()))
}

/// The text up to its closing quote, with `\"`, `\\` and `\xNN` read back.
fn unescaped(quoted: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = quoted.bytes();
    loop {
        match rest.next()? {
            b'"' => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                }
                other => bytes.push(other),
            },
            other => bytes.push(other),
        }
    }
}

fn json_line(text: &str) -> Result<(Timestamp, String, String), &'static str> {
    let object: Value = serde_json::from_str(text).ok().ok_or("not JSON")?;
    let found = |keys: &[&str]| keys.iter().find_map(|key| look_up(&object, key));
    let at = found(TIME_KEYS).and_then(timestamp).ok_or("without a time")?;
    let word = |keys| found(keys).and_then(Value::as_str).map(str::to_owned);
    let method = word(METHOD_KEYS).ok_or("without a request")?;
    let target = word(TARGET_KEYS).ok_or("without a request")?;
    Ok((at, method, target))
}

fn look_up<'v>(object: &'v Value, key: &str) -> Option<&'v Value> {
    object.get(key).or_else(|| key.split('.').try_fold(object, |inside, part| inside.get(part)))
}

/// RFC 3339, or seconds since 1970.
fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let seconds = number.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
            Timestamp::from_duration(Duration::from_secs_f64(seconds).try_into().ok()?).ok()
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IT_WAS: Replaying = Replaying { speed: 1.0, any_method: false, until: None };

    fn replay(log: &str, replaying: Replaying) -> Replay {
        read(log.as_bytes(), replaying).unwrap()
    }

    /// `ms METHOD TARGET` for each request.
    fn check(log: &str, replaying: Replaying, expected: &[&str]) {
        let replay = replay(log, replaying);
        let found: Vec<String> = replay
            .requests
            .iter()
            .map(|it| format!("{} {} {}", it.due.as_millis(), it.method, it.target))
            .collect();
        assert_eq!(found, expected, "{:?}", replay.skipped);
    }

    #[test]
    fn every_format_is_read() {
        for log in [
            // The door's own, out of order as requests end.
            "{\"time\":\"2026-01-02T03:04:05.500Z\",\"client\":\"::1\",\"method\":\"HEAD\",\"target\":\"/b\"}\n\
             {\"time\":\"2026-01-02T03:04:05.250Z\",\"client\":\"::1\",\"method\":\"GET\",\"target\":\"/a?b=\\u0063\"}\n",
            // ECS, flat and nested.
            "{\"@timestamp\":\"2026-01-02T03:04:05.250Z\",\"http.request.method\":\"GET\",\"url.original\":\"/a?b=c\"}\n\
             {\"@timestamp\":\"2026-01-02T03:04:05.500Z\",\"http\":{\"request\":{\"method\":\"HEAD\"}},\"url\":{\"original\":\"http://x:1/b\"}}",
            // nginx and Caddy.
            "{\"time_iso8601\":\"2026-01-02T04:04:05.25+01:00\",\"request_method\":\"GET\",\"request_uri\":\"/a?b=c\"}\n\
             {\"ts\":1767323045.5,\"request\":{\"method\":\"HEAD\",\"uri\":\"/b\"}}",
        ] {
            check(log, AS_IT_WAS, &["0 GET /a?b=c", "250 HEAD /b"]);
        }
        check(
            "::1 - - [02/Jan/2026:03:04:05 +0000] \"GET /a?q=\\x22 HTTP/1.1\" 200 1 \"-\" \"x\"\r\n\
             ::1 - me [02/Jan/2026:04:04:07 +0100] \"GET /b HTTP/1.0\" 200 -\n",
            AS_IT_WAS,
            &["0 GET /a?q=\"", "2000 GET /b"],
        );
    }

    #[test]
    fn seconds_are_spread_and_speed_divides() {
        let line = |second: u32, path: &str| {
            format!("::1 - - [02/Jan/2026:03:04:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 1\n")
        };
        let log = [line(5, "/a"), line(5, "/b"), line(6, "/c"), line(9, "/d")].concat();
        check(&log, AS_IT_WAS, &["0 GET /a", "500 GET /b", "1000 GET /c", "4000 GET /d"]);
        let until = Some(Duration::from_secs(1));
        let twice = Replaying { speed: 2.0, until, ..AS_IT_WAS };
        check(&log, twice, &["0 GET /a", "250 GET /b", "500 GET /c"]);
    }

    #[test]
    fn what_cannot_be_used_is_counted() {
        let clf =
            |request: &str| format!("::1 - - [02/Jan/2026:03:04:05 +0000] \"{request}\" 200 1\n");
        let long = format!("{}\n", "x".repeat(3 * LINE_BYTES_MAX));
        for (line, reason) in [
            ("nonsense\n", "in no known format"),
            ("::1 - - [yesterday] \"GET / HTTP/1.1\" 200 1\n", "without a time"),
            (&clf("- - HTTP/1.1"), "without a request"),
            (&clf("POST / HTTP/1.1"), "with a method that may change something"),
            (&clf("GET /a b HTTP/1.1"), "with an unusable target"),
            (&clf("GET /a\\x1Bb HTTP/1.1"), "with an unusable target"),
            (&clf("OPTIONS * HTTP/1.1"), "with an unusable target"),
            (&clf("GET /a...(truncated) HTTP/1.1"), "with an unusable target"),
            (&clf("G=T / HTTP/1.1"), "with an unusable method"),
            ("{\"time\":\"2026-01-02T03:04:05Z\"}\n", "without a request"),
            ("{\"time\":true,\"method\":\"GET\",\"target\":\"/\"}\n", "without a time"),
            ("{\"time\"\n", "not JSON"),
            (&long, "longer than 64 KiB"),
        ] {
            let log = format!("{line}\n{}", clf("GET /good HTTP/1.1"));
            let replay = replay(&log, AS_IT_WAS);
            assert_eq!(replay.skipped, [(reason, 1)].into(), "{line}");
            assert_eq!(replay.requests.len(), 1, "{line}");
        }
        let any = Replaying { any_method: true, ..AS_IT_WAS };
        check(&clf("POST / HTTP/1.1"), any, &["0 POST /"]);
    }

    proptest::proptest! {
        #[test]
        fn any_log_is_read(log: Vec<u8>, lines in "(\\[[0-9A-Za-z/:+ ]*\\] \"[^\"]*\"?|\\{.*\\})\n{0,3}") {
            for log in [log, lines.into_bytes()] {
                let lines = log.split(|byte| *byte == b'\n').count();
                let replay = read(log.as_slice(), AS_IT_WAS).unwrap();
                let skipped: u64 = replay.skipped.values().sum();
                proptest::prop_assert!(replay.requests.len() + usize::try_from(skipped).unwrap() <= lines);
            }
        }
    }
}
