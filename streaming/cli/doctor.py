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

    examination = examine(load_settings())
    if as_json:
        print_json(examination)
    else:
        print_text(_lines(examination))
    raise typer.Exit(0 if examination.healthy else 1)


def _lines(examination: "Examination") -> str:
    failed = sum(check.state == "failed" for check in examination.checks)
    number = len(examination.checks)
    lines = [
        f"OK: {number} checks." if examination.healthy else f"FAILED: {failed} of {number} checks."
    ]
    for check in examination.checks:
        remedy = f" → {check.remedy}" if check.remedy else ""
        lines.append(f"{SIGNS[check.state]} {check.name}: {check.detail}{remedy}")
    return "\n".join(lines)
