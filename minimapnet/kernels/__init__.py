"""The few hot primitives, one file per array library, with the same names and the same contract.

Everything above this folder is plain array code; what is fast and less plain lives here. `numpy_kernels.py` states the
contract in its docstrings; `cupy_kernels.py` keeps it. The plain formula of each kernel stands in `tests/plain_kernels.py`.
"""
