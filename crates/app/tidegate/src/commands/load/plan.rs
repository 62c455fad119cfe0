//! From arguments to a checked [`LoadPlan`].

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Name;
use model::load::{
    Arrivals, Clients, Keys, LoadPlan, Protocol, Reconnect, RequestShape, Retries, Spacing, Stage,
    Stream,
};
use rehearsal::load::Target;
use rehearsal::load::replay::{self, LINES_MAX, Replaying};

use super::Refused;
use super::arguments::{ArrivalArguments, AskedArguments, ReconnectName, RunArguments};
use crate::output;

/// How long load lasts unless that was said.
const DURATION: Duration = Duration::from_secs(10);
/// Bytes of a body.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// What is to be sent, and what a reader of the result has to know about it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: LoadPlan,
    pub(super) notes: Vec<String>,
}

/// The plan of `load run`. A `Host` among the headers changes the target's.
pub(super) fn of_run(
    arguments: &RunArguments,
    path: &str,
    target: &mut Target,
) -> Result<Planned, Refused> {
    if let Some(file) = &arguments.arrivals.plan {
        return Ok(Planned { plan: from_file(file)?, notes: Vec::new() });
    }
    let mut notes = Vec::new();
    let arrivals = arrivals(&arguments.arrivals, &mut notes)?;
    let mut stream = stream(&arguments.asked, arrivals, path, target)?;
    stream.retries = Retries {
        retries_max: arguments.retries,
        back_off: arguments.back_off,
        respect_retry_after: arguments.respect_retry_after,
    };
    Ok(Planned { plan: checked(stream)?, notes })
}

/// One stream at this rate.
pub(super) fn steady(stream: &Stream, per_second: f64, duration: Duration) -> LoadPlan {
    let spacing = match stream.arrivals {
        Arrivals::Open { spacing, .. } => spacing,
        Arrivals::Closed { .. } | Arrivals::Sessions { .. } | Arrivals::Replay { .. } => {
            Spacing::Even
        }
    };
    let arrivals = Arrivals::Open { stages: vec![constant(per_second, duration)], spacing };
    LoadPlan { streams: vec![Stream { arrivals, ..stream.clone() }] }
}

/// The stream that asks what these arguments say.
pub(super) fn stream(
    asked: &AskedArguments,
    arrivals: Arrivals,
    path: &str,
    target: &mut Target,
) -> Result<Stream, Refused> {
    let headers = headers(asked, target)?;
    let protocol = protocol(asked);
    let body = match &asked.message {
        Some(message) => Arc::from(message.as_slice()),
        None => body(asked.body.as_deref())?,
    };
    let keys = Keys { count: asked.keys, hot_share: asked.hot_share };
    let requests = if matches!(arrivals, Arrivals::Replay { .. }) {
        if !asked.request.is_empty() || asked.body.is_some() {
            return Err(Refused::usage(
                "a replayed log says itself what is asked: leave --request and --body out",
            ));
        }
        Vec::new()
    } else {
        let shape = |weight, method: &str, target: &str| RequestShape {
            weight,
            method: Name::from(method),
            target: Name::from(target),
            headers: headers.clone(),
            body: Arc::clone(&body),
            keys,
        };
        if asked.request.is_empty() {
            let posts = protocol == Protocol::Grpc || !body.is_empty();
            vec![shape(1, if posts { "POST" } else { "GET" }, path)]
        } else if path != "/" {
            let why = format!(
                "the URL says {path} and --request says what else is asked: end the URL with its port"
            );
            return Err(Refused::Usage(why));
        } else {
            let shapes = asked.request.iter().map(|text| {
                let (method, target, weight) = request(text)?;
                Ok(shape(weight, method, target))
            });
            shapes.collect::<Result<_, Refused>>()?
        }
    };
    Ok(Stream {
        name: Name::from("load"),
        start: Duration::ZERO,
        arrivals,
        requests,
        clients: Clients {
            count: asked.clients,
            key_header: asked.key_header.as_deref().map(field_name).transpose()?,
            key: field_value(&asked.key)?,
            source: asked.sources,
        },
        protocol,
        streams_max: usize::from(asked.streams),
        keep_alive: !asked.no_keep_alive,
        timeout: asked.timeout,
        retries: Retries::default(),
        in_flight_max: asked.in_flight_max,
    })
}

const fn protocol(asked: &AskedArguments) -> Protocol {
    match (asked.grpc, asked.http2) {
        (true, _) => Protocol::Grpc,
        (false, true) => Protocol::Http2,
        (false, false) => Protocol::Http1,
    }
}

/// The ranges that the model demands.
pub(super) fn checked(stream: Stream) -> Result<LoadPlan, Refused> {
    Ok(LoadPlan { streams: vec![stream.checked().map_err(Refused::Usage)?] })
}

pub(super) fn constant(per_second: f64, duration: Duration) -> Stage {
    Stage { from_per_second: per_second, to_per_second: per_second, duration }
}

fn from_file(file: &Path) -> Result<LoadPlan, Refused> {
    let source =
        settings::read(file).map_err(|error| Refused::Usage(super::super::chain(&error)))?;
    let checked = settings::load_plan(&source);
    checked.plan.ok_or_else(|| {
        let colour = output::colours_on_stderr();
        Refused::Usage(format!(
            "{} is no plan of a load:\n{}",
            file.display(),
            settings::render_text(&checked.findings, std::slice::from_ref(&source), colour)
        ))
    })
}

