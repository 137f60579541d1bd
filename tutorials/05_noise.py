# %% [markdown]
# # 5. Noise
#
# Every step of training in [step 4](04_bert_in_one_dict.ipynb) followed a gradient that was computed from 32 sentences
# with two masked words each. Both were drawn at random, so the gradient was random as well. This step takes its noise
# apart: how large is it, and how much of it comes from the choice of sentences, how much from the choice of masks? The
# answer decides whether a cleverer choice of masks can help at all, which is the question of all steps after this one.
#
# Afterwards you can prove the decomposition of the noise in two lines, check it by listing every mask, and estimate it
# where the masks are too many to list. From before you need the loss of a masked sentence (step 1), the gradient as a
# dict of arrays (step 4), and what a mean and a variance are. It takes about 25 minutes.

# %%
import math

import numpy
import trained
from matplotlib import pyplot

from minimapnet import Bert, UniformMasks, decompose_variance, gradients, plotting, token_losses
from minimapnet.variance.enumeration import exact_variance

pyplot.rcParams.update(plotting.PAGE)

model, text = trained.bert()  # that of step 4, and its text
fresh = Bert(model.config, seed=0, init="random")  # the same model before its first step
P = model.flat.size
print(f"{len(text.train):,} sentences to train on, {P:,} parameters")

# %% [markdown]
# ## A gradient is a draw
#
# Let $x$ be a sentence and $M$ a mask: a set of $k$ of its $n$ words. Their loss is the mean of the masked words' losses,
#
# $$\ell(x, M) = \frac{1}{k} \sum_{i \in M} -\log q_{\theta}(x_{i} \mid x_{\setminus M}),$$
#
# as in step 1, and $g(x, M)$ is its gradient. We put the gradients of all parameters one behind the other, so that $g$
# is one vector of shape $(P,)$. Sentences come from the language, masks from the uniform distribution: each of the
# $\binom{n}{k}$ sets is equally likely. What training wants to lower is the mean of the loss over both,
#
# $$L = E_{x} E_{M} \ell(x, M),$$
#
# with $E$ for the mean over what is drawn, as in step 1 (the table $E$ of step 4 does not occur here).
#
# The gradient of a mean is the mean of the gradients, so $E_{x} E_{M}\, g(x, M)$ is the gradient of $L$. We call it
# $\bar g$. A training step cannot afford all sentences and all masks. It takes the mean of $g$ over a few, which is right
# on average, and wrong each time.
#
# How wrong? We draw six batches of 32 sentences with two masked words each, as training did, and compare the directions
# of their gradients: the cosine of two vectors is 1 where they point the same way, and 0 where they are at right angles.


# %%
def gradient(model, ids, positions):
    """Return the gradient as one vector: ids (B, T), positions (B, K) -> (P,)."""
    out = numpy.empty_like(model.flat)  # (P,)
    gradients(model, ids, positions, out=out)
    return out


def batch_gradient(model, rng, B=32, k=2):
    """Draw B sentences with k hidden words each, and return the mean gradient (P,)."""
    rows = text.train.batch(rng.integers(len(text.train), size=B))
    positions = UniformMasks(rows.maskable, k).sample(rng, 1)[0]  # (B, K)
    return gradient(model, rows.ids, positions)


def mean_cosine(vectors):
    """Return the mean cosine over all pairs of different vectors (N, P)."""
    unit = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T  # (N, N)
    return cosines[numpy.triu_indices(len(cosines), 1)].mean()


for name, one in (("untrained", fresh), ("trained", model)):
    rng = numpy.random.default_rng(0)
    drawn = numpy.stack([batch_gradient(one, rng) for _ in range(6)])  # (6, P)
    print(f"{name:9}: the gradients of two batches have a cosine of {mean_cosine(drawn):5.2f} on average")

