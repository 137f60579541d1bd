# %% [markdown]
# # 3. Attention
#
# The layers of step 2 treat every token by itself, but a hidden word has to be guessed from *other* words. So somewhere
# the tokens must meet. This step builds the one operation of BERT in which they do: *attention*. Every token compares
# itself with all tokens, turns the comparison into weights, and takes the mean of them all under these weights. We set
# such weights by hand first, then go backward through the operation line by line, and in the end let gradient descent
# find what we set by hand.
#
# Afterwards you can write attention forward and backward, with several heads and with padding, and read the package's
# version of it. You need the tokens and the loss of step 1, and from step 2 the notation $dX$, the linear layer, softmax,
# gradient descent and the check by finite differences. It takes about 25 minutes.

# %% [markdown]
# ## A game in which tokens must meet
#
# In step 1 a hidden name could be known because it stood a second time, far away. Here is a game that consists of nothing
# else. Four people are in four towns, and we are asked where one of them is:
#
#     anna in paris, clara in oslo, bruno in rome, david in cairo; bruno in [MASK]
#
# To look at one thing only, we let each *token* carry a name and a town together: there are four such tokens, and a fifth
# one that carries a name and `[MASK]`. (In step 4 tokens are single words, and the model has to bring a name and its town
# together by itself.) A token becomes a row of numbers in the plainest way, one channel for each of the 12 names, the 16
# towns and `[MASK]`, with a 1 where it applies. So the sentence is a matrix $x$ of shape $(T, C)$, with $T = 5$ tokens
# and $C = 29$ channels.

# %%
import numpy
from matplotlib import pyplot

from minimapnet import plotting
from minimapnet.gradient_norms.accumulators import GradientAccumulator
from minimapnet.model import layers
from minimapnet.model.attention import attention_backward, attention_forward
from minimapnet.text import grammar

pyplot.rcParams.update(plotting.PAGE)
language = grammar.read()  # of step 1
NAMES = list(language.templates[0].draws["person"].keys)
TOWNS = list(language.templates[-1].draws["custom"].keys)
N, W = len(NAMES), len(TOWNS)
MASK = N + W  # the channel of [MASK]
C = N + W + 1


def rows(sentence):
    """Return a list of (name, town) as x (T, C); the town "[MASK]" has a channel too."""
    x = numpy.zeros((len(sentence), C))
    for t, (name, town) in enumerate(sentence):
        x[t, NAMES.index(name)] = 1
        x[t, MASK if town == "[MASK]" else N + TOWNS.index(town)] = 1
    return x


sentence = [("anna", "paris"), ("clara", "oslo"), ("bruno", "rome"), ("david", "cairo"), ("bruno", "[MASK]")]
x = rows(sentence)  # (T, C)
T = len(x)
print("x has shape", x.shape, "and each row adds up to", x.sum(axis=1))

# %% [markdown]
# The layers that we have act on every row alone. To see it, we move Bruno from Rome to Lima and look at what a linear
# layer, GELU and LayerNorm make of the two sentences: one row changes, and it is not that of the question.

# %%
rng = numpy.random.default_rng(0)
weight, bias = rng.standard_normal((C, 8)), rng.standard_normal(8)


def each_by_itself(x):
    y, _ = layers.linear_forward(x, weight, bias)  # (T, 8)
    y, _ = layers.gelu_forward(y, "erf")
    y, _ = layers.layernorm_forward(y, numpy.ones(8), numpy.zeros(8), 1e-12)
    return y


moved = rows([("bruno", "lima") if token == ("bruno", "rome") else token for token in sentence])
changed = (each_by_itself(x) != each_by_itself(moved)).any(axis=1)  # (T,)
for token, does in zip(sentence, changed, strict=True):
    print(f"{' in '.join(token):16}", "changes" if does else "stays")
assert changed.tolist() == [False, False, True, False, False]

# %% [markdown]
# ## A plain mean is not enough
#
# The simplest way to let tokens meet is to take the mean of all rows. It does hold all that stands in the sentence, the
# four names and the four towns, but not which belongs to which. If Bruno and Clara exchange their towns, the right answer
# changes and the mean does not:

