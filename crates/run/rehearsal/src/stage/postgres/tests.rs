//! A real cluster: started, asked, ended, and gone.

use std::path::Path;

use model::drill::Database;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::Postgres;

/// A client and the task that moves its bytes.
async fn connect(url: &str) -> Result<(Client, JoinSet<()>), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    Ok((client, driver))
}

#[tokio::test]
async fn a_cluster_serves_refuses_and_ends_without_a_trace() {
    let scratch = tempfile::tempdir().unwrap();
    // As deep as a drill's folder may be.
    let folder = scratch.path().join("stage");
    std::fs::create_dir(&folder).unwrap();
    let database = Database { connections_max: 10, rows: 1_000 };
    let postgres = Postgres::start(&folder, &database).unwrap();
    let pid = postgres.pid();
    assert!(postgres.address().ip().is_loopback());

    let mut clients = Vec::new();
    let refused = loop {
        match connect(&postgres.url()).await {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
        assert!(clients.len() <= 10, "max_connections does not count");
    };
    assert_eq!(refused.code().map(|code| code.code()), Some("53300"));
    assert_eq!(clients.len(), 7, "three places are reserved");
    let row = clients[0].0.query_one("SELECT count(*) FROM orders", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1_000);
    let (operator, _driver) = connect(&postgres.operator_url()).await.unwrap();
    let row = operator.query_one("SHOW max_connections", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "10");

    // With its clients still connected.
    postgres.end();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!folder.join("cluster").exists());
    assert_eq!(segments_of(pid), 0);
}

/// System V shared memory that a process created.
fn segments_of(pid: u32) -> usize {
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let creator = |line: &&str| line.split_whitespace().nth(4) == Some(&pid.to_string());
    segments.lines().filter(creator).count()
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let cluster = scratch.path().join("cluster");
    std::fs::create_dir(&cluster).unwrap();
    let why = Postgres::start(scratch.path(), &Database { connections_max: 10, rows: 0 });
    assert!(why.unwrap_err().contains("exists"));
    assert!(cluster.exists());
}
