# %% [markdown]
# # 6. The norm of a gradient that is never built
#
# [Step 5](05_noise.ipynb) found that most of a gradient's noise comes from the masks, and within a sentence from a few of
# them: those with long gradients. To choose masks by that, one must know the length $|g|$ of the gradient of each masked
# word's loss. Building a gradient of all parameters only to measure it, once for each word, is a waste. In this step we
# get the same number, exactly, from what a backward pass has in its hands anyway.
#
# Afterwards you can derive the norm of the gradient of every kind of parameter that BERT has: linear layers, LayerNorm,
# embeddings, and an embedding that serves as the decoder as well. You can write an accumulator that measures what you want
# during a backward pass. From before you need the backward pass of these layers and what an accumulator is (step 2),
# attention as the place where tokens meet (step 3), the model (step 4), and why norms matter (step 5). It takes about 20
# minutes.

# %%
import time

import numpy
import trained
from matplotlib import pyplot

from minimapnet import gradients, plotting, token_gradient_norms, token_losses
from minimapnet.gradient_norms.ghost_norm import factor
from minimapnet.model.batch import masked_batch

pyplot.rcParams.update(plotting.PAGE)

model, text = trained.bert()  # that of step 4, and its text
T, C, V = trained.MAX_LENGTH, model.config.hidden_size, model.config.vocab_size
ids = text.test.batch(numpy.arange(1)).ids  # (1, T)
words = [text.tokenizer.id_to_token(i) for i in ids[0]]
print(" ".join(words))

# %% [markdown]
# ## The naive way
#
# What we want is one number for each masked word: with $\ell_{i}$ for the loss of word $i$ and $g_{i}$ for its gradient,
# a vector of all $P$ parameters, the norm $|g_{i}|$. (Where several words are masked at once, the others stay masked.)
# Here is the way that needs no thought: one forward and one backward pass for each word, with a weight of 1 on its loss
# and of 0 on the others'; then square all $P$ numbers and add them up. `out` is the buffer in which the gradients of all
# parameters lie one behind the other.


# %%
def norms_by_loop(ids, positions):
    """Return |g_i| of every masked word by building g_i: ids (B, T), positions (B, K) -> (B, K)."""
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
for word, loss, norm in zip(words[1:-1], losses, norms, strict=True):
    print(f"{word:10} loss {loss:6.3f} nats, norm {norm:6.3f}")
print(f"built {16 * model.flat.size:,} numbers to get 16; the longest is {norms.max() / norms.min():.0f} times the shortest")

# %% [markdown]
# The norms differ by orders of magnitude, as step 5 lets us expect: words that follow from others have short gradients,
# free ones have long ones. Now we want these numbers without the gradients.
#
# ## One linear layer
#
# The parameters fall into arrays, and the squared norm of all is the sum of those of the arrays. So we may look at one
# array at a time. Take a linear layer $Y = X W + b$ with $W$ of shape $(C, F)$, and let $X$ of shape $(T, C)$ be the
# tokens of one sentence. Write $D$ for $dY$, the gradient of the loss with respect to $Y$, of shape $(T, F)$, and $x_{t}$
# and $d_{t}$ for the rows of $X$ and $D$. Step 2 gave the weight's gradient,
#
# $$G = dW = X^{T} D = \sum_{t} x_{t} d_{t}^{T}, \qquad (C, T)(T, F) \to (C, F).$$
#
# It is a sum of $T$ outer products. As in step 2, $\langle A, B \rangle = \sum_{ij} A_{ij} B_{ij}$ is the inner product
# of two arrays, so that $|G|^{2} = \langle G, G \rangle$. Everything in this step follows from one line, for vectors $a$,
# $p$ of one length and $b$, $q$ of another:
#
# $$\langle a\, b^{T}, p\, q^{T} \rangle = \sum_{ij} a_{i} b_{j}\, p_{i} q_{j} = (a \cdot p)\,(b \cdot q).$$
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
# The bias has the gradient $\sum_{t} d_{t}$. It may be thought of as the weight of one more input channel, whose value is
# one everywhere. So weight and bias together take $x_{t} \cdot x_{s} + 1$ in the place of $x_{t} \cdot x_{s}$.


# %%
def gram_squares(x, d):
    """Return the squared norm of a linear layer's gradient, bias included: x (T, C), d (T, F) -> a number."""
    return float(((x @ x.T + 1) * (d @ d.T)).sum())  # (T, T) * (T, T)


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
# With one row there is hardly anything to do: $|x d^{T}|^{2} = |x|^{2} |d|^{2}$, two sums of $C$ and of $F$ squares.

