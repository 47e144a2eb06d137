"""One version of the service: llama.cpp's own server with a random model, and in front of it a relay of ours, which
behaves as it is told. Prints the relay's port when both serve.

The relay passes events on one by one, as the server writes them, and can
- delay the first event with content (`first`, seconds) and pace the others (`pace`, seconds),
- ask the server for longer answers (`tokens`),
- do harm to a share of the answers (`share`, 0 to 1), by `fault`: `silent` stops after the event that names the role,
  `stall` after a few tokens, where `break` ends the answer as HTTP requires but without `[DONE]`, and `cut` closes the
  connection."""

import http.client
import http.server
import json
import pathlib
import random
import sys
import threading
import time

import xllamacpp

import model

HARMLESS = {"first": 0.05, "pace": 0.01, "tokens": None, "fault": None, "share": 0.0}
BEFORE_FAULT = 3  # tokens
behavior = dict(HARMLESS)
luck = random.Random(int(sys.argv[2]))


def serve_model(path):
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel, params.n_ctx = 16, 16 * model.CONTEXT
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    return xllamacpp.Server(params)


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port = 0

    def do_PUT(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        behavior.update(HARMLESS | told)
        self.answer(200, {"content-length": "0"})

    def do_POST(self):
        now = dict(behavior)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if now["tokens"]:
            asked["max_tokens"] = now["tokens"]
        if luck.random() >= now["share"]:
            now["fault"] = None
        server = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        try:
            server.request("POST", self.path, json.dumps(asked), {"content-type": "application/json"})
            given = server.getresponse()
            self.answer(given.status, {"content-type": given.headers["content-type"], "transfer-encoding": "chunked"})
            self.stream(given, now)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # The client left.
        finally:
            server.close()

    def stream(self, given, now):
        tokens, fault = 0, now["fault"]
        for event in events(given):
            if b'"content":"' in event:
                time.sleep(now["pace"] if tokens else now["first"])
                tokens += 1
            if fault and tokens > (0 if fault == "silent" else BEFORE_FAULT):
                return self.fail(fault)
            if b"[DONE]" in event:
                # In one write with the end: the openai library hangs up when it has seen this event, and what a client
                # leaves early isn't read to its end.
                self.wfile.write(chunk(event) + chunk(b""))
                return
            self.wfile.write(chunk(event))
        self.wfile.write(chunk(b""))

    def fail(self, fault):
        self.close_connection = True
        if fault == "break":
            self.wfile.write(chunk(b""))
        elif fault != "cut":
            self.connection.settimeout(60)
            self.rfile.read(1)  # Until the client has left.

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(given):
    """Each event with the blank line that ends it."""
    event = b""
    for line in given:
        event += line
        if line in (b"\n", b"\r\n"):
            yield event
            event = b""
    if event:
        yield event


class RelayServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


work, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
weights = work / f"model-{seed}.gguf"
model.write(weights, seed)
llama = serve_model(weights)
Relay.server_port = int(llama.listening_address.rsplit(":", 1)[1])
relay = RelayServer(("127.0.0.1", 0), Relay)
print(relay.server_address[1], flush=True)
relay.serve_forever()
