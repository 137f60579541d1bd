"""The few hot primitives: `reference.py` has each as its plain formula, in three lines; read it first.

Everything above this folder is plain array code. What is fast and less plain lives here, one file per array library, with
the same names and the same contract: `numpy_kernels.py` states it in its docstrings, `cupy_kernels.py` keeps it.
"""

__all__ = ["cuda_source", "numpy_kernels", "pool", "reference"]  # what needs no GPU
