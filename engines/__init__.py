"""The luma models that ship with vsr, one ONNX file per network, scale and precision, and `manifest.json`."""
