# %% [markdown]
# # 11. The GPU by one flag
#
# Training is arithmetic on large arrays, and a graphics processor, a GPU, is made for that. But it is a computer of its
# own, with a memory of its own: an array must lie there before anything can be done to it, and Python only hands out
# the orders. This step is about what that asks of a program. Afterwards you can say what moves to the GPU when
# `minimapnet.use("cupy")` is called and what stays, find code that would fail there without having one, read a kernel
# of the package line by line and write one, and measure without fooling yourself.
#
# You need LayerNorm from [step 2](02_a_backward_pass_by_hand.ipynb) and the training of
# [step 4](04_bert_in_one_dict.ipynb). You need no GPU: what needs one is skipped here, and says so. No figure in this
# text comes from a GPU; those of an H100 are in [RESULTS.md](../benchmarks/RESULTS.md). The reading takes about 20 minutes.

# %%
import time
from concurrent.futures import ThreadPoolExecutor

import numpy
import stand_in
import trained
from matplotlib import pyplot, ticker

import minimapnet
from minimapnet import Bert, InputError, UniformMasks, backend, gradients, plotting
from minimapnet.kernels.cuda_source import SOURCE
from minimapnet.model.optimizer import AdamW

pyplot.rcParams.update(plotting.PAGE)

model, text = trained.bert()
print(f"{backend.name} computes; the model has {model.flat.size:,} parameters, {model.flat.nbytes:,} bytes")

# %% [markdown]
# ## One name for two libraries
#
# NumPy computes on the CPU, the ordinary processor. The library CuPy has functions of the same names, for arrays that
# lie in a GPU's memory: `cupy.exp(x)` does there what `numpy.exp(x)` does here. So one text can serve both, if it does
# not say `numpy` but a name that stands for the library in use. By custom that name is `xp`, and here it is
# `backend.xp`. In GPU language the CPU with its memory is called the **host**, the GPU with its own the **device**.
#
# The switch is `minimapnet.use`. It takes "numpy", "cupy", or "auto", which is the GPU where one works and else the
# CPU, and gives the name of what is in use from then on.


# %%
def why_no_gpu() -> str | None:
    """Return why no GPU can be used here, or None where one can; NumPy is in use afterwards."""
    try:
        minimapnet.use("cupy")
    except InputError as reason:
        return str(reason)
    finally:
        minimapnet.use("numpy")


NO_GPU = why_no_gpu()
print("cupy: ", NO_GPU or "can be used here")
print("auto: ", minimapnet.use("auto"))
print("numpy:", minimapnet.use("numpy"))

# %% [markdown]
# CuPy can be installed, and even imported, on a machine where no GPU works. So before it says yes, `use` multiplies
# two small matrices on the device and waits for the result: a device that is listed may still refuse to work.
#
# Where there is no GPU, we take the next best thing. The tests of the project bring a **stand-in** for CuPy: its arrays
# are NumPy arrays in boxes, which open only where CuPy's would. [stand_in.py](stand_in.py) puts it in use for the
# length of a block, `with stand_in.in_use():`. Here is a function written once, which runs on both.


# %%
def entropies(logits):
    """Return the entropy in nats of softmax of each row: logits (N, V) -> (N,)."""
    xp = backend.xp
    shifted = logits - logits.max(axis=1, keepdims=True)  # (N, V)
    total = xp.exp(shifted).sum(axis=1)  # (N,)
    return xp.log(total) - (xp.exp(shifted) * shifted).sum(axis=1) / total


logits = numpy.random.default_rng(0).standard_normal((3, 5)).astype("float32")
on_host = entropies(backend.to_device(logits))
with stand_in.in_use():
    on_device = entropies(backend.to_device(logits))
print("NumPy   ", type(on_host).__module__, on_host.round(3))
print("stand-in", type(on_device).__module__, backend.to_host(on_device).round(3))
assert numpy.array_equal(on_host, backend.to_host(on_device))

# %% [markdown]
# Two functions carry arrays across: `backend.to_device(a)` gives `a` as an array of the library in use, and
# `backend.to_host(a)` gives it as a NumPy array. With NumPy in use neither does anything.
#
# Note that `entropies` reads `backend.xp` when it computes. A line `from minimapnet.backend import xp` at the top of a
# file would copy the name once, when the file is imported, and miss every later switch:

# %%
from_the_top = backend.xp  # what `from minimapnet.backend import xp` does
with stand_in.in_use():
    print("the copy of the name:", from_the_top.__name__)
    print("backend.xp, read now:", backend.xp.__name__)

