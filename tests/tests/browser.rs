//! A browser as it is: headless Chromium loads a page with all that belongs to it through the
//! door, over TLS and HTTP/2, asks for more by `fetch` and talks over a WebSocket.

use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use black_box::certificates::{Authority, Issued, listen};
use black_box::{Backend, Door, Peer, Request, Sample, Setup};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// Pictures on the page: with a limit of six connections, as for HTTP/1.1, they would queue.
const PICTURES: usize = 20;

/// How long a browser may take: it starts many processes, beside all else that runs.
const LOADED_IN: Duration = Duration::from_secs(60);

/// Its script waits for everything, writes into the page what came of it, and says that it is
/// done. The last picture comes only then, and a page counts as loaded with its last picture: so
/// nobody needs to guess when the browser may print it.
const PAGE: &str = r#"<!doctype html>
<title>page</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="data:,">
<script src="/script.js" defer></script>
<pre id="told">nothing</pre>
<div id="pictures"></div>
<img src="/last.svg">
"#;

const SCRIPT: &str = r#"
const told = [];
const pictures = async () => {
  const each = Array.from({ length: 20 }, (_, number) => new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture.naturalWidth);
    picture.onerror = () => reject(new Error("picture " + number));
    picture.src = "/picture.svg?" + number;
    document.getElementById("pictures").append(picture);
  }));
  const widths = await Promise.all(each);
  told.push("pictures " + widths.filter(width => width === 7).length);
};
const style = () => {
  told.push("style " + getComputedStyle(document.getElementById("told")).paddingTop);
};
const post = async () => {
  const sent = new Uint8Array(300000).map((_, index) => index % 251);
  const response = await fetch("/echo", { method: "POST", body: sent });
  const got = new Uint8Array(await response.arrayBuffer());
  const same = got.length === sent.length && got.every((byte, index) => byte === sent[index]);
  told.push("posted " + response.status + " " + got.length + " " + same);
};
const stream = async () => {
  const reader = (await fetch("/stream")).body.getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += new TextDecoder().decode(part.value);
  }
  told.push("streamed " + text);
};
const websocket = () => new Promise((resolve, reject) => {
  const socket = new WebSocket("wss://" + location.host + "/websocket");
  let answers = 0;
  socket.onopen = () => socket.send("message 0");
  socket.onerror = () => reject(new Error("the WebSocket failed"));
  socket.onmessage = event => {
    if (event.data !== "message " + answers) reject(new Error("another message: " + event.data));
    answers += 1;
    if (answers < 50) socket.send("message " + answers); else socket.close(1000);
  };
  socket.onclose = event => {
    told.push("websocket " + answers + " " + event.code);
    resolve();
  };
});
(async () => {
  try {
    await pictures();
    style();
    await post();
    await stream();
    await websocket();
    told.push("all");
  } catch (error) {
    told.push("failed: " + error);
  }
  document.getElementById("told").textContent = told.join("; ");
  await fetch("/done", { method: "POST" });
})();
"#;

const PICTURE: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>"#;

fn answer(peer: &mut Peer, kind: &str, body: &[u8]) {
    let length = body.len();
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ));
    peer.send(body);
}

/// The server of the page and of what belongs to it.
fn site() -> Backend {
    let (done, told) = (Mutex::new(false), Condvar::new());
    Backend::start(move |request: &Request, peer| {
        let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match path {
            "/" => answer(peer, "text/html", PAGE.as_bytes()),
            "/style.css" => answer(peer, "text/css", b"#told { padding-top: 11px }"),
            "/script.js" => answer(peer, "text/javascript", SCRIPT.as_bytes()),
            "/picture.svg" => answer(peer, "image/svg+xml", PICTURE.as_bytes()),
            "/last.svg" => {
                let done = done.lock().unwrap_or_else(PoisonError::into_inner);
                drop(told.wait_timeout_while(done, LOADED_IN, |done| !*done));
                answer(peer, "image/svg+xml", PICTURE.as_bytes());
            }
            "/echo" => answer(peer, "application/octet-stream", &request.body),
            "/stream" => {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                (0..5).for_each(|number| peer.send(format!("1\r\n{number}\r\n")));
                peer.send("0\r\n\r\n");
            }
            "/done" => {
                *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
                told.notify_all();
                answer(peer, "text/plain", b"");
            }
            other => panic!("the browser asked for {other}"),
        }
    })
}