# %% [markdown]
# Before training, two batches agree on the direction to some extent. After training they do not agree at all: each
# gradient is nearly nothing but noise. To see why, and what could be done about it, we need a measure of noise.
#
# ## The variance of a vector
#
# A random vector $g$ of shape $(P,)$ with mean $\bar g$ has a covariance matrix of shape $(P, P)$. We shall call its
# trace "the variance" of $g$. It is the sum of the variances of all components, and so the mean squared distance from the
# mean:
#
# $$\mathrm{Var}\, g = \sum_{p=1}^{P} \mathrm{Var}\, g_{p} = E\, |g - \bar g|^{2} = E\,|g|^{2} - |\bar g|^{2}.$$
#
# The last step multiplies the square out: $E|g|^{2} - 2\, \bar g \cdot E g + |\bar g|^{2}$, and $E g = \bar g$. Losses
# are in nats, parameters have no unit, so a gradient is in nats and a variance in nats².
#
# **Averaging divides it.** Let $\hat g$ be the mean of $B$ independent draws. Its deviation is
# $\hat g - \bar g = \frac{1}{B} \sum_{b} (g_{b} - \bar g)$. In the expected square of it, the products of different draws
# vanish, since $E\,(g_{b} - \bar g) \cdot (g_{c} - \bar g) = E(g_{b} - \bar g) \cdot E(g_{c} - \bar g) = 0$ for
# independent draws. The $B$ squares remain:
#
# $$\mathrm{Var}\, \hat g = \frac{1}{B^{2}} \cdot B \cdot \mathrm{Var}\, g = \frac{\mathrm{Var}\, g}{B}.$$
#
# **What it costs.** Take one step of plain gradient descent, $\theta' = \theta - \eta \hat g$. With $H$ of shape $(P, P)$
# for the second derivatives of $L$, Taylor's formula gives
# $L(\theta') \approx L - \eta\, \bar g \cdot \hat g + \frac{1}{2} \eta^{2}\, \hat g^{T} H \hat g$. Write
# $\hat g = \bar g + \varepsilon$ with $E\varepsilon = 0$, and take the mean:
#
# $$
# E\, L(\theta') \approx L - \eta\, |\bar g|^{2} + \frac{\eta^{2}}{2}\, \bar g^{T} H \bar g +
# \frac{\eta^{2}}{2}\, E\, \varepsilon^{T} H \varepsilon.
# $$
#
# The second term is what a step is made for, and the last one is the price of the noise. Were the curvature the same
# number $h$ in all directions, $H = h I$, the price would be $\frac{1}{2} \eta^{2} h\, \mathrm{Var}\, \hat g$: it grows
# with the variance. A step gains as long as the *signal* $|\bar g|^{2}$ is not too small beside the *noise*
# $\mathrm{Var}\, \hat g$. A smaller learning rate $\eta$ lowers the price faster than the gain: a reason to let it decay,
# as step 4 did. A smaller variance lowers the price and leaves the gain as it is. (AdamW rescales each component of the
# gradient, which this sketch leaves out.)
#
# ## Two sources
#
# $g(x, M)$ depends on two random things. Let $m(x) = E_{M}\, g(x, M)$ be the mean gradient of sentence $x$ over its
# masks, again of shape $(P,)$.
#
# **Theorem** (law of total variance).
#
# $$
# \mathrm{Var}\, g = \underbrace{E_{x} |m(x) - \bar g|^{2}}_{\text{data variance}} +
# \underbrace{E_{x} E_{M} |g(x, M) - m(x)|^{2}}_{\text{mask variance}}
# $$
#
# *Proof.* Split the deviation in two, $g - \bar g = (g - m(x)) + (m(x) - \bar g)$. The squared length of a sum is the sum
# of the two squares and twice the product $(g - m(x)) \cdot (m(x) - \bar g)$. For a given sentence the second factor is
# fixed, and the first has mean zero over the masks: that is how $m(x)$ was defined. So the product has mean zero.
# $\square$
#
# The data variance says how much the sentences disagree with each other, and no choice of masks within a sentence can
# change that. The mask variance says how much the masks of one sentence disagree. It would be gone if each sentence came
# with all its masks. We want to know which is larger.
#
# ## Every mask of some sentences
#
# A proof is best checked by an example in which nothing is left to chance. We take 24 sentences as the whole language,
# with one masked word at a time. Each has 16 words, hence 16 masks. All their gradients fit into one array.

# %%
rows = text.test.batch(numpy.arange(24))
assert rows.attention_mask.all()  # every sentence has 16 words: no padding
S, M = len(rows.ids), 16
maskable = rows.maskable[0].nonzero()[0]  # (16,): the words, not [CLS] and [SEP]
every = numpy.empty((S, M, P), numpy.float32)
for s in range(S):
    for i in range(M):
        every[s, i] = gradient(model, rows.ids[s : s + 1], maskable[i : i + 1, None])