# %% [markdown]
# ## A stand-in that refuses
#
# Code that has only ever run on NumPy is full of lines that a device refuses, since one of the arrays lies on the other
# side. CuPy could copy it over in silence; it mostly does not, because a copy between the two memories is slow and
# should be seen. The stand-in refuses what CuPy refuses, and a little more. Which of these lines work?

# %%
with stand_in.in_use():
    xp, device = backend.xp, backend.to_device(numpy.arange(4.0))
host = numpy.ones(4)
attempts = {
    "device + 1": lambda: device + 1,
    "device + device": lambda: device + device,
    "device + host": lambda: device + host,
    "numpy.exp(device)": lambda: numpy.exp(device),
    "xp.exp(host)": lambda: xp.exp(host),
    "host[1:2] = device[1]": lambda: host.__setitem__(slice(1, 2), device[1]),
    "xp.random.rand(3)": lambda: xp.random.rand(3),
    "float(device.sum())": lambda: float(device.sum()),
}
for line, attempt in attempts.items():
    try:
        print(f"{line:22} works:  {attempt()}")
    except (TypeError, AttributeError) as error:
        print(f"{line:22} {type(error).__name__}: {str(error)[:88]}")

# %% [markdown]
# CuPy itself would let two of these pass: it takes over `numpy.exp(device)`, and it has an `xp.random`. The stand-in
# refuses them too, the first because one cannot see in such a line where it computes, the second for a reason that
# comes below.
#
# The tests of the package run on this stand-in as well as on NumPy, and on CuPy where there is a GPU: a fixture `xp`
# runs the body of a test on each. So most of what would fail on a GPU is found on machines without one. What cannot be
# found in this way is what CuPy itself does otherwise than the stand-in; so where there is a GPU, the tests use it.
#
# ## What moves, and what stays
#
# Now a whole step of training: 32 sentences, two masked words each, the gradient, and an update by AdamW. The stand-in
# counts what goes across. First the model must move: `to_device` of a model carries its parameters to the library in
# use.


# %%
def draw(step: int, rows: int):
    """Return the sentences and masks of a step of training: a Batch, and positions (B, K), on the host."""
    batch = text.train.batch(numpy.arange(step * rows, (step + 1) * rows))
    masks = UniformMasks(batch.maskable, trained.MASKED)
    return batch, masks.sample(backend.generator(0, "masks", step), 1)[0]


def train_step(model, optimizer, batch, positions, lr: float = 1e-4) -> float:
    """Take one step of training and give the loss."""
    loss, _ = gradients(model, batch.ids, positions, attention_mask=batch.attention_mask, out=optimizer.gradient)
    optimizer.update(lr)
    return loss


def count_step(cuda: bool):
    """Count what a step asks of a device, with plain formulas as kernels or with those of the package."""
    with stand_in.in_use(cuda):
        on_device = Bert.from_pretrained(trained.FOLDER / "bert")
        optimizer = AdamW(on_device)
        with stand_in.counted() as counted:
            train_step(on_device, optimizer, *draw(0, rows=32))
    return counted


plain = count_step(cuda=False)
print(f"to the device: {plain.to_device:,} bytes")
print(f"to the host:   {plain.to_host} bytes, for which Python had to wait {plain.waits} times")
print(f"transfers:     {plain.transfers}")
print(f"on the device: {plain.moved / 1e6:.0f} MB were read and written by {plain.launches} operations")
print(f"it stays there: {4 * model.flat.nbytes:,} bytes of parameters, gradient and AdamW's two moments")

# %% [markdown]
# So `10,496` bytes go across, and `8` come back, while `100` MB are read and written on the device. We can account for
# every one:
#
# $$ \underbrace{2 \cdot 32 \cdot 18 \cdot 8}_{\text{ids and token types } (B, T)}
#  + \underbrace{2 \cdot 64 \cdot 8}_{\text{masked places and their words } (N)}
#  + \underbrace{64 \cdot 4}_{\text{weights } (N)} = 9216 + 1024 + 256 = 10496. $$
#
# Ids and places are integers of 8 bytes, weights are floats of 4, and $N = 64$ masked words are in $B = 32$ sentences
# of $T = 18$ tokens. What comes back are two floats: the loss, and the norm of the gradient, by which AdamW decides
# whether to clip it. None of this grows with the model. Parameters, gradients, moments and everything between them stay
# where they are. That is the rule for any program on a GPU: *carry over what is small, keep what is large*.
#
# Two decisions lie behind these numbers.
#
# **Ids are checked on the host.** NumPy raises an error where an index is out of range. CuPy does not look, it wraps
# the index around (its documentation has a section on this:
# <https://docs.cupy.dev/en/stable/user_guide/difference.html>). A wrong id would quietly become another word. In NumPy
# the same can be asked for:

