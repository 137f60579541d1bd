# %% [markdown]
# # 10. Does it train faster?
#
# We have proposals that take most of the noise of single masks away. Is a model trained with them *better*, or *sooner*
# as good? Less noise is a means. This step asks for the end, by an experiment that is made to be fair, and says what came
# out, for and against.
#
# Afterwards you can say when noise matters at all, by a formula that you derived; plan a comparison of two ways to train,
# with a baseline that deserves the name; put an interval on a mean of four runs; and read the project's long experiments.
# You need the decomposition of the noise (step 5), importance sampling (step 7), pools (step 8) and MAPNet (step 9). It
# takes about 20 minutes to read. The runs take about one minute.

# %%
import math
import re
from pathlib import Path

import numpy
import trained
from matplotlib import pyplot
from tqdm import tqdm

from minimapnet import MapNet, MapNetConfig, plotting, sequence_gradient_norms
from minimapnet.backend import generator
from minimapnet.experiments import curves
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.mapnet.quality import quality
from minimapnet.proposals import PoolProposal, SingleProposal, UniformProposal
from minimapnet.proposals.scores import exact_norm
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer

pyplot.rcParams.update(plotting.PAGE)

# %% [markdown]
# ## What noise does to training
#
# Take the simplest loss there is, of one parameter $\theta$: $L(\theta) = \frac{c}{2} \theta^{2}$, with the curvature
# $c > 0$ and its least value at 0. Its gradient is $c\, \theta$. A step follows an estimate of it with noise of the
# variance $v$,
#
# $$\theta \leftarrow \theta - \eta\, (c\, \theta + \varepsilon), \qquad E\, \varepsilon = 0, \quad
# E\, \varepsilon^{2} = v,$$
#
# where $\eta$ is the learning rate. Square it and take the mean; the mixed term is 0 because $\varepsilon$ knows nothing
# of $\theta$:
#
# $$E\, \theta^{2} \leftarrow (1 - \eta c)^{2}\, E\, \theta^{2} + \eta^{2} v.$$
#
# There are two parts. The first shrinks what was there at the start by the same factor at every step, *whatever the noise
# is*. The second adds noise. At a constant rate $E\, \theta^{2}$ comes to rest where both sides are equal,
# $E\, \theta^{2} = \eta^{2} v / (1 - (1 - \eta c)^{2}) = \eta v / (c\, (2 - \eta c))$, that is at the loss
#
# $$\frac{c}{2} E\, \theta^{2} = \frac{\eta\, v}{2\, (2 - \eta c)} \approx \frac{\eta\, v}{4}.$$
#
# This is the **floor** of training at a constant rate. It is proportional to the variance, and to the learning rate. We
# let 2,000 such parameters run, with a variance and with a fifth of it, and beside it with a rate that falls to zero.

# %%
rng = numpy.random.default_rng(0)
c, rate, steps = 1.0, 0.05, 300
variances = {"variance 1": 1.0, "variance 1/5": 0.2}
schedules = {"constant": numpy.full(steps, rate), "falling": rate * (1 - numpy.arange(steps) / steps)}
losses = {}
for schedule, rates in schedules.items():
    for name, v in variances.items():
        theta, found = numpy.full(2000, 2.0), []
        for eta in rates:
            found.append(c / 2 * (theta**2).mean())
            theta = theta - eta * (c * theta + math.sqrt(v) * rng.normal(size=theta.shape))
        losses[schedule, name] = numpy.array(found)

floors = {name: rate * v / (2 * (2 - rate * c)) for name, v in variances.items()}
for name, floor in floors.items():
    measured = losses["constant", name][-100:].mean()
    print(f"{name:13} floor by the formula {floor:.4f}, measured {measured:.4f}; rate falling to 0: ", end="")
    print(f"{losses['falling', name][-1]:.4f}")
    assert abs(measured / floor - 1) < 0.1

figure, panels = pyplot.subplots(1, 2, sharey=True)
for axis, schedule in zip(panels, schedules, strict=True):
    for name, (colour, line, _) in zip(variances, plotting.BY_MASKED, strict=False):
        axis.semilogy(losses[schedule, name], color=colour, ls=line, label=name)
        if schedule == "constant":
            axis.axhline(floors[name], color=colour, ls=":")
    axis.set(xlabel="step", title=f"{schedule} learning rate")
