//! What HAProxy serves and what the door serves with the same configuration, imported: the same.

use black_box::haproxy::{DEFAULTS, check};

#[test]
fn a_site_with_hosts_paths_and_an_api() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    monitor-uri /haproxy-health
    acl is_api path_beg /api/
    acl is_static path_beg /static/ /images/
    acl is_shop hdr(host) -i shop.example.com
    acl is_shop hdr(host) -i store.example.com
    acl writes method POST PUT DELETE
    http-request deny if {{ path_beg /internal/ }}
    http-request deny deny_status 405 if is_static writes
    http-request redirect code 301 location https://www.example.com/ if {{ path /old }}
    use_backend static if is_static
    use_backend api if is_api !is_shop
    use_backend shop if is_shop
    default_backend static
backend static
    balance random
    server c {{c}} check
backend api
    balance leastconn
    server a {{a}} check inter 1s weight 10
backend shop
    server b {{b}}
"
    );
    check(
        &text,
        &[
            "GET www.example.com /",
            "GET www.example.com /haproxy-health",
            "GET www.example.com /haproxy-health/x",
            "GET www.example.com /api",
            "GET www.example.com /api/",
            "GET www.example.com /api/users?id=1",
            "GET shop.example.com /api/users",
            "GET SHOP.example.com /",
            "GET store.example.com /cart",
            "GET shop.example.com /static/app.js",
            "POST shop.example.com /static/app.js",
            "POST shop.example.com /cart",
            "DELETE www.example.com /images/1",
            "HEAD www.example.com /static/app.js",
            "GET www.example.com /internal/x",
            "GET www.example.com /internal",
            "GET shop.example.com /internal/x",
            "GET www.example.com /old",
            "GET shop.example.com /old?x=1",
            "GET www.example.com /older",
        ],
    );
}

#[test]
fn rules_whose_order_is_not_that_of_specificity() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    acl wide path_beg /a/
    acl deep path_beg /a/b/
    acl host hdr(host) -i one.test
    acl beta req.hdr(X-Kind) beta
    use_backend one if wide !beta
    use_backend two if host METH_GET or deep beta
    use_backend three if {{ req.hdr(X-Flag) -m found }}
    default_backend two
backend one
    http-request deny if {{ path /a/secret }}
    server a {{a}}
backend two
    http-request redirect prefix https://two.test code 307 if {{ path_beg /moved/ }}
    server b {{b}}
backend three
    http-request return status 200 content-type text/plain string three if {{ method OPTIONS }}
    server c {{c}}
"
    );
    check(
        &text,
        &[
            "GET x.test /a/1",
            "GET x.test /a",
            "GET one.test /a/b/1",
            "GET one.test /a/b/1 X-Kind: beta",
            "POST x.test /a/b/1 X-Kind: beta\r\nContent-Length: 0",
            "POST x.test /a/c X-Kind: beta\r\nContent-Length: 0\r\nX-Flag: 1",
            "GET x.test /a/c X-Kind: beta\r\nX-Flag: 1",
            "GET one.test /a/c X-Kind: beta\r\nX-Flag: 1",
            "HEAD one.test /",
            "POST one.test / Content-Length: 0\r\nX-Flag: 1",
            "OPTIONS one.test / X-Flag: 1",
            "GET x.test /a/secret",
            "GET x.test /a/secret X-Kind: beta",
            "GET x.test /moved/1?x=2",
            "GET x.test /moved/1 X-Flag: 1",
            "GET one.test /moved/1?x=2 X-Flag: 1",
            "GET x.test /moved",
        ],
    );
}

#[test]
fn a_listen_section_with_rules_of_its_own() {
    let text = format!(
        "{DEFAULTS}
defaults inner
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    retries 2
    option redispatch
listen app from inner
    bind {{listen}} maxconn 50
    acl www hdr(host) www.app.test
    acl known hdr(host) -i app.test www.app.test api.app.test
    http-request allow if {{ path /robots.txt }}
    http-request deny deny_status 404 unless known
    redirect scheme https code 301 if www !{{ path_reg ^/\\.well-known/ }}
    use_backend api if {{ hdr(host) -i api.app.test }}
    balance roundrobin
    default-server inter 1s fall 2 rise 1 slowstart 0
    server a {{a}} check weight 5
backend api from inner
    balance uri
    hash-type consistent
    server b {{b}} check
    server spare {{c}} check disabled
"
    );
    check(
        &text,
        &[
            "GET app.test /",
            "GET app.test /x?y=z",
            "GET other.test /",
            "GET other.test /robots.txt",
            "GET www.app.test /robots.txt",
            "GET www.app.test /page?q=1",
            "GET www.app.test /.well-known/acme",
            "GET api.app.test /v1/things",
            "POST api.app.test /v1/things Content-Length: 0",
            "GET API.app.test /robots.txt",
        ],
    );
}

#[test]
fn a_home_server_for_clients_and_for_other_servers() {
    let text = format!(
        "{DEFAULTS}
frontend clients
    bind {{listen}}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-For %[src]
    acl chat-host hdr(host) -i chat.test
    acl chat-path path_beg /_chat/
    acl chat-path path_beg /_app/client/
    use_backend chat if chat-host chat-path
    default_backend pages
frontend federation
    bind {{more}}
    http-request set-header X-Forwarded-For %[src]
    http-request deny deny_status 404 if {{ path_beg /_app/admin/ }}
    default_backend chat
backend chat
    server chat {{a}} check
backend pages
    server pages {{b}}
"
    );
    check(
        &text,
        &[
            "GET chat.test /",
            "GET chat.test /_chat/versions",
            "GET CHAT.test /_chat/a%2Fb?x=1",
            "POST:300 chat.test /_app/client/login",
            "HEAD chat.test /_chat/media",
            "UPGRADE chat.test /_chat/sync",
            "GET chat.test /_app/admin/users",
            "GET other.test /_chat/versions",
            "more GET chat.test /_chat/federation",
            "more GET other.test /",
            "more POST:40 other.test /_chat/send",
            "more GET chat.test /_app/admin/users",
            "more UPGRADE chat.test /x",
        ],
    );
}

