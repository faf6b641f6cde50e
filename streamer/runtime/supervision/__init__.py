"""The parent process of `driftline run`: it starts workers, forwards their log lines and restarts them.

Read in this order: `restart_policy` (what to do when a worker ends; pure), `worker_process` (one worker, from the
parent's side), `supervisor` (the parent's loop), `parent_link` (the parent, from the worker's side). Nothing here
imports what the workers need, so the parent stays small.
"""