fn arrivals(arguments: &ArrivalArguments, notes: &mut Vec<String>) -> Result<Arrivals, Refused> {
    let duration = arguments.duration.unwrap_or(DURATION);
    if duration.is_zero() {
        return Err(Refused::usage("--for must be longer than nothing"));
    }
    if let Some(file) = &arguments.replay {
        return replayed(arguments, file, notes);
    }
    if let Some(users) = arguments.users {
        return Ok(Arrivals::Closed { users, think: arguments.think, duration });
    }
    if let Some(count) = arguments.sessions {
        return Ok(Arrivals::Sessions {
            count,
            opening: arguments.opening.min(duration),
            ask_every: arguments.ask_every,
            duration,
            reconnect: match arguments.reconnect {
                ReconnectName::Never => Reconnect::Never,
                ReconnectName::AtOnce => Reconnect::AtOnce,
                ReconnectName::BackOff => Reconnect::BackOff,
            },
        });
    }
    let spacing = if arguments.poisson { Spacing::Poisson } else { Spacing::Even };
    let stages = if arguments.stage.is_empty() {
        vec![constant(arguments.rate, duration)]
    } else {
        arguments.stage.clone()
    };
    Ok(Arrivals::Open { stages, spacing })
}

fn replayed(
    arguments: &ArrivalArguments,
    file: &Path,
    notes: &mut Vec<String>,
) -> Result<Arrivals, Refused> {
    let failed = |error| Refused::Usage(format!("cannot read {}: {error}", file.display()));
    let replaying = Replaying {
        speed: arguments.speed,
        any_method: arguments.replay_any_method,
        until: arguments.duration,
    };
    let log = BufReader::new(File::open(file).map_err(failed)?);
    let replay = replay::read(log, replaying).map_err(failed)?;
    for (reason, lines) in &replay.skipped {
        let lines = if *lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        notes.push(format!("skipped {lines} of the log: {reason}"));
    }
    if replay.cut {
        notes.push(format!("only the first {LINES_MAX} lines of the log were read"));
    }
    if replay.requests.is_empty() {
        let why = if notes.is_empty() { "it is empty".to_owned() } else { notes.join("; ") };
        return Err(Refused::Usage(format!("{} has no request to replay: {why}", file.display())));
    }
    Ok(Arrivals::Replay { requests: replay.requests })
}

/// `METHOD PATH [WEIGHT]`.
fn request(text: &str) -> Result<(&str, &str, u32), Refused> {
    let wrong = |why: &str| {
        Refused::Usage(format!(
            "--request {text:?}: {why}; expected METHOD PATH [WEIGHT], such as 'GET /a 3'"
        ))
    };
    let mut words = text.split_whitespace();
    let method = words.next().ok_or_else(|| wrong("it is empty"))?;
    if !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err(wrong("the method is not made of letters"));
    }
    let path = words.next().ok_or_else(|| wrong("there is no path"))?;
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the path must begin with / and be plain ASCII"));
    }
    let weight = words.next().map_or(Ok(1), str::parse::<u32>).ok().filter(|weight| *weight >= 1);
    let weight = weight.ok_or_else(|| wrong("the weight is not a whole number above 0"))?;
    if words.next().is_some() {
        return Err(wrong("there is more"));
    }
    Ok((method, path, weight))
}

/// The fields of every request; `Host` goes to the target.
fn headers(asked: &AskedArguments, target: &mut Target) -> Result<Vec<(Name, Name)>, Refused> {
    let mut headers = Vec::new();
    for field in &asked.header {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| Refused::Usage(format!("--header {field:?}: expected 'Name: value'")))?;
        let (name, value) = (field_name(name)?, field_value(value.trim())?);
        match name.to_ascii_lowercase().as_str() {
            "host" => target.host = value.to_string(),
            "content-length" | "transfer-encoding" | "connection" => {
                return Err(Refused::Usage(format!(
                    "the generator writes {name} itself: leave it out"
                )));
            }
            _ => headers.push((name, value)),
        }
    }
    Ok(headers)
}

fn field_name(text: &str) -> Result<Name, Refused> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        return Ok(Name::from(text));
    }
    Err(Refused::Usage(format!("{text:?} is no name of a header field")))
}

fn field_value(text: &str) -> Result<Name, Refused> {
    let is_value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if text.bytes().all(is_value) {
        return Ok(Name::from(text));
    }
    Err(Refused::Usage(format!("{text:?} cannot be the value of a header field")))
}

fn body(text: Option<&str>) -> Result<Arc<[u8]>, Refused> {
    let Some(text) = text else { return Ok(Arc::from([])) };
    let Some(file) = text.strip_prefix('@') else { return Ok(Arc::from(text.as_bytes())) };
    let failed = |error| Refused::Usage(format!("cannot read {file}: {error}"));
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BODY_BYTES_MAX) {
        return Err(Refused::Usage(format!("{file} is larger than 16 MiB")));
    }
    Ok(Arc::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        for (text, expected) in [
            ("GET /", Some(("GET", "/", 1))),
            ("POST /a?b={key} 3", Some(("POST", "/a?b={key}", 3))),
            ("GET", None),
            ("", None),
            ("GET a", None),
            ("GET / 0", None),
            ("GET / 1 2", None),
            ("G\u{e9}T /", None),
            ("GET /\u{e9}", None),
        ] {
            assert_eq!(request(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn fields_are_read() {
        assert!(field_name("x-key").is_ok() && field_value("a b\t{client}").is_ok());
        for wrong in ["", "a b", "a\r\n", "a:"] {
            assert!(field_name(wrong).is_err(), "{wrong:?}");
        }
        assert!(field_value("a\r\nb: c").is_err());
    }
}
