//! One request in, one answer out: what each endpoint of the console says.
//!
//! Invariant: reading endpoints never change the door. Changing ones answer `POST` only, ask for
//! `Content-Type: application/json` (which a foreign page cannot send unasked) and hand their
//! order to the clerk in [`crate::mutation`].

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use hyper::{Method, Request, Response, StatusCode};
use model::fact::Snapshot;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::body::{Body, Snapshots};
use crate::guard::{Admission, Caller};
use crate::look::{self, WaitingRoom};
use crate::mutation::{Order, Orders};
use crate::{Apply, Confirm, Control, RefusalKind, RollBack, SwitchRequest, What};

/// The largest body of a request that carries no text.
const BODY_BYTES_MAX: usize = 16 * 1_024;
/// The largest body of an apply: a text of 4 MiB, escaped as JSON.
const APPLY_BYTES_MAX: usize = 5 * 1_024 * 1_024;
/// Applies whose bodies are in memory at once.
pub(crate) const APPLIES_MAX: usize = 4;
/// How long a request body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What `/v1/history` gives without `seconds`.
const HISTORY_SECONDS_DEFAULT: usize = 60;
/// The longest history.
const HISTORY_SECONDS_MAX: usize = 3_600;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the connections of one socket share.
pub(crate) struct Desk {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) admission: Admission,
    pub(crate) orders: Orders,
    /// A clerk of their own: a client that does harm is disabled while a change is under way.
    pub(crate) switches: Orders,
    pub(crate) waiting_room: WaitingRoom,
    pub(crate) applies: Semaphore,
}

/// A refusal, sent as RFC 9457 problem details.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    code: &'static str,
    detail: String,
    allow: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), allow: None }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    fn into_response(self) -> Response<Body> {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let text = serde_json::json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail, "code": self.code });
        let mut response = whole(self.status, "application/problem+json", text.to_string());
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        // Whoever is not admitted does not keep one of the few connections.
        if matches!(
            self.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST
        ) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What the console serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Status,
    History,
    Metrics,
    Health,
    Ready,
    Changes,
    Wait,
    Generations,
    Generation(u64),
    Configuration,
    Recording,
    Clients,
    Switches,
    Change(Form),
}

/// What changes the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Reload,
    Apply,
    RollBack,
    Confirm,
    Drain,
    Disable,
    Enable,
}

impl Endpoint {
    const SERVED: &str = "Served here: /v1/status, /v1/history, /v1/changes, /v1/changes/wait, /v1/generations, /v1/generations/N, /v1/configuration, /v1/recording, /v1/clients, /v1/switches, /metrics, /health, /ready, /v1/reload, /v1/apply, /v1/rollback, /v1/confirm, /v1/clients/disable, /v1/clients/enable, /v1/servers/drain.";

    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/status" => Self::Status,
            "/v1/history" => Self::History,
            "/v1/changes" => Self::Changes,
            "/v1/changes/wait" => Self::Wait,
            "/v1/generations" => Self::Generations,
            "/v1/configuration" => Self::Configuration,
            "/v1/recording" => Self::Recording,
            "/v1/clients" => Self::Clients,
            "/v1/switches" => Self::Switches,
            "/metrics" => Self::Metrics,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/v1/reload" => Self::Change(Form::Reload),
            "/v1/apply" => Self::Change(Form::Apply),
            "/v1/rollback" => Self::Change(Form::RollBack),
            "/v1/confirm" => Self::Change(Form::Confirm),
            "/v1/servers/drain" => Self::Change(Form::Drain),
            "/v1/clients/disable" => Self::Change(Form::Disable),
            "/v1/clients/enable" => Self::Change(Form::Enable),
            _ => Self::Generation(path.strip_prefix("/v1/generations/")?.parse().ok()?),
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Status
            | Self::History
            | Self::Metrics
            | Self::Health
            | Self::Ready
            | Self::Changes
            | Self::Wait
            | Self::Generations
            | Self::Generation(_)
            | Self::Configuration
            | Self::Recording
            | Self::Clients
            | Self::Switches => "GET, HEAD",
            Self::Change(_) => "POST",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// Answers one request of one caller.
pub(crate) async fn answer(
    desk: &Desk,
    caller: Caller,
    request: Request<Incoming>,
) -> Response<Body> {
    let result = match admitted_endpoint(desk, caller, &request) {
        Ok(endpoint) => endpoint_answer(desk, caller, endpoint, request).await,
        Err(problem) => Err(problem),
    };
    let mut response = result.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}

fn admitted_endpoint(
    desk: &Desk,
    caller: Caller,
    request: &Request<Incoming>,
) -> Result<Endpoint, Problem> {
    if let Err(problem) = desk.admission.admit(caller, request.headers()) {
        tracing::warn!(%caller, code = problem.code(), "admin request refused");
        return Err(problem);
    }
    // An absolute target carries a second host, which nothing here would check.
    if request.uri().authority().is_some() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_target",
            "Only paths are served here.",
        ));
    }
    let endpoint = Endpoint::of(request.uri().path())
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", Endpoint::SERVED))?;
    if !endpoint.allows(request.method()) {
        let detail = format!("This endpoint answers {} only.", endpoint.methods());
        return Err(Problem {
            allow: Some(endpoint.methods()),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        });
    }
    Ok(endpoint)
}