def variance(vectors):
    """Return the variance of vectors that are equally likely: (N, P) -> a number."""
    return float(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())


means = every.mean(axis=1)  # (S, P): m(x) of each sentence
data = variance(means)
mask = float(numpy.mean([variance(of_sentence) for of_sentence in every]))
whole = variance(every.reshape(S * M, P))
print(f"data variance {data:.2f}, mask variance {mask:.2f}: together {data + mask:.2f} nats^2")
print(f"variance of all {S * M} gradients: {whole:.2f} nats^2")
print(f"the masks' share: {100 * mask / whole:.0f} %")
assert abs(data + mask - whole) < 1e-4 * whole

# %% [markdown]
# The two add up to the whole, as they must, except for rounding. And the answer is clear: of the variance of a single
# masked word's gradient, `94 %` comes from the choice of the word.
#
# Where is it? Below, each column is a sentence. A dot is one of its masks, at the height of $|g(x, M) - m(x)|^{2}$; the
# mean of all dots is the mask variance. A bar is the sentence, at the height of $|m(x) - \bar g|^{2}$; the mean of all
# bars is the data variance.

# %%
from_mean = ((every - means[:, None]) ** 2).sum(axis=2)  # (S, M)
between = ((means - means.mean(axis=0)) ** 2).sum(axis=1)  # (S,)
figure, axis = pyplot.subplots()
column = numpy.repeat(numpy.arange(S), M).reshape(S, M)
axis.plot(column, from_mean, "o", color="#0072B2", alpha=0.5, label=["a mask, from its sentence's mean"] + [None] * (M - 1))
axis.plot(numpy.arange(S), between, "_", color="#D55E00", ms=20, mew=3, label="a sentence's mean, from the mean of all")
axis.set(
    xlabel="sentence", ylabel="squared distance, nats²", yscale="log", xticks=range(S),
    yticks=[1, 10, 100], yticklabels=["1", "10", "100"],
    title="In each sentence a few masks lie far out; the sentences' means lie close together",
)  # fmt: skip
axis.legend(loc="center", bbox_to_anchor=(0.5, 0.5), ncols=2)
pyplot.show()

far = from_mean > mask
print(f"masks farther out than the mean: {100 * far.mean():.0f} %; their part of the mask variance:", end=" ")
print(f"{100 * from_mean[far].sum() / from_mean.sum():.0f} %")

# %% [markdown]
# In this language most words follow from others, and the model has learned how: hide one of them, and it is guessed,
# with a loss near zero and a gradient near zero. Such a mask lies as far from its sentence's mean as zero does, and so
# nearly does $\bar g$, which is short beside the noise. That is why so many dots sit on their bar. A few words are
# free. Nobody can guess them, and their gradients are large. So the noise comes from a few of the masks: `14 %` of them
# make `94 %` of the mask variance. Keep this in mind for [step 7](07_importance_sampling.ipynb).
#
# The package lists all masks by `exact_variance`. It forms no table of gradients: it goes from sentence to sentence and
# keeps a running sum. It gives what we have found.

# %%
exact = exact_variance(model, rows.ids, 1, rows.maskable)
print(f"data variance {exact.data.value:.2f}, mask variance {exact.mask.value:.2f}")
assert math.isclose(exact.data.value, data, rel_tol=1e-4) and math.isclose(exact.mask.value, mask, rel_tol=1e-4)

