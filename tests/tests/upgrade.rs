//! One process takes over from another under load: no request fails, no connection is refused,
//! WebSockets and calls of gRPC go on in the old process until its drain time is over.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use black_box::calls::{self, Calls};
use black_box::load::{Load, Tally, now, show};
use black_box::{Backend, Client, Echoes, Sample, Setup, eventually, eventually_some, ok};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

/// Longer than any of these tests, so that nothing is cut by it.
const DRAIN: &str = "[door]\nworkers = 2\ndrain = \"120s\"";

/// A route to a server of gRPC, which ends with its runtime.
fn route_of_calls(runtime: &Runtime) -> String {
    let server = calls::serve(runtime);
    format!(
        "[pools.calls]\nservers = [\"{server}\"]\nprotocol = \"http2\"\n\
         [routes.calls]\npath = \"/a.Echo\"\npool = \"calls\""
    )
}

fn upgrades(count: usize) {
    let samples =
        Sample::several(&["one", "two"], &["--service-time", "1ms", "--concurrency", "200"]);
    let addresses: Vec<_> = samples.iter().map(Sample::address).collect();
    let runtime = Runtime::new().expect("a runtime can be made");
    let setup = Setup::at(&addresses).never_overloaded();
    let mut door = setup.more(&route_of_calls(&runtime)).more(DRAIN).start();
    let echoes = Echoes::start(door.first_address(), 20);
    let calls = Calls::start(door.first_address(), 10);
    let load = Load::start(door.first_address(), 400);
    load.pass(200);
    let before = echoes.echoed();
    let (told, answered) = (calls.echoed(), calls.answered());
    for _ in 0..count {
        door.upgrade();
        load.pass(100);
    }
    load.pass(400);
    let echoed = echoes.echoed() - before;
    let (told, answered) = (calls.echoed() - told, calls.answered() - answered);
    assert!(door.retiring() >= 1, "the process with the WebSockets still serves them");
    echoes.finish();
    calls.finish();
    let shots = load.finish();
    let all = Tally::of(&shots);
    show(&format!(
        "{count} upgrades  {}  20 WebSockets echoed {echoed}  10 calls of gRPC echoed {told}, \
         {answered} unary ones were answered",
        all.row()
    ));
    assert_eq!(all.failed, 0, "{:?}", all.causes);
    assert!(echoed > 20 * 20, "the WebSockets went on: {echoed}");
    assert!(told > 10 * 10, "the calls went on: {told}");
    assert!(answered > 10 * 10, "others were made: {answered}");
    eventually("all but the last process have ended", || door.retiring() == 0);
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn upgrades_go_unnoticed() {
    upgrades(5);
}

#[test]
#[ignore = "long: 50 upgrades"]
fn fifty_upgrades_go_unnoticed() {
    upgrades(50);
}

#[test]
fn what_is_in_flight_is_answered_and_its_connection_ends() {
    let backend = Backend::answering(ok("hello"));
    let mut door = Setup::of(&[&backend]).more(DRAIN).start();
    let mut client = Client::to(&door);
    assert_eq!(client.get("/").status, 200);
    door.upgrade();
    // It idles at the old process, which answers it once more, and says that it is the last time.
    let response = client.get("/");
    assert_eq!((response.status, response.headers.get("connection")), (200, Some("close")));
    assert_eq!(Client::to(&door).get("/").headers.get("connection"), None);
    eventually("the old process has ended", || door.retiring() == 0);
}

#[test]
fn a_stream_ends_by_the_drain_time() {
    let samples = Sample::several(&["one"], &[]);
    let drain = "[door]\nworkers = 1\ndrain = \"2s\"";
    let mut door = Setup::at(&[samples[0].address()]).more(drain).start();
    let echoes = Echoes::start(door.first_address(), 1);
    let began = now();
    door.upgrade();
    eventually("the old process has ended", || door.retiring() == 0);
    assert!(began.elapsed() >= Duration::from_secs(2), "its time was not over");
    assert!(door.log().contains("the drain time is over"), "it says so");
    eventually("the WebSocket was cut", || echoes.cut() == 1);
}

#[test]
fn a_call_with_both_sides_open_ends_by_the_drain_time() {
    let (backend, runtime) = (Backend::answering(ok("hello")), Runtime::new().unwrap());
    let drain = "[door]\nworkers = 1\ndrain = \"2s\"";
    let mut door = Setup::of(&[&backend]).more(&route_of_calls(&runtime)).more(drain).start();
    let calls = Calls::start(door.first_address(), 2);
    let began = now();
    door.upgrade();
    assert_eq!(calls.cut(), 2);
    assert!(began.elapsed() >= Duration::from_secs(2), "its time was not over");
    eventually("the old process has ended", || door.retiring() == 0);
}

#[test]
fn what_was_applied_stays_and_changes_go_to_the_new_process() {
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]).more(DRAIN).more("[changes]\nwatch = \"0s\"");
    let mut door = setup.start();
    for round in 1..=3 {
        door.rewrite(&setup.clone().pool(&format!("in_flight_max = {}", 100 + round)).text());
        assert_eq!(door.reload().status, 200);
        eventually("it is decided", || door.status()["change"].is_null());
        door.upgrade();
        assert_eq!(door.status()["generation"], 1 + round, "{}", door.log());
    }
}

#[test]
fn whoever_asks_and_goes_changes_nothing() {
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]);
    let mut door = setup.start();
    for said in ["", "I am something else"] {
        // It is there soon after the listeners are.
        let ask = || UnixStream::connect(door.handover_socket()).ok();
        let mut stream = eventually_some("the door can be taken over", ask);
        let mut lengths = [0; 8];
        stream.read_exact(&mut lengths).unwrap();
        assert_eq!(door.reload().status, 503, "nothing changes meanwhile");
        stream.write_all(said.as_bytes()).unwrap();
        drop(stream);
        eventually("changes are taken again", || door.reload().status == 200);
    }
    assert_eq!(door.log().matches("nobody took over").count(), 2, "{}", door.log());
    assert_eq!(Client::to(&door).get("/").status, 200);
    door.upgrade();
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn nobody_takes_over_while_a_change_is_open() {
    let backend = Backend::answering(ok("hello"));
    let setup = Setup::of(&[&backend]).more("[changes]\nwatch = \"30s\"");
    let door = setup.start();
    door.rewrite(&setup.clone().pool("in_flight_max = 100").text());
    assert_eq!(door.reload().status, 200);
    let socket = format!("--take-over={}", door.handover_socket().display());
    let configuration = door.configuration();
    let finished = black_box::tidegate(&["run", "-c", configuration.to_str().unwrap(), &socket]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("a change is not decided yet"), "{}", finished.stderr);
    assert_eq!(Client::to(&door).get("/").status, 200);
}

#[test]
fn a_signal_starts_the_program_anew() {
    let backend = Backend::answering(ok("hello"));
    let mut door = Setup::of(&[&backend]).start();
    door.signal(Signal::USR2);
    eventually("the old process has ended", || !door.is_running());
    assert_eq!(Client::to(&door).get("/").status, 200);
    let log = door.log();
    let told = log.split("is started to take over process=").nth(1).expect("it tells its id");
    let digits: String = told.chars().take_while(char::is_ascii_digit).collect();
    let new = Pid::from_raw(digits.parse().unwrap()).unwrap();
    kill_process(new, Signal::TERM).unwrap();
    eventually("the new process has ended too", || {
        std::net::TcpStream::connect(door.first_address()).is_err()
    });
}
