# %% [markdown]
# # 8. Masks of many tokens
#
# BERT masks 15 % of the words together, since a pass through the model costs hardly more for many guesses than for one.
# So a proposal has to draw *sets* of words. [Step 7](07_importance_sampling.ipynb) carries over word for word: the best
# proposal for sets is $q^{\ast} \propto p\, |g|$, and the headroom is $\mathrm{Var}_{p}(|g|)$. But there are too many
# sets to list. This step looks at three ways to draw them without a list. The first, exact weights of sets, is the most
# obvious one, and fails badly. The second, pools, works. The third, weights of positions, is not quite right on average,
# and we measure by how much. At the end comes a fourth that needs no scores.
#
# Afterwards you can draw sets of a fixed size with given odds, prove and use the pool, and say why weights of sets
# explode. You need the importance weights and the headroom (step 7), and the norms of tokens within a mask (step 6). It
# takes about 25 minutes.

# %%
import math

import numpy
import trained
from matplotlib import pyplot

from minimapnet import ConditionalBernoulli, gradients_and_norms, optimal_mask_proposal, plotting, token_gradient_norms
from minimapnet.masks.base import all_masks
from minimapnet.proposals.importance import horvitz_thompson, inclusion_of
from minimapnet.proposals.optimal import best_conditional_bernoulli
from minimapnet.proposals.pools import PoolProposal, resample_probabilities
from minimapnet.proposals.scores import norm_from_tokens

pyplot.rcParams.update(plotting.PAGE)

model, text = trained.bert()  # that of step 4
rows = text.test.batch(numpy.arange(4))
B, places = len(rows.ids), rows.maskable[0].nonzero()[0]  # (n,): the words, not [CLS] and [SEP]
n = len(places)


def words(b, positions):
    return " ".join(text.tokenizer.id_to_token(int(i)) for i in rows.ids[b, positions])


for b in range(B):
    print(words(b, places))
print(f"masks of 2 of {n} words: {math.comb(n, 2)}; of 19 of 128 words: {math.comb(128, 19):.0e}")

# %% [markdown]
# ## All masks of a few sentences
#
# As in step 5, what can be listed serves as the truth. For $k = 1, 2, 3$ we list all $S = \binom{n}{k}$ masks of our four
# sentences. The loss of a mask is the mean over its $k$ words. `gradients_and_norms` gives the mean gradient $m$ of a
# sentence's masks, and the norm of each one's own gradient, in one pass. That is all we need, since the variance of any
# weighted draw is $\sum_{M} p(M)^{2}\, |g(M)|^{2} / q(M) - |m|^{2}$, as in step 7.


# %%
def look(b, masks, weights=None):
    """Return the mean gradient (P,) and the norms of all gradients (S,) of one sentence under masks (S, k)."""
    out = numpy.empty_like(model.flat)
    _, _, norms = gradients_and_norms(model, numpy.repeat(rows.ids[b : b + 1], len(masks), axis=0), masks, weights, out=out)
    return out.astype(float), norms.astype(float)


masks = {k: places[all_masks(n, k)] for k in (1, 2, 3)}  # (S, k) each
norms, mean_squares = {}, {}
for k in masks:
    seen = [look(b, masks[k]) for b in range(B)]
    norms[k] = numpy.array([norm for _, norm in seen])  # (B, S)
    mean_squares[k] = numpy.array([m @ m for m, _ in seen])  # (B,): |m|^2


def left_over(k, second_moments):
    """Return the mask variance of an estimate from its second moments (B,), as a share of that of uniform masks."""
    uniform = (norms[k] ** 2).mean(axis=1)  # (B,)
    return float((second_moments - mean_squares[k]).mean() / (uniform - mean_squares[k]).mean())


best = {k: left_over(k, norms[k].mean(axis=1) ** 2) for k in masks}
for k in masks:
    variance = ((norms[k] ** 2).mean(axis=1) - mean_squares[k]).mean()
    print(f"k = {k}: {len(masks[k]):5} masks, mask variance {variance:5.1f} nats^2, headroom {1 - best[k]:.2f} of it")
listed, optimal = optimal_mask_proposal(model, rows.ids, 2, maskable=rows.maskable)  # (S, B, k), (S, B): the package's q*
assert numpy.allclose(optimal.T, norms[2] / norms[2].sum(axis=1, keepdims=True), rtol=1e-3)

# %% [markdown]
# The headroom shrinks with $k$, since each mask now averages over several words, but most of the variance could still be
# removed. One might expect the mask variance of a mean over $k$ words to fall as $1/k$. It does not, and we shall see
# why.
#
# ## The norm of a set
#
# A proposal goes by *scores*, positive numbers that are best in proportion to the norms. A score for every set would be
# too much to learn. Can it be composed of scores of words? Let $g_{i}(M)$ be the gradient of the loss of word $i$ alone
# while all of $M$ is masked. Then $g(M) = \frac{1}{k} \sum_{i \in M} g_{i}(M)$, and
#
# $$|g(M)|^{2} = \frac{1}{k^{2}} \Big( \sum_{i \in M} |g_{i}(M)|^{2} + \sum_{i \ne j} g_{i}(M) \cdot g_{j}(M) \Big).$$
#
# The gradients have 120,000 components. In so many dimensions two vectors that have little to do with each other are
# nearly at right angles. Then the second sum is small, and
#
# $$|g(M)| \approx \frac{1}{k} \sqrt{\sum_{i \in M} |g_{i}(M)|^{2}}.$$
#
# This is the score `norm_from_tokens`. It still depends on the context $M$. It would be simpler to take the norm
# $|g_{i}|$ of the word when it is masked *alone*, as in step 7. We compare both with the true $|g(M)|$, for all masks of
# two.

