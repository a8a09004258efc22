"""The keeper of the apps: while `up` runs they run, whether Dagster's sensors tick or not.

Dagster's sensors keep them too, which is enough where no `up` runs. What an operator switches off
in Dagster is off here as well: its ticks record that (`automation.ticks`).
"""

import time
from collections.abc import Callable
from typing import Final

from orchestration.local.down import end_supervisors
from orchestration.local.services import chosen_services
from streaming.apps import APPS, AppName
from streaming.runtime.keep_alive import KeepAlive, keep_running
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.logs import get_logger

FIRST_TICK_SECONDS: Final = 90.0
"""Three times what the daemon takes to its first tick on a quiet machine."""
RENEW_SECONDS: Final = 10.0
"""Well below the age at which a keep-alive is too old (45 s)."""


class AppKeeper:
    """Keeps the apps alive, and says when Dagster does not tick; call `step` often."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._home = Home(settings.home)
        # The last tick of an earlier `up` says nothing of this one's Dagster.
        self._home.dagster_tick.unlink(missing_ok=True)
        self._tick = KeepAlive(self._home.dagster_tick, clock)
        self._silent_from = clock() + FIRST_TICK_SECONDS
        self._renew_at = clock()
        self._dagster_silent = False
        self._switched_off: list[AppName] = []

    def step(self) -> None:
        """Renew the keep-alive of each app that is not switched off; look whether Dagster ticks.

        If Dagster runs on another host alone, nobody can switch an app of this one off there.
        """
        now = self._clock()
        if now < self._renew_at:
            return
        self._renew_at = now + RENEW_SECONDS
        if "daemon" in chosen_services(self._settings):
            self._watch_dagster(now)
        for app in APPS:
            if app.name not in self._switched_off:
                keep_running(self._settings, app)

    def notices(self) -> list[str]:
        """Return sentences for the operator: Dagster is silent, or an app is switched off."""
        notices = []
        if self._dagster_silent:
            notices.append(
                "Dagster does not tick: the stream goes on, but days are not built; see"
                f" {self._home.service_log('daemon')}."
            )
        notices += [
            f"The {app} is off: switch its sensor on in Dagster." for app in self._switched_off
        ]
        return notices

    def ask_to_stop(self) -> None:
        """Remove the keep-alives, so that the supervisors drain their workers and leave."""
        for app in APPS:
            self._home.keep_alive(app.name).unlink(missing_ok=True)

    def stop(self, seconds: float) -> None:
        """End the supervisors and their workers, whoever started them; kill after `seconds`."""
        end_supervisors(self._settings.home, seconds)

    def _watch_dagster(self, now: float) -> None:
        """Read what Dagster's ticks record, and log each change of it."""
        switched_off = [app.name for app in APPS if self._home.switched_off(app.name).exists()]
        if switched_off != self._switched_off:
            get_logger().warning("apps_switched_off", apps=switched_off)
        for app in switched_off:
            # Once only: when the sensor is on again it touches the file, which must then stay.
            if app not in self._switched_off:
                self._home.keep_alive(app).unlink(missing_ok=True)
        self._switched_off = switched_off
        ticks = self._tick.is_fresh()
        silent = not ticks and now >= self._silent_from
        if silent and not self._dagster_silent:
            log = self._home.service_log("daemon")
            get_logger().warning("dagster_silent", log=str(log))
        if ticks and self._dagster_silent:
            get_logger().info("dagster_ticks_again")
        self._dagster_silent = silent
