//! Real sockets on loopback, and a child process that inherits one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::*;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Waits until a connection is there, without spinning.
fn accept_next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut waited = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut waited, None).unwrap();
    accept(listener).unwrap()
}

#[test]
fn an_accepted_connection_is_ready_to_use() {
    let listener = bind(loopback(), &ListenOptions::default()).unwrap();
    assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, peer) = accept_next(&listener);
    assert_eq!(peer, client.local_addr().unwrap());
    assert!(server.nodelay().unwrap());
    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "accepted sockets must not block");
    for socket in [rustix::io::fcntl_getfd(&listener), rustix::io::fcntl_getfd(&server)] {
        assert!(socket.unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn defer_accept_waits_for_the_first_bytes() {
    let options =
        ListenOptions { defer_accept: Some(Duration::from_millis(4_500)), ..Default::default() };
    let listener = bind(loopback(), &options).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    client.write_all(b"x").unwrap();
    let (mut server, _peer) = accept_next(&listener);
    let mut byte = [0; 1];
    assert_eq!(server.read(&mut byte).unwrap(), 1);
}

#[test]
fn ipv6_leaves_ipv4_alone() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // This machine has no IPv6: `FamilyOff` or `NotLocal` says so to the user.
    }
    let v6 = bind((Ipv6Addr::UNSPECIFIED, 0).into(), &ListenOptions::default()).unwrap();
    let port = v6.local_addr().unwrap().port();
    let v4 = bind_group((Ipv4Addr::UNSPECIFIED, port).into(), 1, &ListenOptions::default());
    assert_eq!(v4.unwrap().len(), 1);
}

#[test]
fn a_group_shares_one_address_and_the_kernel_spreads() {
    let group = bind_group(loopback(), 3, &ListenOptions::default()).unwrap();
    let address = group[0].local_addr().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(group.len(), 3);
    for listener in &group {
        assert_eq!(listener.local_addr().unwrap(), address);
    }
    let clients: Vec<TcpStream> = (0..96).map(|_| TcpStream::connect(address).unwrap()).collect();
    let counts: Vec<usize> =
        group.iter().map(|listener| std::iter::from_fn(|| accept(listener).ok()).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), clients.len());
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}

#[test]
fn a_second_door_on_the_address_is_refused() {
    let group = bind_group(loopback(), 2, &ListenOptions::default()).unwrap();
    let address = group[0].local_addr().unwrap();
    let error = bind_group(address, 2, &ListenOptions::default()).unwrap_err();
    assert!(matches!(error, ListenError::InUse { address: taken } if taken == address));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: another process already does; find it with \
             `ss -ltnp 'sport = :{}'`, stop it or choose another port",
            address.port()
        )
    );
    drop(group);
    bind_group(address, 2, &ListenOptions::default()).unwrap();
}

#[test]
fn a_restart_does_not_wait_for_closed_connections() {
    let group = bind_group(loopback(), 1, &ListenOptions::default()).unwrap();
    let address = group[0].local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    // The door closes first, so its side stays in TIME_WAIT.
    drop(accept_next(&group[0]));
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop((client, group));
    bind_group(address, 1, &ListenOptions::default()).unwrap();
}

#[test]
fn errors_name_the_remedy() {
    fn check(code: i32, expected: &str) {
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let text = explain(address, "bind", io::Error::from_raw_os_error(code)).to_string();
        assert!(text.contains("192.0.2.1:443") && text.contains(expected), "{text}");
    }
    check(libc::EADDRINUSE, "ss -ltnp");
    check(libc::EACCES, "CAP_NET_BIND_SERVICE");
    check(libc::EADDRNOTAVAIL, "no network interface");
    check(libc::EAFNOSUPPORT, "address family");
    check(libc::EMFILE, "bind failed");

    // TEST-NET-1 is no machine's address.
    let error = bind_group(([192, 0, 2, 1], 0).into(), 1, &ListenOptions::default()).unwrap_err();
    assert!(matches!(error, ListenError::NotLocal { .. }), "{error}");
}

