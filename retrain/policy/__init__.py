"""The rules that decide whether drift is worth a retrain, and their settings."""
