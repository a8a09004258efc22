"""`forget-host`: what is to be done about one of several hosts that does not come back.

What hosts report, and which of them live, is in `status.hosts`.
"""

from typing import Annotated

import typer

from streaming.cli.output import print_text


def forget_host(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its PURCHASES_HOST.")],
) -> None:
    """Remove a host that is gone for good from the status of all hosts.

    Refused while it runs. A host that comes back is shown again.

    Example: purchases forget-host south
    """
    from streaming.settings import load_settings
    from streaming.status.hosts import forget_host as forget

    forget(load_settings(), host)
    print_text(f"OK: the host {host} is forgotten.")
