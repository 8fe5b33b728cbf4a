"""Trained taggers for where there is no earmark: ONNX graphs, and a page that runs one."""
