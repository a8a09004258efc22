"""The bytes of a file as they are to be read: from standard input, unpacked, and in UTF-8.

What the bytes say is read in `files`.
"""

import gzip
import hashlib
import sys
import zipfile
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final

from streaming.errors import UsageError

STANDARD_INPUT: Final = Path("-")
PARQUET_MAGIC: Final = b"PAR1"
GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = b"PK\x03\x04"
ADDRESSES: Final = frozenset({"http:", "https:"})
UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
UTF_8_MARK: Final = b"\xef\xbb\xbf"
SEPARATOR_LINE: Final = b"sep="
"""Begins a line above the names that Excel writes for itself; the names show the separator too."""
WORKBOOK: Final = "xl/workbook.xml"
"""What a zip file has that Excel wrote."""
HEAD_BYTES: Final = 64 * 1024
"""Longer than a first line, which has the names and the separator."""
UTF_8: Final = "utf-8"


@dataclass(frozen=True)
class FileContent:
    """A file as it is to be read.

    `content` is its path if it can be read where it is, or else its bytes. `digest` is the SHA-256
    of the file itself, packed or not.
    """

    digest: bytes
    head: bytes
    content: Path | bytes
    is_workbook: bool = False

    def read(self) -> bytes:
        """Return the bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def open_content(path: Path, encoding: str) -> FileContent:
    """Open a file, or standard input if it is called `-`.

    gzip is unpacked, a zip file too if it holds one file, and text is brought to UTF-8; UTF-16
    shows by its mark. Excel's line `sep=;` above the names is left out. Raises `UsageError` if it
    cannot be read, unpacked or decoded.
    """
    if path.parts and path.parts[0] in ADDRESSES:
        raise UsageError("A file at an address is not read; download it, and name the copy.")
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read()
            raw = FileContent(hashlib.sha256(data).digest(), data[:HEAD_BYTES], data)
        else:
            with path.open("rb") as file:
                # Of the file as it is, packed or not: the digest names the checkpoint.
                digest = hashlib.file_digest(file, "sha256").digest()
                file.seek(0)
                raw = FileContent(digest, file.read(HEAD_BYTES), path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if raw.head.startswith(ZIP_MAGIC):
        unpacked = _unzip(path, raw.read())
        if unpacked is None:
            # It stays packed: whatever reads workbooks unpacks them.
            return replace(raw, is_workbook=True)
        raw = replace(raw, head=unpacked[:HEAD_BYTES], content=unpacked)
    elif raw.head.startswith(GZIP_MAGIC):
        unpacked = _gunzip(path, raw.read())
        raw = replace(raw, head=unpacked[:HEAD_BYTES], content=unpacked)
    if encoding == UTF_8 and raw.head.startswith(UTF_16_MARKS):
        # Not if another encoding was named, in which a text may begin with these bytes.
        encoding = "utf-16"
    if encoding != UTF_8 and not raw.head.startswith(PARQUET_MAGIC):
        text = _decode(path, raw.read(), encoding)
        raw = replace(raw, head=text[:HEAD_BYTES], content=text)
    if raw.head.removeprefix(UTF_8_MARK).lower().startswith(SEPARATOR_LINE):
        text = raw.read().partition(b"\n")[2]
        raw = replace(raw, head=text[:HEAD_BYTES], content=text)
    return raw


def _gunzip(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise _unpacking_error(path, error) from None


def _unzip(path: Path, data: bytes) -> bytes | None:
    """Return the one file that a zip file holds; None if Excel wrote it."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            if WORKBOOK in archive.namelist():
                return None
            # macOS adds what it knows of each file in a folder of its own.
            names = [
                name
                for name in archive.namelist()
                if not name.endswith("/") and not name.startswith("__MACOSX/")
            ]
            if len(names) != 1:
                raise UsageError(
                    f"{path} holds {len(names)} files; unpack it, and give them one by one."
                )
            return archive.read(names[0])
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _unpacking_error(path, error) from None


def _unpacking_error(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} cannot be unpacked: {error}. Copy it again.")


def _decode(path: Path, data: bytes, encoding: str) -> bytes:
    try:
        return data.decode(encoding).encode()
    except UnicodeError as error:
        raise UsageError(f"{path} is no text in {encoding} ({error}); name --encoding.") from None
