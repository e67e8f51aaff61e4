"""TensorRT: plans built here from the whole-frame description, and what runs them.

One code path for TensorRT 10.16, 11 and TensorRT-RTX, all of which take precision from the graph (strongly typed).

A plan is for one GPU, one sample layout and one size; there are no dynamic profiles. The description has its size in
it, where pictures of odd sizes are cut and where samples of more than 8 bits are taken out of pairs, and kernels that
were timed at the size they run at are the faster ones. A stream that changes size gets another plan.
"""