# %%
exchanged = rows([("anna", "paris"), ("clara", "rome"), ("bruno", "oslo"), ("david", "cairo"), ("bruno", "[MASK]")])
difference = abs(x.mean(axis=0) - exchanged.mean(axis=0)).max()
print(f"largest difference of the two means: {difference:.1f}; log 4 = {numpy.log(4):.3f}")
assert difference == 0 and (x[-1] == exchanged[-1]).all()

# %% [markdown]
# Whoever sees the mean and the question alone knows that the answer is one of four towns, each as likely as the others.
# By step 1 no guess can then cost less than the entropy of four equal chances, $\log 4$ or `1.386` nats. Note this mark.
#
# Weights that belong to the places in the sentence would not help either, since the four may be named in any order. The
# weights must follow from what the tokens *are*: the question should give its weight to the token with the same name.
#
# ## Queries, keys and values
#
# So every token $t$ makes three vectors of $D$ numbers out of its row $x_{t}$, each with a weight matrix of shape
# $(C, D)$:
#
# - a *query* $q_{t} = x_{t} W^{q}$: what it looks for;
# - a *key* $k_{t} = x_{t} W^{k}$: what it can be found by;
# - a *value* $v_{t} = x_{t} W^{v}$: what it hands over when it is found.
#
# How well token $s$ fits what token $t$ looks for is the dot product $q_{t} \cdot k_{s}$. Softmax over $s$ turns these
# numbers into weights that are positive and add up to 1, and with them $t$ takes its mean:
#
# $$ p_{ts} = \frac{\exp(q_{t} \cdot k_{s})}{\sum_{r} \exp(q_{t} \cdot k_{r})}, \qquad
#    o_{t} = \sum_{s} p_{ts} \, v_{s} . $$
#
# For all tokens at once, with $Q$, $K$ and $V$ of shape $(T, D)$, this is two matrix products with a softmax over each
# row between them: the scores $S = Q K^{T}$ of shape $(T, T)$, the weights $P = \mathrm{softmax}(S)$ of the same shape,
# and the output $O = P V$ of shape $(T, D)$. (In this step $K$, $V$ and $P$ are these matrices, and not the sizes and the
# truth of step 1: the letters are those that everybody uses.)
#
# ### Why the scores are divided by $\sqrt{D}$
#
# Suppose that the entries of $q$ and $k$ are independent with mean 0 and variance 1, as they may be before anything is
# learned. Each term of $q \cdot k = \sum_{i} q_{i} k_{i}$ then has mean 0 and variance 1, the terms are uncorrelated, so
# their variances add up: the dot product has variance $D$ and standard deviation $\sqrt{D}$. For large $D$ the scores lie
# so far apart that softmax gives everything to the largest, by mere chance. Worse, it then hardly reacts any more. Step 2
# found the backward of softmax, $ds = p * (dp - \sum_{j} p_{j} \, dp_{j})$. With $dp$ a 1 at place $i$ and 0 elsewhere it
# says how the weight $p_{i}$ depends on its own score:
#
# $$ \frac{\partial p_{i}}{\partial s_{i}} = p_{i} (1 - p_{i}), $$
#
# which is nearly 0 where $p_{i}$ is nearly 0 or nearly 1. Then no gradient comes back, and nothing is learned. Dividing
# the scores by $\sqrt{D}$ gives them standard deviation 1 whatever $D$ is. We measure all of this with 16 keys for a
# query.


# %%
def softmax(scores):
    """Return the softmax over the last axis; what is subtracted cancels, and keeps exp from overflowing."""
    powers = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


rng = numpy.random.default_rng(1)
for D in (4, 16, 64, 256):
    q, k = rng.standard_normal((2000, 1, D)), rng.standard_normal((2000, 16, D))
    scores = (q * k).sum(axis=2)  # (2000, 16)
    plain, scaled = softmax(scores), softmax(scores / numpy.sqrt(D))
    slopes = [(p * (1 - p)).mean() for p in (plain, scaled)]
    print(f"D = {D:3}: the scores' standard deviation is {scores.std():4.1f}, ", end="")
    print(f"the largest weight {plain.max(axis=1).mean():.2f}, the slope {slopes[0]:.3f}; ", end="")
    print(f"divided by sqrt(D): {scaled.max(axis=1).mean():.2f}, {slopes[1]:.3f}")

