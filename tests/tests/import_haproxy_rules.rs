//! HAProxy's rules on paths, and those that close: the door answers the same, or is closed too.

use black_box::haproxy::{DEFAULTS, check, check_closed};

#[test]
fn paths_by_their_letters_and_by_expressions() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    acl is_image path_end -i .jpg .png
    acl is_image path_beg -i /images
    acl is_script path_reg ^/[a-z]+/[0-9]+\\.js$
    acl is_inner path_sub inner
    acl is_docs path_dir docs
    http-request deny if is_inner !{{ path_beg /inner }}
    http-request redirect code 301 location /moved if {{ path -i /Old }}
    use_backend a if is_image !{{ path_beg /images/live }}
    use_backend b if is_script or is_docs
    use_backend c if {{ path_beg /img }}
    default_backend b
backend a
    server a {{a}}
backend b
    server b {{b}}
backend c
    server c {{c}}
"
    );
    check(
        &text,
        &[
            "GET x.test /a.jpg",
            "GET x.test /a.JPG?x=1",
            "GET x.test /a.jpgx",
            "GET x.test /IMAGES",
            "GET x.test /imagesx/y",
            "GET x.test /images/live/1",
            "GET x.test /images/live/1.png",
            "GET x.test /img",
            "GET x.test /imgx/a",
            "GET x.test /img/a.png",
            "GET x.test /ab/12.js",
            "GET x.test /ab/12.jsx",
            "GET x.test /img/docs",
            "GET x.test /img/docs/x",
            "GET x.test /img/docsx",
            "GET x.test /inner/x",
            "GET x.test /x/inner",
            "GET x.test /spinner.png",
            "GET x.test /OLD",
            "POST:5 x.test /old",
            "GET x.test /older",
            "UPGRADE x.test /images/ws",
        ],
    );
}

#[test]
fn paths_that_go_to_servers_as_others() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    use_backend a if {{ path_beg /ci }}
    use_backend b if {{ path_beg /api/ }}
    use_backend c if {{ hdr(host) -i old.test }}
    default_backend rest
backend a
    http-request replace-path /ci(/)?(.*) /\\2
    server a {{a}}
backend b
    http-request set-path %[path,regsub(^/api/,/v2/)]
    server b {{b}}
backend c
    http-request replace-path ^/item/([0-9]+)/([a-z]+)$ /\\2-\\1
    server c {{c}}
backend rest
    http-request set-path /rest%[path]
    server c {{c}}
"
    );
    check(
        &text,
        &[
            "GET x.test /ci",
            "GET x.test /ci/",
            "GET x.test /cix",
            "GET x.test /ci/job/a?x=1",
            "POST:9 x.test /ci/build",
            "UPGRADE x.test /ci/ws",
            "GET x.test /ci/ci/x",
            "GET x.test /api/users?id=1",
            "GET x.test /api/",
            "GET x.test /api",
            "GET old.test /item/12/ab?q",
            "GET old.test /item/12/ab/c",
            "GET old.test /item/x/ab",
            "GET old.test /ci/x",
            "GET x.test /",
            "GET x.test /a%2Fb",
        ],
    );
}

#[test]
fn what_cannot_be_asked_stays_closed() {
    let text = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    http-request deny if {{ path_beg /office }} !{{ src 127.0.0.0/8 }}
    http-request deny deny_status 429 unless {{ src 127.0.0.0/8 }} || !{{ path_beg /law/ }}
    http-request tarpit if {{ hdr_sub(user-agent) bot }} {{ path_beg /t }}
    http-request reject if {{ path_beg /rejected }}
    stats uri /stats
    use_backend b if {{ path_beg /b/ }}
    default_backend a
backend a
    server a {{a}}
backend b
    http-request deny unless {{ src 10.0.0.0/8 }}
    server b {{b}}
"
    );
    check_closed(
        &text,
        &[
            "GET x.test /",
            "GET x.test /law",
            "GET x.test /t",
            "GET x.test /b/1",
            "GET x.test /b",
            "POST:4 x.test /x User-Agent: good",
        ],
        &[
            "GET x.test /office",
            "GET x.test /office/x",
            "GET x.test /law/1",
            "GET x.test /t User-Agent: good",
            "GET x.test /stats",
            "GET x.test /stats;csv",
        ],
    );
    let wholly = format!(
        "{DEFAULTS}
frontend web
    bind {{listen}}
    tcp-request connection reject if {{ src 10.0.0.0/8 }}
    default_backend a
backend a
    server a {{a}}
"
    );
    check_closed(&wholly, &[], &["GET x.test /", "POST:4 y.test /x"]);
}
