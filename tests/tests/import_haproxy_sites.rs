//! Whole sites as HAProxy's users run them: the door serves the same after an import.

use black_box::haproxy::{DEFAULTS, check};

#[test]
fn static_files_beside_an_application() {
    let text = format!(
        "{DEFAULTS}
frontend main
    bind {{listen}}
    option forwardfor except 127.0.0.0/8
    acl url_static path_beg -i /static /images /javascript /stylesheets
    acl url_static path_end -i .jpg .gif .png .css .js
    use_backend static if url_static
    default_backend app
backend static
    balance roundrobin
    server static {{a}} check
backend app
    balance roundrobin
    server app1 {{b}} check
    server app2 {{c}} check disabled
"
    );
    check(
        &text,
        &[
            "GET d.test /",
            "GET d.test /index.php?page=1",
            "GET d.test /static/app.css",
            "GET d.test /STATIC/a",
            "GET d.test /staticx",
            "GET d.test /images",
            "GET d.test /Images/a/b",
            "GET d.test /a.png",
            "GET d.test /a.PNG?x=1",
            "GET d.test /a.png.html",
            "GET d.test /deep/er/a.js",
            "GET d.test /js",
            "HEAD d.test /favicon.gif",
            "POST:5 d.test /javascript/x",
            "POST:300 d.test /form",
            "UPGRADE d.test /live",
            "UPGRADE d.test /static/live",
            "GET other.test /stylesheets/print.css",
        ],
    );
}

#[test]
fn a_server_for_builds_under_a_prefix() {
    let text = format!(
        "{DEFAULTS}
frontend http-in
    bind {{listen}}
    mode http
    acl prefixed path_beg /jenkins
    http-request redirect code 301 prefix /jenkins unless prefixed
    use_backend builds if prefixed
backend builds
    mode http
    server builds {{a}} check
    http-request replace-path /jenkins(/)?(.*) /\\2
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request add-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
"
    );
    check(
        &text,
        &[
            "GET ci.test /",
            "GET ci.test /job",
            "GET ci.test /x?a=1&b=%20",
            "GET ci.test /a%2Fb?c",
            "HEAD ci.test /",
            "POST:30 ci.test /form",
            "GET ci.test /jenkins",
            "GET ci.test /jenkins/",
            "GET ci.test /jenkins/job/a?x=1",
            "GET ci.test /jenkins/job/a/",
            "GET ci.test /jenkinsx",
            "GET ci.test /jenkins/jenkins/x",
            "GET ci.test /jenkins/a%2Fb",
            "POST:30 ci.test /jenkins/build",
            "HEAD ci.test /jenkins/api/json",
            "UPGRADE ci.test /jenkins/wsagents/",
            "GET ci.test /Jenkins",
            "GET other.test /jenkins/x",
        ],
    );
}

#[test]
fn a_forge_by_its_host_and_by_a_path() {
    let text = format!(
        "{DEFAULTS}
frontend http-in
    bind {{listen}}
    acl acl_forge hdr(host) -i forge.test
    acl acl_sub path_beg /forge
    acl acl_raw path_reg ^/forge/[^/]+/[^/]+/raw/
    http-request deny if {{ path_beg /forge/admin }} !{{ method GET HEAD }}
    use_backend forge if acl_forge
    use_backend raw if acl_raw
    use_backend sub if acl_sub
    default_backend pages
backend forge
    server forge {{a}} check
backend sub
    http-request replace-path /forge\\/?(.*) \\/\\1
    server forge {{b}} check
backend raw
    http-request replace-path ^/forge/(.*) /\\1
    http-response set-header Cache-Control max-age=60
    server forge {{b}} check
backend pages
    server pages {{c}}
"
    );
    check(
        &text,
        &[
            "GET forge.test /",
            "GET forge.test /forge/x",
            "GET FORGE.test /a/b",
            "POST:30 forge.test /a/b.git/git-upload-pack",
            "UPGRADE forge.test /ws",
            "GET www.test /",
            "GET www.test /forge",
            "GET www.test /forge/",
            "GET www.test /forge/a/b?x=1",
            "GET www.test /forgex",
            "GET www.test /forge/a/b/raw/main.rs",
            "GET www.test /forge/a/b/raw",
            "GET www.test /forge//b/raw/x",
            "GET www.test /forge/admin/users",
            "POST:3 www.test /forge/admin/users",
            "POST:3 forge.test /forge/admin/users",
            "HEAD www.test /forge/a/b",
            "GET www.test /x/forge/a",
        ],
    );
}

