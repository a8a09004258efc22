"""Sessions of the dashboard: what a browser keeps instead of the token.

A session is a signed text with an id, a right and a time. Nothing is stored but the ids of those
that were ended before they expired. Cookies and rights are dealt with in `auth` and `access`.
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from itsdangerous import BadSignature, TimestampSigner

from streaming.system.files import replace_file

SESSION_SECONDS: Final = 12 * 3_600
"""A working day: a session that is stolen, or forgotten on another's machine, ends with it."""
SALT: Final = "purchases.dashboard.session"


@dataclass(frozen=True)
class Sessions:
    """The sessions signed with `key`, in the cookie `cookie`; `ended` is a file of ids."""

    key: str
    cookie: str
    ended: Path

    def start(self, right: int) -> str:
        """Return a new session with a right."""
        return self._signer().sign(f"{secrets.token_hex(8)}-{right}").decode()

    def read(self, session: str) -> int:
        """Return the right of a session; 0 if it is none, has expired or was ended."""
        session_id, right = self._unsign(session)
        return 0 if any(line[0] == session_id for line in self._ended_lines()) else right

    def end(self, session: str) -> None:
        """End a session, in all processes of this home."""
        session_id, _ = self._unsign(session)
        if session_id:
            # Appended, because several processes of a home may end sessions at once, and one write
            # of a line is whole.
            with self.ended.open("a") as file:
                file.write(f"{session_id} {time.time() + SESSION_SECONDS:.0f}\n")

    def forget_expired(self) -> None:
        """Drop the ids of sessions that would have expired by now."""
        lines = self._ended_lines()
        kept = [line for line in lines if line[-1].isdigit() and int(line[-1]) > time.time()]
        if len(kept) < len(lines):
            with replace_file(self.ended) as file:
                file.write("".join(f"{' '.join(line)}\n" for line in kept).encode())

    def _ended_lines(self) -> list[list[str]]:
        try:
            return [line.split() for line in self.ended.read_text().splitlines() if line.strip()]
        except FileNotFoundError:
            return []

    def _unsign(self, session: str) -> tuple[str, int]:
        """Return the id and the right of a session; empty and 0 if it is none."""
        try:
            content = self._signer().unsign(session.encode(), max_age=SESSION_SECONDS).decode()
        except BadSignature:
            return "", 0
        session_id, _, right = content.partition("-")
        return session_id, int(right)

    def _signer(self) -> TimestampSigner:
        return TimestampSigner(self.key, SALT)
