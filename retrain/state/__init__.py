"""What the engine remembers, as plain dataclasses. Field names are keys of checkpoints, so they keep their names."""
