"""The handover of the apps' keep-alive from `up` to Dagster's sensors.

The daemon takes half a minute to its first tick, and the apps run before. Then the keep-alive is
the sensors' alone, so that an app stops if a person switches its sensor off.
"""

import time
from typing import Final

from orchestration.local.down import end_supervisors
from streaming.apps import APPS, App
from streaming.runtime.keep_alive import keep_running
from streaming.settings import Settings
from streaming.system.home import Home

HANDOVER_SECONDS: Final = 90.0
"""Three times what the daemon takes to its first tick."""
RENEW_SECONDS: Final = 10.0
"""Well below the age at which a keep-alive is too old (45 s)."""


class AppHandover:
    """Renews each app's keep-alive until a sensor does, for `HANDOVER_SECONDS` at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._until = time.monotonic() + HANDOVER_SECONDS
        self._renew_at = 0.0
        self._touched: dict[App, int | None] = dict.fromkeys(APPS)

    def step(self) -> None:
        """Renew the keep-alives that no sensor has renewed or removed."""
        now = time.monotonic()
        if now < self._renew_at or now >= self._until:
            return
        self._renew_at = now + RENEW_SECONDS
        for app, touched in list(self._touched.items()):
            keep_alive = Home(self._settings.home).keep_alive(app.name)
            # Another time than ours is a sensor's touch: from now on the file is its own.
            if touched is not None and (
                not keep_alive.exists() or keep_alive.stat().st_mtime_ns != touched
            ):
                del self._touched[app]
                continue
            keep_running(self._settings, app)
            self._touched[app] = keep_alive.stat().st_mtime_ns

    def ask_to_stop(self) -> None:
        """Remove the keep-alives, so that the supervisors drain their workers and leave."""
        self._until = 0.0
        for app in APPS:
            Home(self._settings.home).keep_alive(app.name).unlink(missing_ok=True)

    def stop(self, seconds: float) -> None:
        """End the supervisors and their workers, whoever started them; kill after `seconds`."""
        end_supervisors(self._settings.home, seconds)