# %% [markdown]
# At $D = 256$ the largest of 16 weights is `0.92` on average without the division, and the mean slope $p (1 - p)$ has
# fallen to `0.007`; with the division they stay near `0.24` and `0.054` whatever $D$ is. So we always divide:
# $S = Q K^{T} / \sqrt{D}$.
#
# ## A head that we set by hand
#
# One such operation is called a *head*. (It has nothing to do with the head at the end of a network, of step 2.) For our
# game, with $D = 16$, we choose:
#
# - $W^{k}$ sends the $i$-th name to the $i$-th unit vector: a token is found by its name.
# - $W^{q}$ does the same, times a factor: a token looks for its own name.
# - $W^{v}$ sends the $j$-th town to the $j$-th unit vector: what is handed over is the town.
#
# One thing must be mended. The question has Bruno's name as well, so it would find itself as surely as it finds him. So
# in $W^{k}$ the row of `[MASK]` is $-1$ in every name's channel: the key of a question is its name minus all names, and
# has dot product 0 with its own name.
#
# With a factor of 24 the question gives the right token a score of $24 / \sqrt{16} = 6$ and the other four 0. So the
# right one gets $e^{6} / (e^{6} + 4)$ of the weight.

# %%
D = 16
W_q, W_k, W_v = (numpy.zeros((C, D)) for _ in range(3))
W_q[:N, :N] = 24 * numpy.eye(N)
W_k[:N, :N] = numpy.eye(N)
W_k[MASK, :N] = -1
W_v[N : N + W] = numpy.eye(W)

Q, K, V = x @ W_q, x @ W_k, x @ W_v  # (T, D) each
S = Q @ K.T / numpy.sqrt(D)  # (T, T)
P = softmax(S)  # (T, T)
O = P @ V  # (T, D)
print("the question's scores: ", *(f"{s:6.2f}" for s in S[-1]))
print("the question's weights:", *(f"{p:6.3f}" for p in P[-1]))
print(f"it gets {O[-1].max():.3f} of {TOWNS[O[-1].argmax()]}; e^6 / (e^6 + 4) = {numpy.exp(6) / (numpy.exp(6) + 4):.3f}")
assert TOWNS[O[-1].argmax()] == "rome"

# %% [markdown]
# The question hands `0.990` of its weight to the third token, Bruno's, and receives his town. It would do so wherever he
# stood in the sentence, and for any other name.
#
# ## Several heads
#
# Now let two people be asked for at once: *where are bruno and anna?* A head has one set of weights for each token, so
# the best it can do is to give half to each of the two. Then it receives the mean of two values, half Rome and half
# Paris, and cannot tell who is where. With two heads, each with queries, keys and values of its own, one can look for the
# first name and the other for the second. Their outputs are put side by side, so that what was found by whom stays apart.
#
# In general $H$ heads of $D$ channels give every token an output of $H D$ channels. BERT chooses $D$ such that $H D = C$:
# the output is as wide as the input, and many narrow heads cost no more than a single wide one. The package holds the
# queries of all heads, then all keys, then all values, in one array `qkv` of shape $(B, T, 3 H D)$, which comes from $x$
# by one product. Let us give the second name 12 more channels and set up both heads in this form.

# %%
H = 2
two = numpy.concatenate([x, numpy.zeros((T, N))], axis=1)  # (T, C + N)
two[-1, C + NAMES.index("anna")] = 1  # "bruno and anna"
W_qkv = numpy.zeros((C + N, 3, H, D))
W_qkv[:C, 0, 0], W_qkv[C:, 0, 1] = W_q, W_q[:N]  # the second head's query comes from the second name
for head in range(H):
    W_qkv[:C, 1, head], W_qkv[:C, 2, head] = W_k, W_v