/// A browser with a folder of its own. Dropped, it and all its processes are gone.
struct Browser {
    child: Child,
    printed: Receiver<String>,
    folder: TempDir,
}

impl Browser {
    /// Loads `url`, trusting `certificate` only, to print the page once it is loaded.
    #[track_caller]
    fn load(url: &str, certificate: &Issued) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let errors = std::fs::File::create(folder.path().join("stderr"));
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--disable-breakpad", "--disable-dev-shm-usage"])
            .args(["--no-proxy-server", "--dump-dom"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(format!("--ignore-certificate-errors-spki-list={}", fingerprint(certificate)))
            .arg(url)
            // What it writes beside its profile goes to the same folder.
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.expect("the folder is writable"))
            // A group of its own: the browser is many processes, which end together.
            .process_group(0)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("chromium is missing: `cargo xtask test` installs it")
            }
            Err(error) => panic!("chromium cannot be run: {error}"),
        };
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let (to, printed) = sync_channel(1);
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(stdout.read_to_end(&mut bytes));
            drop(to.send(String::from_utf8_lossy(&bytes).into_owned()));
        });
        Self { child, printed, folder }
    }

    /// The page, when it is loaded.
    #[track_caller]
    fn page(&self) -> String {
        let printed = self.printed.recv_timeout(LOADED_IN);
        printed.unwrap_or_else(|_| panic!("the page is not loaded: {}", self.errors()))
    }

    fn errors(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// The hash of a certificate's public key, by which Chromium can be told to trust it.
fn fingerprint(certificate: &Issued) -> String {
    let key = rcgen::KeyPair::try_from(certificate.key.as_slice()).expect("a key is a key");
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    STANDARD.encode(digest(&SHA256, &public))
}

/// A door with TLS before the site and, for WebSockets, a server that echoes.
fn door(site: &Backend, echo: &Sample, certificate: &Issued, lines: &str) -> Door {
    let echo = echo.address();
    Setup::of(&[site])
        .listen(&listen(&[certificate], ""))
        .listen(lines)
        .more(&format!("[pools.echo]\nservers = [\"{echo}\"]"))
        .more("[routes.echo]\npath = \"/websocket\"\npool = \"echo\"")
        .more("[telemetry]\naccess_log = { file = \"{dir}/access\" }")
        .start()
}

#[track_caller]
fn check(lines: &str, protocol: &str) {
    let (site, echo) = (site(), Sample::start("echo", &[]));
    let authority = Authority::new();
    let certificate = authority.issue("site", &["localhost"]);
    let door = door(&site, &echo, &certificate, lines);
    let url = format!("https://localhost:{}/", door.first_address().port());
    let browser = Browser::load(&url, &certificate);
    let page = browser.page();
    let told = format!(
        "pictures {PICTURES}; style 11px; posted 200 300000 true; streamed 01234; \
         websocket 50 1000; all"
    );
    assert!(page.contains(&told), "{page}\n{}", browser.errors());
    drop(browser);
    // The page, its style, its script, its pictures and the last, four requests and the WebSocket.
    let log = door.access_lines(PICTURES + 8);
    let spoken = format!("\"protocol\":\"{protocol}\"");
    assert!(log.iter().all(|line| line.contains(&spoken)), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("\"target\":\"/websocket\"")), "{log:#?}");
    assert!(!door.log().contains("panicked"));
}

#[test]
fn a_browser_loads_a_page_over_http_2() {
    check("", "HTTP/2");
}

#[test]
fn a_browser_loads_a_page_over_http_1_1() {
    check("http2 = false", "HTTP/1.1");
}