# %%
k = 2
alone = norms[1]  # (B, n)
within = {}  # |g_i(M)|: (B, S, k) each
for size, sets_of_words in masks.items():
    copies = [numpy.repeat(rows.ids[b : b + 1], len(sets_of_words), axis=0) for b in range(B)]
    within[size] = numpy.array([token_gradient_norms(model, ids, sets_of_words) for ids in copies], float)
composed = numpy.sqrt((within[k] ** 2).sum(axis=2)) / k  # (B, S)
assert numpy.allclose(
    norm_from_tokens(model, numpy.repeat(rows.ids[:1], len(masks[k]), axis=0), masks[k]), composed[0], rtol=1e-4
)


def of_sets(scores, k):
    """Compose scores of sets from scores of words: (B, n) -> (B, S)."""
    return numpy.sqrt((scores[:, masks[k] - places[0]] ** 2).sum(axis=2)) / k


figure, axes = pyplot.subplots(1, 2, sharex=True, sharey=True)
for axis, scores, title, colour in (
    (axes[0], composed, "Norms within the mask compose well", "#0072B2"),
    (axes[1], of_sets(alone, k), "Norms of words masked alone do not", "#D55E00"),
):
    axis.plot(scores.ravel(), norms[k].ravel(), "o", ms=4, alpha=0.5, color=colour)
    axis.plot([0.01, 20], [0.01, 20], "--", color="#777777")
    axis.set(xscale="log", yscale="log", xlabel="composed from the norms of the words, nats", title=title)
axes[0].set_ylabel("true norm of the mask's gradient, nats")
pyplot.show()
ratio = norms[k] / of_sets(alone, k)  # (B, S)
print(f"norms within the mask: off by {100 * abs(composed / norms[k] - 1).mean():.0f} % on average")
for b, s in zip(*numpy.unravel_index(numpy.argsort(-ratio.ravel())[:4], ratio.shape), strict=True):
    pair = masks[k][s]
    first, second = alone[b, pair - places[0]]
    print(f"{words(b, pair):16} alone {first:.2f} and {second:.2f}, together {norms[k][b, s]:.1f}")
assert abs(composed / norms[k] - 1).mean() < 0.05 and ratio.max() > 20

# %% [markdown]
# With the norms within the mask the rule is off by only `1 %` on average. With the norms of words masked alone it fails
# badly for some masks: those that hide both partners. One "coats" is certain as long as the other one is seen. With both
# masked, nothing tells what adam broke. This is also why the variance does not fall as $1/k$: more masked words leave
# less to guess from. (For $k = 3$ there is a second reason. The model was trained with two masked words, and has never
# seen a sentence with three holes.)
#
# A score of a word should therefore say how large its gradient is *typically*, over the masks that it may be part of. In
# the second moment it is squares that count, so we take the root of the mean square over all masks with the word,
#
# $$s_{i} = \sqrt{E_{p}\big[\, |g_{i}(M)|^{2} \;\big|\; i \in M \big]}, \qquad
# s(M) = \frac{1}{k} \sqrt{\sum_{i \in M} s_{i}^{2}}.$$
#
# We get $s_{i}$ from our lists, for each $k$ its own. (Step 9 learns such scores from the sentence.)


# %%
def typical_norms(k):
    """Return s_i (B, n)."""
    return numpy.stack([numpy.sqrt((within[k][:, masks[k] == place] ** 2).mean(axis=1)) for place in places], axis=1)


typical = {k: typical_norms(k) for k in masks}
assert numpy.allclose(typical[1], alone, rtol=1e-3)
coats = numpy.sort(within[2][0, masks[2] == places[6]] ** 2)  # (15,): of the first sentence
assert words(0, places[6:7]) == "coats" and coats[-1] > 0.9 * coats.sum()
for name, scores in (("alone", alone), ("in pairs", typical[2]), ("in threes", typical[3])):
    print(f"{name:9}", " ".join(f"{words(0, [place])} {score:.1f}" for place, score in zip(places, scores[0], strict=True)))