# %%
table = numpy.array([10.0, 11.0, 12.0, 13.0, 14.0])  # a vocabulary of five, one number for each
print("id 7, wrapped around, reads", table.take(7, mode="wrap"), "which belongs to id 2")
try:
    backend.check_ids([[3, 7]], size=5, name="token ids")
except InputError as error:
    print("check_ids:", error)

# %% [markdown]
# **What is random is drawn on the host.** CuPy has random numbers of its own, and they are others. A run on the GPU
# would then train on other masks than the same run on the CPU, and nobody could hold the two against each other. Masks
# are small, so NumPy draws them, by a generator whose key is made of a seed, a purpose and the number of the step. Such
# a generator has no state: step 1,000 can be drawn without the 999 before it, which is also how an interrupted run goes
# on as if nothing had happened.

# %%
_, with_numpy = draw(step=1000, rows=2)
with stand_in.in_use():
    _, with_stand_in = draw(step=1000, rows=2)
print("masks of step 1,000, with NumPy in use:   ", with_numpy.tolist())
print("masks of step 1,000, with the stand-in's: ", with_stand_in.tolist())
assert numpy.array_equal(with_numpy, with_stand_in)

# %% [markdown]
# ## What an operation costs: a launch, and passes over memory
#
# Python does not compute on the device. For every operation it puts an order into a queue, a **launch** of a
# **kernel**: a small program that runs in thousands of threads at once. A launch costs some microseconds whatever the
# size of the array. And the kernel must read its input from the device's memory and write its output there, which takes
# time in proportion to the bytes. For elementwise operations and row sums we neglect the arithmetic, which goes on
# while numbers are on their way. Then $n$ launches that move $b$ bytes in all take about
#
# $$ t = n L + \frac{b}{W}, $$
#
# with $L$ the time of a launch and $W$ the bandwidth, in bytes a second. Suppose $L = 10$ microseconds and
# $W = 10^{12}$ bytes a second, which are round numbers for an example and not measurements. Then a launch costs as much
# as moving $L W = 10^{7}$ bytes. The arrays of our small model have $32 \cdot 18 \cdot 64$ floats, which are 147,456
# bytes. For such a model nearly all of the time would be launches.
#
# How many are there, then, in LayerNorm? Written plainly, as a formula over arrays, each operation is a launch, and
# each writes an array that the next one reads. The tests have such plain formulas of all kernels; let us count. A
# *pass* is once the bytes of the array $x$, whether read or written.

# %%
rng = numpy.random.default_rng(0)
host = {"x": rng.standard_normal((1024, 64)), "y": rng.standard_normal((1024, 64)), "scale": numpy.ones(64)}
host |= {"rstd": numpy.ones((1024, 1)), "flat": rng.random((4, 65536))}  # N = 1024 rows of C = 64
adamw = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.01}
counts = {}  # name -> launches and passes of the plain formula, passes of a kernel that does all at once
with stand_in.in_use():
    x, y, scale, rstd, flat = (backend.to_device(array.astype("float32")) for array in host.values())
    targets, kernels = backend.to_device(numpy.arange(1024) % 64), backend.kernels
    calls = {  # and what a single kernel must at least read + write, in passes
        "GELU": (lambda: kernels.gelu_forward(x, "erf"), 1 + 2),
        "LayerNorm": (lambda: kernels.layernorm_forward(x, scale, scale, 1e-5), 1 + 2),
        "LayerNorm backward": (lambda: kernels.layernorm_backward(y, x, rstd, scale), 2 + 1),
        "softmax": (lambda: kernels.softmax_forward(x, 1.0), 1 + 1),
        "softmax backward": (lambda: kernels.softmax_backward(y, x, 1.0), 2 + 1),
        "cross-entropy": (lambda: kernels.softmax_cross_entropy(x, targets), 1 + 1),
        "AdamW": (lambda: kernels.adamw_step(*flat, 1, 65536, **adamw), 4 + 3),
    }
    for name, (call, least) in calls.items():
        with stand_in.counted() as counted:
            call()
        counts[name] = counted.launches, counted.moved / x.nbytes, least
