# %% [markdown]
# # 7. Importance sampling
#
# [Step 5](05_noise.ipynb) found that nearly all the noise of a gradient comes from the choice of the masked word, and
# that a few words make most of it. Then why choose all words equally often? This step chooses them unequally, and
# corrects for it by weights, so that the gradient is still right on average. It derives the best choice there is, looks
# at it in a sentence, and says how much of the noise *any* choice can remove: the *headroom*.
#
# Afterwards you can prove that a weighted estimate is right on average, derive the optimal proposal in three lines, and
# tell from the lengths of the gradients alone what importance sampling would be worth. You need the mask variance (step
# 5) and the gradient norms of single words (step 6). We mask one word at a time; masks of many words are the matter of
# step 8. It takes about 20 minutes.

# %%
import dataclasses

import numpy
import trained
from matplotlib import pyplot

from minimapnet import Bert, gradients, optimal_position_proposal, plotting, token_gradient_norms, token_losses
from minimapnet.proposals import SingleProposal, UniformProposal
from minimapnet.proposals.base import Score, Scores
from minimapnet.text import grammar
from minimapnet.training.trainer import Trainer
from minimapnet.variance.enumeration import exact_variance

pyplot.rcParams.update(plotting.PAGE)

model, text = trained.bert()  # that of step 4
rows = text.test.batch(numpy.arange(32))
places = rows.maskable[0].nonzero()[0]  # (n,): the words, not [CLS] and [SEP]
n = len(places)


def words(ids):
    return [text.tokenizer.id_to_token(int(i)) for i in ids[places]]


ids = rows.ids[0]  # (T,): one sentence
print(f"{n} words:", " ".join(words(ids)))

# %% [markdown]
# ## A mean from a few draws
#
# First a simpler task than gradients. Mask each of the $n = 16$ words by itself, which gives $n$ losses
# $f_{1}, \ldots, f_{n}$, and suppose that we want their mean. The rows of the batch below are $n$ copies of the sentence,
# each with another word masked.

# %%
copies = numpy.repeat(ids[None], n, axis=0)  # (n, T)
f = token_losses(model, copies, places[:, None])[:, 0].astype(float)  # (n,)
print("  ".join(f"{word} {loss:.3f}" for word, loss in zip(words(ids), f, strict=True)))
print(f"mean {f.mean():.3f} nats; losses above the mean: {(f > f.mean()).sum()} of {n}")

# %% [markdown]
# Most words follow from others and cost nearly nothing; a few are free: nothing in the sentence tells what they are, and
# they make the whole mean. If we draw one word uniformly and take its loss for the mean, we nearly always find almost
# nothing, and now and then far too much.
#
# Let $p_{i} = 1/n$ be the uniform probability of word $i$, so that the mean is $E_{p} f = \sum_{i} p_{i} f_{i}$. Draw $i$
# from *another* distribution $q$ instead, the *proposal*, and multiply what was found by the *importance weight*
#
# $$w_{i} = \frac{p_{i}}{q_{i}}.$$
#
# All of $p$, $q$, $w$ and $f$ have the shape $(n,)$. A word that $q$ draws twice as often as $p$ gets half the weight. On
# average
#
# $$E_{q}[w f] = \sum_{i} q_{i} \cdot \frac{p_{i}}{q_{i}} \cdot f_{i} = \sum_{i} p_{i} f_{i} = E_{p} f,$$
#
# whatever $q$ is, as long as $q_{i} > 0$ for all words. Such an estimate is *unbiased*. It may still be good or bad: what
# depends on $q$ is how far its values $w_{i} f_{i}$ lie from the mean. Here are three proposals, with the mean of $w f$
# and its standard deviation, both summed over all words, nothing drawn.

# %%
p = numpy.full(n, 1 / n)
at_random = numpy.random.default_rng(0).uniform(0.5, 1.5, n)
at_random /= at_random.sum()  # (n,)
proposals = {"uniform": p, "at random": at_random, "by the loss": f / f.sum()}
for name, q in proposals.items():
    w = p / q  # (n,)
    mean = q @ (w * f)
    deviation = numpy.sqrt(q @ (w * f - mean) ** 2)
    print(f"{name:12} mean {mean:.3f}, standard deviation {deviation:.3f}")
    assert numpy.isclose(mean, f.mean())
