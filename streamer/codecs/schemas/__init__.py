"""Schemas of binary formats: where they come from, and how they are kept."""
