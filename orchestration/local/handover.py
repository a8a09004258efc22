"""The stream's apps wanted by `up` until Dagster's sensors want them themselves.

The daemon takes half a minute to its first tick; a shop does not wait for that. After it the wish
is the sensors' alone, so that switching one off in the UI is heard.
"""

import time
from typing import Final

from orchestration.local.down import end_supervisors
from streaming.apps import APPS, App
from streaming.runtime.keep_alive import keep_running
from streaming.settings import Settings
from streaming.system.home import Home

HAND_OVER_SECONDS: Final = 90.0
RENEW_SECONDS: Final = 10.0


class AppHandover:
    """Renews each app's wish until somebody else does, at most for `HAND_OVER_SECONDS`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._until = time.monotonic() + HAND_OVER_SECONDS
        self._renew_at = 0.0
        self._touched: dict[App, int | None] = dict.fromkeys(APPS)

    def step(self) -> None:
        """Renew what is still ours, and leave what a sensor has renewed meanwhile."""
        now = time.monotonic()
        if now < self._renew_at or now >= self._until:
            return
        self._renew_at = now + RENEW_SECONDS
        for app, touched in list(self._touched.items()):
            wish = Home(self._settings.home).keep_alive(app.name)
            if touched is not None and (not wish.exists() or wish.stat().st_mtime_ns != touched):
                del self._touched[app]
                continue
            keep_running(self._settings, app)
            self._touched[app] = wish.stat().st_mtime_ns

    def ask_to_stop(self) -> None:
        """Want them no longer."""
        self._until = 0.0
        for app in APPS:
            Home(self._settings.home).keep_alive(app.name).unlink(missing_ok=True)

    def stop(self, seconds: float) -> None:
        """End the supervisors and their workers, whoever started them; kill after `seconds`."""
        end_supervisors(self._settings.home, seconds)