assert deviation < 1e-6

# %% [markdown]
# All three are right on average. The second, for which nothing speaks, is noisier than the uniform one. The third has *no
# noise at all*: with $q_{i} = p_{i} f_{i} / E_{p} f$ the product $w_{i} f_{i}$ is $E_{p} f$ for every $i$, so each single
# draw gives the exact mean. That sounds too good, and it is: to make this $q$ one must know all $f_{i}$ already. But it
# shows the direction: draw often where $f$ is large.
#
# ## The same for gradients
#
# Now let $g_{i}$ be the *gradient* when word $i$ is masked alone, a vector of shape $(P,)$, and
# $m = E_{p}\, g = \frac{1}{n} \sum_{i} g_{i}$ the sentence's mean gradient. The proof holds for each component, so
#
# $$E_{q}[w\, g] = \sum_{i} q_{i}\, \frac{p_{i}}{q_{i}}\, g_{i} = m.$$
#
# In the package, a weight is a factor of the loss: `gradients` takes `weights` of the shape of `positions`, and the
# gradient of $w_{i}$ times a loss is $w_{i} g_{i}$. A `SingleProposal` draws one word for each row by a *position score*,
# a function that gives a positive number for every word, here that of our random proposal, and gives the weights that
# belong to it. We let it draw for 4,000 copies of the sentence. Their mean gradient should come near $m$, and how near,
# we can say beforehand: the mean squared distance of $R$ independent draws' mean is the variance of one draw over $R$.


# %%
def gradient(ids, positions, weights=None):
    """Return the gradient as one vector in float64: ids (B, T), positions (B, K), weights (B, K) -> (P,)."""
    out = numpy.empty_like(model.flat)
    gradients(model, ids, positions, weights, out=out)
    return out.astype(float)


g = numpy.stack([gradient(ids[None], place[None, None]) for place in places])  # (n, P)
m = g.mean(axis=0)  # (P,)


class AtRandom(Score):
    """A score of positions that has nothing to do with norms."""

    def of_masks(self, model, ids, masks, attention_mask=None):
        raise NotImplementedError

    def of_positions(self, model, ids, maskable, attention_mask=None):
        scores = numpy.zeros(ids.shape)  # (B, T)
        scores[:, places] = at_random
        return Scores(scores)


R = 4000
many = numpy.repeat(ids[None], R, axis=0)  # (R, T)
drawn = SingleProposal(AtRandom()).draw(model, many, numpy.random.default_rng(1), numpy.repeat(rows.maskable[:1], R, axis=0))
assert numpy.allclose(drawn.weights[:, 0], 1 / (n * at_random[drawn.positions[:, 0] - places[0]]))  # p / q
mean = gradient(many, drawn.positions, drawn.weights)  # (P,)
w = p / at_random
squares = (g * g).sum(axis=1)  # (n,): |g_i|^2
variance = at_random @ (w**2 * squares) - m @ m
print(f"distance of the weighted mean of {R} draws from m: {numpy.linalg.norm(mean - m):.2f}")
print(f"root of the expected square: {numpy.sqrt(variance / R):.2f}; the length of m: {numpy.linalg.norm(m):.2f}")
unweighted = gradient(many, drawn.positions)
print(f"without weights: {numpy.linalg.norm(unweighted - m):.2f}")

