"""The commands of `driftline`, related ones in one file. Each imports its dependencies when it is called."""