# %% [markdown]
# ## Many sentences or many masks?
#
# A batch has $N$ sentences with $R$ masks each, all drawn independently: $N R$ rows that go through the model. Its
# gradient is the mean over all rows,
#
# $$\hat g = \frac{1}{N} \sum_{b=1}^{N} \frac{1}{R} \sum_{r=1}^{R} g(x_{b}, M_{br}).$$
#
# The theorem holds for $\hat g$ as well, with all $N$ sentences in the place of $x$, and all $N R$ masks in that of $M$.
# Given the sentences, $\hat g$ has the mean $\frac{1}{N} \sum_{b} m(x_{b})$. That is a mean of $N$ independent vectors,
# so its variance is the data variance over $N$. What is left is the noise of $N R$ independent masks. Hence
#
# $$\mathrm{Var}\, \hat g = \frac{\text{data variance}}{N} + \frac{\text{mask variance}}{N R}.$$
#
# We check it by drawing batches of several shapes from the sentences that we have listed, 4,000 times each. No vector
# need be averaged for that: with $v_{i}$ for the deviations of all listed gradients from their mean, the squared length
# of the mean of some of them is
# $|\frac{1}{J} \sum_{j} v_{i_{j}}|^{2} = \frac{1}{J^{2}} \sum_{j, l} v_{i_{j}} \cdot v_{i_{l}}$. One table of all
# products $v_{i} \cdot v_{j}$ is enough, from which each batch looks up what it needs.

# %%
deviations = (every - every.mean(axis=(0, 1))).reshape(S * M, P)
products = deviations @ deviations.T  # (S*M, S*M)


def draw(rng, N, R):
    """Draw N of our sentences and R masks of each, with replacement -> their places (N, R) among all S*M gradients."""
    return rng.integers(S, size=(N, 1)) * M + rng.integers(M, size=(N, R))


rng = numpy.random.default_rng(1)
shapes = [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (1, 2), (1, 4), (1, 8), (1, 16), (4, 4)]
measured = {}
for N, R in shapes:
    batches = [draw(rng, N, R).reshape(-1) for _ in range(4000)]  # of (N*R,)
    measured[N, R] = float(numpy.mean([products[numpy.ix_(batch, batch)].mean() for batch in batches]))
    formula = data / N + mask / (N * R)
    print(f"{N:2} sentences, {R:2} masks each: measured {measured[N, R]:5.2f}, formula {formula:5.2f} nats^2")
    assert abs(measured[N, R] / formula - 1) < 0.15

# %%
rows_of = 2.0 ** numpy.arange(0, 9)  # N R
figure, axis = pyplot.subplots()
axis.plot(rows_of, (data + mask) / rows_of, "-", color="#0072B2", label="one mask of each of N sentences")
axis.plot(rows_of, data + mask / rows_of, "--", color="#E69F00", label="R masks of one sentence")
axis.axhline(data, ls=":", color="#777777")
axis.text(1, data * 0.9, "data variance", va="top", color="#555555")
for N, R in shapes:
    if 1 in (N, R):
        axis.plot(N * R, measured[N, R], "o" if R == 1 else "s", color="#0072B2" if R == 1 else "#E69F00")
axis.set(
    xscale="log", yscale="log", xticks=rows_of, xticklabels=[f"{n:.0f}" for n in rows_of],
    xlabel="rows in the batch, N R (marks: measured)", ylabel="variance of the batch's gradient, nats²",
    yticks=[0.1, 1, 10], yticklabels=["0.1", "1", "10"],
    title="More masks of one sentence help, until the sentence's own variance is left",
)  # fmt: skip
axis.minorticks_off()
axis.legend()
pyplot.show()

# %% [markdown]
# For a given number of rows, new sentences with one mask each are always best: both parts shrink. So there is no reason
# to mask the same sentence several times as long as there are others. The formula is useful the other way round. Suppose
# we could choose masks so well that the mask variance vanished: the data variance would be left, here `6 %` of the whole.
# A method that chooses masks can win some of the rest; step 7 will say how much of it. Had it come out the other way
# round, we could stop here.

# %%
print(f"left without the mask variance: {100 * data / whole:.0f} %")