#[test]
fn a_clear_listener_that_leads_to_the_one_with_tls() {
    let text = format!(
        "{DEFAULTS}
frontend site
    bind {{listen}} name clear
    bind {{more}} name secure ssl crt {{pem}}
    option forwardfor
    http-request redirect scheme https code 301 if !{{ ssl_fc }} !{{ path_beg /.well-known/ }}
    use_backend challenges if {{ path_beg /.well-known/acme-challenge/ }}
    default_backend site
backend site
    balance random
    option httpchk
    http-check send meth GET uri / ver HTTP/1.1 hdr host site.test
    server one {{a}} maxconn 100
backend challenges
    server one {{b}}
"
    );
    check(
        &text,
        &[
            "GET site.test /",
            "GET site.test /a%2Fb?x=1&y=%20",
            "HEAD other.test /x",
            "POST:30 site.test /form",
            "GET site.test /.well-known/acme-challenge/token",
            "GET site.test /.well-known/security.txt",
            "GET site.test /.well-known",
        ],
    );
}

#[test]
fn objects_beside_pages() {
    let text = format!(
        "{DEFAULTS}
frontend public
    bind {{listen}} name clear
    log global
    option httplog
    option dontlognull
    monitor-uri /alive
    maxconn 50
    use_backend objects if {{ hdr(host) -i img.site.test }}
    use_backend objects if {{ path_beg /img/ /css/ }}
    http-request redirect prefix https://www.site.test code 302 if {{ hdr(host) site.test }} {{ method GET }}
    default_backend pages
frontend operators
    bind {{more}}
    monitor-uri /alive
    use_backend objects if {{ path_beg /metrics }}
    http-request deny deny_status 403
backend objects
    balance roundrobin
    option prefer-last-server
    option redispatch
    retries 2
    server one {{c}}
backend pages
    balance leastconn
    timeout server 20s
    server one {{a}} maxconn 500
    server two {{b}} maxconn 500 disabled
"
    );
    check(
        &text,
        &[
            "GET www.site.test /",
            "GET www.site.test /alive",
            "HEAD www.site.test /alive",
            "GET www.site.test /img/a.png",
            "GET www.site.test /img",
            "GET www.site.test /css/deep/a.css?v=1",
            "GET img.site.test /",
            "POST:10 IMG.site.test /upload",
            "GET site.test /page?x=1",
            "GET site.test /img/a.png",
            "POST:10 site.test /form",
            "UPGRADE www.site.test /live",
            "more GET www.site.test /",
            "more GET www.site.test /alive",
            "more GET www.site.test /metrics",
            "more POST:10 www.site.test /x",
        ],
    );
}

#[test]
fn headers_passwords_and_compression() {
    let text = format!(
        "{DEFAULTS}
userlist staff
    user ann password $2y$04$EH2GAsAeH8cdRo/00jh98.EDsE8iKSBTwckeIp7qt3aFxOZLPojSS
frontend web
    bind {{listen}}
    option forwardfor
    acl is_staff http_auth(staff)
    http-request auth realm Staff if {{ path_beg /in/ }} !is_staff
    http-request del-header X-T-Gone
    http-request set-header X-T-All \"%[method] %[hdr(host)] %[path] %[req.hdr(X-T-Org)]\"
    http-request add-header X-T-Via edge if {{ path_beg /api/ }}
    http-request set-header X-T-Method POST if METH_POST
    http-response set-header Strict-Transport-Security max-age=60
    http-after-response add-header X-T-Any 1
    http-request return status 200 content-type text/plain string ok if {{ path /alive }}
    use_backend api if {{ path_beg /api/ }}
    default_backend pages
backend api
    http-request set-header Host in.test
    http-response del-header X-Powered-By
    server a {{a}}
backend pages
    compression algo gzip
    compression type text/html
    server b {{b}}
"
    );
    check(
        &text,
        &[
            "GET a.test /?x=y X-T-Org: blue",
            "GET a.test /x X-T-Gone: 1",
            "POST:5 a.test /x X-T-All: mine",
            "GET a.test /api/x X-T-Via: other",
            "POST:5 a.test /api/x",
            "GET a.test /alive",
            "GET a.test /large Accept-Encoding: gzip",
            "GET a.test /large",
            "GET a.test /api/large Accept-Encoding: gzip",
            "GET a.test /in/x",
            "GET a.test /in/x Authorization: Basic YW5uOnNlY3JldA==",
            "GET a.test /in/x Authorization: Basic YW5uOndyb25n",
            "UPGRADE a.test /live",
        ],
    );
}

#[test]
fn connections_passed_on_beside_a_site() {
    let text = format!(
        "{DEFAULTS}
listen passed
    mode tcp
    bind {{listen}}
    balance leastconn
    server a {{a}} check
    server b {{b}} disabled
frontend web
    bind {{more}} proto h1
    option disable-h2-upgrade
    default_backend c
backend c
    server c {{c}}
"
    );
    check(
        &text,
        &[
            "GET www.site.test /a?b=c",
            "POST:10 www.site.test /form",
            "UPGRADE www.site.test /live",
            "more GET www.site.test /a?b=c",
        ],
    );
}