# %% [markdown]
# Masked alone, the first "coats" has a norm of `0.3`. In pairs the root of the mean square is `5.9`, nearly all of it
# from the one pair with the other "coats".
#
# ## Coins, given that k come up
#
# Now to the first way: a distribution over sets of $k$ words from which one can draw, and whose probabilities one can
# compute, without a list. Throw a coin for each word. Let coin $i$ come up with probability $\pi_{i}$, and call
# $o_{i} = \pi_{i} / (1 - \pi_{i})$ its *odds*. The set of the coins that come up is $M$ with probability
#
# $$\prod_{i \in M} \pi_{i} \prod_{i \notin M} (1 - \pi_{i})
# = \prod_{\text{all } i} (1 - \pi_{i}) \cdot \prod_{i \in M} o_{i}.$$
#
# The first factor is the same for all sets. So if we keep only those throws in which exactly $k$ coins come up, then
#
# $$q(M) = \frac{1}{e_{k}} \prod_{i \in M} o_{i}, \qquad e_{k} = \sum_{|M| = k}\; \prod_{i \in M} o_{i}.$$
#
# This is the **conditional Bernoulli** distribution, and $e_{k}$ is the *elementary symmetric polynomial* of the odds. It
# has $\binom{n}{k}$ terms, but can be computed from left to right. Let $e_{j}^{(t)}$ be that of the first $t$ odds. A set
# of $j$ of the first $t$ words either leaves out word $t$, or it is word $t$ and a set of $j - 1$ of those before:
#
# $$e_{j}^{(t)} = e_{j}^{(t-1)} + o_{t}\, e_{j-1}^{(t-1)}, \qquad e_{0}^{(t)} = 1.$$
#
# These are $n k$ additions in place of $\binom{n}{k}$ products.


# %%
def polynomials(odds, k):
    """Return e_0 .. e_k of the odds (n,) -> (k+1,)."""
    e = numpy.zeros(k + 1)
    e[0] = 1.0
    for o in odds:
        e[1:] = e[1:] + o * e[:-1]
    return e


odds = typical[2][0]  # of the first sentence
for k in masks:
    products = odds[masks[k] - places[0]].prod(axis=1)  # (S,)
    theirs = ConditionalBernoulli(numpy.log(odds), k)
    print(f"k = {k}: e_k by all products {products.sum():10.2f}, by the recursion {polynomials(odds, k)[k]:10.2f}")
    assert numpy.isclose(products.sum(), polynomials(odds, k)[k])
    assert numpy.isclose(numpy.log(products.sum()), theirs.log_normaliser[0])

# %% [markdown]
# The package does the same with logarithms, since $e_{k}$ of long sentences overflows.
#
# **Drawing.** Go through the words from first to last. Suppose that $j$ words are still needed when word $t$ is reached.
# The products of all ways to complete the set add up to the $e_{j}$ of the odds from $t$ on; those of the ways that
# contain $t$ add up to $o_{t}$ times the $e_{j-1}$ of the odds behind it. The quotient of the two is the probability with
# which word $t$ must join. **Inclusion.** By the same argument word $i$ is in the mask with the probability
#
# $$P(i \in M) = \frac{o_{i}\; e_{k-1}(\text{the odds without } o_{i})}{e_{k}}.$$
#
# We draw 5,000 sets in this way and count.


# %%
def draw(odds, k, rng):
    """Draw a set of k of the words 0 .. n-1."""
    chosen = []
    for t, o in enumerate(odds):
        needed = k - len(chosen)
        if needed:
            joins = o * polynomials(odds[t + 1 :], needed - 1)[-1] / polynomials(odds[t:], needed)[-1]
            if rng.random() < joins:
                chosen.append(t)
    return chosen


k = 3
rng = numpy.random.default_rng(0)
drawn = numpy.array([draw(odds, k, rng) for _ in range(5000)])  # (5000, k)
counted = numpy.bincount(drawn.ravel(), minlength=n) / len(drawn)  # (n,)
without = [polynomials(numpy.delete(odds, i), k - 1)[-1] for i in range(n)]
inclusion = odds * without / polynomials(odds, k)[-1]  # (n,)
assert numpy.allclose(inclusion, ConditionalBernoulli(numpy.log(odds), k).inclusion_probabilities()[0])
assert (abs(counted - inclusion) < 5 * numpy.sqrt(inclusion / len(drawn)) + 1e-3).all()
order = numpy.argsort(-odds)[:8]
print("word     ", *(f"{words(0, [places[i]]):>8}" for i in order))
print("odds     ", *(f"{odds[i]:8.1f}" for i in order))
print("inclusion", *(f"{inclusion[i]:8.3f}" for i in order))
print("counted  ", *(f"{counted[i]:8.3f}" for i in order))
print(f"inclusion probabilities add up to {inclusion.sum():.0f}")

