"""The options of `replay` that say how a file is written; pure."""

import codecs
from dataclasses import dataclass, replace
from typing import Final

from streaming.errors import UsageError
from streaming.producer.replay.contents import UTF_8
from streaming.producer.replay.presets import PRESETS
from streaming.settings import is_time_zone

TABS: Final = {"tab": "\t", "\\t": "\t"}


@dataclass(frozen=True)
class FileFormat:
    """How a file is written, as far as it does not show it itself.

    `delimiter` None is the one that makes most columns of the first line. `decimal` is the sign
    before decimals, whose counterpart then groups thousands; None is the one that the numbers show.
    `date_format` is a format of `strftime`, None the forms of `timestamps`. `day_first` says what
    `3/4/2024` is, `timezone` is that of times without an offset (None: the deployment's), and
    `preset` is the system that wrote the file.
    """

    delimiter: str | None = None
    encoding: str = UTF_8
    decimal: str | None = None
    date_format: str | None = None
    day_first: bool | None = None
    timezone: str | None = None
    preset: str | None = None

    def options(self) -> dict[str, str]:
        """Return the options that differ from the default, by name."""
        order = {None: None, True: "--day-first", False: "--month-first"}[self.day_first]
        given = {
            "--preset": self.preset,
            "--delimiter": self.delimiter,
            "--encoding": None if self.encoding == UTF_8 else self.encoding,
            "--decimal": self.decimal,
            "--date-format": self.date_format,
            "--timezone": self.timezone,
        }
        return {option: value for option, value in given.items() if value is not None} | (
            {order: ""} if order else {}
        )


def read_format(form: FileFormat) -> FileFormat:
    """Return the form that options name. Raises `UsageError` for one that makes no sense."""
    delimiter = form.delimiter and TABS.get(form.delimiter, form.delimiter)
    if delimiter is not None and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'
    ):
        raise UsageError(f"--delimiter {delimiter} must be one character, such as ';', or tab.")
    if form.decimal not in {None, ",", "."}:
        raise UsageError(f"--decimal {form.decimal} must be a comma or a point.")
    if form.date_format is not None and "%" not in form.date_format:
        raise UsageError(
            f"--date-format {form.date_format} names no part of a time; write such as"
            " '%d.%m.%Y %H:%M'."
        )
    if form.preset is not None and form.preset not in PRESETS:
        raise UsageError(f"--preset {form.preset} is not known; take {', '.join(PRESETS)}.")
    if form.timezone is not None and not is_time_zone(form.timezone):
        raise UsageError(
            f"--timezone {form.timezone} must be an IANA time zone, such as Europe/London."
        )
    return replace(form, delimiter=delimiter, encoding=_encoding(form.encoding))


def _encoding(name: str) -> str:
    try:
        # Python also has codecs of bytes, such as `hex`, which only encoding refuses.
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise UsageError(
            f"--encoding {name} is not known; take utf-8, latin-1, cp1252 or utf-16."
        ) from None
