//! A drill that ends in any way, also by SIGKILL, leaves no process, no folder and no fault behind.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use black_box::{Client, Sample, binary, eventually};
use rehearsal::fault::watchdog::{Undo, Watchdog, WatchdogError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// A child of this process that does nothing, with its current folder there.
fn idle(folder: &Path) -> Child {
    let mut command = Command::new("sleep");
    command.arg("1000").current_dir(folder).stdin(Stdio::null());
    // Nobody must wait for the end of this test's output because of it.
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sleep can be run")
}

fn end_process(child: &Child) -> Undo {
    Undo::EndProcess { pid: child.id(), group: false }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has an id");
    kill_process(pid, signal).expect("the process runs");
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().expect("an own process can be looked at").is_none()
}

/// The processes that stand in this folder or name it, and the folders of drills inside it.
fn left_behind(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().expect("the folder is there");
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
        let stands =
            fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if stands || words.contains(&folder.display().to_string()) {
            left.push(format!("{} {words}", entry.file_name().display()));
        }
    }
    let inside = fs::read_dir(&folder).expect("the folder is there").flatten();
    let names = inside.map(|entry| entry.file_name().display().to_string());
    left.extend(names.filter(|name| name.starts_with("tidegate-drill-")));
    left
}

#[test]
fn a_drill_that_ends_leaves_nothing() {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let drill = folder.path().join("tidegate-drill-one");
    fs::create_dir(&drill).expect("the folder is writable");
    let mut children = [idle(&drill), idle(folder.path()), idle(folder.path())];
    runtime().block_on(async {
        let watchdog = Watchdog::start(&binary(), folder.path()).await.expect("it starts");
        watchdog.lease(Undo::RemoveFolder { path: drill }, None).await.expect("a lease");
        let released = watchdog.lease(end_process(&children[1]), None).await.expect("a lease");
        watchdog.lease(end_process(&children[2]), None).await.expect("a lease");
        // Ctrl-C and a terminal that goes away reach the drill; the watchdog outlives both.
        for name in [Signal::INT, Signal::TERM, Signal::HUP] {
            signal(watchdog.pid(), name);
        }
        assert!(watchdog.release(released).await.expect("the watchdog answers"));
        assert!(!watchdog.release(released).await.expect("the watchdog answers"));
        watchdog.end().await.expect("everything is undone");
    });
    assert!(!is_running(&mut children[0]) && !is_running(&mut children[2]));
    assert!(is_running(&mut children[1]), "it was released");
    children[1].kill().expect("an own process can be killed");
    children[1].wait().expect("an own process can be awaited");
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
}

#[test]
fn without_a_watchdog_nothing_is_broken() {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let mut child = idle(folder.path());
    runtime().block_on(async {
        let missing = Watchdog::start(Path::new("/nowhere/tidegate"), folder.path()).await;
        assert!(matches!(missing, Err(WatchdogError::Start(..))), "{missing:?}");
        let useless = Watchdog::start(Path::new("/bin/true"), folder.path()).await;
        assert!(matches!(useless, Err(WatchdogError::Gone)), "{useless:?}");
        let watchdog = Watchdog::start(&binary(), folder.path()).await.expect("it starts");
        let outside = Undo::RemoveFolder { path: "/tmp/../tidegate-drill-x".into() };
        let refused = watchdog.lease(outside, None).await;
        assert!(matches!(refused, Err(WatchdogError::Refused(_))), "{refused:?}");
        signal(watchdog.pid(), Signal::KILL);
        let gone = watchdog.lease(end_process(&child), None).await;
        assert!(matches!(gone, Err(WatchdogError::Gone)), "{gone:?}");
    });
    assert!(is_running(&mut child));
    child.kill().expect("an own process can be killed");
    child.wait().expect("an own process can be awaited");
}

/// What a drill does, in a process of its own: this test file once more, started by the tests
/// below. They write where the application to break listens into the current folder.
#[test]
#[ignore = "a part of other tests, which kill it"]
fn the_drill_that_is_killed() {
    let Ok(address) = fs::read_to_string("application") else { return };
    let address: SocketAddr = address.parse().expect("an address");
    let scratch = std::env::current_dir().expect("there is a current folder");
    let folder = scratch.join("tidegate-drill-killed");
    runtime().block_on(async {
        let watchdog = Watchdog::start(&binary(), &scratch).await.expect("it starts");
        let lease = async |undo| watchdog.lease(undo, None).await.expect("a lease");
        lease(Undo::RemoveFolder { path: folder.clone() }).await;
        fs::create_dir(&folder).expect("the folder is writable");
        fs::write(folder.join("file"), "data").expect("the folder is writable");
        let settings = json!({ "healthy": true });
        lease(Undo::SetSample { address, settings }).await;
        Client::connect(address).ask(control(r#"{"healthy": false}"#));
        let mut children = Vec::new();
        for _ in 0..5 {
            let child = idle(&folder);
            lease(end_process(&child)).await;
            children.push(child);
        }
        lease(Undo::Continue { pid: children[0].id() }).await;
        signal(children[0].id(), Signal::STOP);
        // Started, and never leased: killed in between.
        children.push(idle(&folder));
        fs::write("broken", "").expect("the folder is writable");
        std::future::pending::<()>().await;
    });
}

fn control(change: &str) -> String {
    format!(
        "POST /_control HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{change}",
        change.len()
    )
}

/// The process that a drill runs in.
fn drill(application: &Sample) -> (TempDir, Child) {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    fs::write(folder.path().join("application"), application.address().to_string())
        .expect("the folder is writable");
    let own = std::env::current_exe().expect("a process knows its file");
    let drill = Command::new(own)
        .args(["--ignored", "--exact", "the_drill_that_is_killed"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this file can be run");
    (folder, drill)
}

fn is_healthy(application: &Sample) -> bool {
    let settings = Client::connect(application.address())
        .ask("GET /_control HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let settings: Value = serde_json::from_str(&settings.text()).expect("settings are JSON");
    settings["healthy"] == json!(true)
}

#[test]
fn a_drill_killed_with_everything_broken_leaves_nothing() {
    let application = Sample::start("one", &[]);
    let (folder, mut drill) = drill(&application);
    eventually("everything is broken", || folder.path().join("broken").exists());
    assert!(!is_healthy(&application));
    assert!(left_behind(folder.path()).len() >= 8, "{:?}", left_behind(folder.path()));
    drill.kill().expect("an own process can be killed");
    drill.wait().expect("an own process can be awaited");
    eventually("nothing is left behind", || left_behind(folder.path()).is_empty());
    assert!(is_healthy(&application));
}

#[test]
fn a_drill_killed_at_any_moment_leaves_nothing() {
    let application = Sample::start("one", &[]);
    for moment_ms in [1, 5, 10, 20, 30, 40, 60, 100] {
        let (folder, mut drill) = drill(&application);
        std::thread::park_timeout(Duration::from_millis(moment_ms));
        drill.kill().expect("an own process can be killed");
        drill.wait().expect("an own process can be awaited");
        eventually("nothing is left behind", || left_behind(folder.path()).is_empty());
        assert!(is_healthy(&application), "killed after {moment_ms} ms");
    }
}