# %% [markdown]
# ## Estimating it from draws
#
# A sentence of 16 words has as many single masks, but there are `12,870` masks of 8 of its words: soon we can list
# neither the masks nor the sentences. So we draw $N$ sentences and $R$ masks of each, and estimate. Let $g_{br}$ be the
# gradients, $\hat m_{b} = \frac{1}{R} \sum_{r} g_{br}$ their means by sentence, and $\hat g$ the mean of all. The naive
# way puts these means in the place of the true ones, and is wrong twice.
#
# *Within a sentence* the true mean is $m_{b}$, and
# $\sum_{r} |g_{br} - \hat m_{b}|^{2} = \sum_{r} |g_{br} - m_{b}|^{2} - R\, |\hat m_{b} - m_{b}|^{2}$ (multiply out). With
# $v$ for the sentence's mask variance, the right side has the mean $R v - R \cdot v / R = (R - 1)\, v$: the draws lie
# closer to their own mean than to the true one. So we divide by $R - 1$ instead of $R$.
#
# *Between sentences* the same holds for the $N$ means around their mean, so we divide by $N - 1$. But what we get is the
# variance of $\hat m_{b}$, and by our formula for one sentence that is $\text{data variance} + \text{mask variance} / R$.
# The noise of the masks has leaked into it, and must be subtracted:
#
# $$\text{mask} \approx \frac{1}{N} \sum_{b} \frac{1}{R - 1} \sum_{r} |g_{br} - \hat m_{b}|^{2}, \qquad
# \text{data} \approx \frac{1}{N - 1} \sum_{b} |\hat m_{b} - \hat g|^{2} - \frac{\text{mask}}{R}.$$
#
# Both are *unbiased*: right on average over all draws. We know the truth for our 24 sentences, so we can see what both
# ways give on average over 400 samples of 8 sentences with 2 masks each.


# %%
def estimates(drawn):
    """Return unbiased estimates (data variance, mask variance) from gradients (N, R, P)."""
    N, R, _ = drawn.shape
    of_sentence = drawn.mean(axis=1)  # (N, P)
    within = ((drawn - of_sentence[:, None]) ** 2).sum() / (N * (R - 1))
    return variance(of_sentence) * N / (N - 1) - within / R, within


print(f"{math.comb(16, 8):,} masks of 8 out of 16 words")
rng = numpy.random.default_rng(2)
samples = (every.reshape(S * M, P)[draw(rng, 8, 2)] for _ in range(400))  # of (8, 2, P)
naive, found = [], []
for drawn in samples:
    naive.append((variance(drawn.mean(axis=1)), numpy.mean([variance(of_sentence) for of_sentence in drawn])))
    found.append(estimates(drawn))
naive, found, error = numpy.mean(naive, axis=0), numpy.mean(found, axis=0), numpy.std(found, axis=0) / math.sqrt(len(found))
print(f"truth:    data {data:5.2f}, mask {mask:5.2f} nats^2")
print(f"naive:    data {naive[0]:5.2f}, mask {naive[1]:5.2f}")
print(f"unbiased: data {found[0]:5.2f} +- {error[0]:.2f}, mask {found[1]:5.2f} +- {error[1]:.2f}")
assert (abs(found - (data, mask)) < 3 * error).all() and naive[0] > 3 * data

# %% [markdown]
# The naive way halves the mask variance, since $R - 1$ is half of $R$, and finds a data variance several times too large.
# The unbiased way finds the truth, within what is left of chance after 400 samples.
#
# The package's `decompose_variance` estimates in this way, for any model and text, without a table of gradients, and says
# how far its estimates can be trusted. Its intervals come from the *jackknife*: leave out each sentence in turn, and look
# how far the estimate moves. Where single sentences move it far, another sample of sentences would have given something
# else. A 95 % interval should hold the truth in 95 of 100 samples.
#
# To see one at work we take 96 sentences with 8 masks of one word each, and hold the estimates against all masks of 512
# other sentences.

# %%
sample = text.test.batch(numpy.arange(100, 196))
report = decompose_variance(model, sample.ids, k=1, masks=8, seed=0, maskable=sample.maskable)
others = text.test.batch(numpy.arange(1000, 1512))
exact = exact_variance(model, others.ids, 1, others.maskable)
for name, estimate, truth in (("data", report.data, exact.data.value), ("mask", report.mask, exact.mask.value)):
    low, high = estimate.interval
    print(f"{name} variance {estimate.value:5.2f}, 95 % interval [{low:.2f}, {high:.2f}]; 512 sentences: {truth:.2f} nats^2")
    assert low < truth < high

# %% [markdown]
# The same function estimates the signal $|\bar g|^{2}$ (how, is an exercise below). So we can explain what we saw at the
# start. Let $\hat g$ and $\hat g'$ be the gradients of two batches of 32 rows. They are independent with the same mean,
# so $E\, \hat g \cdot \hat g' = |\bar g|^{2}$, while $E |\hat g|^{2} = |\bar g|^{2} + \mathrm{Var}\, \hat g$. Their
# cosine should be near
#
# $$\frac{\text{signal}}{\text{signal} + \text{noise}}, \qquad
# \text{noise} = \mathrm{Var}\, \hat g = \frac{\text{data} + \text{mask}}{32}.$$

