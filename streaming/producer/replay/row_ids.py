"""The derived event ids of a recording's rows; pure.

They are a contract with every database that stored them: none of the three forms ever changes.
"""

import struct
from collections import Counter
from collections.abc import Sequence

import msgspec
import polars as pl

from streaming.events.identifiers import derived_id
from streaming.producer.replay.recording import Recording


class RowIds:
    """The event ids of a recording's rows, each event moved by `shift_micros`.

    By the columns of `--id` if there are some, or else by content. `by_row_number` are those of a
    replay that an earlier release began. Slices are asked for in the order of the file, and only
    those without a row that `may_repeat` can be left out: of equal rows each counts.
    """

    def __init__(self, recording: Recording, shift_micros: int, *, by_row_number: bool) -> None:
        frame = recording.frame
        self._recording = recording
        self._shift = shift_micros
        self._by_row_number = by_row_number
        self._counts_rows = not by_row_number and not recording.id_columns
        # Equal contents have these in common. Only such rows are counted, to save memory.
        alike = pl.len().over("time", "raw", "item", "user") > 1
        self._may_repeat = frame.select(alike=alike)["alike"]
        self._repeats: Counter[bytes] = Counter()

    def may_repeat(self, start: int, length: int) -> bool:
        """Return whether the ids of later rows depend on these."""
        return self._counts_rows and self._may_repeat.slice(start, length).any()

    def of_slice(self, start: int, contents: Sequence[bytes]) -> list[str]:
        """Return the ids of the rows from number `start` on, which have `contents`."""
        part = self._recording.frame.slice(start, len(contents))
        if self._recording.id_columns and not self._by_row_number:
            return [column_id(values, self._shift) for values in part["id"].to_list()]
        times = part["time"].to_list()
        if self._by_row_number:
            return [
                row_number_id(self._recording.digest, number, self._shift, micros)
                for number, micros in enumerate(times, start)
            ]
        alike = self._may_repeat.slice(start, len(contents)).to_list()
        return [
            content_id(
                content,
                self._repeat(content) if repeats else 0,
                _shifted_milliseconds(micros, self._shift),
            )
            for content, repeats, micros in zip(contents, alike, times, strict=True)
        ]

    def _repeat(self, content: bytes) -> int:
        """Return how many rows before have this content."""
        repeat = self._repeats[content]
        self._repeats[content] = repeat + 1
        return repeat


def content_id(content: bytes, repeat: int, milliseconds: int) -> str:
    """Derive the id of a row with `content`, the JSON that is sent without an event id.

    `repeat` rows with the same content are before it in the file. So the same row is the same
    purchase in every file that has it. The id sorts by the time of the event as it is sent, in
    `milliseconds` since 1970.
    """
    return derived_id(milliseconds, content + struct.pack(">q", repeat))


def column_id(values: Sequence[str], shift_micros: int) -> str:
    """Derive the id of a row from the `values` of the columns that name it, and the shift.

    It has no time: a row whose time or mapping is corrected stays the same purchase.
    """
    return derived_id(0, msgspec.json.encode([shift_micros, *values]))


def row_number_id(digest: bytes, number: int, shift_micros: int, micros: int | None) -> str:
    """Derive the id that an earlier release gave to row `number` of the file with `digest`.

    `micros` is its time as recorded (None: unreadable, counts as 1970).
    """
    return derived_id(
        _shifted_milliseconds(micros, shift_micros),
        digest + struct.pack(">qq", number, shift_micros),
    )


def _shifted_milliseconds(micros: int | None, shift_micros: int) -> int:
    return 0 if micros is None else (micros + shift_micros) // 1000
