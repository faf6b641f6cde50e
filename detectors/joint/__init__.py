"""Drift in several columns at once: a test over the rows of a model."""

from detectors.joint.bank import JointBank, JointSettings

__all__ = ["JointBank", "JointSettings"]
