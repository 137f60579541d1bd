# %% [markdown]
# # 2. A backward pass by hand
#
# Step 1 ended with a wish: a function with parameters, and the knowledge of how its loss changes with each of them. This
# step shows how that knowledge is computed. A network is a chain of simple layers. Its *forward pass* goes through the
# chain and arrives at the loss; its *backward pass* goes through the same chain in reverse and arrives at the gradient.
# We derive four layers by hand: linear, GELU, softmax with cross-entropy, and LayerNorm. Then we build a judge that tells
# right formulas from wrong ones, see how such a judge can be blind, and train a small network.
#
# Afterwards you can derive the backward of a layer of your own, and test it so that a mistake shows. You need step 1
# (loss, nats, the unigram entropy), matrix products, and derivatives. It takes about 30 minutes.

# %% [markdown]
# ## Gradients, and how we write them
#
# Let $L$ be a loss, a single number, and $X$ any array that $L$ depends on: an input, a parameter, or something in
# between. We write $dX$ for the array of all partial derivatives of $L$,
#
# $$ dX_{ij} = \frac{\partial L}{\partial X_{ij}}, $$
#
# the *gradient* of $L$ with respect to $X$. It always has *the shape of* $X$; in code, `dx` is the gradient of `x`,
# `dweight` that of `weight`. What it says: change $X$ by a small array $\delta X$ of the same shape, and $L$ changes by
#
# $$ \delta L = \sum_{ij} dX_{ij} \, \delta X_{ij} = \langle dX, \delta X \rangle, $$
#
# up to terms of second order in $\delta X$. For two arrays of one shape, $\langle A, B \rangle$ is the sum of the
# products of their elements: the dot product, if we think of each array as a long vector. This formula can be read
# backwards: if we find some array $G$ with $\delta L = \langle G, \delta X \rangle$ for *every* small $\delta X$, then
# $G = dX$. All derivations below are done in this way.
#
# Consider a layer within a network. It turns its input $X$ into its output $Y$, and later layers turn $Y$ into $L$.
# Suppose that we already know $dY$, the *upstream* gradient. To find $dX$ we write down how $\delta Y$ depends on
# $\delta X$, put it into $\delta L = \langle dY, \delta Y \rangle$, and move things until it reads
# $\langle \text{something}, \delta X \rangle$. That is the chain rule. The layer need not know what comes later: all it
# needs of that is in $dY$.
#
# Four rules do the moving:
#
# 1. $\langle A, R S \rangle = \langle A S^{T}, R \rangle = \langle R^{T} A, S \rangle$ for matrices, since all three are
#    $\sum_{ijk} A_{ij} R_{ik} S_{kj}$.
# 2. $\langle A, R * S \rangle = \langle A * R, S \rangle$, where $*$ multiplies element by element.
# 3. What is *spread* forward is *summed* backward. If the same $b$ of shape $(F,)$ is added to each of $N$ rows, then
#    $\sum_{nf} A_{nf} \, \delta b_{f} = \langle \sum_{n} A_{n}, \delta b \rangle$. And what is summed forward is spread
#    backward: $ds \sum_{v} \delta e_{v} = \sum_{v} ds \, \delta e_{v}$.
# 4. If $X$ is used in two places, both contribute to $\delta L$, so their gradients *add up*.

# %%
import numpy
import trained
from matplotlib import pyplot
from scipy import special

from minimapnet import plotting
from minimapnet.gradient_norms.accumulators import GradientAccumulator
from minimapnet.model import layers
from minimapnet.text.batches import unigram_entropy

pyplot.rcParams.update(plotting.PAGE)
rng = numpy.random.default_rng(0)
A, R, S = (rng.standard_normal(shape) for shape in ((2, 4), (2, 3), (3, 4)))
sums = [(A * (R @ S)).sum(), ((A @ S.T) * R).sum(), ((R.T @ A) * S).sum()]
print("rule 1:", *(f"{one:.6f}" for one in sums))
assert numpy.allclose(sums, sums[0])

# %% [markdown]
# ## The linear layer
#
# It maps $N$ rows of $C$ numbers (*channels*) to $N$ rows of $F$ numbers. In a language model a row belongs to a token.
# With a weight $W$ of shape $(C, F)$ and a bias $b$ of shape $(F,)$,
#
# $$ Y = X W + b, \qquad X: (N, C), \quad Y: (N, F). $$
#
# To first order, $\delta Y = \delta X \, W + X \, \delta W + \delta b$, where $\delta b$ is spread over the rows.
# Therefore
#
# $$ \delta L = \langle dY, \delta X \, W \rangle + \langle dY, X \, \delta W \rangle + \langle dY, \delta b \rangle
#    = \langle dY \, W^{T}, \delta X \rangle + \langle X^{T} dY, \delta W \rangle
#    + \langle \textstyle\sum_{n} dY_{n}, \delta b \rangle, $$
#
# and we read off
#
# $$ dX = dY \, W^{T}, \qquad dW = X^{T} \, dY, \qquad db = \sum_{n} dY_{n}, $$
#
# of shapes $(N, C)$, $(C, F)$ and $(F,)$, as it must be. A forward function returns its output and a *cache*: what the
# backward will need again. A backward writes neither to $dY$ nor to the cache, since several backwards may follow one
# forward.


