"""A TLS server and its clients, with streams: who is spoken to, a name that is not in the certificate, and an
upgrade of a connection that began without TLS.  Needs the package trustme, for the certificate.
"""

import asyncio
import ssl

import trustme
from _loop import run

authority = trustme.CA()
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("shop.example").configure_cert(server_context)
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
authority.configure_trust(client_context)

# What is spoken inside of TLS is agreed upon during the handshake.
server_context.set_alpn_protocols(["orders/2", "orders/1"])
client_context.set_alpn_protocols(["orders/1"])


async def take_orders(reader, writer):
    async for line in reader:
        writer.write(b"ordered: " + line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def order(port, name, *things):
    """Connects to whoever is at that port, and insists that its certificate is for that name."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_context, server_hostname=name
    )
    connection = writer.get_extra_info("ssl_object")
    print(
        connection.version(), connection.selected_alpn_protocol(), connection.getpeercert()["subjectAltName"]
    )
    for thing in things:
        writer.write(thing + b"\n")
        print(await reader.readline())
    # TLS connections have no half-close: this says goodbye for both directions.
    writer.close()
    await writer.wait_closed()


async def take_orders_in_private(reader, writer):
    """Speaks plain text until the client wants it otherwise, as mail servers do."""
    while await reader.readline() != b"STARTTLS\n":
        writer.write(b"not here, where everybody listens\n")
    writer.write(b"go ahead\n")
    await writer.start_tls(server_context)
    await take_orders(reader, writer)


async def order_in_private(port, thing):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for line in thing, b"STARTTLS":
        writer.write(line + b"\n")
        print(await reader.readline())
    await writer.start_tls(client_context, server_hostname="shop.example")
    writer.write(thing + b"\n")
    print(await reader.readline())
    writer.close()
    await writer.wait_closed()


async def main():
    async with await asyncio.start_server(take_orders, "127.0.0.1", 0, ssl=server_context) as server:
        port = server.sockets[0].getsockname()[1]
        await order(port, "shop.example", b"tea", b"milk")
        try:
            await order(port, "bank.example", b"money")
        except ssl.SSLCertVerificationError as error:
            print(error.verify_message)

    async with await asyncio.start_server(take_orders_in_private, "127.0.0.1", 0) as server:
        await order_in_private(server.sockets[0].getsockname()[1], b"a ring")


run(main())
