"""Stream transports as objects: their type, what can be done to them, what they say about themselves."""

import asyncio
import gc
import inspect
import re
import socket
import sys
import warnings
import weakref
from asyncio import trsock
from unittest import mock

import pytest
from support.net import Recorder, fill, reset, run, tcp_pair, unix_pair

METHODS = sorted(name for name in dir(asyncio.Transport) if not name.startswith("_"))


def connected(loop, sock, protocol):
    transport, made = run(loop, loop.create_connection(lambda: protocol, sock=sock))
    assert made is protocol
    return transport


def close(transport, turn):
    transport.close()
    turn()


def drop(kept):
    """Empty a list and have the collector free what was in it."""
    kept.clear()
    gc.collect()


# The type.


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_is_a_transport(connect, kind):
    transport = connect(kind=kind).transport
    for base in (
        asyncio.Transport,
        asyncio.ReadTransport,
        asyncio.WriteTransport,
        asyncio.BaseTransport,
    ):
        assert isinstance(transport, base) and issubclass(type(transport), base)
    assert not isinstance(transport, asyncio.DatagramTransport)
    assert transport._start_tls_compatible is True


def test_type_is_a_type(connection):
    assert type(type(connection.transport)) is type
    assert type(connection.transport) is connection.transport.__class__


@pytest.mark.parametrize("name", METHODS)
def test_signatures_are_those_of_the_interface(connection, name):
    declared = inspect.signature(getattr(asyncio.Transport, name)).parameters
    actual = inspect.signature(getattr(type(connection.transport), name)).parameters
    assert [(p.name, p.default) for p in actual.values()] == [(p.name, p.default) for p in declared.values()]


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_documented_and_implemented(connection, name):
    inherited = {"get_extra_info", "writelines"}  # from asyncio's own base classes
    method = getattr(type(connection.transport), name)
    assert name in inherited or method is not getattr(asyncio.Transport, name)
    assert inspect.getdoc(getattr(connection.transport, name))


def test_arguments_by_keyword(connection):
    transport = connection.transport
    transport.write(data=b"a")
    transport.writelines(list_of_data=[b"b"])
    transport.set_write_buffer_limits(high=10, low=5)
    transport.set_protocol(protocol=connection.protocol)
    assert transport.get_extra_info(name="nothing", default=1) == 1
    assert connection.peer.recv(10) == b"ab"


@pytest.mark.parametrize(
    "name, args",
    [
        ("write", ()),
        ("write", (b"a", b"b")),
        ("writelines", ()),
        ("set_protocol", ()),
        ("get_extra_info", ()),
        ("get_extra_info", (1, 2, 3)),
        ("set_write_buffer_limits", (1, 2, 3)),
        ("close", (1,)),
        ("abort", (1,)),
        ("is_closing", (1,)),
        ("pause_reading", (1,)),
        ("get_write_buffer_size", (1,)),
    ],
)
def test_wrong_number_of_arguments(connection, name, args):
    with pytest.raises(TypeError):
        getattr(connection.transport, name)(*args)
    with pytest.raises(TypeError):
        getattr(connection.transport, name)(*args, unknown=1)
    assert not connection.transport.is_closing()


# Attributes.


def test_has_a_dict(connection):
    transport = connection.transport
    transport.anything = 1
    assert transport.anything == 1 and vars(transport)["anything"] == 1
    transport.__dict__["more"] = 2
    assert transport.more == 2
    del transport.anything
    assert not hasattr(transport, "anything")


def test_dict_refers_back_without_harm(connection):
    connection.transport.itself = connection.transport
    connection.transport.protocol = connection.protocol


def test_write_can_be_mocked(connection):
    transport = connection.transport
    with mock.patch.object(transport, "write") as write:
        transport.write(b"to the mock")
        write.assert_called_once_with(b"to the mock")
    transport.write(b"to the peer")
    assert connection.peer.recv(100) == b"to the peer"


def test_method_replaced_on_the_instance(connection):
    transport = connection.transport
    seen = []
    transport.write = seen.append
    transport.write(b"x")
    assert seen == [b"x"]
    del transport.write
    transport.write(b"y")
    assert connection.peer.recv(100) == b"y"


