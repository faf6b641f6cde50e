"""What the engine remembers."""
