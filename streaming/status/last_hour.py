"""The last hour of both apps: how many records they read a second, and how far they lagged.

Sampled from the workers' status files, so that no broker is asked, and a database only for other
hosts. What is not sampled because nobody served it, as before a start, is not known.
"""

import time
from collections import deque
from typing import Final

from msgspec import Struct

from streaming.apps import APPS
from streaming.settings import Settings
from streaming.status.hosts import read_app_of_hosts

SAMPLE_SECONDS: Final = 10.0
"""A sample reads the status files of both apps, or with several hosts the database."""
SAMPLES: Final = 360
"""An hour of them."""


class AppSample(Struct, frozen=True):
    """An app at a moment: records read a second, and its lag in records and seconds."""

    app: str
    in_per_second: float
    lag_records: int
    lag_seconds: float


class Sample(Struct, frozen=True):
    """Both apps at a moment, in epoch seconds."""

    at: int
    apps: tuple[AppSample, ...]


class LastHour(Struct, frozen=True):
    """The samples of the last hour, oldest first."""

    samples: tuple[Sample, ...]


Samples = deque[Sample]


def new_samples() -> Samples:
    """Return an empty series, which forgets what is older than an hour."""
    return deque(maxlen=SAMPLES)


def add_sample(settings: Settings, samples: Samples) -> None:
    """Add the state of now."""
    apps = []
    for app in APPS:
        status, workers = read_app_of_hosts(settings, app)
        lag = sum(worker.lag_records for worker in workers)
        seconds = max((worker.lag_seconds for worker in workers), default=0.0)
        apps.append(AppSample(app.name, status.in_per_second, lag, round(seconds, 1)))
    samples.append(Sample(int(time.time()), tuple(apps)))