# %% [markdown]
# The inclusion probabilities add up to $k$, as $k$ words are always drawn. They are not in proportion to the odds: no
# word can be drawn with a probability above 1.
#
# ## Why exact set weights explode
#
# With $q(M)$ in hand, importance sampling is easy: draw a set, give its loss the weight
#
# $$w(M) = \frac{p(M)}{q(M)} = \frac{e_{k}}{\binom{n}{k}} \prod_{i \in M} \frac{1}{o_{i}}.$$
#
# It is unbiased by the proof of step 7, for any odds. As odds we take the typical norms $s_{i}$. We expect little good:
# the weight is a *product* of $k$ factors, while the norm of a set is the *root of a sum*. The product of a large and a
# small score is small, although the mask's gradient is large, and so its weight is far too large. How bad is it? The mean
# of the squared weights is
#
# $$E_{q}[w^{2}] = \sum_{M} \frac{p(M)^{2}}{q(M)}
# = \frac{e_{k}(o)}{\binom{n}{k}^{2}} \sum_{M} \prod_{i \in M} \frac{1}{o_{i}}
# = \frac{e_{k}(o)}{\binom{n}{k}} \cdot \frac{e_{k}(1/o)}{\binom{n}{k}}.$$
#
# Each factor is a mean over all sets of a product of $k$ numbers. For $k$ far below $n$ the $k$ numbers are nearly
# independent of each other, so that $E_{q}[w^{2}] \approx \big( \bar o \cdot \overline{1/o} \big)^{k}$, with bars for
# means over words. The bracket is above 1 unless all odds are equal (the inequality of Cauchy and Schwarz again), so this
# grows *exponentially* with $k$.
#
# What does that mean? Average $N$ draws of a quantity with mean zero that has nothing to do with the weights. With
# weights, its variance is $E_{q}[w^{2}]$ times what it is without, so the $N$ draws are worth as much as
# $N / E_{q}[w^{2}]$ of weight 1. The share $1 / E_{q}[w^{2}]$ is called the *effective sample size*. A usual remedy is to
# *exponent* the odds, that is, to take $o_{i}^{\tau}$ with $\tau$ below 1. With $\tau = 1/k$ the product becomes a
# geometric mean, and $\tau = 0$ gives uniform masks. We try $\tau = 1/k$, and we look for the best $\tau$ of a list, on
# these very sentences: more than one could know beforehand.


# %%
def sets(k, scores, exponent):
    """Return q(M) (B, S) of the conditional Bernoulli distribution with the odds scores^exponent (B, n)."""
    distribution = ConditionalBernoulli(exponent * numpy.log(scores), k)
    positions = numpy.repeat(masks[k][:, None] - places[0], B, axis=1)  # (S, B, k)
    return numpy.exp(distribution.log_prob(positions)).T  # (B, S)


def second_moments(k, q):
    """Return E_q |w g|^2 (B,) of probabilities q (B, S)."""
    return (norms[k] ** 2 / q).sum(axis=1) / q.shape[1] ** 2


exact_weights, tempered, best_tempered = {}, {}, {}
for k in masks:
    q = sets(k, typical[k], 1.0)
    squares = (1 / q).sum(axis=1) / q.shape[1] ** 2  # (B,): E_q[w^2]
    formula = polynomials(typical[k][0], k)[-1] * polynomials(1 / typical[k][0], k)[-1] / q.shape[1] ** 2
    assert numpy.isclose(squares[0], formula)
    exact_weights[k] = left_over(k, second_moments(k, q))
    tempered[k] = left_over(k, second_moments(k, sets(k, typical[k], 1 / k)))
    by_temper = {t: left_over(k, second_moments(k, sets(k, typical[k], t))) for t in numpy.arange(1, 21) / 20}
    exponent, best_tempered[k] = min(by_temper.items(), key=lambda pair: pair[1])
    print(f"k = {k}: effective sample size {1 / squares.mean():.0e}; mask variance", end=" ")
    print(
        f"{exact_weights[k]:.2g} times uniform, tempered by 1/k {tempered[k]:.2f}, by {exponent:.2f} {best_tempered[k]:.2f}"
    )
assert exact_weights[2] > 5 and exact_weights[3] > 5 * exact_weights[2]
assert best_tempered[1] < best_tempered[2] < best_tempered[3] < 0.97

# %% [markdown]
# Weighted sets are fine for single words. (There the effective sample size is small, too, but the large weights fall on
# gradients that are just as small.) From two words on they explode. How far this goes for a quantity that has nothing to
# do with the weights, the formula tells without any list. Here are all our sentences as a single one of 64 words.

# %%
log_odds = numpy.log(typical[2].ravel())  # (64,)
for k in (1, 2, 5, 10):
    up, down = (ConditionalBernoulli(sign * log_odds, k).log_normaliser[0] for sign in (1, -1))
    squares = up + down - 2 * math.log(math.comb(len(log_odds), k))  # log E_q[w^2]
    print(f"k = {k:2}: of 10^{squares / math.log(10):.0f} draws about one counts")

# %% [markdown]
# Tempering tames the weights. With $\tau = 1/k$ sets of two or three words are still noisier than uniform masks; with the
# best $\tau$, which is smaller, they win something, less with each further word. Are there better odds than ours?
# `best_conditional_bernoulli` finds, given $q^{\ast}$ itself, the distribution of this kind that is nearest to it (in the
# divergence that step 9 explains).

# %%
nearest = numpy.exp(best_conditional_bernoulli(listed, optimal, rows.ids.shape[1]).log_prob(listed)).T  # (B, S)
print(f"sets with the odds nearest to q*: {left_over(2, second_moments(2, nearest)):.2f} of uniform; q*: {best[2]:.2f}")
assert best[2] + 0.1 < left_over(2, second_moments(2, nearest)) < best_tempered[2] and min(tempered[2], tempered[3]) > 1