# %%
for name, width, wide in (("our model", 64, 256), ("BERT base", 768, 3072)):
    print(f"{name}: {width} to {wide} channels, tables are cheaper below {width * wide / (width + wide):.0f} rows")

# %% [markdown]
# Our sentences have 18 rows, and BERT base reads at most 512: in both the tables win. Where they do not, the package
# multiplies out.
#
# ## An accumulator that listens
#
# We need the $X$ and $D$ of every layer for a given word. The backward pass has them: where it meets a parameter, it hands
# both to its accumulator (step 2) and leaves it to the accumulator what to do with them. `GradientAccumulator` multiplies
# them. Ours only listens. It has the four methods that an accumulator needs, one for each way in which a parameter meets
# the data. For the rest, `masked_batch` puts [MASK] in and lists the masked places; the model's `forward` and `backward`
# are the two passes of step 4.


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
        self.heard["decoder"] = h, dlogits  # (N, C), (N, V) for N masked words


def forward(positions):
    """Mask the words at positions (N,) -> their losses (N,), and the cache."""
    return model.forward(masked_batch(model.config, ids, numpy.array([positions])))


def listen(cache, dlosses):
    """Return what is heard on the way back from the sum of dlosses * losses, both (N,)."""
    listener = Listener()
    model.backward(numpy.array(dlosses, "float32"), cache, listener)
    return listener.heard


_, cache = forward([7])
heard = listen(cache, [1])
print("the loss of", words[7])
for name, (x, d) in heard.items():
    print(f"{name:22} x {x.shape!s:10} d {d.shape}")

# %% [markdown]
# The list runs from the loss down to the embeddings. Look at the shapes. From `decoder` to `layer1.attention_out` there
# is one row: the loss looks at one place, and up there each place is computed from itself alone. In the attention of the
# last layer the place gathers from all others, so below it all 18 rows count.
#
# Here is one layer as a picture: the first half of the feed-forward part of layer 0, with its two tables and their
# product, whose sum is the squared norm. Purple is positive, orange negative; the hidden word is at place 7.

# %% tags=["picture"]
x, d = heard["layer0.feed_in"]  # (T, C), (T, F)
tables = {"inputs, $x_t \\cdot x_s + 1$": x @ x.T + 1, "gradients, $d_t \\cdot d_s$": d @ d.T}
tables["their product"] = numpy.prod(list(tables.values()), axis=0)  # (T, T) each
figure, axes = pyplot.subplots(1, 3, sharey=True)
for axis, (name, table) in zip(axes, tables.items(), strict=True):
    image = axis.imshow(table / table.max(), cmap="PuOr", vmin=-1, vmax=1)
    axis.set(title=name, xlabel="place s", xticks=[0, 7, 15])
axes[0].set(ylabel="place t", yticks=[0, 7, 15], yticklabels=["0 [CLS]", "7 [MASK]", "15 coats"])
figure.colorbar(image, ax=axes, label="share of the largest", shrink=0.8)
figure.suptitle(f"Two {T} x {T} tables measure a gradient of {x.shape[1]} x {d.shape[1]} numbers: two places make it")
pyplot.show()

product = tables["their product"]
places = [product[place, place] / product.sum() for place in (7, 15)]
print(f"the hidden word's place makes {100 * places[0]:.0f} % of it, the other coats' {100 * places[1]:.0f} %")
assert sum(places) > 0.8
built = float(((x.T @ d) ** 2).sum() + (d.sum(axis=0) ** 2).sum())
print(f"the sum of the product {product.sum():.5f}; built, squared and added up {built:.5f}")
assert numpy.isclose(product.sum(), built, rtol=1e-4)

# %% [markdown]
# On the left, places with the same word have similar inputs: the two commas at 2 and 9, the two "his" at 5 and 14. In the
# middle nearly all is zero. Only two places have a say in this guess: that of [MASK], and that of the other "coats", from
# which the model copies.
#
# ## LayerNorm
#
# LayerNorm gives $y_{t} = \hat x_{t} * w + b$, with $\hat x_{t}$ the normalised row, $*$ for the product number by
# number, and $w$ and $b$ of shape $(C,)$. Its gradients are $\sum_{t} d_{t} * \hat x_{t}$ and $\sum_{t} d_{t}$
# (step 2). They have only $C$ numbers each, so there is nothing to save: build them, square them.


# %%
def layernorm_squares(xhat, d):
    """Return the squared norm of the gradients of weight and bias: xhat (T, C), d (T, C) -> a number."""
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
# The ids are those of the masked sentence.


