//! Both directions, their bounds and their ends.

use std::cell::Cell;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

fn write(end: &mut End, bytes: &[u8]) -> Poll<io::Result<usize>> {
    end.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(bytes)])
}

fn read(end: &mut End, count: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut into = vec![0; count];
    let read = end.poll_read(&mut Context::from_waker(Waker::noop()), &mut into);
    read.map_ok(|count| into[..count].to_vec())
}

fn ready<T>(poll: Poll<io::Result<T>>) -> Result<T, io::ErrorKind> {
    let Poll::Ready(result) = poll else { panic!("it waits") };
    result.map_err(|error| error.kind())
}

#[test]
fn what_is_written_at_one_end_is_read_at_the_other() {
    let (mut one, mut other) = pipe();
    assert!(read(&mut other, 8).is_pending());
    assert_eq!(ready(write(&mut one, b"hello")), Ok(5));
    assert_eq!(ready(read(&mut other, 3)), Ok(b"hel".to_vec()));
    assert_eq!(ready(write(&mut other, b"back")), Ok(4));
    assert_eq!(ready(read(&mut other, 8)), Ok(b"lo".to_vec()));
    assert_eq!(ready(read(&mut one, 8)), Ok(b"back".to_vec()));
}

#[test]
fn an_end_is_read_after_what_was_written_before_it() {
    for (finish, expected) in [
        (End::finish as fn(&mut End), Ok(Vec::new())),
        (End::reset, Err(io::ErrorKind::ConnectionReset)),
    ] {
        let (mut one, mut other) = pipe();
        ready(write(&mut one, b"last")).unwrap();
        finish(&mut one);
        assert_eq!(ready(read(&mut other, 8)), Ok(b"last".to_vec()));
        assert_eq!(ready(read(&mut other, 8)), expected);
        assert_eq!(ready(write(&mut one, b"more")), Err(io::ErrorKind::BrokenPipe));
    }
}

#[test]
fn who_drops_an_end_is_noticed_on_both_sides() {
    let (mut one, other) = pipe();
    let mut context = Context::from_waker(Waker::noop());
    assert!(one.poll_reset(&mut context).is_pending());
    drop(other);
    assert!(one.poll_reset(&mut context).is_ready());
    assert_eq!(ready(write(&mut one, b"x")), Err(io::ErrorKind::BrokenPipe));
    assert_eq!(ready(read(&mut one, 1)), Err(io::ErrorKind::ConnectionReset));
}

/// Answers once, in capitals, and counts its polls.
async fn answer(mut end: End, polls: Rc<Cell<usize>>) {
    let bytes = std::future::poll_fn(|context| {
        polls.set(polls.get() + 1);
        end.poll_take(context)
    });
    let bytes = bytes.await.unwrap();
    assert_eq!(ready(write(&mut end, &bytes.to_ascii_uppercase())), Ok(bytes.len()));
    end.finish();
}

#[test]
fn what_is_driven_answers_as_soon_as_it_is_read() {
    let (one, other) = pipe();
    let polls = Rc::<Cell<usize>>::default();
    let mut one = one.drive(|| answer(other, Rc::clone(&polls)));
    assert!(read(&mut one, 8).is_pending());
    assert_eq!(ready(write(&mut one, b"hello")), Ok(5));
    assert_eq!(polls.get(), 1, "what is written waits for a flush, or for room");
    assert_eq!(ready(read(&mut one, 8)), Ok(b"HELLO".to_vec()));
    assert_eq!(ready(read(&mut one, 8)), Ok(Vec::new()));
    assert_eq!((polls.get(), Rc::strong_count(&polls)), (2, 1));
}

#[test]
fn what_is_driven_makes_room_and_goes_with_its_end() {
    let (one, other) = pipe();
    let polls = Rc::<Cell<usize>>::default();
    let mut one = one.drive(|| answer(other, Rc::clone(&polls)));
    assert_eq!(ready(write(&mut one, &[b'x'; 2 * BYTES_MAX])), Ok(BYTES_MAX));
    assert_eq!(ready(write(&mut one, b"y")), Err(io::ErrorKind::BrokenPipe), "it read but once");
    assert_eq!(polls.get(), 1);
    let (two, other) = pipe();
    drop(two.drive(|| answer(other, Rc::clone(&polls))));
    assert_eq!(Rc::strong_count(&polls), 1);
}

proptest! {
    #[test]
    fn bytes_come_out_as_they_went_in_and_never_too_many_wait(
        steps in prop::collection::vec((0..40_000_usize, 0..40_000_usize), 1..60),
    ) {
        let (mut one, mut other) = pipe();
        let (mut sent, mut received) = (0_u64, 0_u64);
        let byte = |at: u64| (at % 251) as u8;
        for (write_count, read_count) in steps {
            let bytes: Vec<u8> = (sent..).take(write_count).map(byte).collect();
            if let Poll::Ready(count) = write(&mut one, &bytes) {
                sent += count.unwrap() as u64;
            }
            prop_assert!(sent - received <= BYTES_MAX as u64);
            prop_assert_eq!(one.room() as u64, BYTES_MAX as u64 - (sent - received));
            if read_count > 0 && let Poll::Ready(bytes) = read(&mut other, read_count) {
                for found in bytes.unwrap() {
                    prop_assert_eq!(found, byte(received));
                    received += 1;
                }
            }
        }
    }
}
