"""Quality of detection on generated streams: `python -m benchmarks.detection` measures all detectors."""