panels[0].set(ylabel="mean loss above the least")
panels[0].legend(loc="upper right")
figure.suptitle("Noise sets the floor at a constant rate; on the way down it does not matter", fontsize=14)
pyplot.show()

# %% [markdown]
# The curves lie on each other for the first dozens of steps and part only near the floor. With a falling rate both come
# further down, and their distance in loss becomes small. A real model is no parabola and AdamW is not this rule, but it
# tells us what to expect:
#
# 1. Far from the goal, a proposal with less noise gains nothing.
# 2. Near the floor it gains: at a constant rate, with few sentences a step (so that $v$ is large), late in training.
# 3. What it gains is a lower floor, and so it reaches the floor of the others sooner.
# 4. A falling learning rate removes much of the same noise, for free.
#
# ## A fair experiment
#
# Many a method looks good beside a weak rival. These are the rules by which `minimapnet compare` and this step go:
#
# - **One start, one evaluation.** All runs begin with the same model. They are judged by the same uniform masks of the
#   same held-out sentences, whatever they were trained with.
# - **The best baseline.** Uniform masks have a setting of their own, the number $k$ of masked words. Each further word is
#   one more guess to learn from, at next to no cost; but step 5 saw the noise fall with $k$ for one model and rise for
#   another. Which $k$ trains best must be tried. So the rival is the *best* of several $k$.
# - **Equal work, and equal time.** Every run gets the same number of sentences in a step. But proposals cost time, so we
#   compare steps *and* seconds.
# - **Several seeds.** A seed fixes the order of sentences and the masks. One run says nothing: two runs of the *same*
#   method differ.
# - **Rules first.** What counts as better is written down before the runs: in
#   [curves.py](../minimapnet/experiments/curves.py), whose rules are printed with every report.
#
# ## Four runs and an interval
#
# Let $d_{1}, \ldots, d_{S}$ be the differences of a proposal's final loss to the baseline's, one for each of $S$ seeds
# (both with the same sentences in the same order, so that what is easy or hard about a seed cancels). Their mean $\bar d$
# estimates the true difference. If $\sigma^{2}$ is the variance of one, the mean has $\sigma^{2} / S$. We do not know
# $\sigma$ and estimate it from the same few numbers,
#
# $$s^{2} = \frac{1}{S - 1} \sum_{j} (d_{j} - \bar d)^{2}.$$
#
# For many numbers, $\bar d \pm 2 s / \sqrt{S}$ holds the truth 95 times of 100. For four it does not, because $s$ is
# often too small by chance. The right factor instead of 2 comes from the distribution of $\bar d / (s / \sqrt{S})$ for
# normal numbers, *Student's t*; for $S = 4$ it is above 3. `convergence.interval` uses it. We count how often each
# interval holds the truth, here 0.

# %%
draws = numpy.random.default_rng(1).normal(size=(20_000, 4))  # 20,000 experiments of four seeds
half = draws.std(axis=1, ddof=1) / 2  # s / sqrt(4)
holds = (abs(draws.mean(axis=1)) < 2 * half).mean()
by_student = numpy.mean([low < 0 < high for _, (low, high) in map(curves.interval, draws[:4000])])
print(f"an interval of 2 standard errors holds the truth in {holds:.0%} of experiments, Student's in {by_student:.0%}")
mean, (low, high) = curves.interval(draws[0])
factor = (high - mean) / half[0]
print(f"the factor for four seeds: {factor:.2f}")
assert factor > 3 and holds < 0.9 and abs(by_student - 0.95) < 0.015

# %% [markdown]
# So an interval of two standard errors from four seeds would be wrong more than one time in ten.
#
# ## The start
#
# The theory says where to look: late in training, few sentences a step, a constant rate. Step 4's model has been trained
# with a rate that fell to zero, which left it *below* the floor of the constant rates that we use here. We bring it back
# to where a model is in the midst of training: 300 steps at a constant, high rate with four sentences each.
#
# From there each branch of our experiment goes on with less than a third of that rate. Its floor is lower, so there is
# something to win, and noise decides how much.

# %%
ROWS = 4  # sentences a step