# %%
def linear_forward(x, weight, bias):
    return x @ weight + bias, (x, weight)  # (N, F)


def linear_backward(dy, cache):
    x, weight = cache
    return dy @ weight.T, x.T @ dy, dy.sum(axis=0)  # dx (N, C), dweight (C, F), dbias (F,)


x, weight, bias = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)
y, cache = linear_forward(x, weight, bias)
dy = rng.standard_normal(y.shape)  # as if later layers had sent it
dx, dweight, dbias = linear_backward(dy, cache)
for name, array, gradient in (("x", x, dx), ("weight", weight, dweight), ("bias", bias, dbias)):
    print(f"{name:7} {array.shape!s:7} its gradient {gradient.shape}")

# %% [markdown]
# ## The judge: finite differences
#
# A sign or a transpose is easily wrong, and a network with a wrong gradient may still learn something, so that nobody
# notices. So every backward of this project is checked against something that knows no formula: change one number of the
# input a little and see how the loss changes. By Taylor's theorem, for a function $f$ of one number,
#
# $$ \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2 \varepsilon} = f'(x) + \frac{\varepsilon^{2}}{6} f'''(x) + \dots $$
#
# because the terms with $f(x)$ and $f''(x)$ cancel. This *central* difference is off by a multiple of $\varepsilon^{2}$;
# the one-sided $(f(x + \varepsilon) - f(x)) / \varepsilon$ is off by a multiple of $\varepsilon$.
#
# What is the loss, if we want to check a layer by itself? We may invent one: choose a fixed array $dY$ of $Y$'s shape and
# let $L = \langle Y, dY \rangle$. Its gradient with respect to $Y$ is this very $dY$, so a right backward, called with
# $dY$, gives the gradient of this $L$.


# %%
def differences(forward, x, dy, eps=1e-5):
    """Return the gradient of sum(forward(x) * dy) with respect to x by central differences, number by number."""
    gradient = numpy.empty_like(x)
    for index in numpy.ndindex(x.shape):
        step = numpy.zeros_like(x)
        step[index] = eps
        gradient[index] = ((forward(x + step) - forward(x - step)) * dy).sum() / (2 * eps)
    return gradient


def deviation(gradient, expected):
    """Return the largest difference between two gradients of one shape; all numbers here are of order 1."""
    assert gradient.shape == expected.shape
    return numpy.abs(gradient - expected).max()


TOLERANCE = 1e-7
for name, gradient, expected in (
    ("x", dx, differences(lambda x: linear_forward(x, weight, bias)[0], x, dy)),
    ("weight", dweight, differences(lambda weight: linear_forward(x, weight, bias)[0], weight, dy)),
    ("bias", dbias, differences(lambda bias: linear_forward(x, weight, bias)[0], bias, dy)),
):
    print(f"{name:7} largest difference {deviation(gradient, expected):.0e}")
    assert deviation(gradient, expected) < TOLERANCE

# %% [markdown]
# The derivation was right, to within rounding.
#
# The package's layer does the same, with one difference. Its backward returns $dX$ alone. What becomes of the parameters'
# gradients is up to a *accumulator*: the layer hands it the two factors, $X$ and $dY$. A `GradientAccumulator` multiplies
# them and adds up $X^{T} dY$ and $\sum_{n} dY_{n}$ under the layer's name. In step 6 another accumulator will get something
# else from the same two factors.

# %%
y_package, cache_package = layers.linear_forward(x, weight, bias)
accumulator = GradientAccumulator()
dx_package = layers.linear_backward(dy, cache_package, "first", accumulator)
print("the accumulator holds", *accumulator.sums)
assert numpy.allclose(y_package, y) and numpy.allclose(dx_package, dx)
assert numpy.allclose(accumulator.sums["first.weight"], dweight) and numpy.allclose(accumulator.sums["first.bias"], dbias)

# %% [markdown]
# ## GELU
#
# Two linear layers in a row are no more than one, since $(X W_{1}) W_{2} = X (W_{1} W_{2})$. Something that is not linear
# has to stand between them. BERT takes the *Gaussian error linear unit* (Hendrycks and Gimpel 2016, arXiv 1606.08415):
# for every number by itself,
#
# $$ y = x \, \Phi(x), \qquad \Phi(x) = \frac{1}{2} \left(1 + \mathrm{erf} \frac{x}{\sqrt{2}}\right), $$
#
# where $\Phi$ is the distribution function of the normal distribution. Large $x$ pass, since $\Phi$ is near 1, very
# negative ones become nearly 0, and between the two the change is smooth. Input and output have the same shape.
#
# From here on a forward is written as numbered *stages*, each so simple that its derivative is known, and the backward is
# its *mirror*: the same stages in reverse, each under the line that it undoes. The derivative of $\Phi$ is the normal
# density $\varphi(x) = e^{-x^{2}/2} / \sqrt{2 \pi}$. Note that $x$ is used in both stages, so two gradients add up (rule
# 4).


