"""`driftline ui`: the fleet as pages in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.published import config_of, records_options, source_of
from streamer.commands.console.signals import stop_on_signal
from streamer.commands.service.companion import PORT_MAX, UI_PORT, parent_option, stop_with_parent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from ipaddress import IPv4Network, IPv6Network

    from streamer.config import Config
    from streamer.page.access import Access
    from streamer.page.answers import Answers
    from streamer.page.desk import Desk
    from streamer.page.follow import Arrivals
    from streamer.page.oidc import OidcLogin

EXAMPLE = """\b
Examples:
    driftline replay june.parquet > june.jsonl; driftline ui june.jsonl
    driftline ui
    driftline ui --host 0.0.0.0 --user-header X-Forwarded-User --proxy 10.0.3.7 \\
        --groups-header X-Forwarded-Groups --approvers ml-approvers
"""
LOGIN_EXTRA: Final = "page.oidc needs more packages: pip install 'driftline[oidc]'"
EXTRA: Final = "the page needs two more packages: pip install 'driftline[ui]'"


def _networks(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> list[IPv4Network | IPv6Network]:
    from ipaddress import ip_network

    try:
        return [ip_network(text) for text in texts]
    except ValueError as problem:
        raise click.BadParameter(
            f"{problem}; give an address such as 10.0.3.7, or a network such as 10.0.3.0/24"
        ) from None


@click.command(epilog=EXAMPLE)
@records_options
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDR", help="The address to listen on.")
@click.option(
    "--port",
    default=UI_PORT,
    show_default=True,
    metavar="PORT",
    type=click.IntRange(0, PORT_MAX),
    help="The port to listen on; 0 is any free one.",
)
@click.option("--read-only", is_flag=True, help="Nobody decides on the page.")
@click.option(
    "--user-header",
    default="",
    metavar="NAME",
    help="The header in which a proxy names its authenticated user, the author of decisions.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    callback=_networks,
    metavar="ADDR",
    help="An address or network whose headers are trusted; may be given again.",
)
@click.option("--groups-header", default="", metavar="NAME", help="The header that lists the groups of the user.")
@click.option(
    "--approvers", default="", metavar="GROUP", help="The group that may decide; the default is all users."
)  # fmt: skip
@parent_option
def ui(
    replayed: str | None, config_file: str | None, host: str, port: int, read_only: bool, user_header: str,
    proxies: list[IPv4Network | IPv6Network], groups_header: str, approvers: str, parent_fd: int | None,
) -> None:  # fmt: skip
    """Show the fleet as pages in a browser, until a signal.

    The records come from the topics of the service, and new ones appear within seconds; or from REPLAYED: the output of
    `driftline replay`, or a recording of these topics. Decisions of people become records of the control topic, like
    those of `driftline approve`.

    `page.oidc` in the configuration makes everyone log in at an OpenID provider. Without it and without a proxy, only
    this machine can reach the page, and its user is the author of decisions. On another address, nobody decides.
    """
    import os

    if bool(user_header) != bool(proxies):
        raise click.UsageError("--user-header and --proxy go together: a header counts from named addresses alone.")
    if (groups_header or approvers) and not (user_header and groups_header and approvers):
        raise click.UsageError("--groups-header and --approvers go together, and with --user-header.")
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as problem:
        from streamer.errors import UsageError

        raise UsageError(EXTRA) from problem
    from streamer.page.access import LOOPBACK, Access

    config = config_of(replayed, config_file)
    login, own_name = _login(config, read_only, user_header)
    own = _local_user() if host in LOOPBACK and not user_header and not login else ""
    access = Access(
        host, own, read_only, user_header.lower(), groups_header.lower(), approvers, tuple(proxies), own_name
    )
    stop = stop_on_signal()
    stop_with_parent(parent_fd, stop)
    name = os.path.basename(replayed or "")  # noqa: PTH119
    _serve(replayed, config, access, login, port, name, stop)


def _login(config: Config, read_only: bool, user_header: str) -> tuple[OidcLogin | None, str]:
    """The login that is configured, and the host name of its address."""
    import os
    from urllib.parse import urlsplit

    settings = config.page.oidc
    if settings is None:
        return None, ""
    if user_header:
        raise click.UsageError("page.oidc and --user-header are two ways to know the user: choose one.")
    try:
        from streamer.page.oidc import OidcLogin
    except ImportError as problem:
        from streamer.errors import UsageError

        raise UsageError(LOGIN_EXTRA) from problem
    return OidcLogin(settings, settings.secret(os.environ), read_only), urlsplit(settings.url).hostname or ""


def _serve(
    replayed: str | None, config: Config, access: Access, login: OidcLogin | None, port: int, name: str,
    stop: threading.Event,
) -> None:  # fmt: skip
    from streamer.commands.console.lines import echo_line
    from streamer.page.answers import BrokerWatch
    from streamer.page.follow import Follower
    from streamer.page.reader import Reader
    from streamer.page.serve import listen, serve
    from streamer.page.server import Site
    from streamer.page.store import Store

    arrivals, desk, answers = _of_file(replayed, config) if replayed else _of_topics(config)
    listener = listen(access.host, port)
    host, port = listener.getsockname()[:2]
    store = Store()
    follower = Follower(store, config.outputs, arrivals)
    title = name or f"the topics of {config.kafka.group}"
    site = Site(
        Reader(store.path, config.retrain), follower.progress, access, title, None if access.read_only else desk, login,
        answers,
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    echo_line(f"http://{shown}:{port}/ shows {title}; Ctrl-C ends it")
    if isinstance(answers, BrokerWatch):
        answers.start(lambda: follower.progress.is_loaded)
    try:
        serve(site, store, follower, listener, stop)
    finally:
        if isinstance(answers, BrokerWatch):
            answers.stop()


def _of_file(replayed: str, config: Config) -> tuple[Arrivals, Desk | None, Callable[[], Answers]]:
    from streamer.audit.source import DEAD_LETTER, KINDS, PROFILE
    from streamer.page.answers import FileAnswers
    from streamer.page.follow import from_source

    source, answers = source_of(replayed, config, (*KINDS, PROFILE, DEAD_LETTER)), FileAnswers()
    next(source(), None)  # a file that is none of these ends the command at once
    return answers.without_letters(from_source(source)), None, answers


def _of_topics(config: Config) -> tuple[Arrivals, Desk | None, Callable[[], Answers]]:
    from streamer.clock import SystemClock
    from streamer.eventlog.base import Output
    from streamer.eventlog.kafka import transfer as kafka_transfer
    from streamer.page.answers import watch_of
    from streamer.page.desk import Desk
    from streamer.page.follow import from_topics

    connection, outputs = config.kafka.connection(), config.outputs
    send: Callable[[bytes, bytes], None] = lambda key, value: kafka_transfer.send(  # noqa: E731
        connection, [Output(outputs.control, key, value)]
    )
    arrivals = from_topics(connection, outputs, config.profiles.publish)
    return arrivals, Desk(send, SystemClock()), watch_of(config)


def _local_user() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):
        return "local"