model, text = trained.bert()  # that of step 4
evaluation = trained.validation(text)  # 512 sentences with a uniform single mask each
before = evaluation.loss(model)
hot = TrainSettings(steps=300, batch_size=ROWS, learning_rate=1e-3, schedule="constant", checkpoint_every=0, seed=99)
Trainer(model, text, UniformProposal(2), hot).run()
start = model.flat.copy()  # (P,)
hot_loss = evaluation.loss(model)
print(f"loss on single masks: {before:.2f} nats at the end of step 4, {hot_loss:.2f} at the start of the branches")
assert hot_loss > before + 0.05

# %% [markdown]
# MAPNet should know the norms of this model when the branches begin. `minimapnet compare` has it learn along with the
# its warm start; that would take longer than we have, so we let it learn here from the model as it stands, as in step 9: 400
# steps of 32 sentences, one drawn word each, by regression. Then we judge it. (This learning is *not* counted below. It
# is a gift to MAPNet, and no small one: it sees 12,800 sentences, where a branch has 800. Keep it in mind.)

# %%
UNIFORM = 0.2  # share of uniform masks in every proposal that goes by scores
teacher = SingleProposal(MapNetScore(MapNet(MapNetConfig.for_model(model.config), seed=0)), UNIFORM)
learning_steps = 400
for step in tqdm(range(learning_steps), desc="MAPNet learns", disable=None):
    rng = generator(0, "MAPNet learns", step)
    batch = text.train.batch(rng.integers(0, len(text.train), 32))
    drawn = teacher.draw(model, batch.ids, rng, batch.maskable)
    norms = sequence_gradient_norms(model, batch.ids, drawn.positions, drawn.weights)
    teacher.learn(drawn, norms, lr_scale=1 - step / learning_steps)

judged = text.test.batch(numpy.arange(64))
exact = exact_norm.score_each_position(model, judged.ids, None, judged.maskable)
found = quality(exact, teacher.score.network.log_norms(judged.ids), judged.maskable, UNIFORM)
print(f"headroom of single masks: {found.headroom:.0%} of the second moment; MAPNet wins {found.won:.0%} of it")
assert found.headroom > 0.6 and found.won > 0.4

# %% [markdown]
# ## The branches
#
# Five proposals, each with four seeds:
#
# - **uniform**, with 1, 2 or 6 words masked of 16;
# - **MAPNet pool**: of 16 uniform masks of two words, MAPNet keeps one (step 8). It goes on learning in the branch, from
#   the norms of the branch's own steps, with a low rate;
# - **optimal single**: one word, drawn by the exact norms of all 16. It is no way to train, for each step needs 16 more
#   passes for every sentence. It shows what the best proposal for single masks could do.
#
# `Trainer` is that of step 4. It adds up in `seconds` what its steps take, without evaluations.

# %%
SEEDS, STEPS = 4, 200


def mapnet_pool():
    score = MapNetScore(MapNet(teacher.score.network.config), learning_rate=2e-4)
    proposal = PoolProposal(2, score, candidates=16, uniform_mix=UNIFORM)
    proposal.load_state(teacher.state())
    return proposal


proposals = {
    "uniform, 1 masked": lambda: UniformProposal(1),
    "uniform, 2 masked": lambda: UniformProposal(2),
    "uniform, 6 masked": lambda: UniformProposal(6),
    "MAPNet pool": mapnet_pool,
    "optimal single": lambda: SingleProposal(exact_norm, UNIFORM),
}


def branch(name, seed):
    """Go on from the start with a proposal -> the curve [(step, validation loss), ...] and the seconds of a step."""
    model.flat[:] = start
    settings = TrainSettings(
        steps=STEPS,
        batch_size=ROWS,
        learning_rate=3e-4,
        schedule="constant",
        eval_every=20,
        checkpoint_every=0,
        seed=seed,
    )
    trainer = Trainer(model, text, proposals[name](), settings, evaluation=evaluation)
    records = trainer.run()
    curve = [(record["step"], record["validation_loss"]) for record in records if "validation_loss" in record]
    return curve, trainer.seconds / STEPS


