"""Partial FC for MXNet and Horovod: face-recognition training with very large softmax layers."""
__version__ = "0.1.0"