# %%
def gelu_forward(x):
    # 1. how much of x passes
    phi = 0.5 * (1 + special.erf(x / numpy.sqrt(2)))

    # 2. let it pass
    y = x * phi
    return y, (x, phi)


def gelu_backward(dy, cache):
    x, phi = cache

    # 2. y = x * phi
    dx = dy * phi
    dphi = dy * x

    # 1. phi = Phi(x)
    dx += dphi * numpy.exp(-0.5 * x * x) / numpy.sqrt(2 * numpy.pi)
    return dx


x = 2 * rng.standard_normal((5, 4))
y, cache = gelu_forward(x)
dy = rng.standard_normal(y.shape)
dx = gelu_backward(dy, cache)
assert deviation(dx, differences(lambda x: gelu_forward(x)[0], x, dy)) < TOLERANCE
y_package, slope = layers.gelu_forward(x, "erf")
assert numpy.allclose(y_package, y) and numpy.allclose(layers.gelu_backward(dy, slope), dx)
print("GELU: finite differences and the package agree with what we derived")

# %% [markdown]
# Both stages together read $dx = dy * (\Phi(x) + x \varphi(x))$. The package keeps this factor, the slope, as the cache.
#
# Why the step `1e-5` in `differences`? Two errors compete. The formula's own error shrinks with $\varepsilon$. But
# numbers are rounded: in float64 to a relative error of about $u = 10^{-16}$, so the difference in the numerator is off
# by about $u$, and the quotient by about $u / \varepsilon$, which grows as $\varepsilon$ shrinks. The sum
# $\varepsilon^{2} + u / \varepsilon$ is least near $\varepsilon = u^{1/3}$, about $5 \cdot 10^{-6}$. Let us measure it,
# with GELU, whose gradient we now have.

# %%
steps = 10.0 ** numpy.arange(-12, 0.01, 0.25)
x = numpy.linspace(-3, 3, 61)
exact = layers.gelu_forward(x, "erf")[1]
errors = {"one-sided, float64": [], "central, float64": [], "central, float32": []}
for eps in steps:
    there, here, back = (gelu_forward(point)[0] for point in (x + eps, x, x - eps))
    errors["one-sided, float64"].append(deviation((there - here) / eps, exact))
    errors["central, float64"].append(deviation((there - back) / (2 * eps), exact))
    there, back = (gelu_forward(point.astype("float32"))[0].astype("float64") for point in (x + eps, x - eps))
    errors["central, float32"].append(deviation((there - back) / (2 * eps), exact))

figure, axes = pyplot.subplots()
for (name, values), style in zip(errors.items(), (":", "-", "--"), strict=True):
    axes.loglog(steps, values, style, linewidth=2.5, label=name)
axes.axvline(1e-5, color="#777777", linewidth=1)
axes.text(1.2e-5, 3, "the step that we use")
axes.set(xlabel="step of the finite difference", ylabel="largest error of the slope", ylim=(1e-12, 10))
axes.set_title("Finite differences judge sharply only if central, in float64, and with a fitting step")
axes.legend(loc="lower left")
pyplot.show()
best = {name: min(values) for name, values in errors.items()}
assert 1e-6 < steps[numpy.argmin(errors["central, float64"])] < 1e-4
assert 100 * best["central, float64"] < best["one-sided, float64"] < best["central, float32"] / 100

# %% [markdown]
# So the checks run in float64, with central differences and a step near the best one. In float32, in which models are
# trained, a check would have to forgive errors many thousand times larger, and real mistakes with them.
#
# ## Softmax
#
# The last linear layer gives $V$ numbers for every hidden word, the *logits* $Z$ of shape $(N, V)$. They may be of any
# size and sign. A guess must be positive and add up to 1, so we take
#
# $$ p_{v} = \frac{e^{z_{v}}}{\sum_{u} e^{z_{u}}} $$
#
# in each row, the *softmax*. If we subtract the same number from all logits of a row, numerator and denominator shrink by
# the same factor and $p$ stays as it is. We subtract the largest, so that nothing overflows; since it changes nothing,
# the backward need not know of it. In stages, each line with its first-order change beside it:
#
# $$ \text{1.} \; e = e^{z - \max z}, \; \delta e = e * \delta z; \qquad
#    \text{2.} \; s = \sum_{v} e_{v}, \; \delta s = \sum_{v} \delta e_{v}; \qquad
#    \text{3.} \; p = \frac{e}{s}, \; \delta p = \frac{\delta e}{s} - \frac{e \, \delta s}{s^{2}} . $$
#
# Reading the third backwards, $de = dp / s$, and $ds = -\sum_{v} dp_{v} \, e_{v} / s^{2}$, a sum because $s$ was spread
# over the row (rule 3). In the second, $ds$ is spread. $e$ is used in both, so the two contributions add up. The first
# gives $dz = de * e$. Put into each other, with $e / s = p$, the three become one line, which step 3 will need:
#
# $$ dz = e * \left(\frac{dp}{s} - \sum_{v} \frac{dp_{v} \, e_{v}}{s^{2}}\right)
#    = p * \left(dp - \sum_{v} dp_{v} \, p_{v}\right) . $$
#
# Forward, the three lines give $\delta p_{v} = p_{v} (\delta z_{v} - \sum_{u} p_{u} \, \delta z_{u})$, that is
# $\partial p_{v} / \partial z_{u} = p_{v} ([u = v] - p_{u})$, where $[u = v]$ is 1 if $u = v$ and else 0.


