# %% [markdown]
# # 6. The norm of a gradient that is never built
#
# [Step 5](05_noise.ipynb) found that most of a gradient's noise comes from the masks, and within a sentence from a few of
# them: those with long gradients. To choose masks by that, one must know the length $|g|$ of the gradient of each masked
# word's loss. Building a gradient of all parameters only to measure it, once for each word, is a waste. In this step we
# get the same number, exactly, from what a backward pass has in its hands anyway.
#
# Afterwards you can derive the norm of the gradient of every kind of parameter that BERT has: linear layers, LayerNorm,
# embeddings, and an embedding that serves as the decoder as well. You can write a reader that measures what you want
# during a backward pass. From before you need the backward pass of these layers (step 2), the reader (step 3) and the
# model (step 4). It takes about 20 minutes.

# %%
import time

import numpy
import trained
from matplotlib import pyplot

from minimapnet import gradients, token_gradient_norms, token_losses
from minimapnet.lab import figure_style
from minimapnet.model.masked_batch import masked_batch
from minimapnet.model.norm_reader import factor

pyplot.rcParams.update(figure_style.PAGE)

model, text = trained.bert()  # that of step 4
T, C, V = trained.ROW_TOKENS, model.config.hidden_size, model.config.vocab_size
ids = text.test.batch(numpy.arange(1)).ids  # (1, T)
words = [text.tokenizer.id_to_token(i) for i in ids[0]]
print(" ".join(words))

# %% [markdown]
# ## The naive way
#
# What we want is one number for each masked word: with $\ell_{i}$ for the loss of word $i$ and $g_{i}$ for its gradient,
# a vector of all $P$ parameters, the norm $|g_{i}|$. (Where several words are masked at once, the others stay masked.)
# Here is the way that needs no thought: one forward and one backward pass for each word, with a weight of 1 on its loss
# and of 0 on the others'; then square all $P$ numbers and add them up.


# %%
def norms_by_loop(ids, positions):
    """Give |g_i| of every masked word by building g_i: ids (B, T), positions (B, K) -> (B, K)."""
    norms = numpy.empty(positions.shape)
    gradient = numpy.empty_like(model.flat)  # (P,)
    for b, j in numpy.ndindex(positions.shape):
        weights = numpy.zeros((1, positions.shape[1]))
        weights[0, j] = 1
        gradients(model, ids[b : b + 1], positions[b : b + 1], weights, out=gradient)
        norms[b, j] = numpy.linalg.norm(gradient)
    return norms


copies = ids.repeat(16, axis=0)  # (16, T): the sentence once for each of its words ...
alone = numpy.arange(1, 17)[:, None]  # (16, 1): ... which is masked alone
losses, norms = token_losses(model, copies, alone)[:, 0], norms_by_loop(copies, alone)[:, 0]
for word, loss, norm in zip(words[1:], losses, norms, strict=False):
    print(f"{word:10} loss {loss:6.3f} nats, norm {norm:6.3f}")
print(f"built {16 * model.flat.size:,} numbers to get 16; the longest is {norms.max() / norms.min():.0f} times the shortest")