# %%
def embedding_squares(ids, d):
    """Return the squared norm of a table's gradient: ids (T,), d (T, C) -> a number."""
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
# The decoder of BERT has no weight of its own. It is *tied*: the logits of all tokens at a masked place are $E h + b$,
# with the same $E$ as the word embedding, $h$ of shape $(C,)$ for what the head makes of the place, and $b$ of shape
# $(V,)$. Let $e$ of shape $(V,)$ be the gradient of the logits: the softmax, less 1 at the true word (step 2). Then the
# decoder's share of the gradient is one outer product,
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
# If the loss is a sum over $N$ masked words $j$, then $G_{\mathrm{head}} = \sum_{j} e_{j} h_{j}^{T}$, and by the same
# line
#
# $$
# |G_{\mathrm{head}}|^{2} = \sum_{j, l} (e_{j} \cdot e_{l})(h_{j} \cdot h_{l}), \qquad
# \langle G_{\mathrm{in}}, G_{\mathrm{head}} \rangle = \sum_{t} \sum_{j} e_{j, \mathrm{id}_{t}}\, (d_{t} \cdot h_{j}).
# $$


# %%
def tied_parts(ids, d, h, e):
    """Return |G_in|^2, |G_head|^2 and the cross term 2 <G_in, G_head>: ids (T,), d (T, C), h (N, C), e (N, V)."""
    head = ((e @ e.T) * (h @ h.T)).sum()  # (N, N) * (N, N)
    cross = 2 * (e[:, ids].T * (d @ h.T)).sum()  # (T, N) * (T, N)
    return embedding_squares(ids, d), float(head), float(cross)


off = {}
for position in (6, 7):
    _, cache = forward([position])
    heard = listen(cache, [1])
    (h, e), (word_ids, d) = heard["decoder"], heard["word_embedding"]  # (1, C), (1, V), (T,), (T, C)
    parts = tied_parts(word_ids, d, h, e)
    table = e.T @ h  # (V, C): built, to compare
    numpy.add.at(table, word_ids, d)
    print(f"{words[position]}: input {parts[0]:.5f}, head {parts[1]:.5f}, cross term {parts[2]:.5f}")
    print(f"    together {sum(parts):.5f}, built {(table**2).sum():.5f}, without the cross term {sum(parts[:2]):.5f}")
    assert numpy.isclose(sum(parts), (table**2).sum(), rtol=1e-4)
    off[words[position]] = abs(parts[2]) / sum(parts)
assert off["small"] < 0.001 and off["coats"] > 0.02

# %% [markdown]
# For a free word such as "small" the cross term hardly counts: $e$ is large at words that could stand at the masked
# place, and these are rarely among the words that can be seen. For "coats", which stands in the sentence a second time,
# it does: leave it out, and the square comes out too large.
#
# ## All together
#
# Every parameter of the model is accounted for. We add everything up, for each of the words that we looped over.


# %%
def squares(heard):
    """Return the squared norm of a gradient over all parameters, from what was heard."""
    h, e = heard["decoder"]  # (N, C), (N, V)
    total = float((e.sum(axis=0) ** 2).sum())  # the decoder's bias, which is not tied
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


ours = numpy.sqrt([squares(listen(forward([position])[1], [1])) for position in range(1, 17)])
for position in range(5, 9):
    print(f"{words[position]:10} by the loop {norms[position - 1]:8.5f}, without gradients {ours[position - 1]:8.5f}")
assert numpy.allclose(ours, norms, rtol=1e-4)

# %% [markdown]
# They agree for all 16 words, except for rounding in float32. No gradient of a weight was built.
#
# ## Many words of one sentence
#
# When several words of a sentence are masked at once, the loop repeats the same forward pass for each of them: only the
# loss from which it goes back differs. There are three things to save.
#
# **One forward pass.** No backward function writes to its cache, so one cache serves many backward passes. We go back
# four times from one pass, each time from another word's loss:

# %%
masked = [1, 4, 6, 13]
losses, cache = forward(masked)  # (4,)
once = [squares(listen(cache, numpy.arange(4) == j)) ** 0.5 for j in range(4)]
looped = norms_by_loop(ids, numpy.array([masked]))[0]  # (4,)
for position, one, other in zip(masked, once, looped, strict=True):
    print(f"{words[position]:10} from the one cache {one:.4f}, by the loop {other:.4f}")
assert numpy.allclose(once, looped, rtol=1e-4)

