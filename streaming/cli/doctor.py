"""`doctor`: checks the host and the cluster before anything runs, and says what to mend.

The checks are in `status.doctor`; how what runs is doing is `status`.
"""

from typing import TYPE_CHECKING, Final

import typer

from streaming.cli.output import AsJson, print_json, print_text

if TYPE_CHECKING:
    from streaming.status.doctor import Examination


SIGNS: Final = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(as_json: AsJson = False) -> None:
    """Check permissions, disk, versions, ports, clocks and the cluster; exit 1 if one is wrong.

    Nothing needs to run but the broker, and nothing is changed.

    Example: purchases doctor --json
    """
    from streaming.settings import load_settings
    from streaming.status.doctor import examine

    found = examine(load_settings())
    if as_json:
        print_json(found)
    else:
        print_text(_lines(found))
    raise typer.Exit(0 if found.healthy else 1)


def _lines(found: "Examination") -> str:
    failed = sum(check.state == "failed" for check in found.checks)
    number = len(found.checks)
    lines = [f"OK: {number} checks." if found.healthy else f"FAILED: {failed} of {number} checks."]
    for check in found.checks:
        remedy = f" → {check.remedy}" if check.remedy else ""
        lines.append(f"{SIGNS[check.state]} {check.name}: {check.detail}{remedy}")
    return "\n".join(lines)
