"""The commands of `driftline`, one a file. Each imports what it needs when it is called, never before."""