# %%
sample = text.train.batch(numpy.arange(128))
for name, one in (("untrained", fresh), ("trained", model)):
    report = decompose_variance(one, sample.ids, k=2, masks=8, seed=0, maskable=sample.maskable)
    signal, noise = report.signal.value, (report.data.value + report.mask.value) / 32
    low, high = report.signal.interval
    print(f"{name:9}: data {report.data.value:5.1f}, mask {report.mask.value:5.1f}, noise of 32 rows {noise:5.2f} nats^2,")
    print(f"           signal {signal:5.2f} [{low:.2f}, {high:.2f}]; expected cosine {signal / (signal + noise):5.2f}")
assert low < 0 < high  # the trained model's

# %% [markdown]
# At first signal and noise are alike, and the cosine of `0.50` is about what the formula says. In the course of training
# the signal goes: that is what descent is for. The noise shrinks, too, but it stays, since single sentences and words
# still pull in their own directions. At the end the signal is so small that our sample cannot tell it from zero. From
# then on the noise decides how low the loss can get, unless the learning rate decays or the variance does.
#
# ## How many words to hide
#
# So far we hid one or two words. What do we expect of more? The loss is a mean over $k$ words, and means are quieter.
# Suppose that word $i$ had the gradient $g_{i}$ whatever else is hidden, so that
# $g(M) = \frac{1}{k} \sum_{i \in M} g_{i}$. Let $v$ be the mask variance at $k = 1$, the variance of the $g_{i}$. A mask
# holds $k$ *different* words. Two different words that are drawn have a mean product of deviations of $-v / (n - 1)$,
# since all $n$ deviations add up to zero: the $n$ squares, $n v$ in sum, and the $n (n - 1)$ products of different ones
# cancel. So
#
# $$
# \mathrm{Var}_{M}\, g = \frac{1}{k^{2}} \left( k\, v - k (k - 1) \frac{v}{n - 1} \right)
# = \frac{v}{k} \cdot \frac{n - k}{n - 1}.
# $$
#
# At $k = n$ that is zero: there is only one mask. We estimate both variances for several $k$, for the trained and for the
# untrained model.

# %% tags=["picture"]
sizes = (1, 2, 3, 4, 6, 8, 12)
sample = text.test.batch(numpy.arange(96))
reports = {
    name: [decompose_variance(one, sample.ids, k, masks=8, seed=k, maskable=sample.maskable) for k in sizes]
    for name, one in (("untrained model", fresh), ("trained model", model))
}
figure, axes = pyplot.subplots(1, 2, sharex=True, sharey=True)
for axis, (name, found) in zip(axes, reports.items(), strict=True):
    for part, colour, mark in (("mask", "#0072B2", "o-"), ("data", "#D55E00", "s-.")):
        values = [getattr(report, part) for report in found]
        low, high = numpy.array([one.interval for one in values]).T
        axis.plot(sizes, [one.value for one in values], mark, color=colour, label=f"{part} variance")
        axis.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
    k = numpy.arange(1, 13)
    expected = found[0].mask.value / k * (16 - k) / 15
    axis.plot(k, expected, "k:", label="mask variance if words did\nnot depend on each other")
    axis.set(title=name, xlabel="hidden words, of 16", yscale="log", xticks=sizes, ylim=(0.5, 1000))
axes[0].set(ylabel="variance of one gradient, nats²", yticks=[1, 10, 100, 1000], yticklabels=["1", "10", "100", "1000"])
axes[0].legend(loc="lower left")
figure.suptitle("Hiding more words quiets an untrained model's gradient, but not a trained one's")
pyplot.show()

# %%
print("        untrained: mask variance           trained: mask variance")
print("hidden   measured  expected  share      measured  expected  share")
for k, *both in zip(sizes, *reports.values(), strict=True):
    line = f"{k:6}"
    for at_one, report in zip((found[0].mask.value for found in reports.values()), both, strict=True):
        line += f"{report.mask.value:11.1f}{at_one / k * (16 - k) / 15:10.1f}{100 * report.mask_share.value:5.0f} %    "
    print(line.rstrip())