# %% [markdown]
# The norms differ by orders of magnitude, as we expected: words that follow from others have short gradients, free ones
# have long ones. Now we want these numbers without the gradients.
#
# ## One linear layer
#
# The parameters fall into arrays, and the squared norm of all is the sum of those of the arrays. So we may look at one
# array at a time. Take a linear layer $y_{t} = W^{T} x_{t} + b$ with $W$ of shape $(C, F)$, which sees the rows $x_{t}$,
# $t = 1 \ldots T$, of one sentence. Let $d_{t}$ of shape $(F,)$ be the gradient of the loss with respect to $y_{t}$. Step
# 2 gave
#
# $$G = \frac{\partial \ell}{\partial W} = X^{T} D = \sum_{t} x_{t} d_{t}^{T}, \qquad (C, T)(T, F) \to (C, F).$$
#
# It is a sum of $T$ outer products. Write $\langle A, B \rangle = \sum_{cf} A_{cf} B_{cf}$ for the inner product of two
# arrays, so that $|G|^{2} = \langle G, G \rangle$. Everything in this step follows from one line:
#
# $$\langle a b^{T}, c\, d^{T} \rangle = \sum_{cf} a_{c} b_{f}\, c_{c} d_{f} = (a \cdot c)\,(b \cdot d).$$
#
# *The inner product of two outer products is the product of the inner products of their parts.* Multiply
# $\langle G, G \rangle$ out over $t$ and $s$:
#
# $$
# |G|^{2} = \sum_{t} \sum_{s} \langle x_{t} d_{t}^{T}, x_{s} d_{s}^{T} \rangle
# = \sum_{t, s} (x_{t} \cdot x_{s})\,(d_{t} \cdot d_{s}).
# $$
#
# The right side has no array of $W$'s shape. It needs two *Gram matrices*, tables of all inner products of rows:
# $X X^{T}$ and $D D^{T}$, both $(T, T)$. They are multiplied number by number and added up.
#
# The bias has the gradient $\sum_{t} d_{t}$. It may be thought of as the weight of one more input channel that is always 1.
# So both together take $x_{t} \cdot x_{s} + 1$ in the place of $x_{t} \cdot x_{s}$.


# %%
def gram_squares(x, d, one=1.0):
    """Give the squared norm of a linear layer's gradient, bias included: x (T, C), d (T, F) -> a number."""
    return float(((x @ x.T + one) * (d @ d.T)).sum())  # (T, T) * (T, T)


rng = numpy.random.default_rng(0)
x, d = rng.normal(size=(T, 64)), rng.normal(size=(T, 256))
weight, bias = x.T @ d, d.sum(axis=0)  # (C, F), (F,)
built = float((weight**2).sum() + (bias**2).sum())
print(f"built {weight.size + bias.size:,} numbers: {built:.2f};  from {2 * T * T} numbers: {gram_squares(x, d):.2f}")
assert numpy.isclose(built, gram_squares(x, d))

# %% [markdown]
# What does it cost? The product $X^{T} D$ takes $2 T C F$ operations (a multiplication and an addition for each triple),
# the tables take $2 T^{2} C + 2 T^{2} F$. So the tables are cheaper as long as
#
# $$T < \frac{C F}{C + F}.$$
#
# With one row they are as cheap as can be: $|x d^{T}|^{2} = |x|^{2} |d|^{2}$, which is $C + F$ multiplications in the
# place of $C F$.

# %%
for name, width, wide in (("our model", 64, 256), ("BERT base", 768, 3072)):
    print(f"{name}: {width} to {wide} channels, tables are cheaper below {width * wide / (width + wide):.0f} rows")

# %% [markdown]
# ## A reader that listens
#
# We need the $x$ and $d$ of every layer for a given word. The backward pass has them: where it meets a parameter, it
# hands both to its reader (step 3), and leaves it to the reader what to do with them. Package code has one reader that
# builds gradients. Ours only listens. `masked_batch` puts [MASK] in and lists the masked places; `forward` and `backward`
# are those of step 4.


# %%
class Listener:
    """Keeps what a backward pass hands over: {name: (input rows, gradients of the output rows)}."""

    def __init__(self):
        self.heard = {}

    def linear(self, name, x, dy):
        self.heard[name] = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (T, C), (T, F)

    def layernorm(self, name, xhat, dy):
        self.linear(name, xhat, dy)  # (T, C), (T, C)

    def embedding(self, name, ids, dy):
        self.heard[name] = ids.reshape(-1), dy.reshape(-1, dy.shape[-1])  # (T,), (T, C)

    def decoder(self, h, dlogits):
        self.heard["decoder"] = h, dlogits  # (1, C), (1, V)


def listen(position):
    """Give what is heard in the backward pass of one masked word's loss."""
    batch = masked_batch(model.config, ids, numpy.array([[position]]))
    losses, cache = model.forward(batch)  # (1,)
    listener = Listener()
    model.backward(numpy.ones_like(losses), cache, listener)
    return listener.heard


heard = listen(7)
print("the loss of", words[7])
for name, (x, d) in heard.items():
    print(f"{name:22} x {x.shape!s:10} d {d.shape}")