async fn endpoint_answer(
    desk: &Desk,
    caller: Caller,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    let control = &desk.control;
    let query = request.uri().query();
    match endpoint {
        Endpoint::Status => status(control.snapshot().as_deref()),
        Endpoint::History => {
            let snapshots = control.history(history_seconds(query)?);
            Ok(respond(StatusCode::OK, JSON, Body::Snapshots(Snapshots::new(snapshots))))
        }
        Endpoint::Metrics => {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let (body, content_type) = control.metrics(accept.unwrap_or_default());
            Ok(whole(StatusCode::OK, content_type, body))
        }
        Endpoint::Health => Ok(whole(StatusCode::OK, TEXT, "live\n")),
        Endpoint::Ready if control.ready() => Ok(whole(StatusCode::OK, TEXT, "ready\n")),
        Endpoint::Ready => Ok(whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n")),
        Endpoint::Changes => json(&**control.changes().borrow()),
        Endpoint::Wait => json(&look::wait(desk, query).await?),
        Endpoint::Generations => {
            let (limit, before) = look::page(query)?;
            json(&control.generations(limit, before).await?)
        }
        Endpoint::Generation(number) => json(&control.generation(number).await?),
        Endpoint::Configuration => json(&*control.configuration()),
        Endpoint::Recording => json(&control.recording()),
        Endpoint::Clients => json(&control.clients()),
        Endpoint::Switches => {
            let (limit, before) = look::page(query)?;
            json(&control.switches(limit, before).await?)
        }
        Endpoint::Change(form) => change(desk, caller, form, request).await,
    }
}

/// Reads what a changing endpoint was sent, and gives it to the clerk.
async fn change(
    desk: &Desk,
    caller: Caller,
    form: Form,
    request: Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    // Held until the change is done: what waits to be applied is bounded too.
    let _place = match form {
        Form::Apply => Some(desk.applies.try_acquire().map_err(|_full| {
            let detail = format!("{APPLIES_MAX} applies are under way already; try again.");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        })?),
        Form::Reload
        | Form::RollBack
        | Form::Confirm
        | Form::Drain
        | Form::Disable
        | Form::Enable => None,
    };
    let limit = if form == Form::Apply { APPLY_BYTES_MAX } else { BODY_BYTES_MAX };
    let body = json_body(request, limit).await?;
    let what = match form {
        Form::Reload => {
            if !body.is_empty() {
                parsed::<Nothing>(&body)?;
            }
            What::Reload
        }
        Form::Apply => What::Apply(Box::new(parsed::<Apply>(&body)?)),
        Form::RollBack => What::RollBack(parsed::<RollBack>(&body)?),
        Form::Confirm => What::Confirm(parsed::<Confirm>(&body)?),
        Form::Drain => {
            let DrainRequest { pool, server, on } = parsed(&body)?;
            let order = Order::Drain { pool, server, on };
            let done = desk.orders.place(caller, order).await.map_err(|refusal| {
                if refusal.kind == RefusalKind::Busy {
                    return refusal.into();
                }
                Problem::new(StatusCode::CONFLICT, "drain_refused", refusal.detail)
            })?;
            return json(&serde_json::json!({ "result": done.result }));
        }
        Form::Disable => return switch(desk, caller, parsed(&body)?, false).await,
        Form::Enable => return switch(desk, caller, parsed(&body)?, true).await,
    };
    drop(body);
    what.check().map_err(bad_form)?;
    json(&desk.orders.place(caller, Order::Change(what)).await?)
}

/// Disables a client, or takes that back.
async fn switch(
    desk: &Desk,
    caller: Caller,
    request: SwitchRequest,
    enabled: bool,
) -> Result<Response<Body>, Problem> {
    request.check().map_err(bad_form)?;
    let done = desk.switches.place(caller, Order::Switch { request, enabled }).await?;
    json(&serde_json::json!({ "result": done.result }))
}

fn bad_form(why: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", format!("{why}."))
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("The body is not what this endpoint takes: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
    })
}

fn json(value: &impl Serialize) -> Result<Response<Body>, Problem> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(whole(StatusCode::OK, JSON, text)),
        Err(error) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainRequest {
    pool: String,
    server: String,
    on: bool,
}

fn status(snapshot: Option<&Snapshot>) -> Result<Response<Body>, Problem> {
    let snapshot = snapshot.ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_early",
            "No whole second has passed since the start; ask again.",
        )
    })?;
    json(snapshot)
}

fn history_seconds(query: Option<&str>) -> Result<usize, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(HISTORY_SECONDS_DEFAULT);
    };
    query
        .strip_prefix("seconds=")
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (1..=HISTORY_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_query",
                format!("Expected ?seconds=N with N from 1 to {HISTORY_SECONDS_MAX}."),
            )
        })
}

async fn json_body(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "Send Content-Type: application/json.",
        ));
    }
    let body = Limited::new(request.into_body(), bytes_max);
    match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body may have at most {bytes_max} bytes."),
        )),
        Ok(Err(_)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad_body", "The body ended early."))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The body did not arrive in time.",
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case(JSON)
}

fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    respond(status, content_type, Body::Whole(Full::new(body.into())))
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
