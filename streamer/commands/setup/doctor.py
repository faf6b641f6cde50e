"""`driftline doctor`: whether the service would work with a configuration on its cluster, and if not, why."""

from __future__ import annotations

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option


@click.command()
@config_option("The configuration to examine.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def doctor(config_file: str, as_json: bool) -> None:
    """Examine a configuration on its cluster: one line for each check, with the cause and the next step.

    It looks at references, brokers, rights, topics, owners of the outputs, and the newest 1,000 records of each event
    topic through its mapping: paths, times, keys, names, values, and whether labels, pairs and training data fit them.
    It writes nothing, and the service may run. The exit code is 0 without a fault; else that of the first one, as
    `driftline run` would have it.
    """
    import msgspec

    from streamer.app.doctor import examine
    from streamer.app.finding import Level
    from streamer.clock import SystemClock
    from streamer.config import load_config

    config, code = load_config(config_file), 0
    for one in examine(config, int(SystemClock().now_s() * 1000)):
        if one.level is Level.FAULT:
            code = code or one.exit_code
        if as_json:
            click.echo(msgspec.json.encode(one).decode())
            continue
        echo_line(f"{one.level.upper() if one.level is Level.FAULT else one.level.value:8} {one.subject}: {one.text}")
        if one.next_step:
            echo_line(f"         next: {one.next_step}")
    raise click.exceptions.Exit(code)
