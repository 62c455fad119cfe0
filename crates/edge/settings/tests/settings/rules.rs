//! Every rule finds its bad example, and not its good one; allowances set aside what they name.

use std::path::Path;

use settings::Checked;
use settings::rules::{Dialect, Example, Rule, explain, rules};

use crate::{environment, folder_with_files, lines, source};

/// A whole configuration around an example: what is not shown is sound.
fn whole(example: Example) -> String {
    let mut text = example.text.to_owned() + "\n";
    let sound =
        "[pools.api]\nservers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\ncheck = { path = \"/\" }\n";
    for (section, sound) in [
        ("[listen.", "[listen.web]\naddress = \"0.0.0.0:8080\"\n"),
        ("[pools.", sound),
        ("[routes.", "[routes.all]\npool = \"api\"\n"),
    ] {
        if !text.contains(section) {
            text.push_str(sound);
        }
    }
    text
}

fn check(text: &str, folder: &Path) -> Checked {
    settings::check(&source(text, folder), &environment())
}

/// The names of the findings.
fn found(checked: &Checked) -> Vec<&'static str> {
    checked.findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn every_rule_finds_its_bad_example_alone_and_not_its_good_one() {
    let folder = folder_with_files();
    let is_found = |rule: &&&Rule| rule.bad.dialect == Dialect::Native && !rule.is_of_changes();
    for rule in rules().iter().filter(is_found) {
        let bad = check(&whole(rule.bad), folder.path());
        assert_eq!(found(&bad), [rule.name], "{}\n{:#?}", rule.name, lines(&bad));
        let good = check(&whole(rule.good), folder.path());
        assert_eq!(found(&good), [""; 0], "{}\n{:#?}", rule.name, lines(&good));
    }
}

/// The rules that find something in this part of a configuration, in order of place.
fn finds(text: &str, expected: &[&str]) {
    let folder = folder_with_files();
    // The examples hold their text for ever, so the one here does too.
    let example = Example { dialect: Dialect::Native, text: Box::leak(text.into()) };
    let checked = check(&whole(example), folder.path());
    assert_eq!(found(&checked), expected, "{text}\n{:#?}", lines(&checked));
}

/// A pool with these servers and lines.
fn pool(servers: &str, lines: &str, expected: &[&str]) {
    let text = format!("[pools.api]\nservers = [{servers}]\ncheck = {{ path = '/' }}\n{lines}");
    finds(&text, expected);
}

const TWO: &str = "'10.0.0.1:80', '10.0.0.2:80'";
const THREE: &str = "'10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'";

#[test]
fn a_listener_of_the_same_door_may_end_connections_first() {
    let inner = |address: &str, keep_alive: &str, idle: &str, expected: &[&str]| {
        let text = format!(
            "[listen.inner]\naddress = '{address}'\ntimeouts = {{ keep_alive = '{keep_alive}' }}\n\
             [pools.api]\nservers = ['127.0.0.1:9000', '127.0.0.1:9001']\ncheck = {{ path = '/' }}\n\
             timeouts = {{ idle = '{idle}' }}\n"
        );
        finds(&text, expected);
    };
    inner("127.0.0.1:9000", "10s", "9s", &[]);
    inner("127.0.0.1:9000", "10s", "10s", &["stale-connections"]);
    inner("0.0.0.0:9001", "10s", "60s", &["stale-connections"]);
    inner("127.0.0.2:9001", "10s", "60s", &[]);
    inner("127.0.0.2:9001", "10s", "76s", &["stale-connections"]);
}

