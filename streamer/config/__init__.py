"""One file configures everything: `load_config("driftline.yaml")` gives a frozen `Config` or every problem at once.

yaml_file.py    YAML to plain data with line numbers      environment.py  variables that override it
models.py       the tree of the components' settings; kafka.py, page.py: its larger branches
consistency.py  checks across sections                    messages.py     problems in plain words
load.py         all problems in one round                 false_alarms.py the budget of false alarms
detector_names.py  default detectors and added ones
schema.py       the tree as JSON Schema                   docs.py         `docs/configuration.md`
"""

from streamer.config.load import load_config
from streamer.config.models import Config
from streamer.config.problems import ConfigError, Problem

__all__ = ["Config", "ConfigError", "Problem", "load_config"]
