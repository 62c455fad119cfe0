//! Who may use a route: by password, by token, by the word of another server.

use std::time::Duration;

use model::configuration::{Authentication, JwtKey};

use crate::{PASSWORD_HASH, environment, folder_with_files, lines, source};

/// Pools that no rule has anything against.
fn pools() -> String {
    let pool = |(name, port): (&str, u16)| {
        let servers = format!("'127.0.0.1:{port}', '127.0.0.1:{}'", port + 1);
        format!("[pools.{name}]\nservers = [{servers}]\ncheck = {{ path = '/health' }}\n")
    };
    let pools = [("api", 1_000), ("sso", 2_000), ("grpc", 3_000)].map(pool);
    pools.concat() + "protocol = 'http2'\n"
}

fn checked(route: &str) -> settings::Checked {
    let folder = folder_with_files();
    std::fs::write(folder.path().join("apache"), "alice:$apr1$x$y\n").expect("a file in it");
    let text = format!(
        "[listen.a]\naddress = '127.0.0.1:8080'\n{}\
         [routes.a]\npool = 'api'\n{route}\n[routes.g]\npath = '/g'\npool = 'grpc'\n",
        pools()
    );
    settings::check(&source(&text, folder.path()), &environment())
}

#[track_caller]
fn read(route: &str) -> Authentication {
    let checked = checked(route);
    let Some(configuration) = &checked.configuration else {
        panic!("{route}\n{:#?}", lines(&checked));
    };
    let route = configuration.routes.iter().find(|route| &*route.name == "a").expect("it is there");
    route.treatment.authentication.clone().expect("the route asks")
}

/// Expects these errors, by their rules, and that none shows a hash.
#[track_caller]
fn refused(route: &str, expected: &[&str]) {
    let checked = checked(route);
    let errors =
        checked.findings.iter().filter(|found| found.severity == settings::Severity::Error);
    let found: Vec<&str> = errors.map(|finding| finding.rule).collect();
    assert_eq!(found, expected, "{route}\n{:#?}", lines(&checked));
    assert!(lines(&checked).iter().all(|line| !line.contains("$2y$04$")), "{route}");
}

#[test]
fn the_files_that_it_was_made_of_are_known() {
    let check = |more: &str, expected: &[&str]| {
        let configuration = checked(more).configuration.expect("it is valid");
        let names = configuration.files.iter().filter_map(|file| file.file_name()?.to_str());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{more}");
        assert!(configuration.files.iter().all(|file| file.is_absolute()));
    };
    check("", &[]);
    check("basic_auth = { users_file = 'users' }", &["users"]);
    check("jwt_auth = { jwks_file = 'jwks.json' }", &["jwks.json"]);
    let client = "[clients.a]\nkey = { jwt_claim = 'sub', value = 'a', secret_file = 'secret' }";
    check(&format!("jwt_auth = {{ secret_file = 'secret' }}\n{client}"), &["secret"]);
    check(
        &format!("jwt_auth = {{ public_key_file = 'public.pem' }}\n{client}"),
        &["public.pem", "secret"],
    );
}

#[test]
fn users_stand_in_a_file_or_in_the_configuration() {
    let Authentication::Basic(of_file) = read("basic_auth = { users_file = 'users' }") else {
        panic!("no passwords")
    };
    let names: Vec<&str> = of_file.users.iter().map(|(name, _)| &**name).collect();
    assert_eq!((names, &*of_file.realm), (vec!["alice", "bob"], "restricted"));
    assert!(of_file.users.iter().all(|(_, hash)| &**hash == PASSWORD_HASH));
    let users = format!("{{ carol = '{PASSWORD_HASH}' }}");
    let Authentication::Basic(own) =
        read(&format!("basic_auth = {{ users = {users}, realm = 'a b' }}"))
    else {
        panic!("no passwords")
    };
    assert_eq!((own.users.len(), &*own.realm), (1, "a b"));
    refused("basic_auth = {}", &["conflicting-keys"]);
    refused(
        &format!("basic_auth = {{ users_file = 'users', users = {users} }}"),
        &["conflicting-keys"],
    );
    refused("basic_auth = { users = {} }", &["empty-list"]);
    refused("basic_auth = { users_file = 'apache' }", &["invalid-users"]);
    refused("basic_auth = { users_file = 'nobody' }", &["missing-file"]);
    refused("basic_auth = { users = { alice = 'secret' } }", &["invalid-users"]);
    refused(
        &format!("basic_auth = {{ users = {{ 'a:b' = '{PASSWORD_HASH}' }} }}"),
        &["invalid-users"],
    );
    refused("basic_auth = { users_file = 'users', realm = 'a\"b' }", &["invalid-text"]);
}

