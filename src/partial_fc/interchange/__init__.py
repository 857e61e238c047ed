"""Models in the forms of other systems: ONNX, and the PyTorch networks of InsightFace's arcface_torch."""