# %%
def softmax_forward(z):
    # 1. positive numbers
    e = numpy.exp(z - z.max(axis=1, keepdims=True))  # (N, V)

    # 2. their sum
    s = e.sum(axis=1, keepdims=True)  # (N, 1)

    # 3. shares
    p = e / s  # (N, V)
    return p, (e, s)


def softmax_backward(dp, cache):
    e, s = cache

    # 3. p = e / s
    de = dp / s  # (N, V)
    ds = -(dp * e).sum(axis=1, keepdims=True) / s**2  # (N, 1)

    # 2. s = sum of e
    de = de + ds  # (N, V)

    # 1. e = exp(z - max z)
    return de * e  # (N, V)


z = rng.standard_normal((5, 7))
p, cache = softmax_forward(z)
dp = rng.standard_normal(p.shape)
dz = softmax_backward(dp, cache)
assert deviation(dz, differences(lambda z: softmax_forward(z)[0], z, dp)) < TOLERANCE
short = p * (dp - (dp * p).sum(axis=1, keepdims=True))
print(f"softmax: finite differences agree; stages and the one line differ by {deviation(short, dz):.0e}")
assert numpy.allclose(short, dz)

# %% [markdown]
# ## Softmax with cross-entropy
#
# The loss of step 1 is $\ell = -\log p_{t}$ for the true word $t$ of a row. Its gradient is $dp_{t} = -d\ell / p_{t}$, and
# 0 at all other words. So $\sum_{v} dp_{v} \, p_{v} = -d\ell$, and the line above gives
# $dz_{v} = p_{v} (dp_{v} + d\ell)$, that is $d\ell \, p_{v}$ for a wrong word and $d\ell \, (p_{t} - 1)$ for the right one:
#
# $$ dz = d\ell \, (p - \mathrm{onehot}_{t}), $$
#
# where $\mathrm{onehot}_{t}$ is 1 at $t$ and 0 elsewhere. It is as simple as it could be: announced minus true. A perfect
# guess has gradient zero. Otherwise a step against the gradient raises the logit of the right word and lowers the others,
# each in proportion to what was announced for it. With one loss for each of $N$ words, $d\ell$ has shape $(N,)$ and
# multiplies the rows.
#
# It also pays to compute the loss in one piece. The probability of a word may be so small that it becomes 0 in the
# computer, and $\log 0$ is infinite. But $-\log p_{t} = \log \sum_{v} e^{z_{v} - \max z} - (z_{t} - \max z)$ needs no
# $p_{t}$.

# %%
z = numpy.array([[0.0, 150.0, 10.0], [1.0, 2.0, 3.0]], "float32")
targets = numpy.array([0, 2])
with numpy.errstate(divide="ignore"):
    in_two_pieces = -numpy.log(softmax_forward(z)[0][[0, 1], targets])
in_one_piece, residual = layers.cross_entropy_forward(z.copy(), targets)  # the package's writes over its logits
print("softmax, then -log:", *(f"{loss:.3f}" for loss in in_two_pieces))
print("in one piece:      ", *(f"{loss:.3f}" for loss in in_one_piece))

z, targets = rng.standard_normal((5, 7)), rng.integers(7, size=5)
dlosses = rng.standard_normal(5)  # (N,) upstream
losses, residual = layers.cross_entropy_forward(z.copy(), targets)  # (N,), (N, V)
assert numpy.allclose(residual, softmax_forward(z)[0] - numpy.eye(7)[targets])
dz = layers.cross_entropy_backward(dlosses, residual)
expected = differences(lambda z: layers.cross_entropy_forward(z.copy(), targets)[0], z, dlosses)
assert deviation(dz, expected) < TOLERANCE
print("cross-entropy: finite differences agree with (p - onehot)")