runs, seconds = {name: {} for name in proposals}, {name: [] for name in proposals}
for seed in range(SEEDS):  # in turns, so that a busy minute of the machine hits all of them
    for name in proposals:
        runs[name][seed], taken = branch(name, seed)
        seconds[name].append(taken)

finals = {name: numpy.mean([curves.final_loss(curve) for curve in seeds.values()]) for name, seeds in runs.items()}
baseline = min((name for name in proposals if name.startswith("uniform")), key=finals.get)
print(f"the best uniform masks: {baseline}")

# %% [markdown]
# The *final loss* of a run is the mean of its last three evaluations, and curves are smoothed in the same way, because at
# a constant rate they go up and down. The baseline is the uniform proposal with the lowest mean final loss.

# %% tags=["picture"]
figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.4), width_ratios=(1.3, 1))
looks = dict(zip(proposals, [*plotting.UNIFORM[:2], plotting.BASELINE, *plotting.RIVALS[1:3]], strict=True))
for name, seeds in runs.items():
    colour, line, mark = looks[name]
    mean_curve = numpy.mean([curves.smoothed(curve) for curve in seeds.values()], axis=0)  # (E, 2)
    left.plot(*mean_curve.T, color=colour, ls=line, marker=mark, markersize=4, label=name)
left.axhline(finals[baseline], color="#777777", lw=1, ls=(0, (1, 2)))
left.set(xlabel="step of 4 sentences", ylabel="validation loss, nats a word", title="Mean of four seeds")
left.legend()
for place, name in enumerate(reversed(proposals)):
    colour, _, mark = looks[name]
    ends = [curves.final_loss(runs[name][seed]) - curves.final_loss(runs[baseline][seed]) for seed in runs[name]]
    mean, interval = curves.interval(ends)
    right.plot(ends, [place - 0.25] * SEEDS, "|", color=colour, markersize=9)
    bar = None if name == baseline else plotting.error_bar(mean, interval)
    right.errorbar(mean, place, xerr=bar, color=colour, marker=mark, capsize=4)
right.axvline(0, color="black", lw=1, ls="--")
right.set_yticks(range(len(proposals)), reversed(proposals))
right.set(xlabel="final loss less that of the\nbest uniform masks, nats", title="95 % intervals, seeds below")
right.locator_params(axis="x", nbins=4)
figure.suptitle("From one start, MAPNet's masks come down sooner than uniform ones", fontsize=14)
pyplot.show()

# %% [markdown]
# ## Steps and seconds
#
# For each proposal and seed `convergence.comparison` gives the difference of the final losses and the ratio of steps: the
# step at which the smoothed curve first reaches the baseline's final loss, over all steps of the run. Below 1 is
# faster. (Where a run never gets there, the ratio is turned round: all steps over the step at which the baseline reaches
# *its* final loss.) Ratios are averaged as logarithms. A difference counts as "better" or "worse" if its 95 % interval
# excludes 0. A proposal counts as "faster" if the interval of its ratio excludes 1, and if it is also ahead of
# the baseline's own first crossing of that level: a curve that goes up and down crosses any level early. For "slower" the
# same holds the other way round.

# %%
cost = {name: numpy.median(taken) for name, taken in seconds.items()}
comparisons = {name: curves.comparison(name, runs[name], baseline, runs[baseline]) for name in proposals if name != baseline}


def words(mean, ends, form):
    return f"{mean:{form}} [{ends[0]:{form}}, {ends[1]:{form}}]"


print(f"{'':18} {'difference, nats':>26} {'':22}{'steps':>18} {'':20}  a step costs")
for name, one in comparisons.items():
    difference = words(one["difference"]["mean"], one["difference"]["interval"], "+.3f")
    ratio = words(one["steps_ratio"]["mean"], one["steps_ratio"]["interval"], ".2f")
    print(f"{name:18} {difference:>26}  {one['verdict_loss']:20} {ratio:>18}  {one['verdict_steps']:20}", end="")
    print(f"{cost[name] / cost[baseline]:5.1f} x")
print(f"baseline: {baseline}, {finals[baseline]:.3f} nats")

# %% [markdown]
# The last column is the time of a step over that of a baseline's step. Times the ratio of steps it gives the ratio of the
# time to the baseline's final loss.