qkv = two @ W_qkv.reshape(C + N, 3 * H * D)  # (T, 3HD)
out, cache = attention_forward(qkv[None], H)  # (1, T, HD)

for head in range(H):
    q, k, v = (qkv.reshape(T, 3, H, D)[:, part, head] for part in range(3))  # (T, D) each
    ours = softmax(q @ k.T / numpy.sqrt(D)) @ v  # (T, D)
    theirs = out[0, :, D * head : D * (head + 1)]
    assert numpy.allclose(ours, theirs, atol=1e-12)
    print(f"head {head + 1} gets {theirs[-1].max():.3f} of {TOWNS[theirs[-1].argmax()]}")

one_head = softmax((two[-1, :N] + two[-1, C:]) @ W_q[:N] @ K.T / numpy.sqrt(D)) @ V  # (D,): both names in one query
found = numpy.argsort(-one_head)[:2]
print("one head gets", " and ".join(f"{one_head[i]:.3f} of {TOWNS[i]}" for i in found))

# %% [markdown]
# The package's `attention_forward` computes what we wrote, up to rounding, for all sentences of a batch and all heads at
# once. It gives the output and a *cache*: what the backward pass will need again. Two heads find a town each; one head
# that looks for both names gets `0.499` of either town.
#
# ## The order of the tokens, and padding
#
# Nothing in these formulas knows that one token stands before another. If the tokens are put in another order, the same
# numbers come out in that order. So attention by itself cannot tell "anna gave bruno" from "bruno gave anna"; the tokens
# must carry their positions in their rows. In step 4 they will.

# %%
order = numpy.array([3, 1, 4, 0, 2])
in_order, _ = attention_forward(qkv[None, order], H)
assert numpy.allclose(in_order, out[:, order], rtol=0, atol=1e-12)
print("the outputs of the reordered tokens are the reordered outputs")

# %% [markdown]
# Sentences of a batch differ in length. They lie in one array, so the shorter ones are filled up with `[PAD]`, and these
# tokens have rows like all others, with some numbers in them. Nobody may look at them. It would not do to set their
# values to 0, since they would still draw weight from the rest. Their *weight* must be 0. So a hugely negative number is
# added to every score of a padded key: its exponential is 0, exactly. This `bias` has shape $(B, 1, 1, T)$, the same for
# all heads and all queries.
#
# We append two tokens of random numbers to our sentence, and compare what its five tokens get.

# %%
rng = numpy.random.default_rng(2)
padded = numpy.concatenate([qkv, 5 * rng.standard_normal((2, qkv.shape[1]))])  # (T + 2, 3HD)
bias = numpy.zeros((1, 1, 1, T + 2))
bias[..., T:] = -1e300
looked_at, _ = attention_forward(padded[None], H)
hidden, _ = attention_forward(padded[None], H, bias)  # (1, T + 2, HD)
print(f"largest change of the five outputs without the bias: {abs(looked_at[:, :T] - out).max():.1f}, with it: ", end="")
print(f"{abs(hidden[:, :T] - out).max():.1f}")
assert numpy.allclose(hidden[:, :T], out, rtol=0, atol=1e-12) and abs(looked_at[:, :T] - out).max() > 1

