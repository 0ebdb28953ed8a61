"""TLSEngine, bytes in and bytes out: both ways of passing data, against each other and against Python's SSLObject."""

import contextlib
import ctypes
import gc
import itertools
import os
import ssl
import subprocess
import sys
import weakref

import pytest
import trustme
from fastloop._fastloop import TLSEngine
from hypothesis import given
from hypothesis import strategies as st
from support.properties import checked
from support.subinterpreters import RUN_IN_NEW_INTERPRETER
from support.tls import Library

NAME = "server.example"
BIG = bytes(range(256)) * 4000
NEEDS_DIRECT = pytest.mark.skipif(TLSEngine.refusal() is not None, reason=str(TLSEngine.refusal()))
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue_cert(NAME)


@pytest.fixture
def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["1.2", "1.3"])
def version(request, server_context):
    """The version of TLS that the two sides will agree on."""
    server_context.minimum_version = server_context.maximum_version = VERSIONS[request.param]
    return f"TLSv{request.param}"


class Plain:
    """The interface of TLSEngine, over an SSLObject and two MemoryBIOs: what Python itself does."""

    def __init__(self, sslcontext, server_side=False, server_hostname=None, session=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object = sslcontext.wrap_bio(
            self.incoming, self.outgoing, server_side, server_hostname, session
        )
        self.feed = self.incoming.write
        self.feed_eof = self.incoming.write_eof
        self.output = self.outgoing.read
        self.direct = False
        self.held = 0

    def _try(self, method, *args):
        try:
            return method(*args)
        except ssl.SSLWantReadError:
            return None

    def handshake(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl_object.do_handshake()
            return True
        return False

    def shutdown(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl_object.unwrap()
            return True
        return False

    def read(self, size):
        return self._try(self.ssl_object.read, size)

    def receive(self, data):
        self.feed(data)
        return self.read(len(data) + 16384)

    def write(self, data):
        return self._try(self.ssl_object.write, data) or 0


def direct(*args, **options):
    return TLSEngine(*args, direct=True, **options)


def python(*args, **options):
    return TLSEngine(*args, direct=False, **options)


ENGINES = [pytest.param(direct, id="direct", marks=NEEDS_DIRECT), pytest.param(python, id="python")]


@pytest.fixture(params=ENGINES)
def engine(request):
    """The class under test: TLSEngine with data passing in one of the two ways."""
    return request.param


@pytest.fixture(params=[*ENGINES, pytest.param(Plain, id="SSLObject")])
def peer(request):
    """The class at the other end."""
    return request.param


def carry(source, target):
    """Move all output of one side to the other. Return its number of bytes."""
    size = 0
    while data := source.output():
        target.feed(data)
        size += len(data)
    return size


def shake_hands(*sides):
    """Complete the handshake of two sides; both may get what the other sends after its own."""
    done = [False, False]
    while not all(done):
        for i, side in enumerate(sides):
            done[i] = done[i] or side.handshake()
            carried = carry(side, sides[1 - i])
        assert carried or any(done)
    return sides


@pytest.fixture
def connect(server_context, client_context):
    """A function that returns a client and a server, connected."""

    def connect(client_class, server_class=None, **client_options):
        client = client_class(client_context, server_hostname=NAME, **client_options)
        server = (server_class or client_class)(server_context, server_side=True)
        return shake_hands(client, server)

    return connect


def drain(side, size=65536):
    """Return all plaintext there is."""
    parts = []
    while data := side.read(size):
        parts.append(data)
    return b"".join(parts)


def facts(error):
    """What tells one exception from another, without the address of certificates."""
    return (
        type(error),
        error.args,
        *(
            getattr(error, name, None)
            for name in ("errno", "strerror", "reason", "library", "verify_code", "verify_message")
        ),
    )


def failure(function, *args):
    """Return the facts of the exception that the function raises."""
    with pytest.raises(Exception) as info:
        function(*args)
    return facts(info.value)


# -- connecting and data -------------------------------------------------------------------------------


def test_data_passes_in_both_directions(engine, peer, connect, version):
    client, server = connect(engine, peer)
    assert client.ssl_object.version() == version
    for source, target in ((client, server), (server, client), (client, server)):
        assert source.write(b"some data") == 9
        carry(source, target)
        assert target.read(100) == b"some data"
        assert target.read(100) is None


def test_the_engine_may_be_the_server(engine, peer, connect, version):
    client, server = connect(peer, engine)
    assert server.write(BIG) == len(BIG)
    carry(server, client)
    assert drain(client) == BIG
    assert client.write(b"answer")
    assert server.receive(client.output()) == b"answer"


def test_much_data_passes(engine, connect, version):
    client, server = connect(engine)
    assert client.write(BIG) == len(BIG)
    received = []
    while piece := client.output(50_000):
        received.append(server.receive(piece) or b"")
    assert b"".join(received) == BIG


def test_plaintext_may_be_read_in_small_pieces(engine, connect):
    client, server = connect(engine)
    client.write(BIG[:40_000])
    carry(client, server)
    assert [server.read(15_000), server.read(15_000), server.read(15_000), server.read(1)] == [
        BIG[:15_000],
        BIG[15_000:30_000],
        BIG[30_000:40_000],
        None,
    ]


def test_what_was_lent_may_be_overwritten_afterwards(engine, connect):
    client, server = connect(engine)
    client.write(b"one")
    client.write(b"two")
    data = bytearray(client.output())
    server.feed(data)
    data[:] = bytes(len(data))
    assert drain(server) == b"onetwo"


def test_data_that_comes_with_the_last_message_of_the_handshake(engine, server_context, client_context):
    client = engine(client_context, server_hostname=NAME)
    server = engine(server_context, server_side=True)
    client.handshake()
    carry(client, server)
    server.handshake()
    carry(server, client)
    assert client.handshake()
    client.write(b"early")
    carry(client, server)
    assert server.handshake()
    assert server.read(100) == b"early"


def test_output_is_taken_bit_by_bit_while_more_is_written(engine, connect):
    client, server = connect(engine)
    received = []
    for i in range(200):
        client.write(BIG[i * 1000 : i * 1000 + 1000])
        received.append(server.receive(client.output(700)) or b"")
    while piece := client.output(100_000):
        received.append(server.receive(piece) or b"")
    assert b"".join(received) == BIG[:200_000]


@checked(25)
@given(
    writes=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    pieces=st.lists(st.integers(1, 20_000), min_size=1, max_size=6),
    size=st.integers(1, 70_000),
    lend=st.booleans(),
)
def test_any_split_gives_the_same_plaintext(engine, peer, connect, writes, pieces, size, lend):
    client, server = connect(engine, peer)
    for source, target in ((client, server), (server, client)):
        sent = b"".join(BIG[:length] for length in writes)
        for length in writes:
            assert source.write(BIG[:length]) == length
        received = []
        sizes = itertools.cycle(pieces)
        while stream := bytearray(source.output(next(sizes))):
            if lend:
                received.append(target.receive(stream) or b"")
            else:
                target.feed(stream)
            stream[:] = bytes(len(stream))
            received.append(drain(target, size))
        assert b"".join(received) == sent


# -- the end --------------------------------------------------------------------------------------------


def test_close_notify_is_exchanged(engine, peer, connect, version):
    client, server = connect(engine, peer)
    client.write(b"last words")
    assert client.shutdown() is False
    carry(client, server)
    assert [server.read(100), server.read(100), server.read(100)] == [b"last words", b"", b""]
    assert server.shutdown() is True
    carry(server, client)
    assert client.shutdown() is True


def test_data_can_be_read_after_the_own_close_notify(engine, connect):
    client, server = connect(engine)
    server.write(b"was under way")
    client.shutdown()
    carry(server, client)
    assert client.read(100) == b"was under way"


def test_close_notify_after_the_own_one(engine, connect):
    client, server = connect(engine)
    client.shutdown()
    carry(client, server)
    server.shutdown()
    carry(server, client)
    assert client.read(100) == b""
    assert client.read(100) == b""


def test_data_before_an_end_without_close_notify_is_delivered(engine, connect, version):
    client, server = connect(engine)
    client.write(b"data")
    carry(client, server)
    server.feed_eof()
    assert server.read(100) == b"data"
    with pytest.raises(ssl.SSLEOFError):
        server.read(100)


def test_data_before_garbage_is_delivered(engine, connect, version):
    client, server = connect(engine)
    client.write(b"data")
    assert server.receive(client.output() + b"garbage" * 100) == b"data"
    with pytest.raises(ssl.SSLError):
        server.read(100)
    assert server.output()  # an alert


# -- exceptions: the same as Python's ------------------------------------------------------------------


def eof(_client, server):
    server.feed_eof()
    return server.read, 100


def eof_in_a_record(client, server):
    client.write(b"data")
    server.feed(client.output()[:-1])
    assert server.read(100) is None
    server.feed_eof()
    return server.read, 100


def garbage(_client, server):
    server.feed(b"GET / HTTP/1.1\r\n\r\n")
    return server.read, 100


def damaged_record(client, server):
    client.write(b"data")
    data = bytearray(client.output())
    data[-1] ^= 1
    server.feed(data)
    return server.read, 100


def oversized_record(client, server):
    client.write(b"data")
    server.feed(client.output()[:3] + b"\xff\xff" + bytes(0xFFFF))
    return server.read, 100


def alert_of_the_peer(client, server):
    client.feed(b"garbage garbage")
    failure(client.read, 100)
    carry(client, server)
    return server.read, 100


def read_again_after_a_failure(client, server):
    function, argument = damaged_record(client, server)
    failure(function, argument)
    return function, argument


def write_after_a_failure(client, server):
    function, argument = damaged_record(client, server)
    failure(function, argument)
    return server.write, b"data"


def write_after_the_peers_failure(client, server):
    function, argument = alert_of_the_peer(client, server)
    failure(function, argument)
    return server.write, b"data"


def write_after_shutdown(_client, server):
    server.shutdown()
    return server.write, b"data"


def shutdown_twice(_client, server):
    server.shutdown()
    server.feed_eof()
    return (server.shutdown,)


def shutdown_with_data_unread(client, server):
    client.write(b"data")
    carry(client, server)
    return (server.shutdown,)


def client_hello_without_protection(_client, server):
    server.feed(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
    return server.read, 100


FAILURES = [
    eof,
    eof_in_a_record,
    garbage,
    damaged_record,
    oversized_record,
    alert_of_the_peer,
    read_again_after_a_failure,
    write_after_a_failure,
    write_after_the_peers_failure,
    write_after_shutdown,
    shutdown_twice,
    shutdown_with_data_unread,
    client_hello_without_protection,
]


@pytest.mark.parametrize("provoke", FAILURES)
def test_exceptions_are_pythons_own(engine, connect, version, provoke):
    client, server = connect(engine)
    plain_client, plain_server = connect(Plain)
    function, *args = provoke(client, server)
    plain_function, *plain_args = provoke(plain_client, plain_server)
    assert failure(function, *args) == failure(plain_function, *plain_args)
    assert len(server.output()) == len(plain_server.output())


@pytest.mark.parametrize("provoke", FAILURES)
def test_a_failure_leaves_no_error_for_the_next_connection(engine, connect, provoke):
    client, server = connect(engine)
    function, *args = provoke(client, server)
    failure(function, *args)
    other_client, other_server = connect(engine)
    other_client.write(b"data")
    assert other_server.receive(other_client.output()) == b"data"
    assert other_server.read(1) is None


# -- handshakes -----------------------------------------------------------------------------------------


def handshake_failure(*sides):
    """Return the facts of the exception that ends a handshake, and which side has raised it."""
    for _ in range(10):
        for i, side in enumerate(sides):
            try:
                side.handshake()
            except Exception as error:
                return i, facts(error)
            carry(side, sides[1 - i])
    return None


def test_wrong_host_name(engine, server_context, client_context, version):
    def attempt(kind):
        client = kind(client_context, server_hostname="wrong.example")
        return handshake_failure(client, kind(server_context, server_side=True))

    side, found = attempt(engine)
    assert (side, found) == attempt(Plain)
    assert found[0] is ssl.SSLCertVerificationError
    assert "wrong.example" in found[-1]


def test_unknown_authority(engine, server_context, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def attempt(kind):
        client = kind(context, server_hostname=NAME)
        return handshake_failure(client, kind(server_context, server_side=True))

    assert attempt(engine) == attempt(Plain)
    assert attempt(engine)[1][0] is ssl.SSLCertVerificationError


def test_expired_certificate(engine, authority, client_context, version):
    import datetime

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    authority.issue_cert(NAME, not_after=yesterday).configure_cert(context)

    def attempt(kind):
        client = kind(client_context, server_hostname=NAME)
        return handshake_failure(client, kind(context, server_side=True))

    assert attempt(engine) == attempt(Plain)
    assert "expired" in attempt(engine)[1][-1]


def test_no_version_in_common(engine, server_context, client_context):
    server_context.minimum_version = ssl.TLSVersion.TLSv1_3
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2

    def attempt(kind):
        client = kind(client_context, server_hostname=NAME)
        return handshake_failure(client, kind(server_context, server_side=True))

    assert attempt(engine) == attempt(Plain)
    assert attempt(engine)[1][0] is ssl.SSLError


@pytest.mark.parametrize("size", [0, 1, 5, 100])
def test_a_handshake_cut_short(engine, server_context, client_context, size):
    def attempt(kind):
        client, server = kind(client_context, server_hostname=NAME), kind(server_context, server_side=True)
        client.handshake()
        server.feed(client.output()[:size])
        server.feed_eof()
        return failure(server.handshake)

    assert attempt(engine) == attempt(Plain)
    assert attempt(engine)[0] is ssl.SSLEOFError


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" + bytes(70_000)]
)
def test_garbage_instead_of_a_handshake(engine, server_context, data):
    def attempt(kind):
        server = kind(server_context, server_side=True)
        server.feed(data)
        return failure(server.handshake)

    assert attempt(engine) == attempt(Plain)


def test_alpn(engine, server_context, client_context, connect, version):
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    client_context.set_alpn_protocols(["http/1.1"])
    for side in connect(engine):
        assert side.ssl_object.selected_alpn_protocol() == "http/1.1"


def test_client_certificate(engine, authority, server_context, client_context, connect, version):
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    authority.issue_cert("client.example").configure_cert(client_context)
    client, server = connect(engine)
    client.write(b"data")
    carry(client, server)
    assert server.read(10) == b"data"
    names = server.ssl_object.getpeercert()["subjectAltName"]
    assert names == (("DNS", "client.example"),)


def test_a_missing_client_certificate(engine, peer, authority, server_context, client_context, version):
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)

    def attempt(kind, other):
        client, server = other(client_context, server_hostname=NAME), kind(server_context, server_side=True)
        side, found = handshake_failure(client, server)
        carry(server, client)
        return (
            side,
            found,
            failure(
                client.read if version == "TLSv1.3" else client.handshake,
                *((100,) if version == "TLSv1.3" else ()),
            ),
        )

    assert attempt(engine, engine) == attempt(peer, peer)


def test_a_session_is_used_again(engine, connect, server_context, client_context, version):
    client, server = connect(engine)
    server.write(b"data")  # in TLS 1.3 the tickets come before it
    carry(server, client)
    assert client.read(100) == b"data"
    session = client.ssl_object.session
    assert session.has_ticket
    again = engine(client_context, server_hostname=NAME, session=session)
    shake_hands(again, engine(server_context, server_side=True))
    assert again.ssl_object.session_reused


def test_a_client_asked_for_its_certificate_later(engine, authority, server_context, client_context, connect):
    server_context.minimum_version = ssl.TLSVersion.TLSv1_3
    server_context.post_handshake_auth = client_context.post_handshake_auth = True
    server_context.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(server_context)
    client, server = connect(engine)
    authority.issue_cert("client.example").configure_cert(client_context)
    server.ssl_object.verify_client_post_handshake()
    server.write(b"who?")
    carry(server, client)
    assert client.read(100) == b"who?"
    client.write(b"me")
    carry(client, server)
    assert server.read(100) == b"me"


# -- what comes in the middle of data, provoked through OpenSSL itself ----------------------------------


def attempt(function, *args):
    """Return what the function returns, or the facts of its exception; a SSLWantReadError counts as None."""
    try:
        return function(*args)
    except ssl.SSLWantReadError:
        return None
    except Exception as error:
        return facts(error)


@NEEDS_DIRECT
def test_the_server_asks_for_another_handshake(engine, peer, connect, server_context):
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2
    client, server = connect(engine, peer)
    library = Library(server)
    assert [library.SSL_renegotiate(), library.SSL_do_handshake()] == [1, 1]
    carry(server, client)
    assert client.read(100) is None
    assert client.write(BIG) == 0
    for _ in range(3):
        carry(client, server)
        assert server.read(100) is None
        carry(server, client)
        assert client.read(100) is None
    assert client.write(BIG) == len(BIG)
    carry(client, server)
    assert drain(server) == BIG


@NEEDS_DIRECT
def test_the_client_asks_for_another_handshake(engine, connect, server_context):
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2

    def results(kind):
        client, server = connect(kind)
        library = Library(client)
        yield [library.SSL_renegotiate(), library.SSL_do_handshake()]
        for _ in range(2):
            yield carry(client, server)
            yield attempt(server.read, 100)
            yield carry(server, client)
            yield attempt(client.read, 100)

    assert list(results(engine)) == list(results(Plain))


@NEEDS_DIRECT
@pytest.mark.parametrize("answer", [False, True], ids=["one-sided", "mutual"])
def test_new_keys(engine, peer, connect, answer):
    client, server = connect(engine, peer)
    for source, target in ((client, server), (server, client)) * 2:
        assert Library(source).SSL_key_update(int(answer)) == 1
        assert source.write(b"data")
        carry(source, target)
        assert target.read(100) == b"data"
        assert target.write(b"answer")
        carry(target, source)
        assert source.read(100) == b"answer"


# -- callbacks ------------------------------------------------------------------------------------------


def test_sni_callback_swaps_the_context(engine, authority, server_context, client_context, version):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(other)
    seen = []

    def choose(sslobject, name, context):
        seen.append((sslobject is server.ssl_object, name, context is server_context))
        sslobject.context = other

    server_context.sni_callback = choose
    client = engine(client_context, server_hostname="other.example")
    server = engine(server_context, server_side=True)
    shake_hands(client, server)
    assert seen == [(True, "other.example", True)]
    client.write(b"data")
    carry(client, server)
    assert server.read(100) == b"data"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sni_callback_raises(engine, server_context, client_context, version):
    def fail(*args):
        raise LookupError

    server_context.sni_callback = fail

    def attempt(kind):
        client = kind(client_context, server_hostname=NAME)
        return handshake_failure(client, kind(server_context, server_side=True))

    assert attempt(engine) == attempt(Plain)
    assert attempt(engine)[0] == 1


def test_sni_callback_calls_the_engine(engine, server_context, client_context):
    errors = []

    def call(*args):
        for method in (
            server.handshake,
            server.shutdown,
            server.feed_eof,
            server.output,
            lambda: server.feed(b"data"),
            lambda: server.read(1),
            lambda: server.write(b"data"),
            lambda: server.receive(b"data"),
        ):
            with pytest.raises(RuntimeError) as info:
                method()
            errors.append(str(info.value))

    server_context.sni_callback = call
    client, server = engine(client_context, server_hostname=NAME), engine(server_context, server_side=True)
    shake_hands(client, server)
    assert set(errors) == {"the TLS engine is in a call already"}


def test_sni_callback_drops_the_engine(engine, server_context, client_context):
    def drop(*args):
        servers.clear()
        gc.collect()

    server_context.sni_callback = drop
    client, servers = engine(client_context, server_hostname=NAME), [engine(server_context, server_side=True)]
    client.handshake()
    carry(client, servers[0])
    assert servers[0].handshake() is False
    assert servers == []


def test_keylog_file(engine, server_context, connect, tmp_path, version):
    path = tmp_path / "keys"
    server_context.keylog_filename = str(path)
    client, server = connect(engine if engine is python else TLSEngine)
    client.write(b"data")
    carry(client, server)
    assert server.read(100) == b"data"
    assert not server.direct
    assert path.read_text().count("\n") >= 2


def test_message_callback(engine, client_context, server_context):
    messages = []

    def note(sslobject, direction, *args):
        messages.append(direction)

    client_context._msg_callback = note
    client = (engine if engine is python else TLSEngine)(client_context, server_hostname=NAME)
    server = engine(server_context, server_side=True)
    shake_hands(client, server)
    assert not client.direct
    before = len(messages)
    server.write(b"data")
    carry(server, client)
    assert client.read(100) == b"data"
    assert messages[before:]
    client_context._msg_callback = None


# -- rules ----------------------------------------------------------------------------------------------


def test_data_has_to_wait_for_the_handshake(engine, client_context):
    client = engine(client_context, server_hostname=NAME)
    for method, argument in ((client.read, 1), (client.write, b"data"), (client.receive, b"data")):
        with pytest.raises(RuntimeError, match="handshake is not done"):
            method(argument)


def test_arguments_are_pythons(engine, client_context, server_context):
    with pytest.raises(ValueError, match="server_hostname"):
        engine(client_context, server_hostname="")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_TLS_SERVER"):
        engine(server_context, server_hostname=NAME)
    with pytest.raises(AttributeError):
        engine(None)


def test_read_needs_a_size(engine, connect):
    client, _ = connect(engine)
    for size in (0, -1):
        with pytest.raises(ValueError, match="size must be positive"):
            client.read(size)


@NEEDS_DIRECT
def test_this_python_is_known():
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert TLSEngine(client_context, server_hostname=NAME).direct


def test_the_environment_forces_the_way():
    program = (
        "import ssl; from fastloop._fastloop import TLSEngine\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "print(TLSEngine(context, server_hostname='a').direct, TLSEngine.refusal())\n"
        "try: TLSEngine(context, server_hostname='a', direct=True)\n"
        "except RuntimeError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FASTLOOP_TLS": "python"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "False FASTLOOP_TLS=python",
        "OpenSSL is not called directly: FASTLOOP_TLS=python",
    ]


@NEEDS_DIRECT
def test_other_classes_are_left_to_python(client_context):
    class Object(ssl.SSLObject):
        pass

    client_context.sslobject_class = Object
    assert not TLSEngine(client_context, server_hostname=NAME).direct
    with pytest.raises(RuntimeError, match="not for this SSLContext"):
        direct(client_context, server_hostname=NAME)


@NEEDS_DIRECT
def test_renegotiating_clients_are_left_to_python(server_context):
    server_context.options |= 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION
    assert not TLSEngine(server_context, server_side=True).direct


@NEEDS_DIRECT
@pytest.mark.skipif(sys.version_info < (3, 12), reason="as in test_subinterpreters.py")
def test_subinterpreters_have_a_library_each(certificate, tmp_path):
    path = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    work = f"""
import os, ssl
from fastloop._fastloop import TLSEngine
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain({str(path)!r})
client_context = ssl._create_unverified_context()
for _ in range(3):
    client, server = TLSEngine(client_context, direct=True), TLSEngine(server_context, True, direct=True)
    while not (client.handshake() & server.handshake()):
        server.feed(client.output())
        client.feed(server.output())
    client.write(b"hello")
    assert server.receive(client.output()) == b"hello"
os.write(1, b"done\\n")
"""
    run = RUN_IN_NEW_INTERPRETER[min(sys.version_info[:2], (3, 14))]
    program = f"{run}\nwork = {work!r}\nexec(work); run(work); run(work); exec(work)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.stdout, result.stderr) == ("done\n" * 4, "")


# -- memory ---------------------------------------------------------------------------------------------


def test_an_idle_engine_holds_no_memory(engine, connect, version):
    sides = connect(engine)
    assert sides[0].read(1) is None  # tickets
    for _ in range(3):
        assert [side.held for side in sides] == [0, 0]
        for source, target in (sides, reversed(sides)):
            source.write(BIG)
            source.write(b"more")
            carry(source, target)
            drain(target)


def test_a_part_of_a_record_is_held_by_openssl(engine, connect):
    client, server = connect(engine)
    client.write(b"data")
    data = client.output()
    for byte in data[:-1]:
        assert server.receive(bytes([byte])) is None
        assert server.held == 0
    assert server.receive(data[-1:]) == b"data"


def test_the_ssl_object_outlives_its_engine(engine, connect):
    client, server = connect(engine)
    client.write(b"never sent")
    server.write(b"data")
    carry(server, client)
    assert client.read(100) == b"data"
    sslobject = client.ssl_object
    del client
    gc.collect()
    assert sslobject.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLWantReadError):
        sslobject.read(10)
    assert sslobject.write(b"nobody gets this") == 16
    with pytest.raises(ssl.SSLWantReadError):
        sslobject.unwrap()


def test_nothing_is_left_of_an_engine(engine, connect):
    client, server = connect(engine)
    references = [weakref.ref(side.ssl_object) for side in (client, server)]
    client.write(b"not taken")
    del client, server
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_an_engine_in_a_cycle_is_collected(engine, client_context):
    client = engine(client_context, server_hostname=NAME)
    reference = weakref.ref(client.ssl_object)
    client.ssl_object.engine = client
    del client
    gc.collect()
    assert reference() is None


class Mallinfo2(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def allocated():
    """Return the bytes in use on the C heap (0 where the C library does not tell) and Python's blocks."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", lambda: Mallinfo2())
    mallinfo.restype = Mallinfo2
    gc.collect()
    info = mallinfo()
    return info.uordblks + info.hblkhd, sys.getallocatedblocks()


def test_engines_made_and_dropped_leave_no_memory(engine, connect):
    def use(times):
        for _ in range(times):
            client, server = connect(engine)
            client.write(BIG[:20_000])
            assert server.receive(client.output())
            client.write(BIG[:20_000])
            server.feed(client.output(10_000))
            client.shutdown()

    use(50)
    before = allocated()
    use(100)
    after = allocated()
    assert after[0] - before[0] < 100 * 100  # bytes for each pair
    assert after[1] - before[1] < 50