# %% [markdown]
# The list runs from the loss down to the embeddings. Look at the shapes. From `decoder` to `layer1.attention_out` there
# is one row: the loss looks at one place, and up there each place is computed from itself alone. In the attention of the
# last layer the place gathers from all others, so below it all 18 rows count.
#
# The feed-forward layer of layer 0 as a picture: its two tables and their product, whose sum is the squared norm.

# %% tags=["picture"]
x, d = heard["layer0.feed_in"]  # (T, C), (T, F)
tables = {"inputs: $x_t \\cdot x_s + 1$": x @ x.T + 1, "gradients: $d_t \\cdot d_s$": d @ d.T}
tables["their product"] = tables["inputs: $x_t \\cdot x_s + 1$"] * tables["gradients: $d_t \\cdot d_s$"]
figure, axes = pyplot.subplots(1, 3)
for axis, (name, table) in zip(axes, tables.items(), strict=True):
    most = abs(table).max()
    image = axis.imshow(table, cmap="PuOr", vmin=-most, vmax=most)
    axis.set(title=name, xlabel="place s", xticks=range(0, T, 4), yticks=range(0, T, 4))
    figure.colorbar(image, ax=axis, shrink=0.8)
axes[0].set_ylabel("place t")
figure.suptitle(f"The norm of a gradient of {x.shape[1]} x {d.shape[1]} numbers from two tables of {T} x {T}")
pyplot.show()

built = float(((x.T @ d) ** 2).sum() + (d.sum(axis=0) ** 2).sum())
print(f"the sum of the product {tables['their product'].sum():.5f}; built, squared and added up {built:.5f}")
assert numpy.isclose(tables["their product"].sum(), built, rtol=1e-4)

# %% [markdown]
# ## LayerNorm
#
# LayerNorm gives $y_{t} = \hat x_{t} * w + b$, with $\hat x_{t}$ the normalised row, $*$ number by number, and $w$ and
# $b$ of shape $(C,)$. Its gradients are $\sum_{t} d_{t} * \hat x_{t}$ and $\sum_{t} d_{t}$. They have only $C$ numbers
# each, so there is nothing to save: build them, square them.


# %%
def layernorm_squares(xhat, d):
    """Both (T, C) -> a number."""
    return float(((d * xhat).sum(axis=0) ** 2).sum() + (d.sum(axis=0) ** 2).sum())


# %% [markdown]
# ## Embeddings, and words that occur twice
#
# The word embedding $E$ of shape $(V, C)$ gives place $t$ its row $E_{v}$ with $v = \mathrm{id}_{t}$. So row $v$ of the
# gradient is the sum of $d_{t}$ over all places with the id $v$. With $u_{v}$ for the vector of shape $(V,)$ that is 1 at
# $v$ and 0 elsewhere, $G = \sum_{t} u_{\mathrm{id}_{t}} d_{t}^{T}$: outer products again, and $u_{v} \cdot u_{w}$ is 1 if
# $v = w$ and else 0. So
#
# $$
# |G|^{2} = \sum_{t, s} [\mathrm{id}_{t} = \mathrm{id}_{s}]\, (d_{t} \cdot d_{s})
# = \sum_{v} \Big| \sum_{t :\, \mathrm{id}_{t} = v} d_{t} \Big|^{2}.
# $$
#
# *Rows with equal ids add up before they are squared.* Squaring each row by itself would be wrong where a word occurs
# twice. The same holds for the tables of positions (there every id occurs once) and of types (there all ids are equal).


# %%
def embedding_squares(ids, d):
    """ids (T,), d (T, C) -> a number."""
    same = ids[:, None] == ids  # (T, T)
    return float((same * (d @ d.T)).sum())


word_ids, d = heard["word_embedding"]  # (T,), (T, C)
table = numpy.zeros((V, C))
numpy.add.at(table, word_ids, d)
print(f"{T} places, {len(set(word_ids.tolist()))} different words")
print(f"built {(table**2).sum():.5f}, by equal ids {embedding_squares(word_ids, d):.5f}, row by row {(d**2).sum():.5f}")
assert numpy.isclose((table**2).sum(), embedding_squares(word_ids, d), rtol=1e-4)
assert abs((d**2).sum() / (table**2).sum() - 1) > 0.01

