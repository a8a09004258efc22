"""Where the bytes of column files are: a directory of the home, or a bucket that speaks S3.

A name is relative to the directory, or to the bucket's prefix. Which files belong to the history is
in `column_files`, and what is in them in `assets.builds.columns`.
"""

import errno
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from streaming.errors import Unavailable, UsageError
from streaming.settings import PREFIX, Settings
from streaming.system.files import sync_directory
from streaming.system.home import Home

if TYPE_CHECKING:
    from obstore.store import S3Store

OWN_NAME: Final = re.compile(r"day=\d{4}-\d\d-\d\d/[0-9a-f]{32}\.parquet")
"""What a bucket may have beside our files is never touched."""
ARCHIVE_END: Final = "-rows.parquet"
"""The end of the name of a file with whole rows, which is in the directory of a home only."""
CONNECT_SECONDS: Final = "5s"
REQUEST_SECONDS: Final = "30s"
"""A file has at most some ten megabytes."""
RETRIES: Final = 2
"""A run reads rows instead, which is better than to wait for a bucket."""


class ColumnStore(Protocol):
    """The bytes of column files by their names; they are written once and never changed.

    All but `locate` raise `Unavailable` if a bucket does not answer, and `OSError` if a file cannot
    be read or written; `FileNotFoundError` says that there is none.
    """

    @property
    def scan_options(self) -> Mapping[str, Any]:
        """What `polars.scan_parquet` needs beside the places."""
        ...

    def locate(self, names: Iterable[str]) -> list[Path] | list[str]:
        """Return the places of files, for polars."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a new file, which a crash does not undo any more when this returns.

        If it raises, there is no file.
        """
        ...

    def read(self, name: str) -> bytes:
        """Read a file."""
        ...

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        ...

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by its name."""
        ...

    def remove(self, names: Collection[str]) -> None:
        """Remove files, as far as they are there."""
        ...


def has_column_files(settings: Settings) -> bool:
    """Return whether there are column files: one of several hosts has them in a bucket only.

    What is in the directory of a home the other hosts would take for lost.
    """
    return settings.columns_url is not None or not settings.host


def open_column_store(settings: Settings) -> ColumnStore:
    """Return the store of a deployment's column files, without a look at it.

    Raises `UsageError` if a bucket is named and the client of object stores is not installed.
    """
    if settings.columns_url is None:
        return DirectoryStore(Home(settings.home).columns)
    return BucketStore(settings.columns_url)


@dataclass(frozen=True)
class DirectoryStore:
    """Column files in a directory, one below it for each day."""

    directory: Path

    @property
    def scan_options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def locate(self, names: Iterable[str]) -> list[Path] | list[str]:
        """Return the paths."""
        return [self.directory / name for name in names]

    def write(self, name: str, content: bytes) -> None:
        """Write and sync a file and its directory."""
        path = self.directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # Without a draft: no row names the file before this returns.
            with path.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                # The list must never name a file that a power failure can undo.
                os.fsync(file.fileno())
            for below in (path.parent, self.directory):
                sync_directory(below)
        except OSError:
            # The stream needs what is left of a full disk.
            self.remove([name])
            raise

    def read(self, name: str) -> bytes:
        """Read a file."""
        return (self.directory / name).read_bytes()

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        return (self.directory / name).exists()

    def sizes(self) -> dict[str, int]:
        """Return the sizes of all files below the directory."""
        sizes = dict[str, int]()
        for path in self.directory.rglob("*"):
            # A seal may move or remove one meanwhile.
            with suppress(FileNotFoundError):
                if path.is_file():
                    sizes[path.relative_to(self.directory).as_posix()] = path.stat().st_size
        return sizes

    def remove(self, names: Collection[str]) -> None:
        """Remove files that are there, and the directories that are empty then."""
        for name in names:
            (self.directory / name).unlink(missing_ok=True)
        for below in self.directory.iterdir() if self.directory.exists() else ():
            with suppress(OSError):  # a directory that is not empty, or a file
                below.rmdir()


@dataclass(frozen=True)
class BucketStore:
    """Column files as objects below `url`, `s3://bucket` or `s3://bucket/prefix`.

    Credentials, region and endpoint come from the usual variables `AWS_…` of the environment.
    """

    url: str

    @property
    def scan_options(self) -> Mapping[str, Any]:
        """The same limits, and the credentials of the environment."""
        options = {
            "allow_http": "true",
            "connect_timeout": CONNECT_SECONDS,
            "timeout": REQUEST_SECONDS,
            "max_retries": RETRIES,
        }
        # Polars would ask boto3 for credentials, if that happens to be installed.
        return {"storage_options": options, "credential_provider": None}

    def locate(self, names: Iterable[str]) -> list[Path] | list[str]:
        """Return the URLs of the objects. Raises `UsageError` for a file of the archive."""
        return [f"{self.url}/{_require_copy(name)}" for name in names]

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        with self._errors() as bucket:
            import obstore

            obstore.put(bucket, name, content, use_multipart=False)

    def read(self, name: str) -> bytes:
        """Get an object. Raises `UsageError` for a file of the archive."""
        with self._errors() as bucket:
            import obstore

            return bytes(obstore.get(bucket, _require_copy(name)).bytes())

    def has(self, name: str) -> bool:
        """Return whether there is such an object."""
        with suppress(FileNotFoundError), self._errors() as bucket:
            import obstore

            obstore.head(bucket, name)
            return True
        return False

    def sizes(self) -> dict[str, int]:
        """List the objects whose names are those of column files."""
        with self._errors() as bucket:
            import obstore

            objects = [each for part in obstore.list(bucket) for each in part]
        return {each["path"]: each["size"] for each in objects if OWN_NAME.fullmatch(each["path"])}

    def remove(self, names: Collection[str]) -> None:
        """Delete objects, a thousand with one request."""
        with self._errors() as bucket:
            import obstore

            if names:
                obstore.delete(bucket, list(names))

    @contextmanager
    def _errors(self) -> "Iterator[S3Store]":
        """Open the bucket; raise errors of its client as `Unavailable` or `FileNotFoundError`."""
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError as error:
            raise UsageError(
                f"{PREFIX}COLUMNS_URL names a bucket, but its client is not installed:"
                " install purchases[object-store]."
            ) from error
        try:
            yield S3Store.from_url(
                self.url,
                client_options={
                    # The endpoint decides: by itself it is https.
                    "allow_http": True,
                    "connect_timeout": CONNECT_SECONDS,
                    "timeout": REQUEST_SECONDS,
                },
                retry_config={"max_retries": RETRIES},
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        except (BaseError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unavailable(f"The bucket {self.url} does not answer: {reason}.") from error


def _require_copy(name: str) -> str:
    """Return a name. Raises `UsageError` if its file may be the only copy of events."""
    if name.endswith(ARCHIVE_END):
        raise UsageError(
            f"{PREFIX}COLUMNS_URL names a bucket, but {name} is in the directory of this home with"
            " events that are in no row: unset it, or make them rows by `purchases db rebuild`"
            " before it is set."
        )
    return name
