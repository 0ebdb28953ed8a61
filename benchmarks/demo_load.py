"""Loads the server of demo_server.py and checks every answer.

    python benchmarks/demo_load.py PORT [AUTHORITY]

Holds many connections, each with one request under way: HTTP, or HTTPS if there is a PEM file with the authority
that has issued the server's certificate.  Prints {requests, seconds, processor_seconds, wrong} as JSON; the processor
time is the server's.  No event loop is used here, so none is favoured.
"""

import json
import selectors
import socket
import ssl
import sys
import time
import urllib.request

CONNECTIONS = 32
REQUESTS = 20_000
WARM_UP = 1000
TIMEOUT = 30.0  # seconds without an answer, after which the server counts as hung


def question(number):
    """The request of that number and the body of its answer."""
    if number % 4:
        first, second = number * 7919, number * 104_729
        head = b"GET /add/%d/%d HTTP/1.1\r\nHost: demo\r\n\r\n" % (first, second)
        return head, b'{"sum": %d}' % (first + second)
    body = b"%d," % number * 200
    head = b"POST /reverse HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body, body[::-1]


class Connection:
    """One connection; ask() sends a request, and answered() is for when there is something to read."""

    def __init__(self, port, context):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.received = b""

    def ask(self, request, answer):
        self.expected = answer
        self.socket.sendall(request)

    def answered(self):
        """Read. None while the answer is not whole, else whether it was right."""
        data = self.socket.recv(65536)  # with TLS a record, which is shorter
        self.received += data
        if not data:
            raise ConnectionError("the server closed a connection")
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or len(body) < content_length(head):
            return None
        self.received = b""
        return head.startswith(b"HTTP/1.1 200 ") and body == self.expected


def content_length(head):
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def load(port, context, requests):
    """Send that many requests, on all connections at once; the number of wrong answers."""
    questions = map(question, range(requests))
    wrong = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(min(CONNECTIONS, requests)):
            connection = Connection(port, context)
            connection.ask(*next(questions))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        while selector.get_map():
            ready = selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError("the server does not answer")
            for key, _ in ready:
                right = key.data.answered()
                if right is None:
                    continue
                wrong += not right
                following = next(questions, None)
                if following:
                    key.data.ask(*following)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    return wrong


def processor_time(port, context):
    """The seconds of processor time that the server has used so far."""
    scheme = "http" if context is None else "https"
    url = f"{scheme}://127.0.0.1:{port}/processor_time"
    with urllib.request.urlopen(url, timeout=TIMEOUT, context=context) as response:
        return json.load(response)


def main():
    port, *authority = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority[0]) if authority else None
    wrong = load(port, context, WARM_UP)
    used = processor_time(port, context)
    begin = time.perf_counter()
    wrong += load(port, context, REQUESTS)
    seconds = time.perf_counter() - begin
    used = processor_time(port, context) - used
    report = {"requests": REQUESTS, "seconds": seconds, "processor_seconds": used, "wrong": wrong}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