# %% [markdown]
# ## LayerNorm
#
# In a chain of many layers numbers tend to grow or to shrink from layer to layer. *LayerNorm* (Ba, Kiros and Hinton 2016,
# arXiv 1607.06450) brings every row of $C$ numbers back to mean 0 and mean square 1, and then lets parameters $w$ and $b$
# of shape $(C,)$ choose another scale and shift for each channel. Write $\mathrm{mean}$ for the mean over the $C$ numbers
# of a row.
#
# $$ \text{1.} \; c = x - \mathrm{mean}(x); \quad \text{2.} \; r = \frac{1}{\sqrt{\mathrm{mean}(c^{2}) + \epsilon}}; \quad
#    \text{3.} \; \hat{x} = c \, r; \quad \text{4.} \; y = \hat{x} * w + b . $$
#
# $x$, $c$, $\hat{x}$, $y$ have shape $(N, C)$; $r$ has $(N, 1)$; the tiny $\epsilon$ only keeps a constant row from
# dividing by 0. The first-order changes, and what they are when read backwards:
#
# - Stage 4 multiplies and adds number by number, with $w$ and $b$ spread over the rows: $d\hat{x} = dy * w$,
#   $dw = \sum_{n} dy_{n} * \hat{x}_{n}$, $db = \sum_{n} dy_{n}$.
# - Stage 3: $\delta \hat{x} = \delta c \, r + c \, \delta r$, so $dc = d\hat{x} \, r$, and $dr = \sum_{C} d\hat{x} * c$,
#   summed over the row.
# - Stage 2: $r = a^{-1/2}$ with $a = \mathrm{mean}(c^{2}) + \epsilon$ has $\delta r = -\frac{1}{2} r^{3} \delta a$ and
#   $\delta a = \frac{2}{C} \sum_{C} c * \delta c$. So $c$ gets, in addition, $-\frac{1}{C} r^{3} \, dr \; c$.
# - Stage 1: $\delta c = \delta x - \mathrm{mean}(\delta x)$, and with rule 3, $dx = dc - \mathrm{mean}(dc)$: what was
#   averaged and spread is summed and shared out.


# %%
def layernorm_forward(x, weight, bias, eps=1e-12):
    # 1. mean 0
    c = x - x.mean(axis=1, keepdims=True)  # (N, C)

    # 2. one over the root of the mean square
    r = 1 / numpy.sqrt((c * c).mean(axis=1, keepdims=True) + eps)  # (N, 1)

    # 3. mean square 1
    xhat = c * r  # (N, C)

    # 4. another scale and shift
    y = xhat * weight + bias  # (N, C)
    return y, (c, r, xhat, weight)


def layernorm_backward(dy, cache):
    c, r, xhat, weight = cache

    # 4. y = xhat * weight + bias
    dxhat = dy * weight  # (N, C)
    dweight, dbias = (dy * xhat).sum(axis=0), dy.sum(axis=0)  # (C,), (C,)

    # 3. xhat = c * r
    dc = dxhat * r  # (N, C)
    dr = (dxhat * c).sum(axis=1, keepdims=True)  # (N, 1)

    # 2. r = 1 / sqrt(mean(c * c) + eps)
    dc = dc - r**3 * dr * c / c.shape[1]  # (N, C)

    # 1. c = x - mean(x)
    return dc - dc.mean(axis=1, keepdims=True), dweight, dbias


x, weight, bias = 3 + rng.standard_normal((5, 6)), rng.standard_normal(6), rng.standard_normal(6)
y, cache = layernorm_forward(x, weight, bias)
dy = rng.standard_normal(y.shape)
dx, dweight, dbias = layernorm_backward(dy, cache)
assert deviation(dx, differences(lambda x: layernorm_forward(x, weight, bias)[0], x, dy)) < TOLERANCE
assert deviation(dweight, differences(lambda weight: layernorm_forward(x, weight, bias)[0], weight, dy)) < TOLERANCE
assert deviation(dbias, differences(lambda bias: layernorm_forward(x, weight, bias)[0], bias, dy)) < TOLERANCE
y_package, cache_package = layers.layernorm_forward(x, weight, bias, 1e-12)
assert numpy.allclose(y_package, y)
assert numpy.allclose(layers.layernorm_backward(dy, cache_package, "norm", accumulator), dx)
assert numpy.allclose(accumulator.sums["norm.weight"], dweight) and numpy.allclose(accumulator.sums["norm.bias"], dbias)
print("LayerNorm: finite differences and the package agree with what we derived")

# %% [markdown]
# Put into each other, with $c = \hat{x} / r$ and because $\hat{x}$ has mean 0, stages 3 to 1 become the line that the
# package computes:
#
# $$ dx = r * \left(d\hat{x} - \mathrm{mean}(d\hat{x}) - \hat{x} * \mathrm{mean}(d\hat{x} * \hat{x})\right) . $$
#
# It can be seen as well as computed. Adding a constant to a row, or stretching it, does not change $\hat{x}$ (but for
# $\epsilon$). So the loss does not change in these two directions, $(1, \dots, 1)$ and $\hat{x}$, and the two
# subtractions remove just them from the gradient.
#
# ## A check that cannot fail
#
# In all checks the upstream gradient was random. A simpler choice suggests itself: check the gradient of $L = \sum Y$,
# the sum of the outputs, whose upstream gradient is all ones. It is quickly written. Look at what it does to softmax:
# every row of $p$ adds up to 1, so
#
# $$ L = \sum_{nv} p_{nv} = N $$
#
# *whatever the logits are*. The true gradient is zero. Under this loss a formula is right if it gives zero, and "return
# 0" does. The same happens to LayerNorm while $w$ is all ones, as it is when training begins: the rows of $\hat{x}$ have
# mean 0, so $L = \sum_{nc} (\hat{x}_{nc} + b_{c}) = N \sum_{c} b_{c}$ does not depend on $x$. Let us run the checks on
# wrong formulas, under both upstream gradients.


