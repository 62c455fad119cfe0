//! The guide to pipelines: every command in it runs as it is written, and fails where it should.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use black_box::{Door, binary, eventually_some};
use serde_json::Value;

const TOKEN: &str = "correct-horse-battery-staple";
const GUIDE: &str = include_str!("../../docs/guides/pipeline.md");
const NGINX: &str = "events {}\nhttp {\n  upstream api {\n    server 127.0.0.1:3001;\n    \
    server 127.0.0.1:3002;\n  }\n  server {\n    listen 127.0.0.1:8080;\n    location / {\n      \
    proxy_pass http://api;\n    }\n  }\n}\n";
const HAPROXY: &str = "defaults\n  mode http\n  timeout connect 3s\n  timeout client 30s\n  \
    timeout server 30s\nfrontend web\n  bind 127.0.0.1:8080\n  default_backend api\nbackend api\n  \
    option httpchk GET /health\n  server a 127.0.0.1:3001 check\n  server b 127.0.0.1:3002 check\n";

/// The commands of the guide: what follows a prompt, a step's `run`, a job's line of `script`, or
/// a hook's `entry`.
fn commands() -> Vec<&'static str> {
    let command = |line: &'static str| {
        let line = line.trim();
        let starts = ["$ ", "run: ", "- ", "entry: "];
        let text = starts.iter().find_map(|start| line.strip_prefix(start))?;
        text.starts_with("tidegate ").then_some(text)
    };
    GUIDE.lines().filter_map(command).collect()
}

/// Runs a command of the guide as a shell in a checkout would.
fn run(command: &str, folder: &Path) -> Output {
    let bin = folder.join("bin");
    Command::new("sh")
        .args(["-ec", command])
        .current_dir(folder)
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("DOOR", fs::read_to_string(folder.join("door")).expect("the checkout has it"))
        .env("TOKEN_FILE", folder.join("token"))
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell")
}

/// A checkout with these files, the binary on the path, and a door to compare with.
fn checkout(tidegate: &str, door: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    fs::create_dir(folder.path().join("bin")).expect("the folder is writable");
    std::os::unix::fs::symlink(binary(), folder.path().join("bin/tidegate"))
        .expect("the folder is writable");
    for (name, text) in [
        ("tidegate.toml", tidegate),
        ("nginx.conf", NGINX),
        ("haproxy.cfg", HAPROXY),
        ("token", TOKEN),
        ("door", door),
    ] {
        fs::write(folder.path().join(name), text).expect("the folder is writable");
    }
    folder
}

/// A sound configuration with this weight of its second server.
fn configuration(weight: u32, folder: &Path) -> String {
    let token = folder.join("token");
    format!(
        "[listen.web]\naddress = \"127.0.0.1:0\"\n\
         [pools.api]\nservers = [\"127.0.0.1:1\", {{ address = \"127.0.0.1:2\", weight = {weight} }}]\n\
         check = {{ path = \"/health\" }}\n\
         [routes.api]\npool = \"api\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\ntoken_file = \"{}\"\n",
        token.display()
    )
}

/// The admin address of a door, from its log.
fn admin_address(door: &Door) -> String {
    eventually_some("the admin address is in the log", || {
        let log = door.log();
        let at = log.lines().find(|line| line.contains("admin") && line.contains("127.0.0.1:"))?;
        let address = at.split("127.0.0.1:").nth(1)?;
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("http://127.0.0.1:{port}"))
    })
}

#[test]
fn every_command_of_the_guide_runs() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("token"), TOKEN).unwrap();
    let door = Door::start(&configuration(1, files.path()));
    let address = admin_address(&door);
    let good = checkout(&configuration(2, files.path()), &address);
    let bad = checkout("[listen.web]\naddres = \"127.0.0.1:0\"\n", &address);

    let commands = commands();
    assert!(commands.len() >= 9, "the guide has commands: {commands:?}");
    for command in commands {
        // Other balancers' files, and the rules themselves, are the same in both folders.
        let of_ours = command.contains("tidegate.toml") || command == "tidegate check";
        let file = if command == "tidegate check" { " tidegate.toml" } else { "" };
        let command = format!("{command}{file}");
        let output = run(&command, good.path());
        // Neither of them has all that the rules ask for.
        let code = if command.contains("nginx.conf") { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
        if of_ours {
            let output = run(&command, bad.path());
            assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        }
    }

    let sarif = fs::read_to_string(bad.path().join("tidegate.sarif")).unwrap();
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(!sarif["runs"][0]["results"].as_array().unwrap().is_empty());
    let junit = fs::read_to_string(bad.path().join("tidegate-junit.xml")).unwrap();
    assert!(junit.starts_with("<?xml") && junit.contains("<failure "), "{junit}");
    let output = run("tidegate check --format github tidegate.toml", bad.path());
    let annotations = String::from_utf8(output.stdout).unwrap();
    assert!(
        annotations.contains("::error file=tidegate.toml,line=2,col=1,title=unknown-key::"),
        "{annotations}"
    );
    let output = run("tidegate check nginx.conf haproxy.cfg", good.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nnginx.conf: ") && text.contains("\nhaproxy.cfg: "), "{text}");
    let command = "tidegate check --against \"$DOOR\" --token-file \"$TOKEN_FILE\" tidegate.toml";
    let output = run(command, good.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("against generation 1:\n") && text.contains("127.0.0.1:2"), "{text}");
}

#[test]
fn misuse_is_told_apart_from_findings() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("token"), TOKEN).unwrap();
    let folder = checkout(&configuration(1, files.path()), "");
    for (command, code, words) in [
        ("tidegate explain", 0, ""),
        ("tidegate explain singel-server", 2, "did you mean `single-server`?"),
        ("tidegate check", 2, "<FILE>"),
        ("tidegate check absent.toml", 2, "absent.toml"),
        ("tidegate check absent.conf --from nginx", 2, "absent.conf"),
        ("tidegate check --against http://127.0.0.1:1 tidegate.toml", 2, "--token-file"),
        ("tidegate check --against door.sock tidegate.toml nginx.conf", 2, "one FILE"),
        ("tidegate check --against door.sock tidegate.toml", 1, "no door answers on door.sock"),
    ] {
        let output = run(command, folder.path());
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{command}: {output:?}");
    }
}