#[test]
fn shares_accept_from_one_queue() {
    let listener = bind(loopback(), &ListenOptions::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let shares = share(listener, 3).unwrap();
    assert_eq!(shares.len(), 3);
    for share in &shares {
        let _client = TcpStream::connect(address).unwrap();
        accept_next(share);
    }
    let one = share(bind(loopback(), &ListenOptions::default()).unwrap(), 0).unwrap();
    assert_eq!(one.len(), 1);
}

/// What the child of [`sockets_are_inherited`] runs; on its own it finds nothing to inherit.
#[test]
fn child_reports_inherited_sockets() {
    let sockets = inherited().unwrap();
    assert!(inherited().unwrap().is_empty(), "only the first call gets them");
    for Inherited { name, socket } in sockets {
        match socket {
            InheritedSocket::Tcp(listener, address) => {
                println!("inherited {name} tcp {address}");
                let (mut stream, _peer) = accept_next(&listener);
                let listener = socket2::SockRef::from(&listener);
                assert!(listener.tcp_nodelay().unwrap() && listener.nonblocking().unwrap());
                stream.write_all(b"served").unwrap();
            }
            InheritedSocket::Unix(_listener, path) => {
                println!("inherited {name} unix {}", path.unwrap().display());
            }
        }
    }
}

/// Runs the test above in a child with `stdin` and `stderr` as descriptors 3 and 4.
fn run_child(tcp: Stdio, unix: Stdio, variables: &str) -> String {
    let script = format!("exec 3<&0 4>&2 2>&1; {variables}; exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "listen::tests::child_reports_inherited_sockets", "--nocapture"])
        .stdin(tcp)
        .stdout(Stdio::piped())
        .stderr(unix)
        .spawn()
        .unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn sockets_are_inherited() {
    // As systemd makes them: blocking, and without SO_REUSEPORT.
    let tcp = TcpListener::bind(loopback()).unwrap();
    let address = tcp.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let output = run_child(
        OwnedFd::from(tcp).into(),
        OwnedFd::from(unix).into(),
        "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin",
    );
    assert!(output.contains(&format!("inherited web tcp {address}")), "{output}");
    assert!(output.contains(&format!("inherited admin unix {}", path.display())), "{output}");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served");
}

#[test]
fn bad_activation_is_refused() {
    let check = |variables: &str, expected: &str| {
        let output = run_child(Stdio::null(), Stdio::null(), variables);
        assert!(output.contains(expected), "{variables}: {output}");
    };
    check("export LISTEN_PID=$$ LISTEN_FDS=1", "descriptor 3 (unknown)");
    check("export LISTEN_PID=$$ LISTEN_FDS=many", "LISTEN_FDS cannot be used");
    check("export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "LISTEN_FDS cannot be used");
    // Meant for another process: nothing to inherit, and no complaint.
    check("export LISTEN_PID=1 LISTEN_FDS=1", "test result: ok. 1 passed");
}

#[test]
fn the_admin_socket_is_private_and_goes_with_its_guard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/tidegate/admin.sock");
    let socket = bind_unix(&path).unwrap();
    let mode = |path: &std::path::Path| {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(socket.path(), path);
    assert_eq!(socket.listener().accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let _client = UnixStream::connect(&path).unwrap();
    socket.listener().accept().unwrap();
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_live_admin_socket_stays_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let live = bind_unix(&path).unwrap();
    assert!(matches!(bind_unix(&path).unwrap_err(), ListenError::UnixInUse { .. }));
    UnixStream::connect(&path).unwrap();

    drop(live);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves a stale socket behind");
    let replaced = bind_unix(&path).unwrap();
    UnixStream::connect(&path).unwrap();

    // Somebody else's socket at the same path is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(replaced);
    UnixStream::connect(&path).unwrap();
    drop(other);
}

#[test]
fn what_is_not_a_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    assert!(matches!(bind_unix(&path).unwrap_err(), ListenError::UnixNotSocket { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    let long = folder.path().join("x".repeat(120));
    let error = bind_unix(&long).unwrap_err();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}
