"""The user at the other end of a connection within this machine, as Linux knows it.

What that user may do is in `dashboard.access`.
"""

import os
import socket
import struct
from typing import Final

SOCK_DIAG: Final = 4
"""`NETLINK_SOCK_DIAG`, by which `ss` asks the kernel. It answers for one connection in 0.1 ms;
/proc/net/tcp lists all of the machine, in up to 0.1 s."""
# Linux's numbers: SOCK_DIAG_BY_FAMILY, TCP_ESTABLISHED, NLM_F_REQUEST, INET_DIAG_NOCOOKIE.
BY_FAMILY: Final = 20
ESTABLISHED: Final = 1
REQUEST: Final = 1
NO_COOKIE: Final = 0xFFFFFFFF
KERNEL_SECONDS: Final = 1.0
"""Linux answers before `send` returns; only what imitates it might not."""
HEADER: Final = struct.Struct("=IHHII")
"""Length, type, flags, number and port of a message."""
ENDS: Final = struct.Struct("!HH16s16s")
"""Source port, destination port, and their addresses."""
QUESTION: Final = struct.Struct(f"=BBBxI{ENDS.size}sIII")
"""Family, protocol, extensions, states, ends, interface and cookie."""
ANSWER: Final = struct.Struct(f"=BBBB{ENDS.size}s12xIIIII")
"""Family, state, timer, retransmissions, ends; expiry, both queues, user, inode."""


def peer_user(descriptor: int) -> int | None:
    """Return the id of the user who made the socket at the other end of a TCP connection.

    None if that is not on this machine, is closed, or if the system does not tell, such as any but
    Linux.
    """
    try:
        # Of a copy, because event loops have sockets of their own that remember the other end.
        with socket.socket(fileno=os.dup(descriptor)) as own:
            user = _user_of(own.family, own.getpeername(), own.getsockname())
            # It may have been reset meanwhile, and its address be another user's by now.
            own.getpeername()
    except (OSError, AttributeError):
        return None
    return user


def tells_users() -> bool:
    """Return whether the system tells whose a connection on loopback is."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as own,
    ):
        return peer_user(own.fileno()) == os.geteuid()


def _user_of(family: int, source: tuple[str, int], destination: tuple[str, int]) -> int | None:
    """Return the user of the connected socket with these ends; None if there is none."""
    hosts = (socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (source, destination))
    ends = ENDS.pack(source[1], destination[1], *hosts)
    question = QUESTION.pack(
        family, socket.IPPROTO_TCP, 0, 1 << ESTABLISHED, ends, 0, NO_COOKIE, NO_COOKIE
    )
    header = HEADER.pack(HEADER.size + len(question), BY_FAMILY, REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        kernel.settimeout(KERNEL_SECONDS)
        kernel.send(header + question)
        answer = kernel.recv(8_192)
    if HEADER.unpack_from(answer)[1] != BY_FAMILY:
        return None
    _, state, *_, user, inode = ANSWER.unpack_from(answer, HEADER.size)
    # A socket that its program has closed has no inode, and on older kernels the user 0.
    return int(user) if state == ESTABLISHED and inode != 0 else None