# %% [markdown]
# They win a little more for pairs, but no odds make a product behave like the root of a sum, and to find them one must
# have $q^{\ast}$ already.
#
# ## Pools
#
# The second way needs no form at all. Draw $c$ *candidates* $M_{1}, \ldots, M_{c}$ from $p$ itself, independently.
# Compute a positive score $s_{a} = s(M_{a})$ of each, keep *one* of them, candidate $a$ with probability
# $s_{a} / (s_{1} + \ldots + s_{c})$, and give it the weight
#
# $$w_{a} = \frac{\bar s}{s_{a}}, \qquad \bar s = \frac{1}{c} \sum_{a=1}^{c} s_{a}.$$
#
# **It is unbiased.** Given the candidates, the mean of what is kept is the plain mean of all,
#
# $$\sum_{a} \frac{s_{a}}{c\, \bar s} \cdot \frac{\bar s}{s_{a}}\; g(M_{a}) = \frac{1}{c} \sum_{a} g(M_{a}),$$
#
# and the mean of that over the candidates is $E_{p}\, g = m$. Nothing was asked of the scores except that they are
# positive.
#
# **Its second moment.** Given the candidates it is, in the same way,
#
# $$\sum_{a} \frac{s_{a}}{c\, \bar s} \cdot \frac{\bar s^{2}}{s_{a}^{2}}\, |g(M_{a})|^{2}
# = \frac{\bar s}{c} \sum_{a} \frac{|g(M_{a})|^{2}}{s_{a}}
# = \frac{1}{c^{2}} \sum_{a, b} s_{b}\, \frac{|g(M_{a})|^{2}}{s_{a}}.$$
#
# Now take the mean over the candidates. The $c$ terms with $a = b$ have the mean $E_{p} |g|^{2}$. The $c\,(c - 1)$ others
# are products of independent numbers. Hence
#
# $$\frac{1}{c}\, E_{p} |g|^{2} + \Big(1 - \frac{1}{c}\Big)\, E_{p}[s]\; E_{p}\Big[ \frac{|g|^{2}}{s} \Big].$$
#
# The first part is the second moment of uniform masks. The other is that of importance sampling with
# $q = p\, s / E_{p}[s]$, exactly (put this $q$ into the formula). So a pool is a *blend*: one part of uniform masks in
# $c$, all the rest from the distribution that one could not draw from without a list. With perfect scores $s = |g|$ the
# rest is optimal, and a pool of $c$ wins the share $1 - 1/c$ of the headroom.
#
# Both statements can be checked by brute force for $c = 2$: there are $120^{2}$ pools. `resample_probabilities` is the
# package's: scores in, the probability of each candidate to be kept and its weight out.

# %%
k, S = 2, len(masks[2])
scores = of_sets(typical[k], k)  # (B, S)
first, second = numpy.indices((S, S)).reshape(2, S * S)
pools = numpy.stack([first, second], axis=1)  # (S^2, 2): all of them, each with probability 1 / S^2
kept, weights = resample_probabilities(scores[0][pools])  # (S^2, 2) both
share = numpy.bincount(pools.ravel(), (kept * weights).ravel()) / S**2  # (S,): the mean factor of each mask's gradient
moment = (kept * weights**2 * norms[k][0][pools] ** 2).sum() / S**2
blend = (norms[k][0] ** 2).mean() / 2 + scores[0].mean() * (norms[k][0] ** 2 / scores[0]).mean() / 2
print(f"mean factors between {S * share.min():.6f} / S and {S * share.max():.6f} / S")
print(f"second moment of all {S**2:,} pools: {moment:.4f}; of the blend: {blend:.4f}")
assert numpy.allclose(share, 1 / S) and numpy.isclose(moment, blend)

# %% [markdown]
# In training a pool is a `PoolProposal`. Here it draws one mask for each of our sentences. `weights` are those of the
# words, $w / k$, as `gradients` takes them; a $w$ below 1 says that the mask that was kept has a larger score than the
# mean of its pool.

# %%
proposal = PoolProposal(2, norm_from_tokens, candidates=8)
kept = proposal.draw(model, rows.ids, numpy.random.default_rng(1), rows.maskable)
for b in range(B):
    print(f"{words(b, kept.positions[b]):20} w = {kept.weights[b].sum():.2f}")

# %% [markdown]
# What is a pool worth with scores that one might have? We try three: the exact norm, the typical norms of the words, and
# the norms of words masked alone.


# %%
def pool(k, scores, c):
    """Return the second moments (B,) of pools of c candidates with scores (B, S)."""
    squares = norms[k] ** 2
    return squares.mean(axis=1) / c + (1 - 1 / c) * scores.mean(axis=1) * (squares / scores).mean(axis=1)


candidates = 2 ** numpy.arange(7)
figure, axis = pyplot.subplots()
for (name, scores), (colour, line, mark) in zip(
    {
        "words masked alone": of_sets(alone, 2),
        "typical norms of the words": of_sets(typical[2], 2),
        "exact norm of the mask": norms[2],
    }.items(),
    (("#D55E00", ":", "v"), ("#0072B2", "--", "s"), ("#009E73", "-", "o")),
    strict=True,
):
    found = [left_over(2, pool(2, scores, c)) for c in candidates]
    axis.plot(candidates, found, line, marker=mark, color=colour, label=name)
    print(f"{name:28}", "  ".join(f"{c}: {value:.2f}" for c, value in zip(candidates, found, strict=True)))
