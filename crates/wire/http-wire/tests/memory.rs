//! A warmed connection allocates nothing: heads, scanner and decoder reuse their memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use http_wire::{
    ChunkDecoder, ChunkLimits, HeadLimits, HeadScanner, Method, RequestHead, ResponseHead,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

#[expect(unsafe_code, reason = "counting allocations takes an allocator; it only passes calls on")]
// SAFETY: every call goes to `System` unchanged; counting touches no memory that it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` ran.
fn allocations_of(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn nothing_is_allocated_once_warm() {
    let request =
        b"POST /%61/../b%2f;c?d=e HTTP/1.1\r\nHost: a.example\r\nConnection: x, close\r\nX: y\r\n\
        User-Agent: z\r\nTransfer-Encoding: chunked\r\n\r\n";
    let response =
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\nServer: x\r\n\r\n";
    let body = b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n";
    let limits = HeadLimits::default();
    let (mut request_head, mut response_head) = (RequestHead::default(), ResponseHead::default());
    let (mut scanner, mut decoder) =
        (HeadScanner::default(), ChunkDecoder::new(ChunkLimits::default()));
    let mut turn = || {
        scanner.reset();
        assert_eq!(scanner.scan(request, &limits), Ok(Some(request.len())));
        assert_eq!(request_head.parse(request, &limits), Ok(()));
        assert_eq!(response_head.parse(response, &limits, Method::Get), Ok(()));
        decoder.reset();
        let mut arrived = *body;
        assert!(decoder.decode(&mut arrived).is_ok_and(|decoded| decoded.finished));
    };
    assert!(allocations_of(&mut turn) > 0, "the counter counts");
    assert_eq!(allocations_of(&mut turn), 0, "the second turn reuses what the first took");
}
