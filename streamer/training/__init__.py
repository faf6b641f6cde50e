"""Training on what Driftline asks for: the table of a request, and the report of its training.

from streamer.training import job

with job() as training:
table = training.table(holdout=0.2)
...
training.trained("8", champion={"mae": 61.0}, challenger={"mae": 48.5})
"""

from streamer.training.job import Job, job
from streamer.training.read import read_window, write_window
from streamer.training.table import parts

__all__ = ["Job", "job", "parts", "read_window", "write_window"]
