//! Reads `[door]`, `[admin]` and `[telemetry]`: what concerns the process, not its traffic.

use std::path::PathBuf;
use std::time::Duration;

use model::configuration::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, AdminTcp, Door, State, Telemetry,
};

use crate::finding::quote;
use crate::listen::{self, Placed};
use crate::reader::{Table, Value};

/// How long requests in flight may take after SIGTERM.
const DRAIN_DEFAULT: Duration = Duration::from_secs(30);

/// A day: a drain that takes longer is no drain.
const DRAIN_MAX: Duration = Duration::from_secs(86_400);

/// The longest path of a Unix socket on Linux, without its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Characters a token must have: 16 random ones cannot be guessed over a network.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// Bytes of a token file that are looked at.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Reads `[door]`.
pub(crate) fn door(root: &mut Table<'_>) -> Door {
    let environment = root.context().environment;
    let mut table = root.sub("door");
    let door = Door {
        workers: table.number("workers", environment.processors.clamp(1, 256), 1..=256),
        drain: table.duration("drain", DRAIN_DEFAULT, Duration::ZERO..=DRAIN_MAX),
        connections_max: table.number(
            "connections",
            environment.connections_default(),
            1..=u32::MAX,
        ),
        state: table.get("state").map_or_else(|| environment.state(), |value| state(&value)),
    };
    table.finish();
    door
}

fn state(value: &Value<'_>) -> Option<State> {
    let folder = path_or_false(value)?;
    Some(State { folder, required: true })
}

/// Reads `[admin]`.
pub(crate) fn admin(root: &mut Table<'_>, listeners: &[Placed]) -> Admin {
    let socket_default = root.context().environment.admin_socket();
    let mut table = root.sub("admin");
    let socket = table.get("socket").map_or(Some(socket_default), |value| socket(&value));
    let tcp = admin_tcp(&mut table, listeners);
    table.finish();
    Admin { socket, tcp }
}

/// A path; `None` for `false`, which turns something off.
fn path_or_false(value: &Value<'_>) -> Option<PathBuf> {
    match value.as_boolean() {
        Some(false) => None,
        Some(true) => {
            value.wrong_type("a path or `false`");
            None
        }
        None => value.path(),
    }
}

fn socket(value: &Value<'_>) -> Option<PathBuf> {
    let path = path_or_false(value)?;
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let message = format!("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes");
        value.invalid("invalid-path", message, "choose a shorter path");
        return None;
    }
    Some(path)
}

fn admin_tcp(table: &mut Table<'_>, listeners: &[Placed]) -> Option<AdminTcp> {
    if !table.has("address") && !table.has("token_file") {
        // Asked for all the same, so that they are known keys.
        table.get("address").or(table.get("token_file"));
        return None;
    }
    let address_value = table.required("address", "address = \"127.0.0.1:9900\"");
    let token_value = table.required("token_file", "token_file = \"admin.token\"");
    let address = address_value.as_ref().and_then(listen::address);
    if let (Some(address), Some(value)) = (address, &address_value) {
        listen::check_unique(address, value, listeners);
    }
    let token_file = token_value.and_then(|value| token_file(&value));
    Some(AdminTcp { address: address?, token_file: token_file? })
}

fn token_file(value: &Value<'_>) -> Option<PathBuf> {
    use std::io::Read as _;
    let path = value.file()?;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_end(&mut bytes));
    let token = String::from_utf8_lossy(&bytes);
    if read.is_ok() && token.trim().chars().count() >= TOKEN_CHARACTERS_MIN {
        return Some(path);
    }
    let message = format!(
        "{} must hold a token of at least {TOKEN_CHARACTERS_MIN} characters",
        quote(&path.to_string_lossy())
    );
    value.invalid("short-token", message, "make one with `openssl rand -hex 32`");
    None
}

/// Reads `[telemetry]`.
pub(crate) fn telemetry(root: &mut Table<'_>) -> Telemetry {
    let mut table = root.sub("telemetry");
    let access_log = table.get("access_log").and_then(|value| access_log(&value));
    table.finish();
    Telemetry { access_log }
}

fn access_log(value: &Value<'_>) -> Option<AccessLog> {
    const EXPECTED: &str = "`false`, \"stdout\" or a table";
    if value.as_text().is_some() {
        let target = value.choice(&[("stdout", AccessLogTarget::Stdout)])?;
        return Some(AccessLog { target, format: AccessLogFormat::Json });
    }
    match value.as_boolean() {
        Some(false) => return None,
        Some(true) => {
            value.wrong_type(EXPECTED);
            return None;
        }
        None => {}
    }
    let mut table = value.table(EXPECTED)?;
    let stdout = table.boolean("stdout", false);
    let target = if stdout {
        if let Some(file) = table.get("file") {
            let message = "`file` and `stdout` exclude each other".to_owned();
            file.invalid("conflicting-keys", message, "keep one of them");
        }
        Some(AccessLogTarget::Stdout)
    } else {
        table.required("file", "file = \"access.log\"").and_then(|value| log_file(&value))
    };
    let formats = [
        ("json", AccessLogFormat::Json),
        ("clf", AccessLogFormat::Clf),
        ("ecs", AccessLogFormat::Ecs),
    ];
    let format = table.choice("format", AccessLogFormat::Json, &formats);
    table.finish();
    Some(AccessLog { target: target?, format })
}

fn log_file(value: &Value<'_>) -> Option<AccessLogTarget> {
    let path = value.path()?;
    if path.parent().is_some_and(std::path::Path::is_dir) && !path.is_dir() {
        return Some(AccessLogTarget::File(path));
    }
    let message = format!("cannot write {}", quote(&path.to_string_lossy()));
    value.invalid("missing-folder", message, "name a file in a folder that exists");
    None
}
