//! Whole sites after the shape of what well-known applications document for nginx: imported, the
//! door serves them as nginx does.

use black_box::beside_nginx::check;

#[test]
fn a_forge_with_repositories_and_large_files() {
    let http = r#"
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        upstream forge { server {a}; }
        upstream packages { server {b}; }
        server {
            listen {one};
            server_name git.test;
            client_max_body_size 2k;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            location / { proxy_pass http://forge; }
            location ~ ^/[\w.-]+/[\w.-]+\.git/(info/refs|git-upload-pack|git-receive-pack)$ {
                client_max_body_size 0; proxy_read_timeout 900; proxy_pass http://packages; }
            location ~ ^/[^/]+/[^/]+/info/lfs/ { client_max_body_size 0; proxy_pass http://{c}; }
            location ~* \.(ico|png|svg)$ { expires 1h; proxy_pass http://forge; }
            location ^~ /api/ { proxy_pass http://packages; }
            location ^~ /-/cable { proxy_http_version 1.1;
                proxy_set_header Host $host;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade; proxy_pass http://forge; }
            location = /robots.txt { default_type text/plain; return 200 "User-agent: *\n"; }
            location ~ /\.git/ { return 404; }
        }
        server {
            listen {two};
            server_name common.test;
            location /forge/ {
                rewrite ^ $request_uri;
                rewrite ^/forge(/.*) $1 break;
                proxy_pass http://{b}$uri;
                proxy_set_header Host $host;
            }
            location / { return 404; }
        }"#;
    check(
        http,
        &[
            "1 GET git.test /",
            "1 GET git.test /explore/repos?page=2",
            "1 GET git.test /ann/tools",
            "1 GET git.test /ann/tools.git/info/refs?service=git-upload-pack",
            "1 POST:4000 git.test /ann/tools.git/git-upload-pack",
            "1 POST:4000 git.test /ann/tools.git/git-receive-pack",
            "1 GET git.test /ann/tools.git/git-receive-packs",
            "1 POST:4000 git.test /ann/tools/info/lfs/objects/batch",
            "1 POST:4000 git.test /ann/info/lfs/objects/batch",
            "1 POST:4000 git.test /ann/tools/issues",
            "1 POST:400 git.test /ann/tools/issues",
            "1 GET git.test /avatars/1.png",
            "1 GET git.test /avatars/1.PNG?size=40",
            "1 GET git.test /api/v1/repos/ann/logo.png",
            "1 POST:90 git.test /api/v1/hooks",
            "1 UPGRADE git.test /-/cable",
            "1 GET git.test /robots.txt",
            "1 GET git.test /ann/tools/.git/config",
            "1 GET git.test /ann/a%20b/src",
            "1 GET other.test /ann",
            "2 GET common.test /forge/",
            "2 GET common.test /forge/ann/tools?tab=x",
            "2 GET common.test /forge/a%2Fb",
            "2 GET common.test /forgex",
            "2 GET common.test /",
        ],
    );
}

#[test]
fn a_chat_with_sockets_and_federation() {
    let http = r#"
        upstream chat { server {a}; keepalive 16; }
        server {
            listen {one} default_server;
            server_name chat.test;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            location ^~ /.well-known { default_type "text/plain"; return 200 "known"; }
            location ~ /api/v[0-9]+/(users/)?websocket$ {
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection "upgrade";
                proxy_set_header Host $http_host;
                client_max_body_size 1k;
                proxy_read_timeout 90s;
                proxy_pass http://chat;
            }
            location ~* ^(\/_matrix|\/_synapse\/client) {
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header Host $host;
                client_max_body_size 4k;
                proxy_pass http://{b};
            }
            location ~ ^/media/([a-z0-9]+)/(thumb|full)/(.+)$ {
                proxy_set_header Host $host;
                proxy_pass http://{c}/m/$2/$1/$3$is_args$args;
            }
            location /files { limit_except GET { deny all; } proxy_pass http://{c}; }
            location / { client_max_body_size 2k; proxy_pass http://chat; }
        }
        server { listen {two}; server_name chat.test; return 301 http://chat.test$request_uri; }"#;
    check(
        http,
        &[
            "1 GET chat.test /",
            "1 GET chat.test /team/channels/town?x=1",
            "1 POST:1500 chat.test /api/v4/posts",
            "1 POST:3000 chat.test /api/v4/posts",
            "1 UPGRADE chat.test /api/v4/websocket",
            "1 UPGRADE chat.test /api/v4/users/websocket",
            "1 UPGRADE chat.test /plug/api/v10/websocket?a=b",
            "1 GET chat.test /api/v4/websocket/x",
            "1 GET chat.test /api/vx/websocket",
            "1 POST:1500 chat.test /api/v4/websocket",
            "1 GET chat.test /.well-known/matrix/client",
            "1 GET chat.test /.well-known-not/api/v4/websocket",
            "1 GET chat.test /_matrix/federation/v1/version",
            "1 POST:3000 chat.test /_MATRIX/client/r0/login",
            "1 GET chat.test /_synapse/client/x",
            "1 GET chat.test /_synapse/admin/x",
            "1 GET chat.test /_matrixed",
            "1 GET chat.test /media/ab12/thumb/a.png?w=3",
            "1 GET chat.test /media/AB12/thumb/a.png",
            "1 GET chat.test /media/ab12/full/a/b.png",
            "1 GET chat.test /files/a",
            "1 GET chat.test /filesystem",
            "1 DELETE chat.test /files/a",
            "2 GET chat.test /x?y",
        ],
    );
}

#[test]
fn dashboards_below_paths_of_one_host() {
    let http = r#"
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        upstream grafana { server {a}; }
        server {
            listen {one};
            server_name ops.test;
            proxy_set_header Host $host;
            location = / { return 302 /grafana/; }
            location /grafana/ { rewrite ^/grafana/(.*) /$1 break; proxy_pass http://grafana; }
            location /grafana/api/live/ {
                rewrite ^/grafana/(.*) /$1 break;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_set_header Host $host;
                proxy_pass http://grafana;
            }
            location /prometheus { proxy_pass http://{b}/prometheus; }
            location /alerts { proxy_pass http://{b}/; }
            location /kibana {
                rewrite ^/kibana$ / break;
                rewrite ^/kibana(/.*)$ $1 break;
                proxy_pass http://{c};
            }
            location ~ "^/d/([\w-]{3,40})$" { proxy_pass http://grafana/d/$1/view$is_args$args; }
            location ~ ^/render/ { limit_except GET HEAD { deny all; } proxy_pass http://grafana; }
        }
        server { listen {two}; server_name ops.test;
            location /public { return 301 http://ops.test$request_uri; }
            location / { return 403; } }"#;
    check(
        http,
        &[
            "1 GET ops.test /",
            "1 GET ops.test /grafana",
            "1 GET ops.test /grafana/",
            "1 GET ops.test /grafana/d/home?from=now-1h&to=now",
            "1 GET ops.test /grafana/a%20b",
            "1 UPGRADE ops.test /grafana/api/live/ws",
            "1 GET ops.test /grafana/api/live",
            "1 POST:90 ops.test /grafana/api/query",
            "1 GET ops.test /prometheus",
            "1 GET ops.test /prometheus/graph?g0.expr=up",
            "1 GET ops.test /prometheus-2/graph",
            "1 GET ops.test /alerts",
            "1 GET ops.test /alertsx",
            "1 GET ops.test /kibana",
            "1 GET ops.test /kibana/",
            "1 GET ops.test /kibana/app/discover?x=y",
            "1 GET ops.test /kibanas",
            "1 GET ops.test /d/abc-1?x=y",
            "1 GET ops.test /d/ab",
            "1 GET ops.test /d/abc/x",
            "1 GET ops.test /render/d/abc",
            "1 POST:3 ops.test /render/d/abc",
            "1 GET ops.test /elsewhere",
            "2 GET ops.test /public/x?y",
            "2 GET ops.test /publicity",
            "2 GET ops.test /x",
        ],
    );
}

#[test]
fn a_registry_with_versions_and_read_only_paths() {
    let http = r#"
        upstream registry { server {a}; keepalive 4; }
        upstream portal { server {b}; }
        server {
            listen {one};
            server_name registry.test;
            client_max_body_size 1k;
            chunked_transfer_encoding on;
            proxy_set_header Host $http_host;
            location /v2/ {
                client_max_body_size 0;
                add_header X-T-Version registry/2.0 always;
                proxy_read_timeout 900;
                proxy_pass http://registry;
            }
            location ~ "^/v2/([a-z0-9_.-]+/)+(manifests|blobs)/sha256:[0-9a-f]{8,64}$" {
                limit_except GET HEAD { deny all; }
                proxy_pass http://registry;
            }
            location = /v2/_catalog { return 403; }
            location /v1/ { return 404; }
            location /chartrepo/ { proxy_pass http://portal/api/charts/; }
            location /c { proxy_pass http://portal/console; }
            location ~ ^/(login|logout)$ { return 302 /c/sign-in; }
            location / { proxy_pass http://portal/; }
        }
        server { listen {two};
            location = /metrics { proxy_pass http://{c}/internal/metrics; }
            location / { return 404; } }"#;
    check(
        http,
        &[
            "1 GET registry.test /",
            "1 GET registry.test /v2/",
            "1 GET registry.test /v2",
            "1 HEAD registry.test /v2/a/b/manifests/latest",
            "1 PUT:3000 registry.test /v2/a/b/manifests/latest",
            "1 POST:3000 registry.test /v2/a/b/blobs/uploads/",
            "1 GET registry.test /v2/a/b/blobs/sha256:0123456789abcdef",
            "1 HEAD registry.test /v2/library/a.b/manifests/sha256:0123456789abcdef",
            "1 DELETE registry.test /v2/a/b/manifests/sha256:0123456789abcdef",
            "1 DELETE registry.test /v2/a/b/manifests/sha256:xyz",
            "1 GET registry.test /v2/A/b/manifests/sha256:0123456789abcdef",
            "1 GET registry.test /v2/_catalog",
            "1 GET registry.test /v1/search",
            "1 GET registry.test /v1",
            "1 GET registry.test /chartrepo/x/index.yaml",
            "1 GET registry.test /chartrepo",
            "1 GET registry.test /c",
            "1 GET registry.test /c/projects?x=1",
            "1 GET registry.test /cs",
            "1 GET registry.test /login",
            "1 GET registry.test /login/x",
            "1 POST:2000 registry.test /account",
            "2 GET registry.test /metrics?x=1",
            "2 GET registry.test /metrics/x",
        ],
    );
}

#[test]
fn an_intake_of_errors_with_numbered_projects() {
    let http = r#"
        proxy_http_version 1.1;
        proxy_redirect off;
        proxy_set_header Connection '';
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        client_max_body_size 2k;
        upstream relay { zone relay 64k; server {a}; keepalive 2; }
        upstream site { zone site 64k; server {b}; keepalive 2; }
        server {
            listen {one};
            location /api/store/ { proxy_pass http://relay; }
            location ~ ^/api/[1-9]\d*/ { proxy_pass http://relay; }
            location ^~ /api/0/relays/ { proxy_pass http://relay; }
            location ^~ /js-sdk/ { add_header Access-Control-Allow-Origin *; return 200 sdk; }
            location / { proxy_pass http://site; }
            location /_assets/ { proxy_pass http://site/_static/dist/site/;
                proxy_hide_header X-Powered-By; }
            location /_static/ { proxy_pass http://site; proxy_hide_header X-Powered-By; }
            location ~ ^/_static/[0-9a-f]+/old/(.*)$ { rewrite ^/_static/[0-9a-f]+/old/(.*)$ /_static/now/$1 break;
                proxy_pass http://site; }
        }
        server { listen {two}; location = /health { return 200 well; } location / { return 404; } }"#;
    check(
        http,
        &[
            "1 GET s.test /",
            "1 POST:90 s.test /api/store/?key=1",
            "1 POST:90 s.test /api/1/envelope/?key=1",
            "1 POST:90 s.test /api/42/store/",
            "1 POST:3000 s.test /api/42/store/",
            "1 GET s.test /api/0/projects/",
            "1 GET s.test /api/01/projects/",
            "1 GET s.test /api/12",
            "1 GET s.test /api/1x/a",
            "1 POST:90 s.test /api/0/relays/register/",
            "1 POST:90 s.test /api/0/relays",
            "1 GET s.test /js-sdk/a.js",
            "1 GET s.test /js-sdk",
            "1 GET s.test /_assets/app.js?v=1",
            "1 GET s.test /_assets",
            "1 GET s.test /_static/a/b.css",
            "1 GET s.test /_static/12ab/old/b.css?v=2",
            "1 GET s.test /_static/xyz/old/b.css",
            "1 GET s.test /auth/login/?next=%2Fx",
            "1 HEAD s.test /settings/",
            "2 GET s.test /health",
            "2 GET s.test /healthy",
        ],
    );
}

#[test]
fn a_build_server_with_moved_static_paths() {
    let http = r#"
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        upstream builds { keepalive 32; server {a}; }
        server {
            listen {one};
            server_name ci.test;
            ignore_invalid_headers off;
            location ~ "^/static/[0-9a-fA-F]{8}\/(.*)$" {
                rewrite "^/static/[0-9a-fA-F]{8}\/(.*)" /$1 last;
            }
            location /userContent { proxy_set_header Host $host; proxy_pass http://{b}; }
            location = /login { proxy_set_header Host $host; proxy_pass http://{c}/sign-in; }
            location ~ ^/job/([^/]+)/badge\.svg$ { proxy_set_header Host $host;
                proxy_pass http://{c}/badge/$1$is_args$args; }
            location /agents/ { proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_set_header Host $host; proxy_pass http://builds; }
            location / {
                proxy_pass         http://builds;
                proxy_redirect     default;
                proxy_http_version 1.1;
                proxy_set_header   Connection        $connection_upgrade;
                proxy_set_header   Upgrade           $http_upgrade;
                proxy_set_header   Host              $http_host;
                proxy_set_header   X-Real-IP         $remote_addr;
                client_max_body_size 2k;
                proxy_read_timeout 90;
                proxy_request_buffering off;
            }
        }
        server { listen {two}; server_name ci.test;
            location ~* ^/(BUILDS|queue)/ { proxy_pass http://{b}; }
            location / { return 301 http://ci.test$request_uri; } }"#;
    check(
        http,
        &[
            "1 GET ci.test /",
            "1 GET ci.test /static/12345678/css/a.css",
            "1 GET ci.test /static/12345678/css/a.css?v=1",
            "1 GET ci.test /static/ABCDEF01/",
            "1 GET ci.test /static/12345678/userContent/readme",
            "1 GET ci.test /static/12345678/userContents",
            "1 GET ci.test /static/12345678/login",
            "1 GET ci.test /static/12345678/agents/x",
            "1 GET ci.test /static/zz/css/a.css",
            "1 GET ci.test /static/12345678",
            "1 GET ci.test /userContent/readme",
            "1 GET ci.test /userContents",
            "1 GET ci.test /login",
            "1 GET ci.test /login?from=%2F",
            "1 GET ci.test /job/app/badge.svg?x=1",
            "1 GET ci.test /job/a%20b/",
            "1 GET ci.test /job/app/badge.svgx",
            "1 UPGRADE ci.test /agents/ws",
            "1 GET ci.test /agents",
            "1 POST:500 ci.test /job/app/build",
            "1 POST:3000 ci.test /job/app/build",
            "2 GET ci.test /builds/1",
            "2 GET ci.test /QUEUE/1",
            "2 GET ci.test /job/1?x=y",
        ],
    );
}