# %%
for name in ("MAPNet pool", "optimal single"):
    in_steps, of_step = comparisons[name]["steps_ratio"]["mean"], cost[name] / cost[baseline]
    print(f"{name:15} {in_steps:.2f} of the steps, each {of_step:.1f} times as long: {in_steps * of_step:.1f} of the time")

pool, best, single = comparisons["MAPNet pool"], comparisons["optimal single"], comparisons["uniform, 1 masked"]
assert baseline != "uniform, 1 masked" and single["difference"]["mean"] > 0.004
assert finals["uniform, 1 masked"] == max(finals.values())
assert -0.03 < pool["difference"]["mean"] < -0.004 and pool["steps_ratio"]["mean"] < 0.85
assert best["difference"]["mean"] < 0 and best["steps_ratio"]["mean"] < 1
for one in (pool, best):
    assert one["difference"]["mean"] < single["difference"]["mean"] - 0.01
assert cost["MAPNet pool"] > 1.05 * cost[baseline]
assert best["steps_ratio"]["mean"] * cost["optimal single"] > cost[baseline]
assert pool["difference"]["mean"] - 0.01 < best["difference"]["mean"]

# %% [markdown]
# What came out?
#
# - **The baseline matters most.** Uniform single masks are clearly the worst of all. Whoever compared the optimal single
#   mask with *them* would have found a large gain, and a good part of it is had by masking more words.
# - **Better masks do lower the floor**, as the theory says. In the mean over seeds the MAPNet pool ends about a hundredth
#   of a nat below the best uniform masks, and comes to their final loss in clearly fewer steps. Whether the interval of
#   four seeds excludes chance, the table says for each proposal; if an interval holds 0, four seeds are too few for that
#   proposal, and that is all one may say.
# - **They gain on the way down, too**, where the parabola gave us no reason to expect it: the curves part early. One
#   reason may be AdamW. It divides by the root of the mean square of the gradients (step 4), noise included, so more
#   noise makes its steps towards the goal shorter. We have not tested that.
# - **Time is another matter.** A step with MAPNet takes longer, and for so small a model this eats up a good part of what
#   is gained in steps. With exact norms a step takes several times as long, and the gain in steps does not pay for it.
#
# Some things these intervals do not tell.
#
# - All runs go on from one start, so they leave out how another start would do.
# - MAPNet's learning beforehand was a gift. With it, MAPNet has cost more than it saved in these short branches.
# - The ratios of steps, and so of time, are to *all* steps of the baseline's run. Where it crosses its own final loss
#   before the end, they are too kind. Only the verdict looks at that crossing, too.
# - All are judged by single masks. A model that learns from six holes a sentence learns for another loss (step 5), which is
#   in favour of one or two words.
# - The trainer shortens gradients longer than 1 (step 4). A shortened gradient is no longer unbiased, whatever the
#   proposal, and a part of the difference in noise goes with it.
#
# Why does the optimal single mask, the best there is for $k = 1$, not leave the pool of two words far behind? By the noise
# alone it should be ahead: step 8 found much less of it under optimal single words than under pools of pairs. But it is
# the best for *one* word, and the second word of a pair is nearly free and one more guess to learn from. What weighs more
# is not settled by so short a run; in the long branches on the grammar, below, the optimal single mask does end lowest.
#
# ## The long runs
#
# One minute and four seeds decide little, and this is one place of one training. The project's long experiments are made
# by `minimapnet compare --preset full`, with the grammar, with the documentation of Python and others; each takes some
# twenty minutes. What they print stands, with the commands, under "The paper's claims" in
# [RESULTS.md](../benchmarks/RESULTS.md). All figures from here on come from there; we read them in code.

# %%
results = Path(trained.__file__).parent.parent / "benchmarks" / "RESULTS.md"
_, _, claims = results.read_text(encoding="utf-8").partition("## The paper's claims")


def printed(title):
    """Return what the command printed for a text, which stands between lines of backquotes under its title."""
    _, _, section = claims.partition(f"### {title}\n")
    return section.split("```")[1].strip()


long_runs = {title: printed(title) for title in ("The grammar", "Python's documentation")}
for title, lines in long_runs.items():
    print(title)
    print(*(line for line in lines.splitlines() if re.match(r"\d ", line)), "", sep="\n")

