"""Clients that do not read their answers, or that open more connections than one client needs."""

import socket
import time
from contextlib import ExitStack, suppress

import psutil
import pytest

from testing.servers import Serve, ServerProcess, assert_problem, read_answer, request, wait_until
from tests.integration.conftest import HASTY_S
from tests.integration.uploads import CHUNKED, RAW_WAV

PAGE = request("GET", "/openapi.json")
SMALL_BUFFER = 4096


def impatient(server: ServerProcess) -> socket.socket:
    """Return a connection whose system takes only a few bytes that the client does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    connection.connect(("127.0.0.1", server.port))
    return connection


def open_connections(server: ServerProcess) -> int:
    """Return the number of connections that the server has not given up."""
    found = psutil.Process(server.pid).net_connections()
    return len([each for each in found if each.laddr.port == server.port and each.raddr])


def test_answers_that_nobody_reads_end_their_connections(hasty: ServerProcess) -> None:
    """Whether the client asks once, or for many pages before it reads one; others are answered meanwhile."""
    hasty.client.close()
    wait_until(lambda: open_connections(hasty) == 0)
    with ExitStack() as stack:
        for pages in (1, 40):
            for _ in range(2):
                stack.enter_context(connection := impatient(hasty)).sendall(PAGE * pages)
        start = time.monotonic()
        wait_until(lambda: open_connections(hasty) == 4)
        wait_until(lambda: open_connections(hasty) == 0)
        assert time.monotonic() - start > HASTY_S / 2
        with suppress(ConnectionError):
            connection.sendall(PAGE)
            while connection.recv(65_536):
                pass
    assert hasty.afresh("GET", "/livez").status_code == 200


def test_a_client_that_reads_slowly_gets_its_whole_answer(hasty: ServerProcess) -> None:
    """More slowly than the time of an answer, but on and on."""
    whole = hasty.afresh("GET", "/openapi.json").content
    with impatient(hasty) as connection:
        connection.sendall(PAGE)
        received, start = bytearray(), time.monotonic()
        while not received.endswith(whole[-64:]):
            received += connection.recv(len(whole) // 50)
            time.sleep(0.06)
        assert time.monotonic() - start > HASTY_S
    assert received.endswith(whole)


def own_address() -> str:
    """Return an address of this computer that is not a loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this computer has no network")
        address: str = probe.getsockname()[0]
        return address


def test_connections_of_one_client_are_bounded(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> None:
    """One more gets a 429 of the usual form; when another ends, there is a place; this computer has no limit."""
    home = tmp_path_factory.mktemp("bounded")
    server = serve(home, wait_for="/livez", host="0.0.0.0", max_connections_per_client=3, header_timeout_s=60)
    far = (own_address(), server.port)

    def ask() -> int:
        with socket.create_connection(far) as connection:
            connection.sendall(request("GET", "/livez"))
            return read_answer(connection).status

    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(far)) for _ in range(3)]
        held[1].sendall(request("POST", "/v1/predict", [RAW_WAV, CHUNKED]))
        wait_until(lambda: open_connections(server) >= 3)
        with socket.create_connection(far) as surplus:
            surplus.sendall(request("GET", "/livez"))
            answer = read_answer(surplus)
            assert_problem(answer, 429, "connections_too_many")
            assert int(answer.headers["retry-after"]) >= 1
        with socket.create_connection(far) as silent:
            assert_problem(read_answer(silent), 429, "connections_too_many")
        assert [server.afresh("GET", "/livez").status_code for _ in range(5)] == [200] * 5
        held[0].close()
        wait_until(lambda: ask() == 200)