# %% [markdown]
# Without the bias the padding changes what the sentence's own tokens get, beyond recognition; with it, not at all. (The
# padded tokens still ask, and get something. Nobody reads it.)
#
# ## The backward pass, line by line
#
# Now the way back. Given $dO$, the gradient of a loss with respect to the output, we want $dQ$, $dK$ and $dV$. We take
# one head and write down the forward pass in numbered stages:
#
# 1. $S = Q K^{T} / \sqrt{D}$, shape $(T, T)$
# 2. $P = \mathrm{softmax}(S)$ by rows, shape $(T, T)$
# 3. $O = P V$, shape $(T, D)$
#
# The backward undoes them in reverse.
#
# **3.** $O = P V$ is a product of two matrices that both depend on $x$. For the linear layer $Y = X W$ step 2 found
# $dX = dY \, W^{T}$ and $dW = X^{T} dY$. That was about products and not about which factor is called a parameter, so
# with $P$ for $X$ and $V$ for $W$
#
# $$ dP = dO \, V^{T} \quad (T, T), \qquad dV = P^{T} dO \quad (T, D) . $$
#
# The second says: each token's value gets back the gradients of all those who looked at it, by how much they looked.
#
# **2.** The softmax of each row goes back as in step 2:
#
# $$ dS = P * \Big( dP - \sum_{j} P_{j} \, dP_{j} \Big) \quad (T, T), $$
#
# where the sum runs over the columns, and gives one number for each row.
#
# In words: $-dP_{tj}$ says how much a little more weight of token $t$ on token $j$ would lower the loss. Descending along
# the gradient raises a score where this is more than its mean under the weights, and lowers it where it is less. And
# where the weights are 0 and 1 already, all of $dS$ is 0: a head that is sure of itself learns no more about where to
# look.
#
# **1.** $S = Q K^{T} / \sqrt{D}$ is again a product, with $K^{T}$ for $W$. So $dQ = dS \, K / \sqrt{D}$, and
# $dK^{T} = Q^{T} dS / \sqrt{D}$, which is
#
# $$ dQ = \frac{dS \, K}{\sqrt{D}} \quad (T, D), \qquad dK = \frac{dS^{T} Q}{\sqrt{D}} \quad (T, D) . $$
#
# Each stage of the forward has its mirror image in the backward. Beside $dO$ the backward needs $Q$, $K$, $V$ and $P$:
# that is what the cache holds. Here it is in code, beside the package's.


# %%
def head_forward(q, k, v):
    # 1. scores
    scores = q @ k.T / numpy.sqrt(q.shape[1])  # (T, T)
    # 2. weights
    probs = softmax(scores)  # (T, T)
    # 3. the mean of the values under them
    return probs @ v, (q, k, v, probs)  # (T, D)


def head_backward(dout, cache):
    q, k, v, probs = cache
    # 3. out = probs @ v
    dprobs = dout @ v.T  # (T, T)
    dv = probs.T @ dout  # (T, D)
    # 2. probs = softmax(scores)
    dscores = probs * (dprobs - (probs * dprobs).sum(axis=1, keepdims=True))  # (T, T)
    # 1. scores = q @ k.T / sqrt(D)
    dscores = dscores / numpy.sqrt(q.shape[1])
    return dscores @ k, dscores.T @ q, dv  # (T, D) each


rng = numpy.random.default_rng(3)
qkv = rng.standard_normal((T, 3, H, 4))  # 2 heads of 4 channels
dout = rng.standard_normal((T, H, 4))
ours = [head_backward(dout[:, head], head_forward(*qkv[:, :, head].swapaxes(0, 1))[1]) for head in range(H)]
ours = numpy.array(ours).transpose(2, 1, 0, 3)  # (T, 3, H, 4)

out, cache = attention_forward(qkv.reshape(1, T, -1), H)
dqkv = attention_backward(dout.reshape(1, T, -1), cache).reshape(T, 3, H, 4)
assert numpy.allclose(ours, dqkv, rtol=0, atol=1e-12)
print("our gradients and the package's agree, for queries, keys and values of both heads:", dqkv.size, "numbers")

# %% [markdown]
# That two programs agree does not make them right; they may share an error. The judge is that of step 2: central
# differences of $\langle O, dO \rangle$ with a random $dO$, number by number, in float64. And to be sure that it can say
# no, we show it three backwards with a mistake that is easily made.


# %%
def check(backward):
    """Return the largest difference between a backward's gradients and finite differences, as a share of the largest one."""
    dout = rng.standard_normal((T, 4))
    inputs = rng.standard_normal((3, T, 4))  # q, k, v
    _, cache = head_forward(*inputs)
    expected = numpy.empty_like(inputs)
    for index in numpy.ndindex(inputs.shape):
        step = numpy.zeros_like(inputs)
        step[index] = 1e-5
        ahead, behind = (head_forward(*(inputs + sign * step))[0] for sign in (1, -1))
        expected[index] = ((ahead - behind) * dout).sum() / 2e-5
    return abs(numpy.array(backward(dout, cache)) - expected).max() / abs(expected).max()


