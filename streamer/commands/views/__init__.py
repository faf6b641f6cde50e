"""Commands that show what was published and what is watched."""
