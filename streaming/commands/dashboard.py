"""`dashboard`: the page, until Ctrl-C; what it shows is in `page`."""

import typer


def dashboard() -> None:
    """Serve the page, its JSON API and the metrics until Ctrl-C.

    On loopback unless PURCHASES_DASHBOARD_HOST says otherwise; then a token is asked for.

    Example: purchases dashboard
    """
    from streaming.logs import configure_logs
    from streaming.page.serve import serve
    from streaming.settings import load_settings

    configure_logs()
    serve(load_settings(), lambda line: typer.echo(line, err=True))