# %% [markdown]
# ## Tied weights
#
# The decoder of BERT has no weight of its own. It is *tied*: the scores of all words at a masked place are $E h + b$,
# with the same $E$ as the word embedding, $h$ of shape $(C,)$ for what the head makes of the place, and $b$ of shape
# $(V,)$. With $e = \mathrm{softmax} - \text{one at the true word}$, of shape $(V,)$, for the gradient of the scores (step
# 2), the decoder's share of the gradient is one outer product,
#
# $$G_{\mathrm{head}} = e\, h^{T} \quad (V, C), \qquad |G_{\mathrm{head}}|^{2} = |e|^{2} |h|^{2}.$$
#
# The gradient of $E$ is the sum of both shares, and the square of a sum has a cross term:
#
# $$
# |G_{\mathrm{in}} + G_{\mathrm{head}}|^{2} = |G_{\mathrm{in}}|^{2} + |G_{\mathrm{head}}|^{2} +
# 2 \langle G_{\mathrm{in}}, G_{\mathrm{head}} \rangle.
# $$
#
# Our one line gives it, too. $u_{v} \cdot e$ is just the component $e_{v}$, so
#
# $$
# \langle G_{\mathrm{in}}, G_{\mathrm{head}} \rangle
# = \sum_{t} \langle u_{\mathrm{id}_{t}} d_{t}^{T}, e\, h^{T} \rangle = \sum_{t} e_{\mathrm{id}_{t}}\, (d_{t} \cdot h).
# $$
#
# (With a loss of several masked words $j$ there is a sum over $j$ of $e_{j} h_{j}^{T}$: then
# $|G_{\mathrm{head}}|^{2} = \sum_{j, l} (e_{j} \cdot e_{l})(h_{j} \cdot h_{l})$, and the cross term has a sum over $j$,
# too.)


# %%
def tied_parts(ids, d, h, e):
    """ids (T,), d (T, C), h (C,), e (V,) -> |G_in|^2, |G_head|^2 and the cross term 2 <G_in, G_head>."""
    return embedding_squares(ids, d), float((e @ e) * (h @ h)), float(2 * (e[ids] * (d @ h)).sum())


for position in (6, 7):
    heard = listen(position)
    (h,), (e,) = heard["decoder"]  # (C,), (V,)
    word_ids, d = heard["word_embedding"]  # (T,), (T, C)
    parts = tied_parts(word_ids, d, h, e)
    table = e[:, None] * h  # (V, C): built, to compare
    numpy.add.at(table, word_ids, d)
    print(
        f"{words[position]:6} in {parts[0]:.5f}, head {parts[1]:.5f}, cross term {parts[2]:.5f}: sum {sum(parts):.5f},",
        end=" ",
    )
    print(f"built {(table**2).sum():.5f}; without the cross term {100 * ((parts[0] + parts[1]) / sum(parts) - 1):.1f} % off")
    assert numpy.isclose(sum(parts), (table**2).sum(), rtol=1e-4)

# %% [markdown]
# For a free word such as "small" the cross term hardly counts: $e$ lives on words that could stand at the masked place,
# and these are rarely among the words that can be seen. For "coats", which stands in the sentence a second time, it does:
# leave it out, and the square is wrong by about a tenth.
#
# ## All together
#
# Every parameter of the model is accounted for. We add everything up, for each of the words that we looped over.


# %%
def squares(heard):
    """Give the squared norm of one word's gradient over all parameters, from what was heard."""
    (h,), (e,) = heard["decoder"]  # (C,), (V,)
    total = float(e @ e)  # the decoder's bias, which is not tied
    for name, (x, d) in heard.items():
        if name == "word_embedding":
            total += sum(tied_parts(x, d, h, e))
        elif name.endswith("embedding"):
            total += embedding_squares(x, d)
        elif "norm" in name:
            total += layernorm_squares(x, d)
        elif name != "decoder":
            total += gram_squares(x, d)
    return total