#[test]
fn what_is_sensible_is_let_through() {
    // One of two is drained while it is updated; of three, one is left.
    pool("'10.0.0.1:80', { address = '10.0.0.2:80', drain = true }", "", &[]);
    pool("'10.0.0.1:80', { address = '10.0.0.2:80', weight = 0 }", "", &["one-active-server"]);
    // A name may stand for several servers and hosts.
    pool("'api.internal:80'", "", &[]);
    pool("'a.internal:80', { address = '10.0.0.2:80', weight = 0 }", "", &[]);
    // All on the door's own machine: lost together with it.
    pool("'127.0.0.1:1', '127.0.0.1:2'", "", &[]);
    // A large pool spares one for a moment.
    pool(&format!("{THREE}, '10.0.0.4:80'"), "ejection = { failures = 1 }", &[]);
    let hasty = format!("[pools.api]\nservers = [{TWO}]\ncheck = {{ path = '/', fall = 1 }}");
    finds(&hasty, &["hasty-ejection"]);
    // Four attempts within a budget are no storm.
    pool(TWO, "retries = { attempts = 4 }", &[]);
    for (address, expected) in [
        ("10.1.2.3:1", &[][..]),
        ("[fd00::1]:1", &[]),
        ("[::1]:1", &[]),
        ("[::]:1", &["admin-exposed"]),
        ("192.0.2.1:1", &["admin-exposed"]),
    ] {
        finds(&format!("[admin]\naddress = '{address}'\ntoken_file = 'token'"), expected);
    }
    // What was not written is held against nobody.
    pool(TWO, "timeouts = { total = '2s' }", &[]);
    finds("[door]\ndrain = '1s'", &[]);
}

/// A client with a key and these lines.
fn client(name: &str, lines: &str) -> String {
    format!("[clients.{name}]\nkey = {{ header = 'x', value = '{name}' }}\n{lines}\n")
}

#[test]
fn limits_and_clients_against_each_other() {
    let rate = |name: &str, rate: &str| client(name, &format!("rate = '{rate}'"));
    let measured = format!(
        "[pools.api]\nservers = [{TWO}]\ncheck = {{ path = '/' }}\ncapacity = 'capacity.json'\n"
    );
    let above = &["rates-above-capacity"];
    // 1000/s were measured: one client, two together, one of which is disabled.
    finds(&format!("{measured}{}", rate("a", "1001/s")), above);
    finds(&format!("{measured}{}{}", rate("a", "600/s"), rate("b", "36000/m")), above);
    let off = client("b", "rate = '600/s'\nenabled = false");
    finds(&format!("{measured}{}{off}", rate("a", "600/s")), &["disabled-client"]);
    let limit = |lines: &str| format!("[limits.l]\nby = 'all'\n{lines}\n");
    finds(&format!("{measured}{}", limit("rate = '1001/s'\nobserve = true")), &[]);
    // What else requests can go to was not measured.
    let other = "[pools.b]\nservers = ['b:1', 'c:1']\ncheck = { path = '/' }\n[routes.b]\npath = '/b'\npool = 'b'\n[routes.all]\npool = 'api'\n";
    finds(&format!("{measured}{other}{}", limit("rate = '1001/s'")), &[]);
    finds(&format!("{measured}{other}{}", limit("rate = '1001/s'\nroutes = ['all']")), above);

    let with_limit = |lines: &str, expected: &[&str]| {
        finds(&format!("{}[limits.l]\n{lines}", rate("a", "50/s")), expected);
    };
    let below = &["client-above-limit"];
    with_limit("by = 'all'\nrate = '49/s'", below);
    with_limit("by = 'client'\nrate = '2999/m'", below);
    with_limit("by = 'client'\nrate = '3000/m'", &[]);
    with_limit("by = 'route'\nrate = '1/s'", &[]);
    with_limit("by = { header = 'x-tenant' }\nrate = '1/s'", &[]);
    with_limit("by = { header = 'X-Real-IP' }\nrate = '1/s'", &["limit-on-proxy"]);
    with_limit("by = 'client'\nrate = '1/s'\nroutes = ['all']\n[routes.all]\npool = 'api'", &[]);

    let both = format!("{}{}", rate("a", "50/s"), rate("b", "50/s"));
    finds(&format!("{both}{}", limit("rate = '99/s'")), &["limits-above-whole"]);
    finds(&format!("{both}{}", limit("rate = '100/s'")), &[]);
    let parts = "[limits.a]\nby = 'all'\nrate = '60/s'\nroutes = ['all']\n[limits.b]\nby = 'all'\nrate = '60/s'\nroutes = ['ROUTE']\n[routes.all]\npool = 'api'\n[routes.b]\npath = '/b'\npool = 'api'\n";
    let whole = limit("rate = '100/s'");
    finds(&format!("{}{whole}", parts.replace("ROUTE", "b")), &["limits-above-whole"]);
    finds(&format!("{}{whole}", parts.replace("ROUTE", "all")), &[]);
    finds("[admission]\nflow = { header = 'forwarded' }", &["limit-on-proxy"]);
}