print(f"{'kernel':18}  launches  passes  passes of one kernel")
for name, (launches, passes, least) in counts.items():
    print(f"{name:18} {launches:9} {passes:7.0f} {least:8}")

# %% [markdown]
# LayerNorm takes `11` launches and `14` passes. But a row of 64 numbers is small: a kernel that reads the row once can
# find its mean and its spread and write the result, while the row is at hand. It needs one launch and `3` passes: $x$
# is read, $y$ and $\hat{x}$, which the backward wants, are written. GELU falls from `26` passes to `3`, AdamW from `18`
# launches to one. Doing several operations in one kernel is called **fusing** them. The package fuses these seven and
# the gradient of the embedding, and leaves everything else to CuPy's functions. What does that make of the whole step?

# %%
if stand_in.WHY_NO_CUDA:
    print(stand_in.WHY_NO_CUDA)
else:
    fused = count_step(cuda=True)
    print(f"launches of a step: {plain.launches} with plain formulas, {fused.launches} with the package's kernels")

# %% [markdown]
# From `388` launches to `195`: about half. (The CUDA kernels ran on the CPU for this, by an emulation that we come to
# below.) What is left are matrix products, sums with a residual, lookups in the embedding and the adding up of
# gradients. With the round numbers from above they take $195 \cdot 10 = 1950$ microseconds however small the batch: a
# floor that no step can go below. On a large model it does not matter, since there the products take far longer. On a
# small one it may be all that counts.

# %% tags=["picture"]
step_bytes = {
    "ids, places, weights\nto the device": plain.to_device,
    "loss and norm\nback to the host": plain.to_host,
    "parameters, gradient,\nmoments: they stay": 4 * model.flat.nbytes,
    "read and written\nby kernels": plain.moved,
}
figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.6))
bars = left.barh(list(step_bytes), list(step_bytes.values()), color=["#D55E00"] * 2 + ["#0072B2"] * 2, height=0.6)
for bar, hatch in zip(bars, ("////", "////", "", ""), strict=True):
    bar.set(hatch=hatch, edgecolor="white")
left.bar_label(bars, [f"{value:,}" for value in step_bytes.values()], padding=4, fontsize=11)
left.set(xscale="log", xlim=(1, 1e12), xlabel="bytes in a step of training (logarithmic)")
left.set_title("Little crosses, much stays", loc="left")
places = numpy.arange(len(counts))
launches, passes, least = numpy.array(list(counts.values())).T
many = right.barh(places - 0.2, passes, 0.38, color="#E69F00", hatch="...", edgecolor="white", label="plain formula")
few = right.barh(places + 0.2, least, 0.38, color="#0072B2", edgecolor="white", label="one kernel")
right.bar_label(many, [f"{number:.0f} launches" for number in launches], padding=3, fontsize=10)
right.bar_label(few, ["1 launch"] * len(least), padding=3, fontsize=10)
right.set_yticks(places, list(counts))
right.set(xlabel="passes over memory", xlim=(0, 1.5 * passes.max()))
right.set_title("One kernel reads and writes less", loc="left")
right.legend(loc="center right")
for axes in (left, right):
    axes.invert_yaxis()
pyplot.show()

# %% [markdown]
# On a CPU the same two terms exist, with other constants. A call of a NumPy function has a fixed price, and then it
# depends on the size. The smallest and the largest of these arrays show both:


