"""Commands that fold records: the service, and replays and recordings of it."""
