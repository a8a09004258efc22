"""Whose connection one is, asked of the kernel as the servers do."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from streaming.system.peer_user import peer_user
from tests.store.users import NOBODY, drop_privileges, only_root

HOSTS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@contextmanager
def connect(
    listening: tuple[socket.AddressFamily, str], other: socket.socket, host: str
) -> Iterator[socket.socket]:
    """Connect a socket to one that listens; yield the listener's side."""
    with socket.socket(listening[0]) as listener, other:
        listener.bind((listening[1], 0))
        listener.listen()
        other.connect((host, listener.getsockname()[1]))
        with closing(listener.accept()[0]) as own:
            yield own


@pytest.mark.parametrize(("family", "host"), HOSTS)
def test_it_is_the_user_who_made_the_socket(family: socket.AddressFamily, host: str) -> None:
    """Over both kinds of loopback."""
    with connect((family, host), socket.socket(family), host) as own:
        assert peer_user(own.fileno()) == os.geteuid()


@only_root
@pytest.mark.parametrize(("family", "host"), HOSTS)
def test_another_user_stays_another_after_handing_the_socket_on(
    family: socket.AddressFamily, host: str
) -> None:
    """Here the administrator goes on with a socket that `nobody` made."""
    with drop_privileges():
        made = socket.socket(family)
    with connect((family, host), made, host) as own:
        assert peer_user(own.fileno()) == NOBODY


def test_a_program_with_ipv6_sockets_is_known_on_ipv4() -> None:
    """As Java connects."""
    other = socket.socket(socket.AF_INET6)
    with connect(HOSTS[0], other, "::ffff:127.0.0.1") as own:
        assert peer_user(own.fileno()) == os.geteuid()


def test_whoever_has_left_is_nobody() -> None:
    """By closing, by a half close, or by a reset: the address may be another's by now."""
    for leave in (
        socket.socket.close,
        lambda other: other.shutdown(socket.SHUT_WR),
        lambda other: (
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            or other.close()
        ),
    ):
        other = socket.socket()
        with connect(HOSTS[0], other, "127.0.0.1") as own:
            leave(other)
            assert peer_user(own.fileno()) is None


def test_who_is_no_connection_is_nobody() -> None:
    """A listener, or a closed descriptor."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert peer_user(listener.fileno()) is None
    assert peer_user(-1) is None