# %% [markdown]
# With weights the distance is what chance explains, and more draws would shrink it. Without them, the mean goes to
# $\sum_{i} q_{i} g_{i}$, the gradient of another objective, and no number of draws brings it back.
#
# ## The best proposal
#
# Which $q$ has the least noise? The variance of $w g$ (the trace of its covariance, step 5) is
#
# $$\mathrm{Var}_{q}(w g) = E_{q}\, |w g|^{2} - |m|^{2}.$$
#
# The last term is the same for all $q$, so the best $q$ is the one with the least *second moment* $E_{q} |w g|^{2}$. It
# depends on the gradients only through their lengths $|g_{i}|$:
#
# $$E_{q}\, |w g|^{2} = \sum_{i} q_{i}\, \frac{p_{i}^{2}}{q_{i}^{2}}\, |g_{i}|^{2}
# = \sum_{i} \frac{p_{i}^{2}\, |g_{i}|^{2}}{q_{i}}.$$
#
# Consider the random number $w |g|$, the length of the weighted gradient. Its mean is the same for all $q$, by the first
# section: $E_{q}[w |g|] = E_{p} |g|$. And its variance is not negative, $E_{q}[(w |g|)^{2}] - (E_{q}[w |g|])^{2} \ge 0$.
# Together,
#
# $$E_{q}\, |w g|^{2} \ge (E_{p} |g|)^{2} \quad \text{for every } q,$$
#
# with equality where $w |g|$ does not vary: where all weighted gradients have one and the same length,
# $p_{i} |g_{i}| / q_{i} = \text{const}$. This gives
#
# $$q^{\ast}_{i} = \frac{p_{i}\, |g_{i}|}{\sum_{j} p_{j}\, |g_{j}|}.$$
#
# (The inequality is that of Cauchy and Schwarz, for the vectors with the components $\sqrt{q_{i}}$ and
# $p_{i} |g_{i}| / \sqrt{q_{i}}$. And a word whose gradient is zero adds nothing, so that it does no harm never to draw
# it.) So the optimal proposal draws in proportion to the norms that step 6 computes without building a gradient. The
# package has it as `optimal_position_proposal`: ids of shape $(B, T)$ go in, $q^{\ast}$ of every sentence comes out.

# %%
norms = token_gradient_norms(model, copies, places[:, None])[:, 0].astype(float)  # (n,)
best = norms / norms.sum()  # (n,)
theirs = optimal_position_proposal(model, rows.ids, maskable=rows.maskable)  # (B, T)
print(f"largest difference from the package's: {abs(theirs[0, places] - best).max():.0e}")
assert numpy.allclose(theirs[0, places], best, rtol=1e-4)
assert numpy.allclose(norms, numpy.sqrt(squares), rtol=1e-4)  # of the gradients that we did build

# %% [markdown]
# ## Seen on a sentence
#
# What does it look like? Below are the $q^{\ast}$ of two sentences; the dashed line is the uniform $1/n$. The grammar
# knows which words are *free*, that is, have a true entropy above zero given all others (step 1): nobody can be sure of
# them, however well trained.

# %% tags=["picture"]
language = grammar.read()
figure, axes = pyplot.subplots(2, 1, figsize=(10, 5.2))
for axis, b in zip(axes, (0, 3), strict=True):
    free = language.token_entropies(words(rows.ids[b])) > 0.01  # (n,)
    q = theirs[b, places]
    for which, colour, hatch, label in (
        (free, "#D55E00", "//", "free: nobody can be sure of it"),
        (~free, "#0072B2", "", "follows from the other words"),
    ):
        axis.bar(numpy.arange(n)[which], q[which], color=colour, hatch=hatch, edgecolor="white", label=label)
    axis.axhline(1 / n, ls="--", color="#777777")
    axis.text(n - 0.4, 1 / n, "uniform", ha="right", va="bottom", color="#555555")
    axis.set_xticks(range(n), words(rows.ids[b]), rotation=35, ha="right", rotation_mode="anchor")
    axis.set(ylabel="probability q*", xlim=(-0.6, n - 0.4), ylim=(0, 1))
    print(f"{100 * q[q > 1 / n].sum():.0f} % of the draws go to:", *numpy.array(words(rows.ids[b]))[q > 1 / n])
    print("free:", *numpy.array(words(rows.ids[b]))[free] if free.any() else ["none"])
    one = places[q.argmax()]
    loss = token_losses(model, rows.ids[b : b + 1], numpy.array([[one]]))[0, 0]
    print(f"loss of {text.tokenizer.id_to_token(int(rows.ids[b, one]))}: {loss:.1f} nats")
    assert loss > 0.5
axes[0].legend(loc="upper right", ncols=2)
figure.suptitle("The optimal proposal nearly always masks words that the model cannot guess", fontsize=14)
pyplot.show()