def test_stream_writer_uses_the_method_of_the_instance(loop, connection):
    seen = []
    connection.transport.write = seen.append
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
    writer = asyncio.StreamWriter(connection.transport, protocol, None, loop)
    writer.write(b"x")
    assert seen == [b"x"]
    connection.transport.abort()


def test_transport_is_a_spec_for_mocks(connection):
    spec = mock.Mock(spec=connection.transport)
    assert isinstance(spec, asyncio.Transport)
    spec.write(b"x")
    with pytest.raises(AttributeError):
        spec.no_such_method()
    double = mock.create_autospec(connection.transport, instance=True)
    double.write(b"x")
    double.write.assert_called_once_with(b"x")


def test_identity(connect):
    one, other = connect().transport, connect().transport
    assert one != other and one == one  # noqa: PLR0124
    assert len({one, other, one}) == 2
    assert bool(one) is True


def test_weak_references(connection):
    transport = connection.transport
    assert weakref.ref(transport)() is transport
    assert transport in weakref.WeakSet([transport])


# repr()


def shown(transport):
    match = re.fullmatch(rf"<(?:[\w.]+\.)?{type(transport).__name__} (.*)>", repr(transport))
    return re.sub(r"fd=\d+", "fd=N", match[1])


def test_repr_of_an_open_transport(connection):
    transport = connection.transport
    assert f" fd={transport.get_extra_info('socket').fileno()} " in repr(transport)
    assert shown(transport) == "fd=N read=polling write=<idle, bufsize=0>"


def test_repr_of_a_paused_transport(connection):
    connection.transport.pause_reading()
    assert shown(connection.transport) == "fd=N read=idle write=<idle, bufsize=0>"
    connection.transport.resume_reading()
    assert shown(connection.transport) == "fd=N read=polling write=<idle, bufsize=0>"


def test_repr_with_data_to_send(connection):
    connection.fill()
    size = connection.transport.get_write_buffer_size()
    assert shown(connection.transport) == f"fd=N read=polling write=<polling, bufsize={size}>"


def test_repr_of_a_transport_that_closes(connection, turn):
    transport = connection.transport
    transport.close()
    assert shown(transport) == "closing fd=N read=idle write=<idle, bufsize=0>"
    turn()
    assert shown(transport) == "closed fd=N"


def test_repr_when_the_loop_is_closed(loop):
    left, right = unix_pair()
    kept = [connected(loop, left, Recorder())]
    loop.close()
    assert shown(kept[0]) == "fd=N"
    right.close()
    with pytest.warns(ResourceWarning):
        drop(kept)


# What is known of the connection.


def check_socket_info(transport, sock, fd):
    shared = transport.get_extra_info("socket")
    assert type(shared) is trsock.TransportSocket
    assert shared is transport.get_extra_info("socket")
    assert shared.fileno() == fd == sock.fileno()
    assert (shared.family, shared.type, shared.proto) == (sock.family, sock.type, sock.proto)
    assert shared.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    return shared


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_extra_info_of_tcp(loop, turn, host):
    try:
        left, right = tcp_pair(host)
    except OSError as error:
        pytest.skip(f"no {host}: {error}")
    names = left.getsockname(), left.getpeername()
    transport = connected(loop, left, Recorder())
    assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == names
    shared = check_socket_info(transport, left, left.fileno())
    close(transport, turn)
    assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == names
    assert transport.get_extra_info("socket") is shared
    assert shared.fileno() == left.fileno() == -1
    right.close()


def test_extra_info_of_a_unix_pair(connection):
    assert connection.transport.get_extra_info("sockname") == ""
    assert connection.transport.get_extra_info("peername") == ""


