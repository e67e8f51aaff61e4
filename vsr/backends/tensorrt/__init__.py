"""TensorRT: plans built here from the whole-frame description, and what runs them.

One code path for TensorRT 10.16, 11 and TensorRT-RTX. All take precision from the graph (strongly typed); a plan is for
one size, one sample layout and one GPU.
"""
