"""The core of the decide fold: one handler a file; callers use `engine.engine.Engine` alone."""