# %%
def row_mean(a):
    return a.mean(axis=1, keepdims=True)


x = rng.standard_normal((5, 6))
p = softmax_forward(x)[0]
c, r, xhat, _ = layernorm_forward(x, 1.0, 0.0)[1]
softmaxes = {
    "softmax: p * (dp - sum(dp * p)), the right one": lambda dp: p * (dp - (dp * p).sum(axis=1, keepdims=True)),
    "softmax: 0": lambda dp: 0 * dp,
    "softmax: sign flipped": lambda dp: -p * (dp - (dp * p).sum(axis=1, keepdims=True)),
    "softmax: factor p forgotten": lambda dp: dp - (dp * p).sum(axis=1, keepdims=True),
}
norms = {
    "LayerNorm: the right one": lambda dy: r * (dy - row_mean(dy) - xhat * row_mean(dy * xhat)),
    "LayerNorm: 0": lambda dy: 0 * dy,
    "LayerNorm: factor r forgotten": lambda dy: dy - row_mean(dy) - xhat * row_mean(dy * xhat),
    "LayerNorm: last term forgotten": lambda dy: r * (dy - row_mean(dy)),
}
upstreams = {"ones": numpy.ones(x.shape), "random": rng.standard_normal(x.shape)}
found = {}
for forward, formulas in ((softmax_forward, softmaxes), (lambda x: layernorm_forward(x, 1.0, 0.0), norms)):
    for upstream, dy in upstreams.items():
        expected = differences(lambda x, forward=forward: forward(x)[0], x, dy)
        for name, formula in formulas.items():
            found[name, upstream] = deviation(formula(dy), expected)
for name in softmaxes | norms:
    verdicts = {upstream: "passes" if found[name, upstream] < TOLERANCE else "FAILS" for upstream in upstreams}
    print(f"{name:48}", *(f"{upstream}: {verdict:8}" for upstream, verdict in verdicts.items()))
seen = deviation(p * upstreams["ones"], differences(lambda x: softmax_forward(x)[0], x, upstreams["ones"]))
print(f"{'softmax: sum forgotten, p * dp':48} ones: {'passes' if seen < TOLERANCE else 'FAILS'}")
assert seen > 1e-2

# %% tags=["picture"]
names = list(reversed(softmaxes | norms))
figure, axes = pyplot.subplots()
for upstream, colour, mark in (("ones", "#E69F00", "s"), ("random", "#0072B2", "o")):
    values = [max(found[name, upstream], 1e-13) for name in names]
    axes.semilogx(values, range(len(names)), mark, color=colour, markersize=9, label=f"upstream gradient: {upstream}")
axes.axvline(TOLERANCE, color="#777777", linestyle="--")
axes.text(TOLERANCE / 1.4, 7.6, "passes", ha="right", color="#555555")
axes.text(TOLERANCE * 1.4, 7.6, "fails", color="#555555")
axes.set_yticks(range(len(names)), [name.replace("p * (dp - sum(dp * p)), the", "the") for name in names])
axes.set(xlabel="largest difference from finite differences", ylim=(-0.6, 8.2))
axes.set_title("Under an upstream gradient of ones, wrong formulas pass like right ones", loc="right")
axes.legend(loc="center", bbox_to_anchor=(0.6, 0.5))
pyplot.show()
wrong = [name for name in names if "right" not in name]
assert all(found[name, "ones"] < TOLERANCE for name in names)
assert all((found[name, "random"] > 1e-2) == (name in wrong) for name in names)

# %% [markdown]
# With ones, all eight of the figure pass. With a random upstream gradient only the two right ones do. To be exact, ones
# are not blind to everything: a formula that turns them into something else than 0 fails, such as $p * dp$, the last line
# that was printed. But they cannot tell the right formula from zero, nor from a multiple of itself. Hence the rules of
# this project's checks: the upstream gradient is random, the numbers are float64, and there are tests that the checker
# rejects wrong backwards.
#
# The same thought is useful beyond tests: whenever a check passes, ask whether it could have failed.
#
# ## A whole network
#
# Now we chain the layers to a network that plays the game of step 1, as the tables of neighbours did. For a hidden word
# it gets the seven nearest neighbours. Each is written as a row of $V$ numbers, all 0 but for a 1 at its id, so that the
# input $X$ has shape $(N, 7 V)$. The first linear layer takes it to $C = 64$ channels; then come GELU, LayerNorm, a
# linear layer to the $V$ logits, and the loss. After the input this is the *head* that BERT has at its end.
#
# The parameters are kept in one dict, by name. The backward pass is the mirror of the forward pass, layer by layer; the
# accumulator collects the gradients under the same names. The parameters begin as random numbers; how large these should be
# is a question of step 4.


