"""The apps that run as workers: what each is called, and what starts it."""

from typing import Final

MODULES: Final = {"processor": "streaming.processor.app", "analytics": "streaming.analytics.app"}


COMMANDS: Final = {"processor": "process", "analytics": "analyze"}