axis.axhline(best[2], ls="-.", color="#777777")
axis.text(1, best[2], "least possible", va="bottom", color="#555555")
axis.axhline(1, ls="--", color="#777777")
axis.text(candidates[-1], 1, "uniform masks", ha="right", va="bottom", color="#555555")
axis.set(
    xscale="log", yscale="log", xticks=candidates, xticklabels=candidates, xlabel="candidates in the pool, c",
    yticks=(0.2, 0.5, 1, 2, 5, 10), yticklabels=(0.2, 0.5, 1, 2, 5, 10), ylabel="mask variance / uniform",
    title="A pool is as good as its scores: masks of two words",
)  # fmt: skip
axis.minorticks_off()
axis.legend()
pyplot.show()

# %% [markdown]
# Exact scores win $1 - 1/c$ of the headroom, as proved; eight candidates are enough for most of it. The typical norms win
# less, but they win. The norms of words masked alone do harm, since they take the pairs of partners for harmless: a mask
# with a far too small score is kept seldom, and then with a huge weight. So a pool does not excuse us from good scores.
# What it does is not to multiply their errors. And uniform masks can be mixed in here, too: with the score
# $(1 - u)\, s(M) + u\, E_{p}[s]$ no weight is much above $1/u$. Here are the bad scores with such shares; then sets and
# pools with the same scores, by $k$.

# %%
harmful = of_sets(alone, 2)
mixed = {u: left_over(2, pool(2, (1 - u) * harmful + u * harmful.mean(axis=1, keepdims=True), 64)) for u in (0, 0.1, 0.5)}
print("pools of 64, words masked alone:", "  ".join(f"u = {u}: {value:.2f}" for u, value in mixed.items()))
assert mixed[0] > mixed[0.1] > 1 > mixed[0.5]

# %% tags=["picture"]
eight = {k: left_over(k, pool(k, of_sets(typical[k], k), 8)) for k in masks}
exact_eight = {k: left_over(k, pool(k, norms[k], 8)) for k in masks}
figure, axis = pyplot.subplots()
for name, found, (colour, line, mark) in (
    ("sets with exact weights", exact_weights, ("#D55E00", ":", "v")),
    ("sets, odds to the power 1/k", tempered, ("#E69F00", "-.", "^")),
    ("sets, odds to the best power", best_tempered, ("#CC79A7", (0, (5, 1)), "P")),
    ("pools of 8, the same scores", eight, ("#0072B2", "--", "s")),
    ("pools of 8, exact scores", exact_eight, ("#009E73", "-", "o")),
    ("least possible", best, ("#777777", "-", "D")),
):
    axis.plot(list(found), list(found.values()), ls=line, marker=mark, color=colour, label=name)
axis.axhline(1, ls="--", color="#777777")
axis.text(0.92, 1, "uniform masks", va="bottom", color="#555555")
axis.set(
    yscale="log", xticks=list(masks), xlim=(0.9, 3.1), xlabel="words in a mask, k", ylabel="mask variance / uniform",
    yticks=(0.1, 1, 10, 100, 1000), yticklabels=("0.1", "1", "10", "100", "1,000"),
    title="The weights of sets explode with the number of masked words; those of pools do not",
)  # fmt: skip
axis.legend(loc="upper left")
pyplot.show()
print("pools of 8, typical norms:", "  ".join(f"k = {k}: {value:.2f}" for k, value in eight.items()))
print("pools of 8, exact norms:  ", "  ".join(f"k = {k}: {value:.2f}" for k, value in exact_eight.items()))
assert max(exact_eight.values()) < max(eight.values()) < 1 < left_over(2, pool(2, of_sets(alone, 2), 8))

# %% [markdown]
# ## Weights of positions, and their bias
#
# The third way gives each *word* of a mask a weight of its own. Let $\pi_{i}$ be the probability that word $i$ is in the
# mask. It is chosen in proportion to the word's score, after a tenth of uniform masks has been mixed in. Put
# $1 / (n \pi_{i})$ in the place of the uniform $1/k$:
#
# $$\hat g = \sum_{i \in M} \frac{1}{n\, \pi_{i}}\; g_{i}(M).$$
#
# (These are the weights of Horvitz and Thompson, 1952, from the statistics of samples.) Nothing is multiplied, so nothing
# explodes. But is it right on average? Word $i$ appears with the probability $\pi_{i}$, so
#
# $$E_{q}\, \hat g = \sum_{i} \pi_{i} \cdot \frac{1}{n\, \pi_{i}}\; E_{q}\big[ g_{i}(M) \;\big|\; i \in M \big]
# = \frac{1}{n} \sum_{i} E_{q}\big[ g_{i}(M) \;\big|\; i \in M \big].$$
#
# Every word has the share $1/n$ that it should have. Uniform masks give the same formula with $E_{p}$ for $E_{q}$. The
# difference is the *context*: which other words are hidden while word $i$ is guessed. Under $q$ these are more often the
# ones with high scores. For $k = 1$ there are no others, and the estimate is unbiased. For $k \ge 2$ it is not, and no
# number of draws removes that.
#
# (Where these weights come from, each member of a sample brings a fixed quantity. Ours brings one that depends on the
# rest of the sample.)
#
# We compute the bias without drawing. There are many distributions with given inclusion probabilities. We take the
# conditional Bernoulli one, whose odds the package finds, since its $q(M)$ is known. (`PositionProposal` draws in another
# way, by systematic sampling, which is faster but has no formula for $q(M)$.) All gradients at once, with the weights
# $S\, q(M) / (n \pi_{i})$, have $E_{q}\, \hat g$ as their mean.