verdicts = {title: re.findall(r"^\d .+?  +(\S.+?)  ", lines, re.MULTILINE) for title, lines in long_runs.items()}
assert verdicts["The grammar"][1:] == [
    "supported", "supported", "supported in part", "supported in part", "not supported",
]  # fmt: skip
assert verdicts["Python's documentation"][1:] == [
    "supported in part", "supported in part", "contradicted in part", "contradicted in part", "supported in part",
]  # fmt: skip

# %% [markdown]
# Six claims of the paper, each with a verdict and the first of its numbers:
#
# 1. *The gradient's variance is the sum of a data part and a mask part.* True, to rounding; it is a theorem (step 5).
# 2. *Other masks could lower the variance much.* On the grammar yes, on natural text partly: for one masked word the
#    headroom is above the tenth that the rule asks for, for more words it is not clearly so.
# 3. *MAPNet learns the best proposal.* On the grammar it wins nearly all of the headroom at the end of the warm start, on
#    the documentation about a quarter. While the model moves, its share goes up and down (step 9).
# 4. *Training converges faster.* On the grammar in part: in branches MAPNet's single masks and its pool of two words take
#    about two thirds of the steps and less time; from scratch nothing is saved that could be told from chance.
#    On the documentation single masks and pairs are slower in branches, whoever chooses them; from scratch nothing is shown.
# 5. *The final model is better.* On the grammar MAPNet's two proposals with few words end lower in branches, by a hundredth
#    of a nat, and from scratch no difference was found. In the branches on the documentation they end higher.
# 6. *A step costs little more.* Not for models this small, where many small operations count. For a larger one the
#    project measured a twentieth more, with the norms, where MAPNet learns from every fourth step as it does here (under
#    "MAPNet" in the same file).
#
# The long branches start as ours do: `minimapnet compare` trains a model with a rate that falls, then *restarts* it at a
# high rate with few rows. But there MAPNet's learning is no gift. It learns along with the warm start, from the norms of
# steps that are made anyway. Right after the restart it knows a model that is no more, and its masks are worse than
# uniform ones; it has to catch up within the branch. That is one reason why it stays well behind the optimal single
# mask there.
#
# And all of them go on from one start. Another start may give a larger lead, or a smaller one, of which the intervals know
# nothing. A lead that may depend on where one starts is a lead to be careful with.
#
# The two texts differ as well. We draw the long branches of both: the final loss less that of the best uniform masks, with
# 95 % intervals over seeds.


# %%
NUMBER = r"([+-][\d.]+)"
ROW = re.compile(rf"^(.+?)\s{{2,}}\S+\s+\[[^]]+\]\s+(?:{NUMBER} \[{NUMBER}, {NUMBER}\]|baseline )")


def differences(lines):
    """Return {proposal: (mean, low, high)} of the branches; of the baseline, three zeros."""
    _, _, rows = lines.partition("Branches:")
    found = [match.groups() for line in rows.splitlines() if (match := ROW.match(line))]
    return {name: tuple(float(number or 0) for number in numbers) for name, *numbers in found}


grammar, documentation = (differences(lines) for lines in long_runs.values())
assert list(grammar) == list(documentation)  # so that both panels have the same lines
figure, panels = pyplot.subplots(1, 2, sharey=True)
for axis, title, rows in zip(panels, long_runs, (grammar, documentation), strict=True):
    for place, (name, (mean, low, high)) in enumerate(reversed(rows.items())):
        colour = "#777777" if name.startswith("uniform") else "#0072B2"
        axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color=colour, marker="o", capsize=4)
    axis.set_yticks(range(len(rows)), reversed(rows))
    axis.axvline(0, color="black", lw=1, ls="--")
    axis.set(xlabel="final loss less that of the\nbest uniform masks, nats", title=title)
    print(title, *(f"{name} {mean:+.3f}" for name, (mean, _, _) in rows.items()), sep="; ")
figure.suptitle("On the grammar chosen masks win; on documentation more masked words win by far", fontsize=14)
pyplot.show()

for few in ("MAPNet single", "MAPNet pool"):
    assert -0.02 < grammar[few][0] < -0.005 and grammar[few][2] < 0
    assert documentation[few][1] > 0.04