# %% [markdown]
# Before training the expectation nearly holds: the blue line keeps to the dotted one, and with many hidden words the
# masks' share of the variance falls to `28 %`. After training it fails: with two hidden words the mask variance is about
# as large as with one, and with many it grows. So the assumption must be wrong: what else is hidden does matter to a
# word. In the first of our sentences one word occurs twice.

# %%
ids = rows.ids[:1]
print(" ".join(text.tokenizer.id_to_token(i) for i in ids[0]))
for positions in ([7], [15], [7, 15]):
    losses = token_losses(model, ids, numpy.array([positions]))[0]
    hidden = ", ".join(f"{text.tokenizer.id_to_token(ids[0, i])} at {i}" for i in positions)
    print(f"hidden: {hidden:26} loss", ", ".join(f"{loss:.3f}" for loss in losses), "nats")
assert losses.min() > 1

# %% [markdown]
# Each of the two is certain as long as the other can be seen. Hide both, and neither can be guessed. Hidden words take
# clues away from each other; losses grow, and gradients with them. (With twelve of sixteen hidden there is also the fact
# that this model never saw so few words in training: two were hidden there.) Averaging over more words of the same
# sentence is not free. Besides, another $k$ is another objective $L$: it asks for guesses from fewer clues.
#
# So here is what we know. Late in training noise decides. Nearly all of it comes from the masks, `94 %` at two hidden
# words, and hiding more does not help in this language. And in a sentence it comes from a few of the masks. Whether one
# can *use* this, drawing more often where the gradients are long, takes the norms of the gradients of all masks; and they
# should cost less than the gradients. That is the next step.
#
# ## Exercises
#
# Write your answers as functions in `05_noise.py` in a folder of your own, and run, in the repository's folder,
# `pytest tests/tutorials/test_05_noise.py --answers FOLDER`; ours are in [solutions/05_noise.py](solutions/05_noise.py).
#
# **1. The signal.** The squared length of the mean of $N$ random vectors is larger than $|\bar g|^{2}$ on average; by how
# much? Write `signal(vectors)`, which takes independent draws $(N, P)$ of one random vector, $N \ge 2$, and gives an
# unbiased estimate of $|\bar g|^{2}$, a float. It may be negative. (The hint is in the cosine above: a product of two
# different draws.)
#
# **2. How many masks of a sentence?** Above a row cost the same whether its sentence was new or not. Suppose that a new
# sentence costs `sentence_cost` by itself, say because a network looks at it before it is masked, and each masked row of
# it `row_cost`, so that $N$ sentences with $R$ masks cost $N (\text{sentence cost} + R \cdot \text{row cost})$. Write
# `best_masks(data, mask, sentence_cost, row_cost)`: the whole number $R \ge 1$ for which the batch's variance is least
# when the cost is given, as an int. $N$ need not be whole. Find the real $R$ first, by calculus.
#
# **3. Three sources.** Sentences come from documents, and those of one document resemble each other. Write
# `three_sources(vectors)` for gradients of shape $(D, S, M, P)$, from $D$ documents with $S$ sentences each and $M$ masks
# of each sentence, all equally likely and all listed. It returns three floats, the variances that come from documents,
# from sentences within a document, and from masks within a sentence. They must add up to the variance of all $D S M$
# vectors: use the theorem twice.
#
# ## Where to go on
#
# - [enumeration.py](../minimapnet/variance/enumeration.py) lists all masks;
#   [decomposition.py](../minimapnet/variance/decomposition.py) estimates, with its streaming sums in
#   [accumulators.py](../minimapnet/variance/accumulators.py) and the jackknife's intervals in
#   [jackknife.py](../minimapnet/variance/jackknife.py).
# - [test_decomposition.py](../tests/variance/test_decomposition.py) holds them against a population whose gradients are all
#   computed one by one, and [test_jackknife.py](../tests/variance/test_jackknife.py) counts how often intervals hold the
#   truth.
# - `minimapnet variance` estimates these variances for a text of yours, also by groups of parameters; what it calls
#   headroom is explained in step 7.
# - Next: [6. The norm of a gradient that is never built](06_norms_without_gradients.ipynb).