# %%
k = 2
positions_variance, biases = [], []
for b in range(B):
    pi = inclusion_of(
        typical[k][b : b + 1], numpy.array([k]), numpy.ones((1, n), bool), share=0.1
    )  # (1, n), a tenth uniform
    assert pi.max() < 1 and numpy.isclose(pi.sum(), k)
    distribution = ConditionalBernoulli.from_inclusion_probabilities(pi)
    q = numpy.exp(distribution.log_prob(masks[k][:, None] - places[0]))[:, 0]  # (S,)
    weights = horvitz_thompson(masks[k][:, None] - places[0], pi, numpy.ones((1, n), bool))[:, 0]  # (S, k)
    mean, lengths = look(b, masks[k], S * q[:, None] * weights)  # (P,), (S,): S q |weighted gradient|
    m, _ = look(b, masks[k])  # (P,)
    second = (q * (lengths / (S * q)) ** 2).sum()
    positions_variance.append(second - mean @ mean)
    biases.append(mean - m)
    print(f"bias {numpy.linalg.norm(biases[-1]):.2f} nats, beside a mean gradient of {numpy.linalg.norm(m):.2f}", end="; ")
    print(f"standard deviation of a draw {numpy.sqrt(positions_variance[-1]):.2f}")
uniform = ((norms[k] ** 2).mean(axis=1) - mean_squares[k]).mean()
square = numpy.mean([bias @ bias for bias in biases])
print(f"mask variance {numpy.mean(positions_variance) / uniform:.2f} of uniform")
print(f"bias as large as the noise after {numpy.mean(positions_variance) / square:.0f} draws")
assert numpy.mean(positions_variance) < 0.6 * uniform and 0.05 < numpy.sqrt(square / mean_squares[k].mean()) < 0.4

# %% [markdown]
# The variance falls to `0.26` of that of uniform masks, and the bias is short beside the mean gradient. So this estimate
# is nearer to the truth than a uniform one as long as few draws are averaged, and farther from it when very many are: the
# noise falls with their number, the bias does not. Each sentence has a bias of its own, and where these point to
# different sides, sentences average it out as well. Where they do not, a model is trained for another objective than it
# is judged by. The package marks this proposal as biased wherever it is offered.
#
# ## Without scores: disjoint masks
#
# There is a way to lower the noise that knows nothing about gradients. Mask a sentence several times, but no word twice:
# cut its words at random into $n / k$ disjoint masks, and average their gradients. (*Fully explored* masks: Zheng et al.
# 2020, arXiv 2010.06040.) Each mask by itself is uniform, so the mean is unbiased. But the masks are not independent of
# each other. For $R$ of them, with the variance $v$ of one, and $c$ for the mean of $(g(M) - m) \cdot (g(M') - m)$ over
# disjoint $M$ and $M'$, the variance of the mean is
#
# $$\frac{1}{R^{2}} \big( R\, v + R (R - 1)\, c \big) = \frac{v + (R - 1)\, c}{R}.$$
#
# For $k = 1$ all deviations $g_{j} - m$ of a sentence add up to zero, so
# $(g_{i} - m) \cdot \sum_{j \ne i} (g_{j} - m) = -|g_{i} - m|^{2}$, and the mean over all pairs is $c = -v / (n - 1)$.
# With $R = n$ masks every word is masked once, nothing is left to chance, and the formula gives 0. We compute $c$ for
# $k = 2$ from the products of all pairs of gradients of a sentence.

# %%
disjoint = (masks[2][:, None, :, None] != masks[2][None, :, None, :]).all(axis=(2, 3))  # (S, S)
v, c = numpy.empty(B), numpy.empty(B)
for b in range(B):
    g = numpy.stack([look(b, mask[None])[0] for mask in masks[2]])  # (S, P)
    gram = g @ g.T  # (S, S)
    assert numpy.isclose(gram.mean(), mean_squares[2][b], rtol=1e-3)  # |m|^2
    v[b], c[b] = numpy.diag(gram).mean() - gram.mean(), gram[disjoint].mean() - gram.mean()
R = n // 2
disjoint_variance = (v + (R - 1) * c) / R  # (B,)
print("v:      ", *(f"{value:5.1f}" for value in v), "nats^2")
print("c:      ", *(f"{value:5.1f}" for value in c))
print("|m|^2:  ", *(f"{value:5.1f}" for value in mean_squares[2]))
ratio = disjoint_variance.mean() / (v / R).mean()
print(f"variance of the mean of {R} disjoint masks: {ratio:.2f} of that of independent ones")
assert (c < 0).all() and ratio < 0.5

