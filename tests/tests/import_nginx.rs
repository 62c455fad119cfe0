//! What nginx serves and what the door serves with the same configuration, imported: the same.

use black_box::beside_nginx::{both, check};
use black_box::compared::Seen;
use black_box::tidegate;

#[test]
fn an_application_with_an_api_and_moved_paths() {
    let http = "
        upstream app { server {a}; server {b} down; keepalive 8; }
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        server {
            listen {one} default_server;
            listen {two};
            server_name app.test;
            client_max_body_size 1k;
            location / { proxy_pass http://app; proxy_set_header Host $host;
                proxy_http_version 1.1; proxy_set_header Connection $connection_upgrade; }
            location /api/ { proxy_pass http://{b}/v1/; client_max_body_size 10m;
                location /api/deep/ { proxy_pass http://{c}; } }
            location /plain { proxy_pass http://{b}/other; }
            location /cut/ { rewrite ^/cut/(.*)$ /$1 break; proxy_pass http://{c}; }
            location = /health { default_type text/plain; return 200 \"fine\\n\"; }
            location = /exact/ { proxy_pass http://{b}; }
            location ~ ^/(media|static)/ { proxy_pass http://{c}; }
            location ~ ^/users/([^/]+)$ { proxy_pass http://{b}; }
            location /old/ { return 301 /new/; }
            location /moved { return 308 https://$host$request_uri; }
            location /inner { internal; proxy_pass http://app; }
            location /gone { return 410; }
        }";
    check(
        http,
        &[
            "1 GET app.test /",
            "2 GET app.test /index?a=b&c=d",
            "1 GET other.test /x",
            "1 GET app.test /api",
            "1 GET app.test /api?x=1",
            "1 GET app.test /api/",
            "1 GET app.test /api/users?id=7",
            "1 GET app.test /api/deep/er",
            "1 GET app.test /api/deep",
            "1 GET app.test /plain",
            "1 GET app.test /plain/x?y",
            "1 GET app.test /cut/a/b?c=d",
            "1 GET app.test /cut/",
            "1 GET app.test /health",
            "1 GET app.test /health/",
            "1 GET app.test /exact/",
            "1 GET app.test /exact",
            "1 GET app.test /media/a.png",
            "1 GET app.test /static/",
            "1 GET app.test /media",
            "1 GET app.test /users/7",
            "1 GET app.test /users/7/posts",
            "1 GET app.test /users/",
            "1 GET app.test /old/thing",
            "1 GET app.test /old",
            "1 GET app.test /moved?x=1",
            "1 GET app.test /inner",
            "1 GET app.test /gone",
        ],
    );
}

#[test]
fn many_hosts_on_two_addresses() {
    let http = "
        server { listen {one} default_server; server_name _; return 404; }
        server { listen {one}; server_name shop.test www.shop.test;
            if ($host = www.shop.test) { return 301 https://shop.test$request_uri; }
            location / { proxy_pass http://{a}; }
            location /admin { deny all; } }
        server { listen {one}; server_name *.apps.test; location / { proxy_pass http://{b}; } }
        server { listen {one}; server_name special.apps.test; location / { proxy_pass http://{c}; } }
        server { listen {one}; server_name .both.test; return 302 https://both.test/; }
        server { listen {one}; server_name shop.test; location / { proxy_pass http://{c}; } }
        server { listen {two}; server_name first.test; location / { proxy_pass http://{a}; } }
        server { listen {two}; server_name shop.test; location / { proxy_pass http://{b}; }
            location /only/ { proxy_pass http://{c}; } }
        server { listen {two}; server_name bare.test; location /there/ { proxy_pass http://{c}; } }";
    check(
        http,
        &[
            "1 GET shop.test /",
            "1 GET SHOP.test /x",
            "1 GET www.shop.test /x?y=1",
            "1 GET www.shop.test /admin",
            "1 GET shop.test /admin/x",
            "1 GET one.apps.test /",
            "1 GET special.apps.test /",
            "1 GET apps.test /",
            "1 GET both.test /x",
            "1 GET www.both.test /x",
            "1 GET unknown.test /",
            "1 GET first.test /",
            "2 GET first.test /",
            "2 GET unknown.test /x",
            "2 GET shop.test /",
            "2 GET shop.test /only/x",
            "2 GET www.shop.test /",
            "2 GET bare.test /there/x",
            "2 GET bare.test /elsewhere",
        ],
    );
}

#[test]
fn a_redirecting_address_beside_the_site() {
    let http = "
        server { listen {one}; server_name site.test www.site.test;
            location /.well-known/ { proxy_pass http://{c}; }
            location / { return 301 https://$host$request_uri; } }
        server { listen {two}; server_name www.site.test;
            rewrite ^/(.*)$ http://site.test/$1 permanent; }
        server { listen {two}; server_name site.test;
            set $target http://{a};
            proxy_read_timeout 5s; proxy_next_upstream error timeout http_502;
            proxy_next_upstream_tries 2;
            location / { proxy_pass $target; }
            location ^~ /firm/ { proxy_pass http://{b}; }
            location /two { proxy_pass http://{b}; }
            location /two/ { proxy_pass http://{c}/2/; }
            location \"/a b\" { return 204; } }";
    check(
        http,
        &[
            "1 GET site.test /x?y=1",
            "1 GET www.site.test /",
            "1 GET site.test /.well-known/acme",
            "2 GET www.site.test /a/b",
            "2 GET www.site.test /a?b=c",
            "2 GET www.site.test /",
            "2 GET site.test /?q",
            "2 GET site.test /firm/x",
            "2 GET site.test /two",
            "2 GET site.test /two/",
            "2 GET site.test /two/x",
            "2 GET site.test /a%20b",
        ],
    );
}

#[test]
fn a_registry_whose_paths_lead_to_two_services() {
    let http = "
        upstream core { server {a}; keepalive 4; }
        upstream portal { server {b}; }
        server {
            listen {one};
            server_tokens off;
            client_max_body_size 0;
            proxy_buffering off; proxy_request_buffering off;
            location / { proxy_pass http://portal/; proxy_set_header Host $host; }
            location /c/ { proxy_pass http://core/c/; }
            location /api/ { proxy_pass http://core/api/; proxy_http_version 1.1; }
            location /v1/ { return 404; }
            location /v2/ { proxy_pass http://core/v2/; proxy_set_header Host $http_host;
                proxy_read_timeout 900; }
            location /service/ { proxy_pass http://core/service/; }
            location /service/notifications { return 404; }
        }
        server { listen {two};
            location = /metrics { proxy_pass http://{c}; }
            location / { return 404; } }";
    check(
        http,
        &[
            "1 GET registry.test /",
            "1 GET registry.test /account/sign-in?next=%2F",
            "1 HEAD registry.test /",
            "1 GET registry.test /c",
            "1 GET registry.test /c/login",
            "1 POST:300 registry.test /c/login",
            "1 GET registry.test /api/v2.0/projects?page=2",
            "1 GET registry.test /v1/search",
            "1 GET registry.test /v1",
            "1 GET registry.test /v2/",
            "1 HEAD registry.test /v2/a/b/manifests/latest",
            "1 POST:4000 registry.test /v2/a/b/blobs/uploads/",
            "1 GET registry.test /service/token?scope=x",
            "1 GET registry.test /service/notifications",
            "1 GET registry.test /service/notifications/x",
            "2 GET registry.test /metrics",
            "2 GET registry.test /metrics/x",
            "2 GET registry.test /",
        ],
    );
}

#[test]
fn an_intake_beside_a_site_with_moved_assets() {
    let http = "
        proxy_http_version 1.1;
        proxy_redirect off;
        proxy_set_header Connection '';
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        client_max_body_size 2k;
        upstream intake { zone intake 64k; server {a}; keepalive 2; }
        upstream site { zone site 64k; server {b}; keepalive 2; }
        server {
            listen {one};
            location /api/store/ { proxy_pass http://intake; }
            location ~ ^/api/([^/]+)/envelope$ { proxy_pass http://intake; }
            location ^~ /relays/ { proxy_pass http://intake; client_max_body_size 1m; }
            location ~* ^/(Media|files)/ { proxy_pass http://intake; }
            location / { proxy_pass http://site; }
            location /_assets/ { proxy_pass http://site/_static/dist/; proxy_hide_header X-A; }
            location /_static/ { proxy_pass http://site; }
        }
        server { listen {two} default_server; server_name _;
            return 301 https://$host$request_uri; }";
    check(
        http,
        &[
            "1 GET site.test /",
            "1 HEAD site.test /settings/",
            "1 POST:90 site.test /api/store/?key=1",
            "1 POST:3000 site.test /api/store/",
            "1 POST:90 site.test /api/7/envelope?key=1",
            "1 GET site.test /api/store/envelope",
            "1 GET site.test /Media/a",
            "1 POST:90 site.test /api/7/envelope/x",
            "1 GET site.test /api/0/projects/",
            "1 POST:3000 site.test /relays/register",
            "1 POST:3000 site.test /auth/login",
            "1 GET site.test /relays",
            "1 GET site.test /_assets/app.js?v=1",
            "1 GET site.test /_assets",
            "1 GET site.test /_static/a/b.css",
            "1 GET other.test /a%2Fb?c=%20",
            "2 GET site.test /x?y=1",
            "2 POST:9 other.test /form",
            "2 HEAD site.test /",
        ],
    );
}

#[test]
fn a_dashboard_with_a_live_channel_and_a_second_service() {
    let http = "
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        upstream dashboard { server {a}; }
        upstream streaming { server {b} fail_timeout=0; }
        server {
            listen {one};
            server_name stats.test;
            location / { proxy_set_header Host $http_host; proxy_pass http://dashboard; }
            location /api/live/ { proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_set_header Host $http_host; proxy_pass http://dashboard; }
            location ^~ /api/v1/streaming { proxy_http_version 1.1; proxy_buffering off;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection \"upgrade\"; proxy_read_timeout 1h;
                proxy_pass http://streaming; }
            location /events { proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_pass http://{c}/events; }
        }
        server { listen {two}; server_name stats.test; return 308 http://stats.test$request_uri; }";
    check(
        http,
        &[
            "1 GET stats.test /",
            "1 GET stats.test /d/home?from=now-1h&to=now",
            "1 HEAD stats.test /public/app.js",
            "1 POST:500 stats.test /api/query",
            "1 UPGRADE stats.test /api/live/ws",
            "1 GET stats.test /api/live/ws",
            "1 GET stats.test /api/live",
            "1 UPGRADE stats.test /api/v1/streaming",
            "1 UPGRADE stats.test /api/v1/streaming/user?stream=x",
            "1 UPGRADE stats.test /events",
            "1 POST:7 stats.test /events/x",
            "1 GET other.test /",
            "2 GET stats.test /d/home?x",
            "2 POST:7 stats.test /x",
        ],
    );
}

/// What `inexact-import` says of a `proxy_pass` with a path: nginx decodes, the door does not.
#[test]
fn escapes_of_reserved_characters_are_forwarded_as_they_came() {
    let http = "server { listen {one}; limit_conn peers 20;
          location / { proxy_pass http://{a}; }
          location /kept/ { proxy_pass http://{a}/kept/; }
          location /moved/ { proxy_pass http://{a}/new/; } }
        server { listen {two}; location / { proxy_pass http://{b}; } limit_conn peers 20; }
        limit_conn_zone $binary_remote_addr zone=peers:1m;";
    let expected = [
        ("/x%2Fy", "/x%2Fy", "/x%2Fy"),
        ("/moved/x%20y", "/new/x%20y", "/new/x%20y"),
        ("/moved/x%2Fy", "/new/x%2Fy", "/new/x/y"),
        ("/moved/x%3By", "/new/x%3By", "/new/x;y"),
        ("/kept/x%2Fy", "/kept/x%2Fy", "/kept/x/y"),
    ];
    let requests = expected.map(|(target, ..)| format!("1 GET a.test {target}"));
    let answers = both(http, &requests.each_ref().map(String::as_str));
    for ((target, ours, theirs), answers) in expected.into_iter().zip(answers) {
        let received = |seen: Seen| seen.received.unwrap_or_default();
        let received = (received(answers.0), received(answers.1));
        assert_eq!(received, (format!("GET {ours} 0"), format!("GET {theirs} 0")), "{target}");
    }
}

#[test]
fn headers_are_changed_as_nginx_changes_them() {
    let http = "
        add_header X-T-Site all always;
        server {
            listen {one};
            server_name a.test;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-T-All \"$scheme $request_method $host $request_uri {$http_x_t_org}\";
            proxy_set_header X-T-Gone \"\";
            location / { proxy_pass http://{a}; }
            location /named/ { proxy_pass http://{a}; proxy_set_header X-T-Only $server_port; }
            location /fixed/ { proxy_pass http://{b}; proxy_set_header Host in.test:81; }
            location /kept/ { proxy_pass http://{a}; expires 1h; proxy_hide_header X-Powered-By;
                add_header Cache-Control public; }
            location /good/ { proxy_pass http://{a}; add_header X-T-Good 1; }
            location /moved { add_header X-T-Moved $host; return 301 /there; }
        }
        server { listen {two}; location = /only { proxy_pass http://{c}; }
            location / { return 410; } }";
    check(
        http,
        &[
            "1 GET a.test /?x=y X-T-Org: blue",
            "1 GET a.test /x X-T-Gone: 1\r\nX-Real-IP: 10.9.8.7",
            "1 POST:5 a.test /x X-T-All: mine",
            "1 GET a.test /fail",
            "1 GET a.test /named/x X-T-Gone: 1",
            "1 GET a.test /fixed/x",
            "1 GET a.test /kept/x",
            "1 GET a.test /kept",
            "1 GET a.test /good/x",
            "1 GET a.test /good/fail",
            "1 GET a.test /moved",
            "2 GET a.test /only",
            "2 GET a.test /gone",
        ],
    );
}

#[test]
fn answers_are_compressed_as_by_nginx() {
    let http = "
        gzip on; gzip_min_length 100; gzip_proxied any; gzip_vary on;
        server { listen {one};
            location / { proxy_pass http://{a}; proxy_http_version 1.1; }
            location /plain/ { gzip off; proxy_pass http://{a}; proxy_http_version 1.1; } }
        server { listen {two}; gzip_min_length 10k; location / { proxy_pass http://{b}; } }";
    check(
        http,
        &[
            "1 GET a.test /large Accept-Encoding: gzip",
            "1 GET a.test /large",
            "1 GET a.test /small Accept-Encoding: gzip",
            "1 GET a.test /plain/large Accept-Encoding: gzip",
            "2 GET a.test /large Accept-Encoding: gzip",
        ],
    );
}

#[test]
fn who_enters_is_asked_as_by_nginx() {
    let http = "
        server { listen {one};
            location / { proxy_pass http://{a}; auth_basic \"staff only\";
                auth_basic_user_file {dir}/users; proxy_set_header X-T-User $remote_user; }
            location /open/ { auth_basic off; proxy_pass http://{b}; } }
        server { listen {two};
            location = /ask { internal; proxy_pass http://{c}/verify; proxy_pass_request_body off;
                proxy_set_header Content-Length \"\"; }
            location / { auth_request /ask; auth_request_set $who $upstream_http_x_t_user;
                proxy_set_header X-T-User $who; proxy_pass http://{a}; } }";
    check(
        http,
        &[
            "1 GET a.test /",
            "1 GET a.test / Authorization: Basic YW5uOnNlY3JldA==",
            "1 GET a.test / Authorization: Basic YW5uOndyb25n",
            "1 GET a.test / Authorization: Basic Ym9iOnNlY3JldA==",
            "1 GET a.test /open/x",
            "2 GET a.test /x",
            "2 GET a.test /x X-T-Key: 1",
            "2 POST:90 a.test /x X-T-Key: 1\r\nX-T-User: mine",
            "2 GET a.test /ask",
        ],
    );
}

#[test]
fn what_the_door_does_nearly_the_same_is_said_by_the_import() {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let file = folder.path().join("nginx.conf");
    let text = "events {} http { server { listen 80;
        location /api/ { proxy_pass http://127.0.0.1/v1/; } } }";
    std::fs::write(&file, text).expect("the folder is writable");
    let imported = tidegate(&["import", &file.display().to_string()]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    assert!(imported.stderr.contains("warning[inexact-import]"), "{}", imported.stderr);
}