# %% [markdown]
# In the first sentence nearly all of $q^{\ast}$ goes to the words that are free. Each of them has a large gradient
# whenever it is masked, since the model must be surprised by whichever word stands there. The second sentence has no free
# word: what is worn, eaten or played where and when is a fact of this language, which the model has not learned by heart,
# so it is surprised here, too. The proposal knows nothing of grammars and facts. It looks at the model's gradients, and
# changes as these change.
#
# Is it sensible to spend the draws on words that nobody can guess? They are not meant to teach more than under uniform
# masks: drawn often, they come with a small weight, and the words that are rarely drawn with a large one. On average
# nothing is changed. What changes is the noise. A word with a tiny gradient adds nearly nothing to the sum $m$, and need
# hardly be looked at. A word with a large gradient adds much, and if it is drawn one time in $n$, it arrives as a blow of
# $n$ times its share.
#
# ## What remains
#
# Uniform masks have the variance $E_{p} |g|^{2} - |m|^{2}$, the optimal proposal has $(E_{p} |g|)^{2} - |m|^{2}$. The
# difference,
#
# $$E_{p} |g|^{2} - (E_{p} |g|)^{2} = \mathrm{Var}_{p}(|g|),$$
#
# is the variance of the *lengths*, $n$ plain numbers. It is the most that any proposal can remove as long as the words
# are drawn independently of each other, and we call it the **headroom**. What is left comes from the *directions*:
# weighted gradients of equal length still point to different sides. A proposal has no say in this. It is why gradients
# cannot have what the losses had, an estimate without noise.
#
# We compute the variance of four proposals on our sentence from the lengths alone. The fourth takes the loss for the
# length: a guess that needs no backward pass.


# %%
def variance_of(q, norms, mean_square):
    """Return Var(w g) of a proposal q (n,) from the gradients' norms (n,) and |m|^2."""
    return float((norms**2 / q).sum() / n**2 - mean_square)


proposals = {"uniform": p, "at random": at_random, "by the loss": f / f.sum(), "optimal": best}
variances = {name: variance_of(q, norms, m @ m) for name, q in proposals.items()}
for name, found in variances.items():
    print(f"{name:12} variance {found:6.2f} nats^2, {found / variances['uniform']:.2f} of uniform")
headroom = norms.var()
print(f"headroom {headroom:.2f} nats^2: {headroom / variances['uniform']:.2f} of the uniform variance")
assert numpy.isclose(variances["uniform"] - variances["optimal"], headroom, rtol=1e-4)
assert variances["optimal"] == min(variances.values())

# %% [markdown]
# So the optimal proposal removes what the headroom says, and nothing beats it. The loss does nearly as well here: a
# word's gradient is long where its loss is high. It costs a forward pass for every word, and it is no rule for all texts.
# On the documentation of Python, with two or five masked words, the project measured that choosing masks by their loss
# makes the noise *larger* (`minimapnet variance`, in [RESULTS.md](../benchmarks/RESULTS.md); masks of several words are
# the matter of step 8).
#
# What is that worth? The mean of $R$ independent draws has the variance of one draw over $R$. So one draw from $q^{\ast}$
# is worth as many uniform draws as the ratio of the two variances. We watch it: 2,000 times, the mean of $R$ draws, and
# its distance from $m$. For that no gradient is computed again. Count how often each word was drawn, $c_{i}$, then the
# estimate is $\sum_{i} a_{i} g_{i}$ with $a_{i} = c_{i} w_{i} / R$, and its squared distance from $m$ is
# $\sum_{i,j} (a_{i} - 1/n)(a_{j} - 1/n)\, g_{i} \cdot g_{j}$: the Gram matrix of step 6 again.

# %%
gram = g @ g.T  # (n, n)
rng = numpy.random.default_rng(2)
sizes = numpy.array([1, 2, 4, 8, 16, 32, 64])
distances = {}
for name, q in (("uniform", p), ("optimal", best)):
    counts = numpy.stack([rng.multinomial(R, q, size=2000) for R in sizes])  # (sizes, 2000, n)
    off = counts / sizes[:, None, None] * (p / q) - 1 / n
    distances[name] = numpy.sqrt(((off @ gram) * off).sum(axis=2).mean(axis=1))  # (sizes,)
    assert numpy.allclose(distances[name], numpy.sqrt(variances[name] / sizes), rtol=0.1)
