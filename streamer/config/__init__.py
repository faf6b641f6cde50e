"""One file configures everything: `load_config("driftline.yaml")` gives a frozen `Config` or every problem at once.

file.py         YAML to plain data with line numbers      environment.py  variables over it
models.py       the tree, out of the components' own settings; kafka.py, tables.py: its larger branches
rules.py        what no single section can know           messages.py     what is wrong, in plain words
schema.py       the tree as JSON Schema                   docs.py         `docs/configuration.md`
"""

from streamer.config.load import load_config
from streamer.config.models import Config
from streamer.config.problems import ConfigError, Problem

__all__ = ["Config", "ConfigError", "Problem", "load_config"]