def without_the_mean(dout, cache):
    q, k, v, probs = cache
    dscores = probs * (dout @ v.T) / numpy.sqrt(q.shape[1])  # the sum over j is forgotten
    return dscores @ k, dscores.T @ q, probs.T @ dout


def without_the_scale(dout, cache):
    q, k, v, probs = cache
    dprobs = dout @ v.T
    dscores = probs * (dprobs - (probs * dprobs).sum(axis=1, keepdims=True))
    return dscores @ k, dscores.T @ q, probs.T @ dout


def without_a_transpose(dout, cache):
    q, k, v, probs = cache
    dprobs = dout @ v.T
    dscores = probs * (dprobs - (probs * dprobs).sum(axis=1, keepdims=True)) / numpy.sqrt(q.shape[1])
    return dscores @ k, dscores @ q, probs.T @ dout


assert check(head_backward) < 1e-8
print("ours: equal but for rounding")
for wrong in (without_the_mean, without_the_scale, without_a_transpose):
    error = check(wrong)
    print(f"{wrong.__name__}: off by {error:.2f} times the largest gradient")
    assert error > 0.01

# %% [markdown]
# Ours agrees with the finite differences, and each mistake is found.
#
# ## Where the parameters are
#
# Attention itself has no parameters. They lie in linear layers around it: one makes `qkv` from $x$, another turns the
# heads' outputs into whatever comes next. So a network with attention needs nothing new: `attention_backward` gives the
# upstream gradient of the first linear layer, and `layers.linear_backward` hands its two factors to the accumulator.
#
# ## Learning it
#
# We set the matrices by hand. Does gradient descent find something as good? The model is a linear layer to `qkv`, one
# head, and for the question's row a linear layer to 16 logits, one for each town; the loss is softmax with cross-entropy.
# Here it is, forward and mirrored backward, for a batch of $B$ sentences.


# %%
def draw(rng, B):
    """Draw B sentences x (B, T, C): four people in four towns and a question, with the answers (B,)."""
    x, b = numpy.zeros((B, 5, C)), numpy.arange(B)
    names = rng.permuted(numpy.tile(numpy.arange(N), (B, 1)), axis=1)[:, :4]  # (B, 4), all different
    towns = rng.permuted(numpy.tile(numpy.arange(W), (B, 1)), axis=1)[:, :4]  # (B, 4)
    asked = rng.integers(4, size=B)
    for t in range(4):
        x[b, t, names[:, t]] = x[b, t, N + towns[:, t]] = 1
    x[b, 4, names[b, asked]] = x[b, 4, MASK] = 1
    return x, towns[b, asked]


def forward(p, x, answers):
    # 1. queries, keys and values
    qkv, qkv_cache = layers.linear_forward(x, p["qkv.weight"], p["qkv.bias"])  # (B, T, 3D)
    # 2. attention
    out, attention_cache = attention_forward(qkv, 1)  # (B, T, D)
    # 3. the question's row, to a logit for each town
    logits, out_cache = layers.linear_forward(out[:, -1], p["out.weight"], p["out.bias"])  # (B, W)
    # 4. the price of the guess
    losses, loss_cache = layers.cross_entropy_forward(logits, answers)  # (B,)
    return losses.mean(), (qkv_cache, attention_cache, out_cache, loss_cache, out.shape)


def backward(cache, accumulator):
    qkv_cache, attention_cache, out_cache, loss_cache, shape = cache
    B = shape[0]
    # 4. loss = mean of cross_entropy(logits, answers)
    dlogits = layers.cross_entropy_backward(numpy.full(B, 1 / B), loss_cache)  # (B, W)
    # 3. logits = linear(out[:, -1])
    dout = numpy.zeros(shape)  # (B, T, D): the other rows do not touch the loss
    dout[:, -1] = layers.linear_backward(dlogits, out_cache, "out", accumulator)
    # 2. out = attention(qkv)
    dqkv = attention_backward(dout, attention_cache)  # (B, T, 3D)
    # 1. qkv = linear(x)
    layers.linear_backward(dqkv, qkv_cache, "qkv", accumulator)


