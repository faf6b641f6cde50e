"""The service: everything that touches the world, around the pure folds of `retrain` and `detectors`."""
