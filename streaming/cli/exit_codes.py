"""From errors to one sentence on stderr and an exit code; no traceback reaches a user.

0 is done, 1 failed, 2 wrong usage. `--debug`, anywhere on the line, shows the traceback.
"""

import os
import sys
import traceback

import typer
from typer.main import get_command

from streaming.errors import PurchasesError
from streaming.formatting import printable_lines, printable_text
from streaming.system.privacy import UMASK

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""


def run_app(app: typer.Typer, name: str) -> None:
    """Run the command line of `app` with this process's arguments, and exit."""
    # Here and not where files are made, because children inherit it: workers, Kafka, Dagster.
    os.umask(UMASK)
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    sys.exit(_run(app, name, arguments, debug=debug))


def _run(app: typer.Typer, name: str, arguments: list[str], *, debug: bool) -> int:
    try:
        # In standalone mode it would print errors in its own way, and exit.
        code = get_command(app).main(arguments, prog_name=name, standalone_mode=False)
    except Exception as error:
        if debug:
            sys.stderr.write(printable_lines(traceback.format_exc()))
        return _print_error(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _print_error(error: Exception) -> int:
    """Print the sentence of an error; return the exit code."""
    if isinstance(error, BrokenPipeError):
        # Python flushes stdout once more at its exit, which would fail on the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    message, code = str(error), 1
    if isinstance(error, PurchasesError):
        code = error.exit_code
    # The parser's errors are told by their shape: typer and click each have classes of their own.
    elif type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.format_message()}\n")  # type: ignore[attr-defined]
        return 2
    elif hasattr(error, "format_message"):
        command = getattr(getattr(error, "ctx", None), "command_path", "purchases")
        message = f"{error.format_message()} See `{command} --help`."
        code = getattr(error, "exit_code", 2)
    elif type(error).__name__ == "Abort":
        message = "Aborted."
    elif isinstance(error, OSError) and error.filename is not None:
        message = (
            f"{error.filename} cannot be used: {error.strerror}; check the path and its"
            " permissions."
        )
    else:
        message = f"Unexpected {type(error).__name__}: {error}. Run it with --debug for details."
    sys.stderr.write(f"{printable_text(' '.join(message.split()))}\n")
    return code