#[test]
fn keys_say_themselves_what_they_sign_with() {
    let jwt = |key: &str| match read(&format!("jwt_auth = {{ {key} }}")) {
        Authentication::Jwt(jwt) => jwt,
        Authentication::Basic(_) | Authentication::Forward(_) => panic!("no tokens"),
    };
    assert!(matches!(jwt("secret_file = 'secret'").keys[..], [(None, JwtKey::Secret(_))]));
    assert!(matches!(jwt("public_key_file = 'public.pem'").keys[..], [(None, JwtKey::Public(_))]));
    let set = jwt("jwks_file = 'jwks.json'").keys;
    let found: Vec<(Option<&str>, &str)> = set
        .iter()
        .map(|(id, key)| match key {
            JwtKey::Jwk { algorithm, .. } => (id.as_deref(), &**algorithm),
            JwtKey::Secret(_) | JwtKey::Public(_) => panic!("another key"),
        })
        .collect();
    assert_eq!(found, [(Some("1"), "ES256"), (Some("2"), "PS256"), (None, "EdDSA")]);
    let whole =
        jwt("secret_file = 'secret', issuer = 'i', audience = 'a', claims = { scope = 'read' }, \
         headers = { X-User = 'sub' }");
    assert_eq!((whole.issuer.as_deref(), &*whole.audiences[0]), (Some("i"), "a"));
    assert_eq!(whole.claims, [("scope".into(), "read".into())]);
    assert_eq!(whole.headers, [("x-user".into(), "sub".into())]);
    refused("jwt_auth = {}", &["conflicting-keys"]);
    refused(
        "jwt_auth = { secret_file = 'secret', jwks_file = 'jwks.json' }",
        &["conflicting-keys"],
    );
    refused("jwt_auth = { secret_file = 'short' }", &["short-token"]);
    refused("jwt_auth = { jwks_file = 'capacity.json' }", &["invalid-key"]);
    refused("jwt_auth = { secret_file = 'secret', headers = { host = 'sub' } }", &["fixed-header"]);
    refused(
        "jwt_auth = { secret_file = 'secret', headers = { X-User = 'sub', x-user = 'sub' } }",
        &["duplicate-header"],
    );
}

#[test]
fn another_server_is_asked_in_a_pool_that_counts_as_used() {
    let checked =
        checked("forward_auth = { pool = 'sso', path = '/verify?rd=1', copy = ['X-User'] }");
    assert!(
        checked.findings.iter().all(|found| found.rule != "unused-pool"),
        "{:#?}",
        lines(&checked)
    );
    let Authentication::Forward(forward) =
        read("forward_auth = { pool = 'api', headers = ['Cookie'], copy = ['X-User'] }")
    else {
        panic!("no other server")
    };
    assert_eq!((forward.pool, &*forward.path), (0, "/"));
    assert_eq!(forward.headers, Some(vec!["cookie".into()]));
    assert_eq!(
        (&forward.copy[..], forward.timeout),
        (&["x-user".into()][..], Duration::from_secs(5))
    );
    refused("forward_auth = { path = '/' }", &["missing-key"]);
    refused("forward_auth = { pool = 'nobody' }", &["unknown-pool"]);
    refused("forward_auth = { pool = 'grpc' }", &["wrong-protocol"]);
    refused("forward_auth = { pool = 'sso', path = 'verify' }", &["invalid-path"]);
    refused("forward_auth = { pool = 'sso', timeout = '1ms' }", &["out-of-range"]);
    refused("forward_auth = { pool = 'sso', copy = ['Content-Length'] }", &["fixed-header"]);
    for name in ["Content-Type", "Transfer-Encoding"] {
        let copied = format!("forward_auth = {{ pool = 'sso', copy_response = ['{name}'] }}");
        refused(&copied, &["fixed-header"]);
    }
    refused(
        "forward_auth = { pool = 'sso' }\njwt_auth = { secret_file = 'secret' }",
        &["conflicting-keys"],
    );
}
