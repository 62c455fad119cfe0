"""A gRPC client of grpcio: the address of the door and what to do as arguments, results as JSON."""

import json
import sys
import threading

import grpc

channel = grpc.insecure_channel(sys.argv[1])


def text(call):
    """What came of a call."""
    try:
        return [message.decode() for message in call]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def unary(method, message, **more):
    try:
        response, call = channel.unary_unary(f"/shop.v1.Cart/{method}").with_call(message, **more)
        trailers = {key: value for key, value in call.trailing_metadata()}
        return [response.decode(), trailers.get("served-by"), trailers.get("deadline")]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def both():
    """Sends a message only when the one before was answered."""
    answered = threading.Semaphore(1)

    def messages():
        for number in range(5):
            answered.acquire(timeout=10)
            yield b"%d" % number

    received = []
    for message in channel.stream_stream("/shop.v1.Cart/Both")(messages(), timeout=20):
        received.append(message.decode())
        answered.release()
    return received


def shapes():
    numbers = (b"%d" % number for number in range(1000))
    large = b"x" * 3_000_000
    return {
        "unary": unary("Unary", b"hello", timeout=20),
        "empty": unary("Unary", b""),
        "large": len(unary("Unary", large)[0]),
        "server": text(channel.unary_stream("/shop.v1.Cart/ServerStream")(b"5")),
        "many": len(text(channel.unary_stream("/shop.v1.Cart/ServerStream")(b"20000"))),
        "client": text([channel.stream_unary("/shop.v1.Cart/ClientStream")(numbers)]),
        "both": both(),
        "fail": unary("Fail", b""),
        "unknown": unary("None", b"")[0],
    }


def pause():
    """Is silent for a second in the middle of a call."""
    answered = threading.Event()

    def messages():
        yield b"before"
        answered.wait(10)
        threading.Event().wait(1)
        yield b"after"

    received = []
    for message in channel.stream_stream("/shop.v1.Cart/Both")(messages(), timeout=20):
        received.append(message.decode())
        answered.set()
    return received


def late():
    return unary("Hang", b"", timeout=0.5)


def many():
    """Calls, some at the same time, over one connection; who served them."""
    method = channel.unary_unary("/shop.v1.Cart/Unary")
    served = {}
    for _ in range(100):
        calls = [method.future(b"") for _ in range(3)]
        for call in calls:
            name = call.result().decode().split(":")[0]
            served[name] = served.get(name, 0) + 1
    return served


def one():
    return unary("Unary", b"hello")


def unwell():
    return unary("Unwell", b"")


def leave():
    call = channel.unary_unary("/shop.v1.Cart/Hang").future(b"")
    sys.stdin.readline()
    call.cancel()
    return call.cancelled()


print(json.dumps(globals()[sys.argv[2]]()))
