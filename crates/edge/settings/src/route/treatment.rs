//! Reads what is done to the requests of a route, and to their responses.

use model::configuration::{HeaderRules, Treatment};

use super::{Pools, authentication, compression, cors, headers};
use crate::finding::quote;
use crate::reader::{Table, Value};

/// Reads the keys of a route that say how its requests and responses are treated.
pub(super) fn treatment(table: &mut Table<'_>, pools: &Pools<'_>) -> Treatment {
    let request_headers = table.get("request_headers");
    let request_headers = request_headers.map(|value| headers::of_requests(&value));
    let response = table.get("response_headers");
    let response_headers = response.as_ref().map(headers::of_responses).unwrap_or_default();
    let compression = table.get("compress").and_then(|value| compression::compression(&value));
    let cors = table.get("cors").and_then(|value| cors::cors(&value));
    if let Some(value) = response.filter(|_| cors.is_some()) {
        refuse_other_cors(&value, &response_headers);
    }
    Treatment {
        request_headers: request_headers.unwrap_or_default(),
        response_headers,
        compression,
        cors,
        authentication: authentication::authentication(table, pools),
    }
}

/// Two of a field that lets scripts in are none: browsers take one value only.
fn refuse_other_cors(value: &Value<'_>, rules: &HeaderRules) {
    let fields = rules.set.iter().chain(&rules.add).map(|(name, _)| name);
    for name in fields.filter(|name| name.starts_with("access-control-")) {
        let message = format!("`cors` writes {} already", quote(name));
        value.invalid("conflicting-keys", message, "write it in `cors`, or leave `cors` out");
    }
}