# %% [markdown]
# We train it by gradient descent as in step 2, with learning rate 1 and a batch of 64 newly drawn sentences in each step.
#
# For comparison we train the same model with its queries held at 0. Then all scores are 0, all weights are $1/T$, and it
# has to do with the plain mean. We expect that it never gets below $\log 4$, on average over some batches, and that the
# model with attention does. There are $12 \cdot 11 \cdot 10 \cdot 9$ ways to choose the names,
# $16 \cdot 15 \cdot 14 \cdot 13$ to choose the towns and 4 to ask, more than two thousand million sentences. So the loss
# of a new batch is that of sentences which were not seen before, but for a rare chance.


# %%
def train(steps, queries):
    """Train from random weights with or without queries -> the parameters, and the loss at every step."""
    rng = numpy.random.default_rng(4)
    p = {
        "qkv.weight": rng.standard_normal((C, 3 * D)) / numpy.sqrt(C),
        "qkv.bias": numpy.zeros(3 * D),
        "out.weight": rng.standard_normal((D, W)) / numpy.sqrt(D),
        "out.bias": numpy.zeros(W),
    }
    losses = []
    for _ in range(steps):
        if not queries:
            p["qkv.weight"][:, :D] = p["qkv.bias"][:D] = 0
        accumulator = GradientAccumulator()
        loss, cache = forward(p, *draw(rng, 64))
        backward(cache, accumulator)
        for name in p:
            p[name] -= 1.0 * accumulator.sums[name]
        losses.append(loss)
    return p, numpy.array(losses)


STEPS = 1000
learned, with_queries = train(STEPS, queries=True)
_, with_a_mean = train(STEPS, queries=False)
for start in (0, 100, 200, 950):
    span = slice(start, start + 50)
    print(f"steps {start:3} to {start + 49}: {with_queries[span].mean():.3f} nats with attention, ", end="")
    print(f"{with_a_mean[span].mean():.3f} with a plain mean")
assert with_a_mean[-50:].mean() > numpy.log(4) > with_queries[200:250].mean() > with_queries[-50:].mean()

# %% [markdown]
# Both begin near an even guess among 16 towns, $\log 16$. The plain mean learns which towns are in the sentence and comes
# slowly down towards `1.386`, which it cannot pass. Attention passes it before step 200 and soon pays next to nothing.
#
# What has it learned? The matrices need not look like ours. Only dot products of queries and keys matter, and if both are
# turned by the same rotation $R$, so that $W^{q} R$ and $W^{k} R$ stand for $W^{q}$ and $W^{k}$, no score changes:
# $(q R)(k R)^{T} = q R R^{T} k^{T} = q k^{T}$. So we look at the scores: how strongly does the question for one name draw
# the token of another?

# %%
question = learned["qkv.weight"][:N] + learned["qkv.weight"][MASK] + learned["qkv.bias"]  # (N, 3D)
answer = learned["qkv.weight"][:N] + learned["qkv.bias"]  # (N, 3D): the names' share of a token
fit = question[:, :D] @ answer[:, D : 2 * D].T / numpy.sqrt(D)  # (N, N)
same = numpy.eye(N, dtype=bool)
print(f"score of the same name {fit[same].mean():.1f} on average, of another name {fit[~same].mean():.1f}")
_, (_, attention_cache, *_) = forward(learned, x[None], numpy.array([TOWNS.index("rome")]))
probs = attention_cache[1]  # (1, 1, T, T): of the one sentence, the one head
print("the question's weights:", *(f"{p:.2f}" for p in probs[0, 0, -1]))

