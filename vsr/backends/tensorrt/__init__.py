"""TensorRT: plans built here from the whole-frame description, and what runs them.

One code path for TensorRT 10.16, 11 and TensorRT-RTX, all of which take precision from the graph (strongly typed).

A plan is for one GPU, one sample layout and one size, at which its kernels were timed; a stream that changes size gets
another one. On request a plan is for a range of sizes (`PlanSettings.sizes`), of a description that leaves them open;
frames for which there is no plan of their own size yet go through such a one.
"""
