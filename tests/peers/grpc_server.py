"""A gRPC server of grpcio: its name as argument, its port as the first line on stdout.

Messages are plain bytes. What happens to a call that hangs is told on stdout too.
"""

import sys
import threading
from concurrent import futures

import grpc

NAME = sys.argv[1].encode()
SERVING = threading.Event()
SERVING.set()


def say(*words):
    print(*words, flush=True)


def unary(request, context):
    left = context.time_remaining()
    soon = left is not None and left < 3600
    context.set_trailing_metadata((("served-by", NAME.decode()), ("deadline", str(soon))))
    return NAME + b":" + request


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b"%d" % sum(int(request) for request in requests)


def both_stream(requests, context):
    for request in requests:
        yield b"<" + request + b">"


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100 % \u00e9")


def hang(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    say("hangs")
    ended.wait(30)
    say("was left")
    return b""


def health(request, context):
    # HealthCheckRequest: field 1 is the service. HealthCheckResponse: field 1 is the status.
    service = request[2:].decode()
    say("asked after", repr(service))
    if service not in ("", "shop.v1.Cart"):
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return bytes([8, 1 if SERVING.is_set() else 2])


def unwell(request, context):
    SERVING.clear()
    return b""


CART = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both_stream),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "Unwell": grpc.unary_unary_rpc_method_handler(unwell),
}

server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((
    grpc.method_handlers_generic_handler("shop.v1.Cart", CART),
    grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(health)}
    ),
))
say(server.add_insecure_port("127.0.0.1:0"))
server.start()
sys.stdin.read()
