"""`broker start|stop|status`: the embedded broker of this home."""

from typing import Annotated

import typer

from streaming.cli.output import print_json, print_text

app = typer.Typer(help="The embedded Kafka broker of this home.", no_args_is_help=True)


@app.command(short_help="Start the broker in the background.")
def start() -> None:
    """Start the embedded broker in the background; harmless if it runs.

    It ends when the broker serves, and the rules of its open listener hold.

    Example: purchases broker start
    """
    from streaming.errors import UsageError
    from streaming.kafka.open_listener import start_embedded_broker
    from streaming.settings import load_settings

    settings = load_settings()
    if not settings.embedded_broker:
        raise UsageError(
            "PURCHASES_BOOTSTRAP_SERVERS or PURCHASES_KAFKA_CONFIG names a broker of your own, so"
            " none is started here; unset them to use the embedded one."
        )
    status = start_embedded_broker(settings, lambda line: print_text(line, err=True))
    if status.bootstrap_servers is None:
        print_text(f"OK: the broker runs for who logs in by {status.client_properties}.")
    else:
        print_text(f"OK: the broker runs at {status.bootstrap_servers} (process {status.pid}).")


@app.command(short_help="Stop the broker cleanly.")
def stop() -> None:
    """Stop the embedded broker cleanly; harmless if none runs.

    Example: purchases broker stop
    """
    from streaming.broker.embedded import stop_broker
    from streaming.settings import load_settings

    ended = stop_broker(load_settings().home)
    print_text("OK: the broker is stopped." if ended else "OK: no broker ran in this home.")


@app.command(short_help="Show whether it runs, and where.")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print whether the embedded broker runs, and where anybody may send purchases.

    Example: purchases broker status --json
    """
    from streaming.broker.embedded import broker_status
    from streaming.settings import load_settings

    status = broker_status(load_settings().home)
    if as_json:
        print_json(status)
    elif status.pid is None:
        print_text("No broker runs in this home.")
    elif status.bootstrap_servers is None:
        print_text(f"{status.state} for who logs in by {status.client_properties}")
    else:
        print_text(f"{status.state} at {status.bootstrap_servers} (process {status.pid})")
