"""The service with 16,000 models: checkpoints, and recovery after `kill -9`."""
