"""Commands that people and trainers send to the service."""