# %%
def forward(params, x, targets):
    # 1. what the neighbours say
    h, first = layers.linear_forward(x, params["first.weight"], params["first.bias"])  # (N, C)

    # 2. not linear
    h, gelu = layers.gelu_forward(h, "erf")  # (N, C)

    # 3. to one scale
    h, norm = layers.layernorm_forward(h, params["norm.weight"], params["norm.bias"], 1e-12)  # (N, C)

    # 4. logits
    logits, last = layers.linear_forward(h, params["last.weight"], params["last.bias"])  # (N, V)

    # 5. losses
    losses, residual = layers.cross_entropy_forward(logits, targets)  # (N,)
    return losses, (first, gelu, norm, last, residual)


def backward(dlosses, cache):
    first, gelu, norm, last, residual = cache
    accumulator = GradientAccumulator()

    # 5. losses = cross_entropy(logits, targets)
    d = layers.cross_entropy_backward(dlosses, residual)  # (N, V)

    # 4. logits = linear(h)
    d = layers.linear_backward(d, last, "last", accumulator)  # (N, C)

    # 3. h = layernorm(h)
    d = layers.layernorm_backward(d, norm, "norm", accumulator)  # (N, C)

    # 2. h = gelu(h)
    d = layers.gelu_backward(d, gelu)  # (N, C)

    # 1. h = linear(x)
    layers.linear_backward(d, first, "first", accumulator)
    return accumulator.sums


def new_params(inputs, C, V, dtype):
    rng = numpy.random.default_rng(1)
    shapes = {"first.weight": (inputs, C), "first.bias": (C,), "norm.weight": (C,), "norm.bias": (C,)}
    shapes |= {"last.weight": (C, V), "last.bias": (V,)}
    draws = {name: rng.standard_normal(shape) / numpy.sqrt(C) for name, shape in shapes.items()}
    return {name: (1 + draw if name == "norm.weight" else draw).astype(dtype) for name, draw in draws.items()}


small = new_params(6, 5, 7, "float64")  # a small one, to check every parameter
x, targets, dlosses = rng.standard_normal((4, 6)), rng.integers(7, size=4), rng.standard_normal(4)
gradients = backward(dlosses, forward(small, x, targets)[1])
for name, value in small.items():
    expected = differences(lambda value, name=name: forward(small | {name: value}, x, targets)[0], value, dlosses)
    print(f"{name:13} {value.shape!s:7} largest difference {deviation(gradients[name], expected):.0e}")
    assert deviation(gradients[name], expected) < TOLERANCE

# %% [markdown]
# Now with the sentences of step 1. The loss is the mean over $N$ words, so the backward begins with $d\ell = 1/N$ for each.
#
# What is the gradient good for? By the formula at the beginning, changing all parameters $\theta$ by
# $\delta \theta = -\eta \, d\theta$ changes the loss by $-\eta \, |d\theta|^{2}$ to first order: it falls as long as
# $\eta$, the *learning rate*, is small enough. Is the prediction right?

# %%
text = trained.grammar_text()
V = text.vocab_size
NEIGHBOURS = (-1, 1, -2, 2, -3, 3, -4)


def examples(batch):
    """Return the ids of the neighbours of every word (N, 7), and the ids of the words (N,)."""
    far = max(map(abs, NEIGHBOURS))
    padded = numpy.pad(batch.ids, ((0, 0), (far, far)))  # (B, T + 2 far), with [PAD], id 0
    around = [padded[:, far + n : far + n + batch.ids.shape[1]] for n in NEIGHBOURS]  # 7 of (B, T)
    return numpy.stack([ids[batch.maskable] for ids in around], axis=1), batch.ids[batch.maskable]


def onehot(ids):
    """Return rows (N, 7 V) of 0 with a 1 for each of the ids (N, 7)."""
    x = numpy.zeros((*ids.shape, V), "float32")
    numpy.put_along_axis(x, ids[:, :, None], 1, axis=2)
    return x.reshape(len(ids), -1)


def loss_and_gradients(params, ids, targets):
    losses, cache = forward(params, onehot(ids), targets)
    return losses.mean(), backward(numpy.full(len(ids), 1 / len(ids), "float32"), cache)


train_ids, train_targets = examples(text.train.batch(numpy.arange(len(text.train))))
test_ids, test_targets = examples(text.test.batch(numpy.arange(500)))
test_x = onehot(test_ids)  # (N, 7 V)
params = new_params(7 * V, 64, V, "float32")
batch = train_ids[:512], train_targets[:512]
loss, gradients = loss_and_gradients(params, *batch)
eta = 0.001
moved = {name: value - eta * gradients[name] for name, value in params.items()}
predicted = -eta * sum((g.astype("float64") ** 2).sum() for g in gradients.values())
actual = loss_and_gradients(moved, *batch)[0] - loss
print(f"{len(train_ids):,} words to train on; {sum(value.size for value in params.values()):,} parameters")
print(f"loss {loss:.3f}; its change: {predicted:.5f} predicted, {actual:.5f} found")
assert abs(actual / predicted - 1) < 0.05