# %% [markdown]
# The products of disjoint masks' gradients have a mean near zero, so that $c$ is about $-|m|^{2}$. On these sentences the
# mean of eight disjoint masks has less than half the variance of that of eight independent ones, at the same cost and
# without any score. The catch is in step 5: these are eight masks of *one* sentence, where eight sentences with one mask
# each would have lowered the data variance, too. In the project's long runs, disjoint masks did not train faster than
# uniform ones ([RESULTS.md](../benchmarks/RESULTS.md), `minimapnet compare`).
#
# Two more kinds of masks need no scores: whole words (of a word's pieces all or none are masked) and spans of neighbouring
# tokens. They make the guesses harder, not the gradient less noisy, and change the objective: both are biased for that of
# uniform masks. `minimapnet train --proposal whole-word` and `--proposal span` train with them.
#
# ## What to take from this
#
# Mask variance of masks of two words, as a share of that of uniform masks, at equal numbers of rows that give a gradient;
# what scores cost is not counted. Where nothing else is said, the scores are the typical norms of words, which are those
# of these very sentences: nobody has such good ones in training.

# %%
one_draw = {
    "uniform": 1.0,
    "sets with exact weights": exact_weights[2],
    "sets, odds to the power 1/2": tempered[2],
    "sets, odds to the best power": best_tempered[2],
    "pool of 8": eight[2],
    "pool of 8, exact scores": exact_eight[2],
    "weights of positions (biased)": numpy.mean(positions_variance) / uniform,
    "8 disjoint masks": ratio,
    "least possible for one set": best[2],
}
for name, value in one_draw.items():
    print(f"{name:30}{value:6.2f}")

# %% [markdown]
# - *Weights of sets* multiply their errors. They are fit for one word. For more they must be tempered, the more the more
#   words, until little is won; and with too little tempering they do great harm.
# - *Pools* are unbiased with any scores and as good as these: with our typical norms and three words they win hardly more
#   than sets with the best exponent. The cost is a score for each candidate.
# - *Weights of positions* are cheap and steady, and biased by their contexts.
# - What all of them need is a score of words that knows what a word's gradient is *typically*, when others are masked as
#   well. A score that is far too small is worse than none; a share of uniform masks, as in step 7, is what helps then.
#
# In this step the scores came from a list of all masks. Where will they come from when nothing can be listed? A small
# network shall learn them from the norms that training produces anyway: step 9.
#
# ## Exercises
#
# Write your answers as functions in `08_masks_of_many_tokens.py` in a folder of your own, and run, from the repository's
# folder, `pytest tests/tutorials/test_08_masks_of_many_tokens.py --answers FOLDER`; ours are in
# [solutions/08_masks_of_many_tokens.py](solutions/08_masks_of_many_tokens.py).
#
# **1. Pairs.** Contexts depend on which words are masked together. Write `pair_probabilities(odds, k)` for the
# conditional Bernoulli distribution: odds of shape (n,) in, an array of shape (n, n) out, with
# $P(i \in M \text{ and } j \in M)$ for $i \ne j$, and $P(i \in M)$ on the diagonal, for $k$ of at least 2. Then look at
# whether $P(i \in M \text{ and } j \in M)$ is above or below $P(i \in M) \cdot P(j \in M)$.
#
# **2. The right exponent.** Write `temper_for(log_odds, k, share)`: log-odds of shape (n,) in; out comes the largest
# exponent $\tau$ between 0 and 1 with which the effective sample size $1 / E_{q}[w^{2}]$ of sets is at least `share` (below
# 1), to within a thousandth. It should work for 19 of 128 words: use the formula for $E_{q}[w^{2}]$, and logarithms. (The
# effective sample size falls as $\tau$ grows.)
#
# **3. Disjoint masks of numbers.** Suppose that contexts did not matter: every word $i$ had a fixed number $f_{i}$, and a
# mask's value were the mean of its words' numbers. Write `disjoint_variance(f, k, R)`, the exact variance of the mean of
# $R$ disjoint random masks of $k$ words (with $R k \le n$), without listing anything. What is left of it when every word
# is masked once? What does this say about the noise of disjoint masks that we did find above?
#
# ## Where to go on
#
# - [conditional_bernoulli.py](../minimapnet/masks/conditional_bernoulli.py) and
#   [conditional_bernoulli.py](../minimapnet/masks/conditional_bernoulli.py) have the distribution, in logarithms and for
#   many sentences at once; [test_conditional_bernoulli.py](../tests/masks/test_conditional_bernoulli.py) checks it against
#   lists. The distribution and its recursion are those of Chen, Dempster and Liu (1994, Biometrika 81, 457-469).
# - [pools.py](../minimapnet/proposals/pools.py) has the pools, also those that choose among the sentences of a batch, after
#   Katharopoulos and Fleuret (2018, arXiv 1803.00942);
#   [importance.py](../minimapnet/proposals/importance.py) has sets and weights of positions, and
#   [test_proposals.py](../tests/proposals/test_proposals.py) which of them are unbiased.
# - [systematic.py](../minimapnet/masks/systematic.py) says why the order must be shuffled when positions are drawn with
#   given probabilities.
# - Next: [9. MAPNet](09_mapnet.ipynb).