# %% [markdown]
# The package even goes back from all words at the same time. It gives the gradients one more axis, $(R, T, C)$, with one
# *replica* of the sentence for each of the $R$ masked words, and leaves the cache as it is, $(1, T, C)$: every line of
# the backward pass broadcasts.
#
# **One row at the top.** Above the last attention a word's loss has only its own row. There the $R$ words need no
# replicas, only $R$ rows, and every norm of a linear layer is a product of two.
#
# **One factor for each input.** Below, the words share each layer's input $X$, and only $D$ differs. So all work on $X$
# can be done once. Split $X^{T} = Q A$, of shapes $(C, T) = (C, T)(T, T)$, by the QR decomposition: the columns of $Q$
# are orthonormal, $Q^{T} Q = I$, and $A$ is a triangle. (This takes $T \le C$; longer sentences are left as they are.)
# Then
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
    """Return what a function returns, and the least of three times in milliseconds."""
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
    assert numpy.allclose(fast, slow, rtol=1e-3)  # (8, K) each
    print(f"{K:2} masked: loop {by_loop[-1]:7.1f} ms, package {by_package[-1]:5.1f} ms")

# %%
figure, axis = pyplot.subplots()
faster = by_loop[-1] / by_package[-1]
axis.plot(counts, by_loop, "s--", color="#E69F00", label="a gradient for each word, squared and added up")
axis.plot(counts, by_package, "o-", color="#0072B2", label="the norms alone")
axis.set(
    xlabel="masked words in each of 8 sentences", ylabel="milliseconds", xscale="log", yscale="log", xticks=counts,
    xticklabels=counts, title=f"With 16 masked words the norms alone are {faster:.1f} times as fast",
)  # fmt: skip
axis.set_yticks([10, 30, 100, 300, 1000], [10, 30, 100, 300, 1000])
axis.minorticks_off()
axis.legend()
pyplot.show()

# %% [markdown]
# Both give the same norms. The more words are masked, the more the loop takes; how much more depends on the machine.
#
# Masks of a single word, with which we began, gain less. There every word needs a forward pass of its own, since the
# sentence with this word hidden is another input each time. What is saved is the building.

# %%
singles = token_gradient_norms(model, copies, alone)[:, 0]  # (16,)
assert numpy.allclose(singles, norms, rtol=1e-3)
print(f"the {len(singles)} single masks by the package: from {singles.min():.3f} to {singles.max():.1f}")

# %% [markdown]
# The same formulas give the norm of the gradient of each whole *sentence's* loss, beside an ordinary backward pass:
# `gradients_and_norms` returns the gradient and these norms in one go.
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
# **3. An accumulator of your own.** Move the parameters in a direction $v$: how fast does the loss change? By the inner
# product of its gradient with $v$ over all parameters. Write a class `DirectionReader` with `__init__(self, direction)`,
# where `direction` {name: array} has an array of each parameter's shape under the names of `model.params`, and with the
# four methods of an accumulator. After a backward pass its attribute `total` is that product, a float. No gradient need be
# built: for a linear layer $\langle X^{T} D, v \rangle = \sum_{t} (v^{T} x_{t}) \cdot d_{t}$. The parameters of a linear
# layer or a LayerNorm are `name.weight` and `name.bias`; an embedding's name is its parameter's; the decoder has
# `word_embedding`, to which it is tied, and `head.decoder.bias`. Arrays arrive as in the package: x $(B, T, C)$ or $(N,
# C)$, ids $(B, T)$. The test holds `total` against the change of the loss.
#
# ## Where to go on
#
# - [ghost_norm.py](../minimapnet/gradient_norms/ghost_norm.py) is our listener grown up: it adds up squares while the
#   backward pass runs, for many sentences or replicas at once, each layer in the cheapest way.
# - [norms.py](../minimapnet/gradient_norms/norms.py) has `token_gradient_norms`;
#   [token_replicas.py](../minimapnet/gradient_norms/token_replicas.py) saves once more below the last attention, where a
#   replica's gradients are sums of few outer products (the second exercise of step 3);
#   [accumulators.py](../minimapnet/gradient_norms/accumulators.py) says what an accumulator is.
# - [test_norms.py](../tests/gradient_norms/test_norms.py) holds the norms against the loop, and
#   [test_oracle_norms.py](../tests/gradient_norms/test_oracle_norms.py) against the automatic differentiation of PyTorch.
# - Papers: Goodfellow 2015, arXiv 1510.01799 (one row); Li and others 2022, arXiv 2110.05679 (Gram matrices).
# - Next: [7. Importance sampling](07_importance_sampling.ipynb).