#[test]
fn a_home_server_with_federation_and_a_path_of_its_own() {
    let text = format!(
        "{DEFAULTS}
frontend clients
    bind {{listen}}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-For %[src]
    acl matrix-host hdr(host) -i matrix.test
    acl matrix-path path_beg /_matrix
    acl matrix-path path_beg /_synapse/client
    acl sync path_reg ^/_matrix/client/(r0|v3)/sync$
    use_backend sync if matrix-host sync
    use_backend matrix if matrix-host matrix-path
frontend federation
    bind {{more}}
    http-request set-header X-Forwarded-For %[src]
    http-request deny deny_status 404 if {{ path_beg /_synapse/admin }}
    default_backend matrix
backend matrix
    server matrix {{a}}
backend sync
    server sync {{b}}
"
    );
    check(
        &text,
        &[
            "GET matrix.test /",
            "GET matrix.test /_matrix/client/versions",
            "GET MATRIX.test /_matrix",
            "GET matrix.test /_matrixx",
            "GET matrix.test /_matrix/client/v3/sync?since=1",
            "GET matrix.test /_matrix/client/r0/sync",
            "GET matrix.test /_matrix/client/r1/sync",
            "GET matrix.test /_matrix/client/v3/sync/x",
            "GET matrix.test /_synapse/client/x",
            "GET matrix.test /_synapse/admin",
            "POST:200 matrix.test /_matrix/client/v3/login",
            "UPGRADE matrix.test /_matrix/live",
            "GET other.test /_matrix/client/versions",
            "GET other.test /_matrix/client/v3/sync",
            "more GET a.test /_matrix/federation",
            "more GET a.test /_synapse/admin/users",
            "more GET a.test /_synapse/adminx",
            "more POST:40 a.test /_matrix/send",
            "more GET a.test /",
        ],
    );
}

#[test]
fn an_edge_with_several_hosts() {
    let text = format!(
        "{DEFAULTS}
frontend edge
    bind {{listen}} name clear
    bind {{more}} name secure ssl crt {{pem}} alpn h2,http/1.1
    option forwardfor
    monitor-uri /alive
    http-after-response set-header Strict-Transport-Security \"max-age=31536000\"
    acl acme path_beg /.well-known/acme-challenge/
    acl is_www hdr_reg(host) -i ^(www\\.)?shop\\.test$
    acl is_api hdr(host) -i api.shop.test
    acl is_api path_beg /api/
    acl is_asset path_end -i .css .js .png
    http-request deny deny_status 404 if {{ path_beg /.git }}
    http-request deny deny_status 404 if {{ path_sub /.env }}
    http-request redirect scheme https code 301 if !{{ ssl_fc }} !acme is_www !is_asset
    http-request redirect prefix https://www.shop.test code 302 if {{ hdr(host) -i shop.test }}
    use_backend acme if acme
    use_backend assets if is_asset !is_api
    use_backend api if is_api
    default_backend assets
backend acme
    server acme {{c}}
backend assets
    http-request set-path /files%[path]
    server assets {{a}}
backend api
    http-request set-path %[path,regsub(^/api/,/)] if {{ path_beg /api/ }}
    server api {{b}}
"
    );
    check(
        &text,
        &[
            "GET www.shop.test /",
            "GET shop.test /x?y=1",
            "POST:5 WWW.shop.test /cart",
            "GET www.shop.test /a.css",
            "GET shop.test /a.css",
            "GET api.shop.test /users",
            "GET api.shop.test /a.js",
            "GET api.shop.test /api/users",
            "GET other.test /api/users?id=1",
            "GET other.test /api/a.png",
            "GET other.test /api",
            "GET other.test /logo.PNG",
            "GET other.test /",
            "GET www.shop.test /.well-known/acme-challenge/token",
            "GET shop.test /.well-known/acme-challenge/token",
            "GET other.test /.well-known/security.txt",
            "GET other.test /.git/config",
            "GET other.test /.github",
            "GET other.test /x/.env",
            "GET www.shop.test /.env.js",
            "GET other.test /alive",
            "UPGRADE other.test /live",
            "HEAD api.shop.test /api/x",
        ],
    );
}
