"""Drift of the dependence between columns: `python -m benchmarks.joint` compares methods."""