#[test]
fn places_and_waits() {
    let door = |connections: u32| {
        let pool = format!("[pools.api]\nservers = [{TWO}]\ncheck = {{ path = '/' }}\n");
        format!("{pool}in_flight_max = 100\n[door]\nconnections = {connections}")
    };
    finds(&door(199), &["limits-above-whole"]);
    finds(&door(200), &[]);
    let wait = |lines: &str, expected: &[&str]| {
        pool(TWO, &format!("{lines}\n[routes.a]\npool = 'api'\ntotal_timeout = '1s'"), expected);
    };
    wait("queue_wait = '1s'", &["long-queue-wait"]);
    wait("queue_wait = '999ms'", &[]);
    pool(TWO, "timeouts = { total = '100ms' }", &[]);
    let critical = "class = 'critical'";
    finds(&client("a", critical), &[]);
    let routes =
        format!("[routes.a]\npool = 'api'\n{critical}\n[routes.b]\npath = '/b'\npool = 'api'\n");
    finds(&routes, &[]);
    finds(&format!("{routes}{critical}"), &["all-critical"]);
}

#[test]
fn keys_of_a_hash() {
    let hash = |key: &str, more: &str, expected: &[&str]| {
        pool(THREE, &format!("balance = {{ maglev = {key} }}\n{more}"), expected);
    };
    let narrow = &["narrow-hash-key"];
    hash("'client-address'", "", &[]);
    let local = "[listen.a]\naddress = '127.0.0.1:1'\n";
    hash("'client-address'", local, narrow);
    hash("'client-address'", &format!("{local}trusted_proxies = ['127.0.0.1']"), &[]);
    hash("'path'", "", &[]);
    hash("'path'", "[routes.a]\npath = { exact = '/a' }\npool = 'api'", narrow);
    hash("'path'", "[routes.a]\npath = '/{id}'\npool = 'api'", &[]);
    hash("{ header = 'host' }", "[routes.a]\nhost = ['a.b', 'c.d']\npool = 'api'", narrow);
    hash("{ header = 'host' }", "[routes.a]\nhost = ['a.b', '*.d']\npool = 'api'", &[]);
    let route = "[routes.a]\nheaders = { x-user = '1' }\npool = 'api'";
    hash("{ header = 'x-user' }", route, narrow);
    hash("{ header = 'x-other' }", route, &[]);
    hash("{ cookie = 'accept' }", "", &[]);
}

#[test]
fn shares() {
    let weighted = |weights: &[u32]| -> String {
        let servers = weights.iter().zip(1..);
        let server = |(weight, n)| format!("{{ address = '10.0.0.{n}:80', weight = {weight} }},");
        servers.map(server).collect()
    };
    pool(&weighted(&[90, 5, 5]), "", &["lopsided-distribution", "steep-weights"]);
    pool(&weighted(&[7, 1, 1]), "", &["uneven-distribution"]);
    pool(&weighted(&[2, 1]), "", &["uneven-distribution"]);
    pool(&weighted(&[4, 3]), "", &[]);
    pool(THREE, "", &[]);
    for balance in ["p2c", "least-request", "round-robin", "random"] {
        pool(THREE, &format!("balance = '{balance}'"), &[]);
    }
    pool(THREE, "balance = { maglev = 'path' }", &[]);
    pool(TWO, "[invariants]\nshare_max = 0.4", &["broken-invariant"]);
    pool(TWO, "[invariants]\nshare_max = 0.5", &[]);
}