# %% [markdown]
# It is. To learn is to do this again and again: *gradient descent*. The mean over all `1,276,624` training words would be
# slow, so each step takes 256 random ones, whose gradient is a noisy estimate of the mean gradient. This is *stochastic*
# gradient descent. We let the learning rate fall from 2 to 0 on the way: large steps at first, small ones at the end,
# where the noise would do harm. As before, what counts is the loss on sentences that the network was not trained on.

# %%
STEPS, ROWS = 640, 256
LOOKS = {0, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640}  # at the loss on held-out sentences
held_out = []
for step in range(STEPS + 1):
    if step in LOOKS:
        held_out.append((step, forward(params, test_x, test_targets)[0].mean()))
    chosen = rng.integers(len(train_ids), size=ROWS)
    _, gradients = loss_and_gradients(params, train_ids[chosen], train_targets[chosen])
    for name, gradient in gradients.items():
        params[name] -= 2.0 * (1 - step / STEPS) * gradient
no_context = unigram_entropy(text.train, text.test, V)
for step, loss in held_out:
    print(f"after {step:3} steps: {loss:.2f} nats")
print(f"unigram entropy:  {no_context:.2f} nats")

# %%
figure, axes = pyplot.subplots()
axes.plot(*zip(*held_out, strict=True), "o-", label="the network, on held-out sentences")
axes.axhline(no_context, color="#D55E00", linestyle="--", label="unigram entropy: no context")
axes.set_xscale("symlog", linthresh=1)
axes.set_xticks(sorted(LOOKS), sorted(LOOKS))
axes.set(xlabel="steps of gradient descent", ylabel="loss (nats per word)", ylim=(0, 6.5), xlim=(-0.2, 800))
axes.set_title("Gradients computed by hand teach a network to guess hidden words")
axes.legend()
pyplot.show()
assert held_out[-1][1] < 1

# %% [markdown]
# The network arrives at `0.98` nats. The best table of step 1 stayed above one nat, and the table of these same seven
# neighbours above one and a half, because it learned combinations by heart. The network cannot do that easily: every
# neighbour has its own row of weights in the first layer, and what is learned about it has to serve in every combination.
#
# It still sees seven neighbours only. To see the whole sentence, and to look for partners wherever they are, it needs a
# layer in which tokens look at each other. That is attention, the next step.
#
# ## Exercises
#
# Write your answers as functions in `02_a_backward_pass_by_hand.py` in a folder of your own, and run, in the repository's
# folder, `pytest tests/tutorials/test_02_a_backward_pass_by_hand.py --answers FOLDER`; ours are in
# [solutions/02_a_backward_pass_by_hand.py](solutions/02_a_backward_pass_by_hand.py).
#
# **1. RMSNorm.** Zhang and Sennrich (2019, arXiv 1910.07467) leave out LayerNorm's mean and bias: $y = x * r * w$ with
# $r = 1 / \sqrt{\mathrm{mean}(x^{2}) + \epsilon}$. Write `rmsnorm_forward(x, weight, eps)`, which returns `(y, cache)`,
# and `rmsnorm_backward(dy, cache)`, which returns `(dx, dweight)`; `x` and `dy` are $(N, C)$, `weight` is $(C,)$. A
# backward must not change `dy` or the cache.
#
# **2. A residual block.** BERT's layers add their result to their input:
# $Y = X + \mathrm{gelu}(X W_{1} + b_{1}) W_{2} + b_{2}$ with $W_{1}$ of shape $(C, F)$ and $W_{2}$ of $(F, C)$. Write
# `block_forward(x, params)`, which returns `(y, cache)`, and `block_backward(dy, cache)`, which returns
# `(dx, gradients)`. `params` and `gradients` are dicts with the names `W1`, `b1`, `W2`, `b2`. You may use the package's
# layers; mind rule 4.
#
# **3. A check along one direction.** Checking each of a million parameters takes two million evaluations. Along one
# random direction $u$ of length 1 it takes two:
# $(L(\theta + \varepsilon u) - L(\theta - \varepsilon u)) / (2 \varepsilon)$ must be $\langle d\theta, u \rangle$. Write
# `agrees(objective, point, gradient, rng)`, where `objective` maps an array of the shape of `point` to a number, and
# `rng` is a NumPy generator. It returns `True` or `False`, evaluates `objective` twice, and must notice when the largest
# number of the gradient is wrong by a thousandth of its size.
#
# ## Where to go on
#
# - The layers: [layers.py](../minimapnet/model/layers.py), each a forward and its backward; the parts that must be fast,
#   GELU, LayerNorm and cross-entropy among them, in [numpy_kernels.py](../minimapnet/kernels/numpy_kernels.py).
# - The accumulators: [accumulators.py](../minimapnet/gradient_norms/accumulators.py).
# - The judge: [gradient_check.py](../tests/helpers/gradient_check.py); every layer before it:
#   [test_layers.py](../tests/model/test_layers.py); and what it must reject:
#   [test_gradient_check.py](../tests/test_gradient_check.py).
# - The next step: [3. Attention](03_attention.ipynb).
