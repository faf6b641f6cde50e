"""Arrow tables as columns of events."""