worth = variances["uniform"] / variances["optimal"]
print(f"one draw from q* is worth {worth:.1f} uniform draws on this sentence")
assert 3 < worth < n / 2

figure, axis = pyplot.subplots()
for (name, found), (colour, line, mark) in zip(distances.items(), plotting.BY_MASKED, strict=False):
    axis.plot(sizes, found, mark, color=colour, label=f"{name}, measured")
    axis.plot(sizes, numpy.sqrt(variances[name] / sizes), line, color=colour, label=f"{name}, by the formula")
axis.axhline(numpy.linalg.norm(m), ls=":", color="#777777")
axis.text(64, numpy.linalg.norm(m), "length of the mean gradient", ha="right", va="bottom", color="#555555")
axis.set(
    xscale="log", yscale="log", xticks=sizes, xticklabels=sizes, xlabel="draws in the mean, R",
    yticks=(0.5, 1, 2, 4), yticklabels=(0.5, 1, 2, 4), ylabel="distance from m, nats",
    title="Optimal draws come as near as several times as many uniform draws",
)  # fmt: skip
axis.minorticks_off()
axis.legend()
pyplot.show()

# %% [markdown]
# ## Many sentences
#
# Training draws many sentences, and each has its own $q^{\ast}$. The law of step 5 splits the variance into a data part,
# which masks cannot change, and the mean of the sentences' mask variances. In each sentence a proposal can remove
# $\mathrm{Var}_{p}(|g|)$ and no more. So the headroom of a text is the mean of these, and its share of the mask variance
# is the number to ask for:
#
# $$\frac{E_{x} \mathrm{Var}_{p}(|g|)}{\text{mask variance}}.$$
#
# `exact_variance` gives it by listing all masks, as it gave data and mask variance in step 5.

# %%
exact = exact_variance(model, rows.ids, 1, rows.maskable)
print(f"mask variance {exact.mask.value:.1f}, headroom {exact.headroom.value:.1f} nats^2", end=": ")
print(f"a share of {exact.headroom_share.value:.2f}")
assert 0.8 < exact.headroom_share.value < 0.95

# %% [markdown]
# In this language, for this model and single masks, more than eight tenths of the mask variance can be removed. Do not
# carry the figure elsewhere. On the documentation of Python a small model was measured to have a headroom of about 16 %
# with one masked word (RESULTS.md again). A likely reason is that few words of such a text are certain for such a model,
# so that its norms differ less.
#
# ## No headroom at the start
#
# Nor is it a property of the language alone. Our model is trained. What about one that is not? We train a fresh one for
# 600 steps, as in step 4 but with a learning rate that is back near zero at the 600th, and stop at some of them to list all
# masks.

# %%
stages = {}


def look(step, model):
    found = exact_variance(model, rows.ids, 1, rows.maskable)
    stages[step] = found.headroom_share.value, optimal_position_proposal(model, rows.ids, maskable=rows.maskable)[:, places]


def when_due(trainer):
    if trainer.step in (25, 50, 100, 200, 400, 600):
        look(trainer.step, trainer.model)


fresh = Bert(model.config, seed=0, init="random")
look(0, fresh)
settings = dataclasses.replace(trained.SETTINGS, steps=600)
Trainer(fresh, text, UniformProposal(trained.MASKED), settings, on_step=when_due).run()
last = trained.SETTINGS.steps
look(last, model)  # that of step 4
for step, (share, _) in stages.items():
    print(f"after {step:4} steps: headroom {share:.2f} of the mask variance")
assert stages[0][0] < 0.1 < stages[100][0] < stages[600][0] < stages[last][0]

# %%
figure, (left, right) = pyplot.subplots(1, 2)
left.plot(list(stages)[:-1], [share for share, _ in stages.values()][:-1], "-o", label="this run")
left.plot(last, stages[last][0], "D", color="#D55E00", label="the trained model of step 4")
left.set(xlabel="step", ylabel="headroom / mask variance", ylim=(0, 1), title="The headroom comes with training")
left.legend(loc="lower right")
for (step, line), mark in zip(((0, ":"), (200, "--"), (last, "-")), "osD", strict=True):
    sizes = numpy.sort(stages[step][1] * n, axis=1)[:, ::-1].mean(axis=0)  # (n,)
    right.plot(range(1, n + 1), sizes, line, marker=mark, label=f"{step} steps")
