"""`driftline run` as a small parent process that starts workers, passes on what they say and starts them again.

Read in this order: `restarts` (what to do when a worker ends; pure), `worker_process` (one worker as its parent sees
it), `supervisor` (the parent's loop), `parent_link` (the parent as a worker sees it). Nothing here imports what the
workers need, so the parent stays small.
"""