#[test]
fn layers_of_retries() {
    let layers = |attempts: u32| {
        format!(
            "[listen.web]\naddress = '10.0.0.9:80'\n\
             [pools.api]\nservers = ['10.0.0.9:80', 'b.internal:1']\ncheck = {{ path = '/' }}\n\
             retries = {{ attempts = 2, budget = 1 }}\n\
             [pools.inner]\nservers = [{TWO}]\ncheck = {{ path = '/' }}\n\
             retries = {{ attempts = {attempts}, budget = 1 }}\n\
             [routes.api]\npath = '/api'\npool = 'api'\n[routes.inner]\npool = 'inner'\n\
             [[allow]]\nrule = 'unbudgeted-retries'\nreason = 'it is looked at elsewhere'"
        )
    };
    finds(&layers(2), &["retry-product"]);
    finds(&layers(1), &[]);
}

#[test]
fn routes_of_equal_right() {
    let routes = |first: &str, second: &str, expected: &[&str]| {
        let second = format!("[routes.b]\n{second}\nrespond = {{ status = 404 }}");
        finds(&format!("[routes.a]\n{first}\npool = 'api'\n{second}"), expected);
    };
    let ambiguous = &["ambiguous-default"];
    routes("path = '/{x}/b'", "path = '/a/{y}'", ambiguous);
    routes("path = '/{x}/b'", "path = '/a/{y}/c'", &[]);
    routes("path = '/a/{y}'", "path = '/b/{y}'", &[]);
    routes("methods = ['GET']", "methods = ['GET', 'PUT']", ambiguous);
    routes("methods = ['GET']", "methods = ['PUT']", &[]);
    routes("headers = { x = '1' }", "headers = { x = '2' }", &[]);
    routes("headers = { x = '1' }", "headers = { y = '2' }", ambiguous);
    routes(
        "host = ['a.b', 'c.d']\nheaders = { x = '1' }",
        "host = 'c.d'\nheaders = { y = '2' }",
        ambiguous,
    );
    routes("host = 'a.b'\nheaders = { x = '1' }", "host = 'c.d'\nheaders = { y = '2' }", &[]);
}

/// The importers test the examples of other dialects; here it is enough that both are there.
#[test]
fn every_rule_is_explained() {
    let mut names: Vec<&str> = rules().iter().map(|rule| rule.name).collect();
    for rule in rules() {
        let text = explain(rule.name).expect("a rule is explained");
        for part in [rule.name, rule.rationale, rule.severity.as_str()] {
            assert!(text.contains(part), "{}: no {part:?} in\n{text}", rule.name);
        }
        assert!(!rule.summary.ends_with('.') && rule.bad != rule.good, "{}", rule.name);
        assert_eq!(rule.bad.dialect, rule.good.dialect, "{}", rule.name);
    }
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name is given twice: {names:?}");
    assert_eq!(explain("unknown-rule"), None);
    assert_eq!(settings::rules::closest_rule("singel-server"), Some("single-server"));
    assert_eq!(settings::rules::closest_rule("frobnicate"), None);
}

/// The names of findings in the sources: what stands in quotes behind these words.
fn names_in(text: &str) -> Vec<String> {
    let words = ["Finding::error(", "Finding::warning(", ".invalid("];
    let behind = words.iter().flat_map(|word| text.split(word).skip(1));
    behind
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else {
            texts.push(std::fs::read_to_string(&path).expect("a source"));
        }
    }
    texts
}