right.set(
    xlabel="words of a sentence, largest norm first", ylabel="norm / mean norm", xticks=range(1, n + 1, 3),
    title="Norms are alike at first, unlike later",
)  # fmt: skip
right.legend()
pyplot.show()

# %% [markdown]
# An untrained model has next to no headroom: `0.02`. It guesses every word equally badly, so all gradients are about
# equally long, and then $q^{\ast}$ is nearly uniform. (There is mask noise all the same, as they point in different
# directions, but none that a proposal could remove.) As the model learns which words follow from which, their gradients
# shrink, the others stay long, and the headroom grows. Whoever wants to speed up the first part of training by importance
# sampling should know this.
#
# ## Safety
#
# In training, nobody has the exact $q^{\ast}$. What one may have is some $\hat q$, from norms that are guessed, or out of
# date. What do errors cost? In the second moment $\sum_{i} p_{i}^{2} |g_{i}|^{2} / q_{i}$ the proposal stands in the
# *denominator*. A word that is drawn too often wastes draws. But a word with a large gradient that is drawn far too
# seldom has a huge weight when it comes at last, and one such word can cost more than all that was won.
#
# The remedy is to mix in a share $u$ of uniform masks,
#
# $$q_{i} = (1 - u)\, \hat q_{i} + u\, p_{i}.$$
#
# It bounds everything. Since $q_{i} \ge u\, p_{i}$, no weight $p_{i} / q_{i}$ is above $1/u$, and the second moment is at
# most $E_{p} |g|^{2} / u$, however wrong $\hat q$ is. And since $q_{i} \ge (1 - u)\, \hat q_{i}$, it is at most
# $1 / (1 - u)$ times that of $\hat q$, so the insurance is cheap: a tenth of uniform masks raises the second moment by at
# most a ninth.
#
# We try two kinds of error. First, old norms: $q^{\ast}$ of the model at an earlier stage, used for the trained one. Then
# chance: norms multiplied by $e^{\sigma z}$ with standard normal numbers $z$, so that $\sigma = 1$ means that they are
# typically wrong by a factor of $e$ up or down.

# %%
of_tokens = [token_gradient_norms(model, rows.ids, numpy.full((len(rows.ids), 1), place))[:, 0] for place in places]
norms = numpy.stack(of_tokens, axis=1).astype(float)  # (B, n)
mean_square = (norms**2).mean() - exact.mask.value  # the mean of |m|^2 over the sentences


def left_over(q):
    """Return the mask variance of proposals q (..., B, n), as a share of that of uniform masks."""
    return ((norms**2 / q).sum(axis=-1).mean() / n**2 - mean_square) / exact.mask.value


assert numpy.isclose(left_over(stages[last][1]), 1 - exact.headroom_share.value, rtol=1e-3)
for step, (_, old) in stages.items():
    shares = [left_over((1 - u) * old + u / n) for u in (0, 0.1)]
    print(f"q* of {step:4} steps: {shares[0]:.2f} of the uniform mask variance; with a tenth uniform {shares[1]:.2f}")
assert left_over(stages[0][1]) > 1 > left_over(stages[100][1]) > left_over(stages[600][1])

# %%
errors = numpy.linspace(0, 2, 9)  # sigma
z = numpy.random.default_rng(3).normal(size=(200, *norms.shape))
figure, axis = pyplot.subplots()
curves = {}
for u, (colour, line, mark) in zip((0, 0.1, 0.3), plotting.BY_MASKED, strict=False):
    curves[u] = []
    for sigma in errors:
        guessed = norms * numpy.exp(sigma * z)  # (200, B, n)
        guessed /= guessed.sum(axis=-1, keepdims=True)
        curves[u].append(left_over((1 - u) * guessed + u / n))
    axis.plot(errors, curves[u], line, marker=mark, color=colour, label=f"share of uniform masks u = {u}")
