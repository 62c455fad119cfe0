//! Locations of nginx and the same ones imported: which of them takes a request, and what it makes of
//! the path.

use black_box::beside_nginx::check;

#[test]
fn expressions_are_asked_in_the_order_of_nginx() {
    let http = "
        server { listen {one};
            location / { proxy_pass http://{a}; }
            location ~ \\.php$ { return 200 php; }
            location ~* \\.(PNG|jpe?g)$ { return 200 image; }
            location ~ ^/users/[0-9]+$ { proxy_pass http://{b}; }
            location ~ ^/users/ { proxy_pass http://{c}; }
            location ^~ /firm/ { return 200 firm; }
            location ^~ /firm/soft { return 200 soft; }
            location /plain/ { proxy_pass http://{b}; }
            location = /exact.php { return 200 exact; }
            location /app { location ~ \\.php$ { return 200 inner; }
                location /app/deep { return 200 deep; }
                location ^~ /app/hard/ { return 200 hard; }
                return 200 app; }
            location ~ \"^/[^/]{3}/x y$\" { return 200 spaced; }
        }
        server { listen {two};
            location ~ ^/a/ { return 200 first; }
            location ~ ^/a/b$ { return 200 second; }
            location ~ (\\d)(\\d)$ { return 200 digits; }
            location ~ \"^/@[a-z]+;v=1$\" { return 200 reserved; }
            location /a { return 200 letters; }
            location / { return 200 all; } }";
    check(
        http,
        &[
            "1 GET a.test /x.php",
            "1 GET a.test /x.php?a=b",
            "1 GET a.test /x.PHP",
            "1 GET a.test /x.php/y",
            "1 GET a.test /x.png",
            "1 GET a.test /plain/x.JPG",
            "1 GET a.test /plain/x",
            "1 GET a.test /users/7",
            "1 GET a.test /users/7.php",
            "1 GET a.test /users/x",
            "1 GET a.test /firm/x.php",
            "1 GET a.test /firm/soft.php",
            "1 GET a.test /firm",
            "1 GET a.test /exact.php",
            "1 GET a.test /app/x.php",
            "1 GET a.test /apps.php",
            "1 GET a.test /app",
            "1 GET a.test /app/deep/x.php",
            "1 GET a.test /app/deeper",
            "1 GET a.test /app/hard/x.php",
            "1 GET a.test /app/hard/x",
            "1 GET a.test /a%20b/x%20y",
            "1 GET a.test /abc/x%20y",
            "1 GET a.test /%22%20%3C/x%20y",
            "2 GET a.test /a/b",
            "2 GET a.test /a",
            "2 GET a.test /ab",
            "2 GET a.test /x12",
            "2 GET a.test /x%20",
            "2 GET a.test /x%201",
            "2 GET a.test /x%2012",
            "2 GET a.test /@me;v=1",
            "2 GET a.test /%40me%3Bv%3D1",
            "2 GET a.test /b",
        ],
    );
}

#[test]
fn paths_are_changed_as_nginx_changes_them() {
    let http = "
        server { listen {one}; proxy_set_header Host $host;
            location / { proxy_pass http://{a}; }
            location = /exact { proxy_pass http://{b}/other; }
            location /letters { proxy_pass http://{b}/l-; }
            location /cut/ { proxy_pass http://{b}/; }
            location /slashed { proxy_pass http://{b}/s/; }
            location /glue/ { proxy_pass http://{b}/g; }
            location /strip { rewrite ^/strip(/.*)$ $1 break; proxy_pass http://{c}; }
            location /maybe { rewrite ^/maybe/?(.*)$ /m/$1 break; proxy_pass http://{c}; }
            location /two/ { rewrite ^/two/one/(.*)$ /1/$1 break;
                rewrite ^/two/([a-z]+)/(.*)$ /2/$2/$1 break; proxy_pass http://{c}; }
            location /two/own/ { proxy_pass http://{b}; }
            location /fixed/ { rewrite ^ /index break; proxy_pass http://{c}; }
            location /front/ { rewrite ^/(.*)$ /v2/$1 break; proxy_pass http://{c}; }
            location ~ ^/user/(\\d+)/(.*)$ { proxy_pass http://{b}/u/$1/$2$is_args$args; }
            location ~ ^/(old|older)/ { rewrite ^/(old|older)/(.*)$ /new/$2 break;
                proxy_pass http://{c}; }
            location /raw/ { proxy_pass http://{b}$request_uri; }
        }
        server { listen {two}; proxy_set_header Host $host;
            location /moved/ { rewrite ^/moved/(.*)$ /to/$1 last; }
            location /to/ { proxy_pass http://{b}/t/; }
            location /to/own/ { proxy_pass http://{c}; }
            location = /to/exact { return 200 exact; }
            location = /start { rewrite ^ /to/start last; }
            location / { rewrite ^/legacy/(.*)$ /to/$1 last; proxy_pass http://{a}; } }";
    check(
        http,
        &[
            "1 GET a.test /exact?x=y",
            "1 GET a.test /exact/x",
            "1 GET a.test /letters",
            "1 GET a.test /lettersx/y?z",
            "1 GET a.test /cut/x/y?z=1",
            "1 GET a.test /cut",
            "1 GET a.test /slashed",
            "1 GET a.test /slashed/x?y",
            "1 GET a.test /slashedx",
            "1 GET a.test /glue/x",
            "1 GET a.test /strip",
            "1 GET a.test /strip/x?y",
            "1 GET a.test /stripped",
            "1 GET a.test /maybe",
            "1 GET a.test /maybe/x",
            "1 GET a.test /maybex",
            "1 GET a.test /two/one/x?y=z",
            "1 GET a.test /two/abc/x/y",
            "1 GET a.test /two/own/x",
            "1 GET a.test /two/9/x",
            "1 GET a.test /two",
            "1 GET a.test /fixed/x/y?z=1",
            "1 GET a.test /front/x",
            "1 GET a.test /user/7/a/b?c=d",
            "1 GET a.test /user/x/a",
            "1 GET a.test /old/x?y",
            "1 GET a.test /older/x/y",
            "1 GET a.test /raw/x?y=1",
            "2 GET a.test /moved/x?y=1",
            "2 GET a.test /moved/own/x",
            "2 GET a.test /moved/exact",
            "2 GET a.test /moved/exact/x",
            "2 GET a.test /start?x",
            "2 GET a.test /legacy/x",
            "2 GET a.test /legacy/own/x",
            "2 GET a.test /legacy",
            "2 GET a.test /to/x",
        ],
    );
}

#[test]
fn methods_are_told_apart_as_by_nginx() {
    let http = "
        server { listen {one}; proxy_set_header Host $host;
            location / { proxy_pass http://{a}; }
            location /read/ { limit_except GET { deny all; } proxy_pass http://{b}; }
            location /cut/ { limit_except GET POST { deny all; }
                rewrite ^/cut/(\\d+)$ /n/$1 break; proxy_pass http://{b}/c/; }
            location /few/ { if ($request_method !~ ^(GET|HEAD|POST)$) { return 405; }
                proxy_pass http://{b}; }
            location /cors/ {
                add_header X-T-Any 1 always;
                if ($request_method = 'OPTIONS') {
                    add_header 'Access-Control-Allow-Origin' '*';
                    add_header 'Access-Control-Allow-Methods' 'GET, POST, OPTIONS';
                    add_header 'Access-Control-Max-Age' 1728000;
                    return 204;
                }
                if ($request_method = 'POST') {
                    add_header 'Access-Control-Allow-Origin' '*' always;
                    add_header 'Access-Control-Expose-Headers' 'Content-Length' always;
                }
                if ($request_method = 'GET') {
                    add_header 'Access-Control-Allow-Origin' '*' always;
                }
                proxy_pass http://{c};
            }
            location ~ ^/re/[0-9]+$ { limit_except PUT { deny all; } proxy_pass http://{c}; }
        }
        server { listen {two}; return 404; }";
    check(
        http,
        &[
            "1 GET a.test /read/x",
            "1 HEAD a.test /read/x",
            "1 POST:5 a.test /read/x",
            "1 DELETE a.test /read/x",
            "1 GET a.test /read",
            "1 GET a.test /cut/7",
            "1 PUT:3 a.test /cut/7",
            "1 POST:3 a.test /cut/x",
            "1 PUT:3 a.test /cut/x",
            "1 HEAD a.test /few/x",
            "1 POST:3 a.test /few/x",
            "1 DELETE a.test /few/x",
            "1 OPTIONS a.test /few/x",
            "1 OPTIONS a.test /cors/x Origin: https://b.test",
            "1 GET a.test /cors/x Origin: https://b.test",
            "1 HEAD a.test /cors/x Origin: https://b.test",
            "1 POST:5 a.test /cors/x Origin: https://b.test",
            "1 PUT:5 a.test /cors/x Origin: https://b.test",
            "1 GET a.test /cors/fail",
            "1 PUT:5 a.test /re/7",
            "1 GET a.test /re/7",
            "1 GET a.test /re/x",
        ],
    );
}

/// Numbers that look like chance and are the same each time (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let count = u64::try_from(of.len()).expect("a few");
        of[usize::try_from(self.0 % count).expect("below their count")]
    }
}

/// Whatever locations stand beside each other, and in whichever order.
#[test]
fn any_mixture_of_locations_is_asked_in_the_order_of_nginx() {
    const EXPRESSIONS: [&str; 20] = [
        r"\.php$",
        "^/a",
        "^/a/",
        "^/(a|b)/",
        "^/[^/]+/b",
        r"\d+$",
        "^/a/[^/]{2}$",
        "b/",
        "^/ab?/",
        "php",
        "^/$",
        "a$",
        "^/.*b$",
        "/a/b",
        "^/[a-z]+$",
        "[^a]$",
        r"^/\w+/\w+$",
        ".b",
        "(a|7)b",
        "^/x y",
    ];
    const SEGMENTS: [&str; 9] = ["", "/", "/a", "/b", "/ab", "/a.php", "/x y", "/7", "/abc/"];
    const FIRM: [&str; 3] = ["/firm", "/firm/b/", "/b/firm"];
    const KINDS: [&str; 6] = ["", "", "= ", "^~ ", "~ ", "~* "];
    let mut chance = Chance(4);
    let (mut http, mut requests) = (String::new(), Vec::new());
    for site in 0..60 {
        let mut known = std::collections::BTreeSet::new();
        let mut locations = String::new();
        for number in 0..6 {
            let kind = chance.one(&KINDS);
            let text = match kind {
                "~ " | "~* " => chance.one(&EXPRESSIONS).to_owned(),
                "^~ " => chance.one(&FIRM).to_owned(),
                _ => format!("/{}{}", chance.one(&SEGMENTS), chance.one(&SEGMENTS)),
            };
            let text = text.replace("///", "/").replace("//", "/");
            let group = if kind == "^~ " { "" } else { kind };
            if known.insert((group, text.clone())) {
                locations.push_str(&format!(
                    "location {kind}\"{text}\" {{ return 200 \"{site}-{number}\"; }}\n"
                ));
            }
            for ending in ["", "b", "/a.php", "/7", "/ab/b"] {
                let base = if kind.starts_with('~') { chance.one(&FIRM) } else { text.as_str() };
                let path = format!("{base}{ending}").replace("//", "/").replace(' ', "%20");
                requests.push(format!("1 GET h{site}.test {path}"));
            }
            let path = format!("/{}{}", chance.one(&SEGMENTS), chance.one(&SEGMENTS));
            let path = path.replace("///", "/").replace("//", "/").replace(' ', "%20");
            requests.push(format!("1 GET h{site}.test {path}"));
        }
        http.push_str(&format!(
            "server {{ listen {{one}}; server_name h{site}.test;\n{locations}}}\n"
        ));
    }
    http.push_str("server { listen {two}; return 404; }");
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    check(&http, &requests);
}
