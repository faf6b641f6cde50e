"""Drift of the dependence between columns: a test over the rows of a model.

`bank` is the detector, `kernels` its arithmetic.
"""

from detectors.joint.bank import JointBank, JointSettings

__all__ = ["JointBank", "JointSettings"]
