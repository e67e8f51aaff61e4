"""Torch: an evaluator of ONNX operators, and the engine on it. The only part of vsr that runs videos with torch."""