ours = numpy.sqrt([squares(listen(position)) for position in range(1, 17)])
for word, built, summed in list(zip(words[1:], norms, ours, strict=False))[4:8]:
    print(f"{word:10} by the loop {built:8.5f}, without gradients {summed:8.5f}")
assert numpy.allclose(ours, norms, rtol=1e-4)

# %% [markdown]
# They agree for all 16 words, except for rounding in float32. No gradient of a weight was built.
#
# ## Many words of one sentence
#
# When several words of a sentence are masked at once, the loop repeats the same forward pass for each of them: only the
# loss from which it goes back differs. There are three things to save.
#
# **One forward pass.** No backward function writes to its cache (step 2), so one cache serves many backward passes. They
# even run side by side. Give the gradients one more axis, $(R, T, C)$, with one *replica* of the sentence for each of the
# $R$ masked words, and leave the cache as it is, $(1, T, C)$: every line of the backward pass broadcasts.
#
# **One row at the top.** Above the last attention a word's loss has only its own row. There the $R$ words need no
# replicas, only $R$ rows, and every norm is a product of two.
#
# **One factor for each input.** Below, the words share each layer's input $X$, and only $D$ differs. So all work on $X$
# can be done once. Split $X^{T} = Q A$, of shapes $(C, T) = (C, T)(T, T)$, by the QR decomposition: the columns of $Q$
# are orthonormal, $Q^{T} Q = I$, and $A$ is a triangle. Then
#
# $$|X^{T} D|^{2} = |Q A D|^{2} = |A D|^{2},$$
#
# since $Q$ keeps the length of every column: $|Q z|^{2} = z^{T} Q^{T} Q z = |z|^{2}$. The product $A D$ of shape $(T, F)$
# costs $2 T^{2} F$ operations a word, as $D D^{T}$ does. But it is kinder to rounding errors. In the sum of the tables'
# product, terms of both signs may cancel; here only squares are added. The package's `factor` gives such a matrix for a
# batch of inputs, with the channel of ones for the bias.
#
# To see the difference we make a bad case in float32: rows $x_{t}$ that are nearly equal, and rows $d_{t}$ that nearly
# add up to zero.

# %%
rng = numpy.random.default_rng(1)
x = (rng.normal(size=64) + 1e-3 * rng.normal(size=(T, 64))).astype("float32")  # (T, C)
d = rng.normal(size=(T, 256))
d = (d - d.mean(axis=0)).astype("float32")  # (T, F)
(A,) = factor(x[None])  # (T, T)
truth = gram_squares(x.astype("float64"), d.astype("float64"))
by_tables, by_factor = gram_squares(x, d), float(((A @ d) ** 2).sum())
print(f"in float64 {truth:.6f}; in float32 by tables {by_tables:.6f}, by the factor {by_factor:.6f}")
assert abs(by_factor - truth) < abs(by_tables - truth) / 10

# %% [markdown]
# ## Against the naive way
#
# `token_gradient_norms(model, ids, positions)` does all this: one forward pass for each sentence, then replicas, in
# chunks that fit into a given memory. It gives $(B, K)$ norms for positions $(B, K)$. We compare it with the loop, for 8
# sentences of which 1 to 16 words are masked at once, and take the best of three times for each.

# %%
batch = text.test.batch(numpy.arange(8))
rng = numpy.random.default_rng(2)
order = rng.permuted(numpy.tile(numpy.arange(1, 17), (8, 1)), axis=1)  # (8, 16)


