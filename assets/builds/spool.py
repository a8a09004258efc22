"""Frames of a large partition in files, because its events are read more than once.

What is read from the frames is in `assets.tables`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import polars as pl


@contextmanager
def spool(frames: Iterator[pl.LazyFrame], directory: Path) -> Iterator[list[pl.LazyFrame]]:
    """Make frames readable more than once: a single one in memory, several from files.

    The directory is emptied first, and removed at the end: each run has one of its own.
    """
    start = [frame.collect().lazy() for frame in islice(frames, 1)]
    # Most partitions are one frame, which needs no file: only a second one says that there are
    # more.
    second = next(frames, None)
    if second is None:
        yield start
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        yield [
            _write(frame, directory / f"{number}.parquet")
            for number, frame in enumerate(chain([*start, second], frames))
        ]
    finally:
        shutil.rmtree(directory)


def _write(frame: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    # LZ4 writes three times as fast as zstd, and the file lives for seconds.
    frame.collect().write_parquet(path, compression="lz4")
    return pl.scan_parquet(path, low_memory=True)