#[test]
fn every_finding_is_explained() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // These two are chosen between, so they stand in no such place.
    let chosen = ["missing-file", "unreadable-file"].map(str::to_owned);
    let names: Vec<String> = sources.iter().flat_map(|text| names_in(text)).chain(chosen).collect();
    assert!(names.len() > 60, "only {} names were found", names.len());
    for name in names {
        assert!(explain(&name).is_some(), "{name} is not explained: add it to rules/structure.rs");
    }
}

/// Pool `a` of one server, with these allowances; the findings expected.
fn allowed(allowances: &str, expected: &[&str]) {
    let text = format!(
        "[listen.web]\naddress = \"0.0.0.0:8080\"\n[pools.a]\nservers = [\"10.0.0.1:80\"]\n\
         check = {{ path = \"/\" }}\n[routes.a]\npool = \"a\"\n{allowances}"
    );
    let checked = crate::check(&text);
    assert_eq!(lines(&checked), expected, "{text}");
    // What rules alone refuse can be forced; what nobody can read cannot.
    let refused = expected.iter().any(|line| line.starts_with("error"));
    let by_rules = expected.iter().all(|line| !line.starts_with("error[") || line.contains(SINGLE));
    assert_eq!(checked.configuration.is_some(), !refused, "{text}");
    assert_eq!(checked.overridable.is_some(), refused && by_rules, "{text}");
}

const SINGLE: &str = "error[single-server] 4:11 server `10.0.0.1:80` gets 100 % of the requests of pool `a`: there is no other (only one server) help: add a second server, or say with `[[allow]] rule = \"single-server\"` why there is one";

#[test]
fn allowances() {
    allowed("", &[SINGLE]);
    let reason = "reason = 'it is all there is'";
    for at in ["", "at = 'pools.a'\n", "at = 'pools.a.servers'\n", "at = 'pools'\n"] {
        allowed(&format!("[[allow]]\nrule = 'single-server'\n{at}{reason}"), &[]);
    }
    let unused = "warning[unused-allowance] 9:8 the allowance for `single-server` sets nothing aside (fits no finding) help: remove it, or correct `at`, such as \"pools.web\"";
    for at in ["pools.b", "pools.a.", "pools.a.b", "pool"] {
        allowed(
            &format!("[[allow]]\nrule = 'single-server'\nat = '{at}'\n{reason}"),
            &[SINGLE, unused],
        );
    }
}

#[test]
fn allowances_that_are_mistakes() {
    allowed(
        "[[allow]]\nrule = 'singel-server'\nreason = 'short'",
        &[
            "error[not-a-rule] 9:8 there is no rule `singel-server` (not a rule) help: did you mean `single-server`?",
            "error[missing-reason] 10:10 a reason has 10 to 500 characters (not valid here) help: say why this is right here, for the next reader",
        ],
    );
    allowed(
        "[[allow]]\nrule = 'unknown-key'\nreason = 'it is all there is'",
        &[
            "error[not-a-rule] 9:8 there is no rule `unknown-key` (not a rule) help: `tidegate explain` lists the rules; only they can be set aside",
        ],
    );
    allowed(
        "[[allow]]\nrule = 'broken-invariant'\nreason = 'it is all there is'",
        &[
            "error[not-a-rule] 9:8 `broken-invariant` cannot be set aside (not valid here) help: change `[invariants]`, which are your own",
        ],
    );
    allowed(
        "[[allow]]\nrule = 'large-move'\nreason = 'it is all there is'",
        &[
            "error[not-a-rule] 9:8 `large-move` cannot be set aside (not valid here) help: relax `[changes]`, or let a canary go first",
        ],
    );
    allowed(
        "[allow]\n",
        &[
            "error[wrong-type] 8:1 `allow` must be made of tables `[[allow]]`, not a table (a table)",
        ],
    );
}

#[test]
fn the_rules_page_is_up_to_date() {
    let file = include_str!("../../../../../docs/reference/rules.md");
    assert!(file == settings::rules::reference(), "run `cargo run -p settings --example generate`");
}