def best_time(function, *arguments):
    """Give what a function returns, and the least of three times in milliseconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = function(*arguments)
        times.append(1000 * (time.perf_counter() - start))
    return found, min(times)


counts, by_loop, by_package = (1, 2, 4, 8, 16), [], []
for K in counts:
    slow, milliseconds = best_time(norms_by_loop, batch.ids, order[:, :K])
    by_loop.append(milliseconds)
    fast, milliseconds = best_time(token_gradient_norms, model, batch.ids, order[:, :K])
    by_package.append(milliseconds)
    assert numpy.allclose(fast, slow, rtol=1e-3)  # (8, K)
    print(f"{K:2} masked: loop {by_loop[-1]:7.1f} ms, package {by_package[-1]:5.1f} ms")
assert by_loop[-1] > 3 * by_package[-1]

# %%
figure, axis = pyplot.subplots()
axis.plot(counts, by_loop, "s--", color="#E69F00", label="a gradient for each word, squared and added up")
axis.plot(counts, by_package, "o-", color="#0072B2", label="the norms alone")
axis.set(
    xlabel="masked words in each of 8 sentences", ylabel="milliseconds", xscale="log", yscale="log", xticks=counts,
    xticklabels=counts, title="The loop pays a whole gradient for every further word, the package much less",
)  # fmt: skip
axis.minorticks_off()
axis.legend()
pyplot.show()

# %% [markdown]
# Both give the same norms, and where all words are masked the loop takes more than three times as long (the program
# asserts it; how much more depends on the machine). The same formulas give the norm of the gradient of each *sentence's*
# loss beside an ordinary backward pass: `gradients_and_norms` returns the gradient and these norms in one go.
#
# So we have what step 5 asked for: the norms of all masked words' gradients, at a price that one can pay. The next step
# draws masks by them.
#
# ## Exercises
#
# Write your answers in `06_norms_without_gradients.py` in a folder of your own, and run, in the repository's folder,
# `pytest tests/tutorials/test_06_norms_without_gradients.py --answers FOLDER`; ours are in
# [solutions/06_norms_without_gradients.py](solutions/06_norms_without_gradients.py).
#
# **1. Do two sentences pull the same way?** Write `inner_product(x1, d1, x2, d2)`: the inner product of the gradients
# that two sentences give one linear layer, weight and bias together, as a float. x1 $(T_{1}, C)$ and d1 $(T_{1}, F)$ are
# of one sentence, x2 $(T_{2}, C)$ and d2 $(T_{2}, F)$ of the other. Build no array of $C$ times $F$ numbers: the test
# looks at the memory.
#
# **2. A layer that is used many times.** Some models (ALBERT, arXiv 1909.11942) use the same weights in all their layers.
# Write `shared_squares(uses)`: the squared norm of the gradient of a linear layer, weight and bias together, that is used
# several times on the way to the loss. `uses` is a list of pairs (x, d) of shapes $(T, C)$ and $(T, F)$; $T$ may differ.
# Again build no array of $C$ times $F$ numbers.
#
# **3. A reader of your own.** Move the parameters in a direction $v$: how fast does the loss change? By the inner product
# of its gradient with $v$ over all parameters. Write a class `DirectionReader` with `__init__(self, direction)`, where
# `direction` {name: array} has an array of each parameter's shape under the names of `model.params`, and with the four
# methods of a reader. After a backward pass its attribute `total` is that product, a float. No gradient need be built:
# for a linear layer $\langle X^{T} D, v \rangle = \sum_{t} (v^{T} x_{t}) \cdot d_{t}$. The parameters of a linear layer
# or a LayerNorm are `name.weight` and `name.bias`; an embedding's name is its parameter's; the decoder has
# `word_embedding`, to which it is tied, and `head.decoder.bias`. Arrays arrive as in the package: x $(B, T, C)$ or
# $(N, C)$, ids $(B, T)$. The test holds `total` against the change of the loss.
#
# ## Where to go on
#
# - [norm_reader.py](../minimapnet/model/norm_reader.py) is our listener grown up: it adds up squares while the backward
#   pass runs, for many sentences or replicas at once, each layer in the cheapest way.
# - [norms.py](../minimapnet/model/norms.py) has `token_gradient_norms`; [replicas.py](../minimapnet/model/replicas.py)
#   saves once more below the last attention, where a replica's gradients are sums of few outer products;
#   [readers.py](../minimapnet/model/readers.py) says what a reader is.
# - [test_norms.py](../tests/test_norms.py) holds the norms against the loop, and
#   [test_oracle_norms.py](../tests/test_oracle_norms.py) against the automatic differentiation of PyTorch.
# - Papers: Goodfellow 2015, arXiv 1510.01799 (one row); Li and others 2022, arXiv 2110.05679 (Gram matrices).
# - Next: [7. Importance sampling](07_importance_sampling.ipynb).