# %% tags=["picture"]
figure, (curves, by_hand, by_learning) = pyplot.subplots(1, 3, width_ratios=(5, 4, 4))
smooth = numpy.ones(20) / 20
for losses, name, style in ((with_queries, "attention", "-"), (with_a_mean, "plain mean", "--")):
    curves.plot(numpy.arange(10, STEPS - 9), numpy.convolve(losses, smooth, "valid"), style, label=name)
curves.axhline(numpy.log(4), color="#777777", linestyle=":", label="log 4")
curves.set(xlabel="step", ylabel="loss (nats, mean of 20 steps)", title="A mean cannot pass log 4", ylim=(0, None))
curves.legend()
labels = [f"{name}\n{town}" for name, town in sentence]
for axes, weights, title in ((by_hand, P, "Weights set by hand"), (by_learning, probs[0, 0], "Weights found by learning")):
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    for t, s in numpy.ndindex(T, T):
        axes.text(s, t, f"{weights[t, s]:.2f}", ha="center", va="center", color="white" if weights[t, s] > 0.5 else "black")
    axes.set_xticks(range(T), labels, fontsize=10)
    axes.set_yticks(range(T), labels if axes is by_hand else [], fontsize=10)
    axes.set(xlabel="is looked at", title=title)
    axes.spines[:].set_visible(False)
by_hand.set_ylabel("looks")
pyplot.show()

# %% [markdown]
# The same name stands out: its score is `2.4` on average, that of another name `-0.2`. In our sentence the question gives
# `0.81` of its weight to Bruno's token and `0.00` to itself; it has learned what we mended by hand, too. That is enough,
# since the second linear layer turns a clear lead into near certainty. The other tokens look at themselves, although
# nobody asked them to: all tokens share the same matrices, and what these say is "look for your own name".
#
# ## Exercises
#
# Write your answers as functions in `03_attention.py` in a folder of your own, and run, from the repository's folder,
# `pytest tests/tutorials/test_03_attention.py --answers FOLDER`; ours are in
# [solutions/03_attention.py](solutions/03_attention.py).
#
# **1. Only the past.** A model that writes text word by word must not look at words that come later. Write
# `causal_attention(q, k, v)` for one head, all of shape $(T, D)$, which gives the output $(T, D)$ where token $t$ looks
# at the tokens $0$ to $t$ alone.
#
# **2. One token's loss.** Suppose that the loss depends on the output of a single token, number `place`, so that only
# this row of $dO$ is not 0. Write `row_backward(dout, q, k, v, place)`, with `dout` of shape $(D,)$ and `q`, `k`, `v` of
# shape $(T, D)$, which gives the one row of $dQ$ that is not 0, of shape $(D,)$, and $dK$ and $dV$ of shape $(T, D)$. Do
# it without any array of shape $(T, T)$. What are the ranks of $dK$ and $dV$? (At the end of step 6 you will see who makes
# use of the answer.)
#
# **3. In pieces.** For long texts the $(T, T)$ weights do not fit into memory, and they need not. Write
# `attention_in_pieces(q, k, v, size)`, which gives the ordinary output $(T, D)$ but takes at most `size` keys and values
# at a time. Walk over the pieces and keep three things for every query: the largest score $m$ so far, the sum $z$ of
# $\exp(s - m)$ so far, and the sum of $\exp(s - m) \, v$ so far. When a piece brings a larger score, what has been summed
# must first be multiplied by $\exp(m - m')$, with $m'$ the new largest one. Why? It must give the right result for scores
# in the thousands as well, for which $\exp$ alone overflows.
#
# ## Where to go on
#
# [attention.py](../minimapnet/model/attention.py) has the forward and the backward of this step, stage by stage, for
# batches and heads; its `single_query_backward` is the second exercise for many tokens at once. The accumulators are in
# [accumulators.py](../minimapnet/gradient_norms/accumulators.py), and [test_attention.py](../tests/model/test_attention.py)
# holds all of it against finite differences, with and without padding. Attention in this form comes from *Attention Is All
# You Need* (Vaswani and others 2017, arXiv 1706.03762).
#
# With attention all pieces of BERT are at hand. The next step puts them together and trains the whole:
# [4. The whole BERT in one dict](04_bert_in_one_dict.ipynb).
