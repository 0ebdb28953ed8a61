"""What the tests of several folders share: sockets, TLS, servers, addresses, pipes, random programs."""
