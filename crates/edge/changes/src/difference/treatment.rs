//! What is done to the requests of a route and to their responses besides passing them on.
//!
//! Hashes of passwords, keys and credentials are never shown, only that they differ.

use model::Name;
use model::configuration::{
    Authentication, Compression, Cors, HeaderRules, HeaderValue, Origins, Treatment, ValuePart,
    Variable, may_hold_secret,
};

use super::lines::{About, Concern};
use crate::words;

/// A treatment, and the name of the pool that is asked who may use the route in place of an index.
pub(super) type Treated<'a> = (&'a Treatment, Option<&'a Name>);

pub(super) fn tell(about: &mut About<'_>, (from, asks): Treated<'_>, (to, will_ask): Treated<'_>) {
    let rules = [
        ("request headers", &from.request_headers, &to.request_headers),
        ("response headers", &from.response_headers, &to.response_headers),
    ];
    for (what, from, to) in rules {
        if from != to && words_of_rules(from) == words_of_rules(to) {
            about.say(Concern::Treatment, &format!("other credentials in its {what}"));
        } else {
            about.field(what, from, to, words_of_rules);
        }
    }
    about.field("compression", &from.compression, &to.compression, |compression| {
        words::or_none(compression.as_ref(), words_of_compression)
    });
    about.field("other sites", &from.cors, &to.cors, |cors| {
        words::or_none(cors.as_ref(), words_of_cors)
    });
    let kinds = [(from, asks), (to, will_ask)].map(|(treatment, pool)| {
        words::or_none(treatment.authentication.as_ref(), |how| words_of_authentication(how, pool))
    });
    if kinds[0] != kinds[1] {
        about.field("authentication", &kinds[0], &kinds[1], Clone::clone);
    } else if !same(from.authentication.as_ref(), to.authentication.as_ref()) {
        about.say(Concern::Treatment, "other users, keys or claims count for its authentication");
    }
}

/// Whether both let in the same; the index of a pool may have moved.
fn same(from: Option<&Authentication>, to: Option<&Authentication>) -> bool {
    match (from, to) {
        (Some(Authentication::Forward(from)), Some(Authentication::Forward(to))) => {
            let mut from = from.clone();
            from.pool = to.pool;
            from == *to
        }
        _ => from == to,
    }
}

fn words_of_rules(rules: &HeaderRules) -> String {
    if rules.is_empty() {
        return "unchanged".to_owned();
    }
    let mut parts = Vec::new();
    if !rules.remove.is_empty() {
        parts.push(format!("without {}", words::list(&rules.remove, words::name)));
    }
    let field = |(name, value): &(Name, HeaderValue)| {
        let shown = if may_hold_secret(name) { "…".to_owned() } else { text_of(value) };
        format!("{} = {}", words::text(name), words::text(shown))
    };
    if !rules.set.is_empty() {
        parts.push(format!("with {}", words::list(&rules.set, field)));
    }
    if !rules.add.is_empty() {
        parts.push(format!("and also {}", words::list(&rules.add, field)));
    }
    if rules.success_only {
        parts.push("on success only".to_owned());
    }
    parts.join(", ")
}

/// A value as it stands in the configuration.
fn text_of(HeaderValue(parts): &HeaderValue) -> String {
    let mut text = String::new();
    for part in parts {
        let variable = match part {
            ValuePart::Text(part) => {
                text.push_str(part);
                continue;
            }
            ValuePart::Variable(variable) => variable,
        };
        let name = match variable {
            Variable::ClientAddress => "client_address",
            Variable::PeerAddress => "peer_address",
            Variable::Host => "host",
            Variable::Authority => "authority",
            Variable::Scheme => "scheme",
            Variable::Method => "method",
            Variable::Path => "path",
            Variable::Target => "target",
            Variable::RequestId => "request_id",
            Variable::Route => "route",
            Variable::Client => "client",
            Variable::User => "user",
            Variable::Header(name) => {
                text.push_str(&format!("{{header:{name}}}"));
                continue;
            }
        };
        text.push_str(&format!("{{{name}}}"));
    }
    text
}

fn words_of_compression(compression: &Compression) -> String {
    format!(
        "{} at level {} from {} for {}",
        words::list(&compression.codings, |coding| coding.name().to_owned()),
        compression.level,
        words::size(compression.bytes_min),
        words::list(&compression.types, words::name)
    )
}

fn words_of_cors(cors: &Cors) -> String {
    let origins = match &cors.origins {
        Origins::Any => "any".to_owned(),
        Origins::Listed(origins) => words::list(origins, words::name),
    };
    let headers = cors.headers.as_ref();
    format!(
        "{origins} with methods {}, headers {}, seeing {}, cookies {}, remembered for {}",
        words::list(&cors.methods, words::name),
        headers.map_or_else(|| "any".to_owned(), |headers| words::list(headers, words::name)),
        words::list(&cors.expose, words::name),
        words::switch(cors.credentials),
        words::duration(&cors.max_age)
    )
}

fn words_of_authentication(how: &Authentication, pool: Option<&Name>) -> String {
    match how {
        Authentication::Basic(basic) => {
            format!("by password, {}", words::count(basic.users.len(), "user"))
        }
        Authentication::Jwt(jwt) => format!("by token, {}", words::count(jwt.keys.len(), "key")),
        Authentication::Forward(forward) => format!(
            "by pool {} at {}",
            words::or_none(pool, words::name),
            words::text(&forward.path)
        ),
    }
}