# %%
def seconds(work, repeats: int = 15) -> float:
    """Return the median time of `work` in seconds, after one call that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(numpy.median(taken))


small, large = numpy.ones(16, "float32"), numpy.ones(1 << 24, "float32")
a = seconds(lambda: numpy.multiply(small, 1.0, out=small), repeats=1001)
b = seconds(lambda: numpy.multiply(large, 1.0, out=large)) / (2 * large.nbytes)
print(f"a call of NumPy costs {a * 1e6:.2f} microseconds, and then {1 / b / 1e9:.0f} GB a second are read and written")
print(f"here a call costs as much as moving {a / b:,.0f} bytes")
assert a / b < 1e6

# %% [markdown]
# A call costs far less than the 10 microseconds of our example, so small arrays are no disaster on a CPU; and a small
# model may well be slower on a GPU than on a laptop. The two machines ask for different programs, so the package has
# these few operations twice. [numpy_kernels.py](../minimapnet/kernels/numpy_kernels.py) takes blocks of rows that fit a
# core's cache through all the steps, so that each number comes from memory once;
# [cupy_kernels.py](../minimapnet/kernels/cupy_kernels.py) does it in one launch.
#
# ## A kernel, line by line
#
# A kernel is written in CUDA, which is C++ with a few words more. Here is LayerNorm's forward, as the package has it.


# %%
def excerpt(start: str) -> str:
    """Return the piece of the CUDA source whose first line holds `start`."""
    first = SOURCE.rindex("\n", 0, SOURCE.index(start)) + 1
    return SOURCE[first : SOURCE.index("\n}\n", first) + 2]


print(excerpt("void layernorm_forward("))

# %% [markdown]
# `__global__` marks a program that Python can launch. The launch says how many **blocks** of how many **threads** there
# shall be; each thread runs this same text, and only `blockIdx.x` (which block am I in?) and `threadIdx.x` (which
# thread of it am I?) differ. Here a block takes a row: the first lines move the pointers to it. Then
#
# 1. thread $i$ of $n$ adds up the columns $i, i + n, i + 2n, \ldots$ in its own `sum`: neighbouring threads read
#    neighbouring numbers, which the memory likes, and a row may have more columns than the block has threads;
# 2. `over_block<Add>` adds up the sums of all threads, and gives the total to each: divided by the width $C$ it is the
#    mean;
# 3. the same for the squares of the distances from the mean, and `scale` is $1 / \sqrt{\mathrm{var} + \epsilon}$;
# 4. every thread writes its columns, and one of them writes `rstd`, which the backward needs.
#
# These are the stages of step 2. What is new is number 2: how do threads add up? Threads come in **warps** of 32, which
# can look into each other's variables. The two functions below do it; `__device__` says that kernels may call them,
# `real` is float or double, and `Op` is `Add` here, whose `Op::of(a, b)` is `a + b` and whose `Op::nothing()` is 0.
# (With `Larger` in its place the same text finds a maximum, for softmax.)

# %%
print(excerpt("real over_warp(real value)"))
print()
print(excerpt("real over_block(real value)"))

# %% [markdown]
# `__shfl_xor_sync(..., value, step)` gives a thread the `value` of the thread whose number differs from its own in one
# bit: thread $i$ hears from $i \oplus \mathrm{step}$, where $\oplus$ is the exclusive or. After the step by 16, threads
# $i$ and $i \oplus 16$ hold the same sum of two; after the step by 8, four threads hold a sum of four; after 16, 8, 4,
# 2, 1 all 32 hold the sum of all. That is five additions instead of 31, and each thread has the result. In NumPy a warp
# is an array of 32 numbers:

# %%
lanes = rng.standard_normal(32).astype("float32")
number, value = numpy.arange(32), lanes.copy()
for step in (16, 8, 4, 2, 1):
    value = value + value[number ^ step]
    print(f"after the step by {step:2}: {len(set(value.tolist())):2} different values among the 32 threads")
assert numpy.allclose(value, lanes.sum(), atol=1e-5)

# %% [markdown]
# `over_block` does this in every warp, then lets one thread of each warp write its sum to `of_warp`, which is memory
# that the block shares, and adds up the warps' sums by the same trick. Warps do not go in step with one another, so
# there must be a **barrier** in between: no thread passes `__syncthreads()` before all have come to it. Otherwise a
# fast warp would read sums that a slow one has not written yet. The barrier before it is for kernels that add up twice,
# as ours does: nobody may overwrite the sums of the first time while others still read them.
#
# Let us launch the kernel. On a GPU it would be `cupy.RawKernel(SOURCE, "layernorm_forward", options)`; here an
# emulation of the same form compiles the same text for the CPU and lets the threads take turns. After the kernel come
# blocks, threads and arguments: arrays, whole numbers as `int`, others as `float`.


# %%
def launch_layernorm(source: str, descending: bool = False) -> numpy.ndarray:
    """Return LayerNorm of five rows of 256 numbers, by the CUDA source, run in blocks of 256 threads, which are 8 warps."""
    options = ("-std=c++17", "-DREAL=float")
    kernel = stand_in.raw_kernel(source, "layernorm_forward", options, descending)
    x, y, xhat, rstd, ones, zeros = map(
        stand_in.to_device, (rows, 0 * rows, 0 * rows, 0 * rows[:, :1], 0 * rows[0] + 1, 0 * rows[0])
    )
    kernel((5,), (256,), (x, ones, zeros, y, xhat, rstd, 256, 1e-5))
    return backend.to_host(y)


rows = rng.standard_normal((5, 256)).astype("float32")
right_answer = (rows - rows.mean(1, keepdims=True)) / numpy.sqrt(rows.var(1, keepdims=True) + 1e-5)
barrier = "__syncthreads();  // of_warp is complete"
assert SOURCE.count(barrier) == 1
if stand_in.WHY_NO_CUDA:
    print(stand_in.WHY_NO_CUDA)
else:
    for name, source in (("as it is", SOURCE), ("without its second barrier", SOURCE.replace(barrier, ""))):
        for descending in (False, True):
            wrong = abs(launch_layernorm(source, descending) - right_answer).max()
            order = "last warp first" if descending else "first warp first"
            print(f"the kernel {name}, {order}: {'right' if wrong < 1e-5 else 'wrong'}")

# %% [markdown]
# The kernel is right in whatever order the warps run. Without the barrier it is wrong. On a real device such a mistake
# may show seldom, or only on another card. So the emulation runs the warps in the worst orders on purpose, and the
# tests take out each barrier of the source in turn and demand that it is noticed.
#
# ## The same numbers, up to rounding
#
# Will the GPU give the same loss as the CPU? Not to the last digit. A sum in float32 is rounded after each addition, by
# a factor of at most $1 \pm u$ with $u = 2^{-24}$. A number that passes through $d$ additions carries at most about
# $d u$ of relative error, so for the sum
#
# $$ |\text{error}| \lesssim d \, u \sum_i |x_i|. $$
#
# One after the other, $d$ is up to $n - 1$. In a tree of pairs, as the warp does it, $d = \log_2 n$. So the order of
# the additions decides the last digits, and two libraries seldom add in the same order:

# %%
values = rng.standard_normal(1 << 14).astype("float32")
exact, bound = values.astype("float64").sum(), 2.0**-24 * abs(values.astype("float64")).sum()
tree = values.copy()
while len(tree) > 1:
    tree = tree[: len(tree) // 2] + tree[len(tree) // 2 :]
sums = {"one after the other": (values.cumsum(dtype="float32")[-1], len(values)), "in a tree": (tree[0], 14)}
for name, (value, depth) in sums.items():
    print(f"{name:20} {value:.6f}, exact {exact:.6f}; error {abs(value - exact) / bound:6.3f} u sum|x|, at most {depth}")
    assert abs(value - exact) <= depth * bound
assert sums["one after the other"][0] != sums["in a tree"][0]

# %% [markdown]
# What must not happen is that two runs of the *same* program on the same device differ. On a GPU that happens easily:
# where many threads add to one number by **atomic** additions, the order is whoever comes first. The gradient of the
# embedding is such a place, since a word may stand in many sentences. The package's kernel sorts the ids instead, so
# that equal ids lie side by side, and adds them up in an order that follows from the sizes alone.
#
# Now the whole of it: the same five steps of training, on NumPy and on the stand-in with the CUDA kernels. The masks
# are the same to the last bit; what do we expect of the losses?


# %%
def losses_of_training(steps: int = 5) -> numpy.ndarray:
    """Train a new model for some steps of 4 sentences, on the library in use -> the losses (steps,)."""
    new = Bert(trained.config(text), seed=0, init="random")
    optimizer = AdamW(new)
    return numpy.array([train_step(new, optimizer, *draw(step, rows=4)) for step in range(steps)])


losses = {"NumPy": losses_of_training()}
with stand_in.in_use(cuda=not stand_in.WHY_NO_CUDA):
    losses["stand-in"] = losses_of_training()
for name, found in losses.items():
    print(f"{name:12}", *(f"{loss:.4f}" for loss in found))
assert abs(losses["NumPy"] - losses["stand-in"]).max() < 1e-4

# %% [markdown]
# They agree to the four digits shown. (That they go up and down has another reason: each step has four other
# sentences.) But do rounding errors grow as training goes on, since each step starts from the slightly different
# weights of the last one? Then two devices would in the end be as different as two seeds. We can try without a second
# device: change every weight of a new model by one rounding error, up or down, train both for 200 steps, and hold the
# difference of their losses against that of another seed.


# %%
def long_run(seed: int, change: float = 0.0) -> numpy.ndarray:
    """Train a new model, whose weights are changed by a factor 1 + change or 1 - change, for 200 steps -> losses (200,)."""
    new = Bert(trained.config(text), seed, init="random")
    new.flat *= 1 + numpy.random.default_rng(1).choice([-change, change], new.flat.size).astype("float32")
    optimizer = AdamW(new)
    return numpy.array([train_step(new, optimizer, *draw(step, rows=8), lr=1e-3) for step in range(200)])


one = long_run(seed=0)
apart = {"one rounding error": abs(long_run(0, change=2.0**-23) - one), "another seed": abs(long_run(seed=1) - one)}
for name, difference in apart.items():
    early, late = difference[:50].mean(), difference[-50:].mean()
    print(f"{name:18}: losses differ by {early:.0e} in the first 50 steps, by {late:.0e} in the last 50")
assert apart["another seed"][-50:].mean() > 1000 * apart["one rounding error"][-50:].mean()

# %% [markdown]
# Here they hardly grow: the losses stay as near as float32 can tell, while another seed is more than a thousand times
# as far away. So a difference between two devices that is more than rounding is a mistake, and worth looking for. Do
# not take that for a law: training that is less steady than this, at a higher learning rate say, can make much of a
# small difference.
#
# If a GPU works here, it has its turn now.

# %%
if NO_GPU:
    print("Skipped, since no GPU works here: the same five steps on CuPy, held against NumPy's losses.")
else:
    minimapnet.use("cupy")
    found = losses_of_training()
    minimapnet.use("numpy")
    print("CuPy        ", *(f"{loss:.4f}" for loss in found))
    assert abs(losses["NumPy"] - found).max() < 1e-3

# %% [markdown]
# ## What to measure, and how
#
# A launch puts an order into a queue and comes back at once, before anything has been computed. A clock around it
# measures the queue. To see how far off that is, we build the smallest queue there is: one worker thread that does one
# order after the other. `submit` is the launch, `result()` waits until the order has been carried out.

# %%
matrix = rng.standard_normal((1500, 1500)).astype("float32")
with ThreadPoolExecutor(max_workers=1) as queue:
    queue.submit(numpy.matmul, matrix, matrix).result()  # warm-up
    start = time.perf_counter()
    orders = [queue.submit(numpy.matmul, matrix, matrix) for _ in range(4)]
    launched = time.perf_counter() - start
    orders[-1].result()
    done = time.perf_counter() - start
print(f"four products launched after {launched * 1e3:.2f} ms, done after {done * 1e3:.0f} ms")
assert done > 10 * launched

# %% [markdown]
# Whoever stops the clock after the launches believes in a miracle. So, for a time that means something:
#
# 1. **Wait** for the device before the clock is read, at the start and at the end: `cupy.cuda.Device().synchronize()`.
#    Anything that brings a number back, such as `float(loss)`, waits as well, and that is why a program should do it
#    seldom.
# 2. **Warm up**: the first call compiles the kernels and takes memory from the device; both are kept for later calls.
#    (CuPy's `cupyx.profiler.benchmark` waits and warms up for you.)
# 3. **Repeat**, and take the median: other programs run on the machine too.
# 4. **Count everything that belongs to the task**: drawing masks, checks and transfers too, not only the kernels.
# 5. **Vary the size.** A single time cannot tell launches from work.
#
# Let us do so for the training step of our model, for batches of several sizes.


# %%
def wait() -> None:
    """Wait until the device has done all that it was asked for; NumPy has, when it comes back."""
    if backend.name == "cupy":
        backend.xp.cuda.Device().synchronize()


def step_seconds(rows: int) -> float:
    """Return the median time of a training step of so many sentences, drawing of masks included."""
    optimizer = AdamW(model)

    def step():
        train_step(model, optimizer, *draw(0, rows))
        wait()

    return seconds(step, repeats=9)


SIZES = (1, 4, 16, 64, 256)


def measured() -> numpy.ndarray:
    """Time training steps of all sizes on the library in use (sizes,); the model stays as it was."""
    kept = backend.to_host(model.flat).copy()
    model.to_device()
    found = numpy.array([step_seconds(rows) for rows in SIZES])
    model.flat[...] = backend.to_device(kept)
    return found


times = {"NumPy": measured()}
if NO_GPU:
    print("Skipped, since no GPU works here: the same times on CuPy.")
else:
    minimapnet.use("cupy")
    times["CuPy"] = measured()
    pool = backend.xp.get_default_memory_pool()
    print(f"CuPy holds {pool.total_bytes() / 2**20:.0f} MiB of the device's memory")
    minimapnet.use("numpy")
    model.to_device()
for name, found in times.items():
    for rows, taken in zip(SIZES, found, strict=True):
        tokens = rows * trained.MAX_LENGTH
        print(f"{name}: {rows:5} sentences {taken * 1e3:8.1f} ms a step {tokens / taken:10,.0f} tokens a second")

# %%
figure, axes = pyplot.subplots()
for (name, found), (colour, line, mark) in zip(times.items(), plotting.BY_MASKED, strict=False):
    axes.plot(SIZES, 1e6 * found / SIZES, line, color=colour, marker=mark, markersize=8, linewidth=2, label=name)
axes.set(xscale="log", yscale="log", xlabel="sentences in a step (logarithmic)", ylabel="microseconds for one sentence")
axes.set_xticks(SIZES, [f"{rows:,}" for rows in SIZES])
axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
axes.minorticks_off()
axes.set_title("A sentence in a large batch costs less than one in a small batch", loc="left")
axes.grid(alpha=0.3)
axes.legend()
pyplot.show()

# %% [markdown]
# A sentence costs less in company: what a step costs regardless of its size is shared by more of them, until the
# arithmetic dominates and the curve levels out. On a CPU this fixed part is hundreds of calls and checks in Python; on
# a GPU it is the launches. With two such lines, of two machines, you can say from which batch size on one of them is
# the better choice: that is the third exercise.
#
# What to expect from a GPU, then? A model with wide layers, long sentences or large batches, in which products
# dominate. For this tutorial's model, with 64 channels, nothing can be said before it is measured. `minimapnet info`
# tells what would compute on your machine, and all commands take `--backend cupy`; measure the two with the cells
# above, and the third exercise tells where the lines cross.
#
# ## Exercises
#
# Write your answers as functions in `11_the_gpu.py` in a folder of your own, and run
# `pytest tests/tutorials/test_11_the_gpu.py --answers FOLDER` from the repository's folder; ours are in
# [solutions/11_the_gpu.py](solutions/11_the_gpu.py). The tests run on the stand-in too, so that most mistakes that a
# GPU would show are found without one.
#
# **1. One number a sentence.** `mean_losses(losses, positions)`: `losses` (B, K) is a device array, as `token_losses`
# gives it, 0 where no word is masked; `positions` (B, K) is a host array, -1 where no word is masked. Give the mean
# loss of each sentence's masked words as a NumPy array (B,). The division shall happen on the device, and no more than
# B numbers may come back.
#
# **2. A kernel of your own.** `row_norms_source()` gives CUDA source, to be put behind the package's `SOURCE`, with a
# kernel `row_norms(const real* x, real* norms, int64 width)`: block r, of whole warps, writes to `norms[r]` the
# Euclidean norm of row r of x, which has `width` columns, maybe more than the block has threads. Begin it with
# `extern "C" __global__ void`; you may use `over_block<Add>`.
#
# **3. From how many sentences on?** `break_even(sizes, first, second)`: two machines take `first` (S,) and `second`
# (S,) seconds for steps of `sizes` (S,) sentences. Fit each by a line $t = a + b \cdot \mathrm{size}$, by least squares
# of the *relative* errors (divide each equation by its $t$). Give the size at which the lines cross, as a float; `inf`
# where they have no crossing at a positive size. If you have a GPU, try it on your times.
#
# ## Where to go on
#
# - [backend.py](../minimapnet/backend.py) is the whole flag, in a hundred lines;
#   [cuda_source.py](../minimapnet/kernels/cuda_source.py) has all the kernels. LayerNorm's two are the easiest, the
#   softmax's and the embedding's the most instructive.
# - [cuda_on_cpu.h](../tests/helpers/cuda_on_cpu.h) is the emulation: threads as fibers that take turns.
#   [test_cuda_source.py](../tests/kernels/test_cuda_source.py) breaks kernels on purpose,
#   [test_kernels.py](../tests/kernels/test_kernels.py) holds every kernel against its plain formula, and
#   [test_backend.py](../tests/test_backend.py) tries the flag on machines that work and machines that do not.
# - Milakov and Gimelshein 2018, arXiv 1805.02867: softmax in one pass over a row, with a maximum that is corrected on
#   the way, as the package's kernel has it.
# - `pip install -e ".[cuda12]"` or `".[cuda13]"` installs CuPy to match the driver.
#
# Next, a model that is not ours: [12. Your own model](12_your_own_model.ipynb).