assert grammar["optimal single"][2] < grammar["MAPNet single"][1] and documentation["optimal single"][1] > 0.04
uniform_1 = documentation["uniform, 1 masked"][0]
assert 0 < uniform_1 - documentation["optimal single"][0] < 0.2 * uniform_1
assert abs(documentation["MAPNet pool, 40 % masked"][0]) < 0.01

# %% [markdown]
# ## Where it pays, and where it does not
#
# On the documentation even the *optimal* single mask loses by far against uniform masks of 40 % of the words. Beside
# uniform masks of the same size it is ahead, but by little. A likely reason stands in step 7: to such a model few words of
# such a text are certain, so their gradients differ less in length, and the headroom is small. And all masked words of a
# sentence share one pass through the model, so that one more word costs next to nothing and lowers the variance more than
# any choice among single words can. A MAPNet that chooses among masks of 40 % has the same many words, and ends where
# uniform ones end.
#
# So here is the map, as far as it has been measured:
#
# | | importance sampling of masks |
# |---|---|
# | text in which many words are certain and some are not (the grammar) | lowers the floor and saves steps |
# | natural text, small models (documentation) | next to nothing; mask more words instead |
# | late in training, few sentences a step, constant rate | where it can help |
# | early in training | nothing to gain: all norms are alike, and noise is not what holds training back |
# | a falling learning rate | noise fades by itself; on the grammar exact norms still saved steps, at a higher cost in time |
# | few masked words | the headroom is largest, but so, on natural text, is the noise that more words would remove |
# | a larger model | MAPNet costs little beside it, exact norms of all words always cost much |
#
# A method that wins in one row and loses in the next is not a failure; it is a tool with a place. `minimapnet variance`
# tells for your text and model how much there is to win, before you train anything ([step 12](12_your_own_model.ipynb)).
#
# ## Exercises
#
# Write your answers as functions in `10_does_it_train_faster.py` in a folder of your own, and run
# `pytest tests/tutorials/test_10_does_it_train_faster.py --answers FOLDER` from the repository's folder; ours are in
# [solutions/10_does_it_train_faster.py](solutions/10_does_it_train_faster.py).
#
# **1. The course of the loss.** For the parabola, write `expected_losses(rates, curvature, variance, start)`: `rates` has
# the shape $(S,)$, one learning rate for each step, and the parameter begins at the number `start`. It returns the
# expected loss before the first step and after each, of shape $(S + 1,)$, without drawing anything. Then try rates that
# fall, with two variances.
#
# **2. How many seeds?** A pilot with a few seeds gave you the standard deviation $s$ of the differences. Write
# `seeds_needed(deviation, effect)`: it returns the least number of seeds $S \ge 2$ for which Student's 95 % interval of
# $S$ differences with the standard deviation $s$ = `deviation` is less than `effect` wide to either side of its mean. The
# factor for $S$ seeds is `scipy.special.stdtrit(S - 1, 0.975)`.
#
# **3. One of many.** Try six proposals that are all the same as the baseline, and one of them may come out "better" by
# chance. Write `false_alarms(proposals, seeds, experiments, rng)`: in each experiment the final losses of the baseline
# and of the `proposals` many proposals are independent standard normal numbers, one for each of the `seeds` many seeds.
# It returns the share of experiments in which at least one proposal's interval (Student's, of its differences to the
# baseline, seed by seed) excludes 0. What does it say about our table?
#
# ## Where to go on
#
# - The rules are in [curves.py](../minimapnet/experiments/curves.py), from which
#   [claims.py](../minimapnet/reports/claims.py) make the six answers; the
#   experiment itself is in [training_runs.py](../minimapnet/experiments/training_runs.py), its numbers in
#   [presets.py](../minimapnet/experiments/presets.py).
# - [test_curves.py](../tests/experiments/test_curves.py) and [test_claims.py](../tests/reports/test_claims.py) check what a
#   verdict says. `minimapnet compare` makes the whole experiment with a report; the repository's [README](../README.md)
#   shows how.
# - The paper is Chen 2020, *Variance-reduced Language Pretraining via a Mask Proposal Network*, arXiv 2008.05333.
# - Next: [11. The GPU by one flag](11_the_gpu.ipynb)