axis.axhline(1, ls="--", color="#777777")
axis.text(0, 1, "uniform masks alone", va="bottom", color="#555555")
axis.set(
    xlabel="error of the norms, standard deviation of their logarithm", ylabel="mask variance / uniform",
    yscale="log", yticks=(0.1, 0.3, 1, 3), yticklabels=(0.1, 0.3, 1, 3),
    title="Wrong norms can cost more than right ones win; some uniform masks prevent it",
)  # fmt: skip
axis.minorticks_off()
axis.legend(loc="upper left")
pyplot.show()
print("u = 0:", *(f"{value:.2f}" for value in curves[0]))
print("u = 0.3:", *(f"{value:.2f}" for value in curves[0.3]))
assert curves[0][4] < 0.5 and curves[0][-1] > 2 and max(curves[0.3]) < 1

# %% [markdown]
# Old norms win less than new ones, but they win, as soon as the model has learned something: what it found hard after 100
# steps, it mostly still finds hard. Only those of the untrained model lose a little. Errors by chance are another matter.
# Without uniform masks, norms that are wrong by a factor of $e$ still win most of the headroom, but where they are wrong
# by a factor of $e^{2}$, the noise is more than twice that of plain uniform masks. With $u = 0.3$ it stays below that, at
# the price of a little when the norms are right.
#
# ## What it costs
#
# There is a catch. To draw *one* word by $q^{\ast}$ we computed the gradients' norms of *all* $n$ words: $n$ forward and
# backward passes to choose what one pass then looks at. With uniform masks the same work would have paid for $n$ draws,
# and on our first sentence one optimal draw was worth far fewer. So $q^{\ast}$ is a yardstick, not a method. It becomes a
# method when somebody can *tell the norms beforehand*, from the sentence alone, at a small part of the cost of a pass.
# That is what the network of [step 9](09_mapnet.ipynb) learns to do.
#
# And BERT does not mask one word at a time. It masks 15 % of them together, since one pass is paid for anyway. What
# becomes of all this for sets of words is the next step.
#
# ## Exercises
#
# Write your answers as functions in `07_importance_sampling.py` in a folder of your own, and run, from the repository's
# folder, `pytest tests/tutorials/test_07_importance_sampling.py --answers FOLDER`; ours are in
# [solutions/07_importance_sampling.py](solutions/07_importance_sampling.py).
#
# **1. The best share.** A proposal $\hat q$ is given, and the true norms. How large should the share of uniform masks be?
# Write `best_share(norms, guessed)` for arrays of shape (n,), `guessed` being positive and adding up to 1. It returns the
# $u$ between 0 and 1 for which $(1 - u)\, \hat q + u / n$ has the least second moment, to within a thousandth. Show first
# that the second moment is a convex function of $u$, so that there is only one valley to search.
#
# **2. One probability for each kind.** A proposal may not be able to tell all words apart. Suppose that it sees only the
# kind of each word, given as whole numbers `kinds` of shape (n,), and must give all words of a kind the same probability.
# Write `best_by_kind(norms, kinds)`, which returns the best such $q$, of shape (n,). (It is *not* proportional to the
# mean norm of a kind. What is it proportional to?)
#
# **3. Weights that add up.** Many programs divide by the sum of the weights: they estimate $E_{p} f$ from $R$ draws by
# $\sum_{r} w_{r} f_{r} / \sum_{r} w_{r}$. Is that still right on average? Write `normalised_mean(f, q, R)`, which returns
# the exact mean of this estimate, a number, by listing all $n^{R}$ outcomes of the draws, for `f` and `q` of shape (n,).
# Then compare it with $E_{p} f$ for $R = 1, 2, 3, \ldots$
#
# ## Where to go on
#
# - [optimal.py](../minimapnet/proposals/optimal.py) has $q^{\ast}$, and
#   [test_optimal.py](../tests/proposals/test_optimal.py) checks that no other proposal has a smaller second moment.
# - [importance.py](../minimapnet/proposals/importance.py) has `SingleProposal` and the mixture with uniform masks;
#   [test_proposals.py](../tests/proposals/test_proposals.py) checks by enumeration that the weights leave the mean as it
#   is.
# - The idea to choose *masks* this way is Chen's (2020, arXiv 2008.05333). For sentences instead of masks, see
#   Katharopoulos and Fleuret (2018, arXiv 1803.00942).
# - Next: [8. Masks of many tokens](08_masks_of_many_tokens.ipynb).