def test_extra_info_of_a_unix_path(loop, turn, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        accepted, _ = server.accept()
        transport = connected(loop, client, Recorder())
        assert transport.get_extra_info("peername") == path
        assert transport.get_extra_info("sockname") == ""
        close(transport, turn)
        transport, _ = run(loop, loop.connect_accepted_socket(Recorder, accepted))
        assert transport.get_extra_info("sockname") == path
        assert transport.get_extra_info("peername") == ""
        close(transport, turn)


def test_extra_info_of_an_abstract_path(loop, turn):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(b"\0fastloop \xff test")
        server.listen()
        client.connect(server.getsockname())
        transport = connected(loop, client, Recorder())
        assert transport.get_extra_info("peername") == b"\0fastloop \xff test"
        close(transport, turn)


@pytest.mark.parametrize("name", ["sslcontext", "ssl_object", "cipher", "nothing", "", "SOCKET", None, 5])
def test_extra_info_that_is_not_there(connection, turn, name):
    transport = connection.transport
    for _ in ["open", "closed"]:
        assert transport.get_extra_info(name) is None
        assert transport.get_extra_info(name, "default") == "default"
        close(transport, turn)


def test_extra_info_of_a_closed_transport(connection, turn):
    shared = connection.transport.get_extra_info("socket")
    connection.transport.abort()
    turn()
    assert connection.transport.get_extra_info("socket") is shared
    assert shared.fileno() == -1


def test_peername_of_who_is_gone_already(loop, turn):
    """The peer of an accepted connection may have closed it before the transport is made."""
    left, right = tcp_pair()
    reset(right)
    protocol = Recorder()
    transport = connected(loop, left, protocol)
    assert transport.get_extra_info("peername") is None
    while not protocol.lost:
        turn()
    assert isinstance(protocol.reason, ConnectionResetError)


# The protocol.


def test_get_protocol(connection):
    assert connection.transport.get_protocol() is connection.protocol
    other = Recorder()
    assert connection.transport.set_protocol(other) is None
    assert connection.transport.get_protocol() is other


def test_protocol_is_known_in_connection_made(connect):
    seen = []
    protocol = Recorder(connection_made=lambda transport: seen.append(transport.get_protocol()))
    connect(protocol)
    assert seen == [protocol]


def test_new_protocol_gets_the_calls(connection, turn):
    other = Recorder()
    connection.transport.set_protocol(other)
    connection.peer.send(b"x")
    turn()
    connection.peer.shutdown(socket.SHUT_WR)
    turn()
    turn()
    assert other.names == ["data_received", "eof_received", "connection_lost"]
    assert connection.protocol.names == ["connection_made"]


def test_set_protocol_between_close_and_connection_lost(connection, turn):
    other = Recorder()
    connection.transport.close()
    connection.transport.set_protocol(other)
    turn()
    assert other.names == ["connection_lost"] and not connection.protocol.lost


def test_set_protocol_while_writing_is_paused(connection):
    connection.fill()
    assert connection.protocol.names[-1] == "pause_writing"
    other = Recorder()
    connection.transport.set_protocol(other)
    connection.drain()
    assert other.names == ["resume_writing"]
    assert connection.protocol.names == ["connection_made", "pause_writing"]


def test_protocol_of_any_type(connection, turn):
    class Duck:
        def __init__(self):
            self.seen = []

        def data_received(self, data):
            self.seen.append(data)

        def connection_lost(self, exc):
            self.seen.append(exc)

    duck = Duck()
    connection.transport.set_protocol(duck)
    connection.peer.send(b"x")
    turn()
    close(connection.transport, turn)
    assert duck.seen == [b"x", None]


def test_protocol_with_methods_in_its_dict(connection, turn):
    """A method replaced on the protocol counts from the next call on."""
    seen = []
    connection.peer.send(b"a")
    turn()
    connection.protocol.data_received = seen.append
    connection.peer.send(b"b")
    turn()
    del connection.protocol.data_received
    connection.peer.send(b"c")
    turn()
    assert seen == [b"b"] and connection.protocol.received == b"ac"


def test_protocol_whose_class_is_changed(connection, turn):
    seen = []

    class Other(Recorder):
        def data_received(self, data):
            seen.append(data)

    connection.peer.send(b"a")
    turn()
    connection.protocol.__class__ = Other
    connection.peer.send(b"b")
    turn()
    Other.data_received = lambda self, data: seen.append(data * 2)
    connection.peer.send(b"c")
    turn()
    assert seen == [b"b", b"cc"] and connection.protocol.received == b"a"


def test_get_protocol_after_the_end(connection, turn):
    close(connection.transport, turn)
    assert connection.transport.get_protocol() is None
    other = Recorder()
    connection.transport.set_protocol(other)
    assert connection.transport.get_protocol() is other
    turn()
    assert other.calls == []


def test_set_protocol_of_nothing(connection):
    connection.transport.set_protocol(None)
    assert connection.transport.get_protocol() is None
    connection.transport.set_protocol(connection.protocol)


# The descriptor belongs to the transport.


@pytest.mark.parametrize("name", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_descriptor_is_the_transports(loop, connection, turn, name):
    fd = connection.transport.get_extra_info("socket").fileno()
    args = (fd, print) if name.startswith("add") else (fd,)
    with pytest.raises(RuntimeError, match=rf"^File descriptor {fd} is used by transport <"):
        getattr(loop, name)(*args)
    connection.peer.send(b"x")
    turn()
    assert connection.protocol.received == b"x"
    connection.transport.close()
    loop.remove_reader(fd)
    turn()
    assert connection.protocol.lost


@pytest.mark.parametrize("name", ["sock_recv", "sock_sendall"])
def test_socket_is_the_transports(loop, turn, name):
    """`loop.sock_*` would wait on the descriptor."""
    left, right = unix_pair()
    transport = connected(loop, left, Recorder())
    fill(left)
    argument = {"sock_recv": 10, "sock_sendall": b"x"}[name]
    with pytest.raises(RuntimeError, match="is used by transport"):
        run(loop, getattr(loop, name)(left, argument))
    right.close()
    close(transport, turn)


def test_descriptor_is_free_afterwards(loop, connection, turn):
    close(connection.transport, turn)
    left, right = unix_pair()
    seen = []
    with left, right:
        loop.add_reader(left, seen.append, 1)
        right.send(b"x")
        turn()
        assert seen == [1] and loop.remove_reader(left) is True


# Memory.


def test_unclosed_transport_warns(loop):
    left, right = unix_pair()
    kept = [connected(loop, left, Recorder())]
    name = type(kept[0]).__name__
    loop.close()
    with pytest.warns(ResourceWarning, match=rf"^unclosed transport <.*{name} ") as warned:
        drop(kept)
    assert len(warned) == 1
    assert left.fileno() == -1 and right.recv(1) == b""
    right.close()


def test_transport_closed_in_time_does_not_warn(loop, turn, recwarn):
    left, right = unix_pair()
    transport = connected(loop, left, Recorder())
    close(transport, turn)
    del transport
    gc.collect()
    right.close()
    assert [w for w in recwarn if w.category is ResourceWarning] == []


def test_open_transport_lives_while_it_reads(loop, turn):
    """Nobody but the loop needs to keep an open transport."""
    left, right = unix_pair()
    protocol = Recorder()
    connected(loop, left, protocol)
    protocol.calls.clear()
    protocol.transport = None
    gc.collect()
    right.send(b"x")
    turn()
    assert protocol.received == b"x"
    right.close()
    turn()
    turn()
    assert protocol.reason is None


def test_end_lets_go_of_everything(loop, turn):
    """A transport that somebody keeps after connection_lost() does not keep the protocol."""
    left, right = unix_pair()
    protocol = Recorder()
    transport = connected(loop, left, protocol)
    close(transport, turn)
    watching = weakref.ref(protocol)
    del protocol
    gc.collect()
    assert watching() is None
    right.close()


def test_closed_transport_is_freed_at_once(impl, loop, turn):
    """No cycle is left for the collector: connections are many."""
    if impl.name == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio's transport kept a bound method of its own")
    gc.collect()
    gc.disable()
    try:
        left, right = unix_pair()
        protocol = Recorder()
        transport = connected(loop, left, protocol)
        right.send(b"x")
        turn()
        close(transport, turn)
        watching = weakref.ref(transport), weakref.ref(protocol)
        protocol.calls.clear()
        protocol.transport = None
        del transport, protocol
        turn()
        assert [reference() for reference in watching] == [None, None]
        right.close()
    finally:
        gc.enable()


def test_cycle_through_an_open_transport_is_collected_with_the_loop(impl):
    loop = impl.new_event_loop()
    left, right = unix_pair()
    protocol = Recorder()
    protocol.transport = transport = connected(loop, left, protocol)
    transport.protocol = protocol
    watching = weakref.ref(transport), weakref.ref(protocol)
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del transport, protocol, loop, left
        gc.collect()
    assert [reference() for reference in watching] == [None, None]
    assert right.recv(1) == b""
    right.close()
