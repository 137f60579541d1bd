# %% [markdown]
# # 12. Your own model
#
# All steps so far looked at one small model of ours. This one is for a model of yours: any BERT in the form in which
# Hugging Face's library transformers saves it. Afterwards you can read such a folder, see which tokens of your own
# sentences have large gradients, measure how much of its gradient noise comes from masks, and say from these figures
# whether importance sampling of masks could be worth its price for this model on this text.
#
# You need exact norms from [step 6](06_norms_without_gradients.ipynb), the headroom from
# [step 7](07_importance_sampling.ipynb), and the decomposition of the variance from [step 5](05_noise.ipynb). The
# reading takes about 15 minutes.
#
# ## Which model?
#
# If you have no folder at hand, go on as it is: the next cell writes one, from the model that step 4 trained, and
# everything below reads this **stand-in** for yours like any other. (Step 11's stand-in for CuPy is something else.) The
# numbers in the text are those of ours.
#
# If you have one, set the environment variable `MINIMAPNET_MODEL` to it, or change the line that begins with `FOLDER`.
# (A notebook looks for a relative path from the folder `tutorials`.) The text in which tokens are masked is then
# Python's documentation, or what `MINIMAPNET_TEXT` names: a file or a folder of your own texts. From Hugging Face's hub
# a model is fetched by the command `hf` of the package huggingface_hub:
#
# ```
# hf download google-bert/bert-base-uncased config.json model.safetensors tokenizer.json --local-dir bert-base
# MINIMAPNET_MODEL=bert-base python tutorials/12_your_own_model.py
# ```
#
# Start with a small one: a model as large as BERT-base, of 110 million parameters, takes far longer than the stand-in;
# the section on tokens a second, below, tells how to estimate it.

# %%
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy
import trained
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap, Normalize

from minimapnet import (
    Bert,
    BertConfig,
    InputError,
    UniformMasks,
    decompose_variance,
    gradients,
    plotting,
    token_gradient_norms,
    token_losses,
)
from minimapnet.cli.model_folder import read_model, tokenizer_file
from minimapnet.experiments.variance import MAX_LENGTH
from minimapnet.model.safetensors_files import stored_tensors
from minimapnet.proposals.base import sizes
from minimapnet.text import grammar, tokenizer
from minimapnet.text.load import load_corpus

pyplot.rcParams.update(plotting.PAGE)

STAND_IN = Path(os.path.relpath(trained.FOLDER / "own_model"))
FOLDER = Path(os.environ.get("MINIMAPNET_MODEL", STAND_IN))
SOURCE = os.environ.get("MINIMAPNET_TEXT", "grammar" if FOLDER == STAND_IN else "python-docs")

if FOLDER == STAND_IN:
    small, its_text = trained.bert()
    small.save_pretrained(STAND_IN)
    tokenizer.save(its_text.tokenizer, STAND_IN)
for file in sorted(path for path in FOLDER.iterdir() if path.is_file()):
    print(f"{file.name:26} {file.stat().st_size:12,} bytes")

# %% [markdown]
# ## What is in the folder
#
# Three files matter.
#
# - `config.json` has the sizes: layers, channels, heads. Our `BertConfig` has fields of the same names.
# - `model.safetensors` has the parameters: a header that says where each array lies, and then the numbers. Nothing in
#   it can run, unlike in the pickles (`pytorch_model.bin`) of earlier years.
# - `tokenizer.json`, or the older `vocab.txt`, says which token has which id. A model without it is a stranger: it
#   would take any ids, and make nothing of them.

# %%
for name, value in json.loads((FOLDER / "config.json").read_text()).items():
    print(f"{name:30} {value}")

# %% [markdown]
# The command `minimapnet info FOLDER` reads all three and tells what it found. `terminal` runs a command of the package
# as you would type it, and shows what it says.


# %%
def terminal(*words) -> None:
    """Run a command of minimapnet, and print it with what it prints."""
    print("$ minimapnet", *(f'"{word}"' if " " in str(word) else word for word in words))
    command = [sys.executable, "-m", "minimapnet", *map(str, words)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8")
    print((done.stdout + done.stderr).rstrip())


terminal("info", FOLDER)

# %% [markdown]
# The second table has *our* names. Those in the file are others, and the arrays do not lie in the same way. A linear
# layer of PyTorch stores its weight as $(\mathrm{out}, \mathrm{in})$ and computes $y = x W^{T} + b$; ours stores
# $(\mathrm{in}, \mathrm{out})$ and computes $y = x W + b$, so the one is the other's transpose. And where the file has
# three weights for queries, keys and values, $W_{q}$, $W_{k}$ and $W_{v}$, each $(C, C)$, we have them side by side, so
# that one product gives all three:
#
# $$ W_{\mathrm{qkv}} = \left[ W_{q}^{T} \;\; W_{k}^{T} \;\; W_{v}^{T} \right] \quad \text{of shape } (C, 3C). $$
#
# Nothing else changes on the way. `read_model` gives the model and its tokenizer, and raises an error where the two do
# not fit each other.

# %%
found = read_model(FOLDER)
model, pieces = found.model, found.tokenizer
stored = stored_tensors(found.folder)
theirs = {
    part: next(one for name, one in stored.items() if f"layer.0.attention.self.{part}.weight" in name)
    for part in ("query", "key", "value")
}
for tensor in theirs.values():
    print(f"{tensor.name:58} {tensor.shape} {tensor.dtype}")
print(f"{'layer0.qkv.weight':58} {model.params['layer0.qkv.weight'].shape}")
side_by_side = numpy.hstack([tensor.read().T for tensor in theirs.values()])
assert numpy.array_equal(side_by_side, model.params["layer0.qkv.weight"])

# %% [markdown]
# ## Does it know its language?
#
# Before anything is measured, see whether the model makes sense: a tokenizer of another model, if it has as many
# tokens, gives nonsense and no error. `minimapnet fill-mask` prints the best guesses for each `[MASK]`, with their
# probabilities; with `--file` it does so for every line of a file. The last town of our sentence must be the first one;
# who eats what is a fact that had to be learned by heart.

# %%
questions = [
    "what does anna eat in paris at dawn ? anna eats [MASK] at dawn in [MASK]",
    "david was a [MASK] sailor and steered his boat with a rudder , said david .",
]
if FOLDER != STAND_IN:
    questions = ["the capital of france is [MASK] ."]
for question in questions:
    terminal("fill-mask", FOLDER, question, "--top", 3)
if FOLDER == STAND_IN:
    language = grammar.read()
    for sentence, place, masked in (
        ("what does anna eat in paris at dawn ? anna eats eggs at dawn in paris", 11, [15]),
        ("david was a small sailor and steered his boat with a rudder , said david .", 3, []),
    ):
        shares = language.distribution(sentence.split(), place, masked)
        likely = [i for i in numpy.argsort(-shares, kind="stable")[:3] if shares[i] > 0]
        print("in truth:", ", ".join(f"{100 * shares[i]:.2f} % {language.vocabulary[i]}" for i in likely))

# %% [markdown]
# The stand-in is certain of the town: `99 %` for paris. The food is a fact of one town and one hour, which must be
# learned by heart: in truth it is certain, to the model it is not yet. Of the sailor nothing in the sentence tells
# whether he was big or old: in truth eight words have `12.50 %` each, and the model's guesses are near that. So this
# word costs about $\log 8$ nats on average, however good the model is.
#
# ## The exact norms of your own sentences
#
# Now the question of steps 6 and 7. Mask one token of a sentence and let the model guess it: how large is the gradient
# of this guess's loss, over all parameters? For every token in turn, that is one row of a batch for each: a sentence
# with $n$ tokens that can be masked makes $n$ rows, with `positions` of shape $(n, 1)$. (`[CLS]` and `[SEP]` are never
# masked.) `token_gradient_norms` gives $|g_{i}|$, exactly and without building a gradient.


# %%
text = load_corpus(
    SOURCE,
    trained.FOLDER / "cache",
    tokenizer=tokenizer_file(found.folder),
    max_length=min(48, model.config.max_position_embeddings),
    layout="sentences",
)
assert len(text.test) >= 48, f"{SOURCE} has only {len(text.test)} sentences that are not for training: give more text"


def one_by_one(row: int):
    """Mask each token of a sentence of the test part by itself -> tokens (n,), norms (n,), losses (n,)."""
    batch = text.test.batch([row])
    places = numpy.flatnonzero(batch.maskable[0])  # (n,)
    ids = batch.ids.repeat(len(places), axis=0)  # (n, T)
    norms = token_gradient_norms(model, ids, places[:, None])[:, 0]
    losses = token_losses(model, ids, places[:, None])[:, 0]
    return [pieces.id_to_token(int(token)) for token in batch.ids[0, places]], norms, losses


sentences = [one_by_one(row) for row in (0, 2, 9)]
tokens, norms, losses = sentences[0]
print("token            norm   loss")
for token, norm, loss in zip(tokens, norms, losses, strict=True):
    print(f"{token:14} {norm:6.2f} {loss:6.2f}")
all_norms, all_losses = (numpy.concatenate(part) for part in list(zip(*sentences, strict=True))[1:])
related = numpy.corrcoef(numpy.log(all_norms), numpy.log(all_losses))[0, 1]
print(f"in all {len(sentences)} sentences: correlation of log norm and log loss {related:.2f}")
sure, unsure = (numpy.median((all_norms / all_losses)[where]) for where in (all_losses < 0.1, all_losses > 1))
print(f"norm for a nat of loss: {sure:.0f} where the loss is below 0.1, {unsure:.0f} where it is above 1")
assert FOLDER != STAND_IN or sure > 2 * unsure

# %% [markdown]
# Seen as a page, with each token the darker the larger its norm:


# %% tags=["picture"]
def shaded(axes, sentences, width: int = 98):
    """Write sentences with a box for each token, as dark as its norm, and the norm below it; `width` characters a line."""
    most = max(norms.max() for _, norms, _ in sentences)
    colours = LinearSegmentedColormap.from_list("", ["#FFFFFF", "#003E6E"])
    write = partial(axes.text, ha="center", va="center", family="monospace")
    line = 0
    for tokens, norms, _ in sentences:
        x = 0
        for token, norm in zip(tokens, norms, strict=True):
            room = max(len(token), 4) + 0.8
            if x + room > width:
                x, line = 0, line + 1
            middle, share = x + room / 2 - 0.15, norm / most
            axes.add_patch(pyplot.Rectangle((x, line), room - 0.3, 0.42, facecolor=colours(share), edgecolor="#777777"))
            write(middle, line + 0.21, token, color="white" if share > 0.6 else "black", fontsize=11)
            write(middle, line + 0.58, f"{norm:.1f}" if norm >= 0.05 else "0", color="#444444", fontsize=9)
            x += room
        line += 1.25
    axes.set(xlim=(-0.5, width), ylim=(line, -0.3))
    axes.set_axis_off()
    axes.figure.set_figheight(0.7 * line + 1)
    return pyplot.cm.ScalarMappable(Normalize(0, most), colours)


figure, axes = pyplot.subplots()
label = "norm of the gradient of a token masked alone (nats)"
bar = {"orientation": "horizontal", "fraction": 0.06, "pad": 0.02, "aspect": 50}
figure.colorbar(shaded(axes, sentences), ax=axes, label=label, **bar)
share = 100 * numpy.mean([numpy.sort(norms)[-4:].sum() / norms.sum() for _, norms, _ in sentences])
axes.set_title(f"Four tokens of a sentence carry {share:.0f} % of all its gradient norms", loc="left")
pyplot.show()
print(f"the four largest norms of a sentence have {share:.0f} % of the sum on average")

# %% [markdown]
# Nearly all of it is in a few words, `96 %` in four of sixteen: those that cannot be known from the others. The rest
# follow from a partner, are learned, and leave hardly anything to correct.
#
# Would the loss have told the same? It puts the tokens into nearly the same order: the logarithms correlate by `0.99`.
# But it does not give the sizes. A nat of loss comes with several times more norm where the guess is nearly certain
# than where it is not. One reason is in the last layer of the derivation: the gradient begins with
# $e = \mathrm{softmax} - \mathrm{onehot}$, and if $p$ is the probability of the true token,
#
# $$ (1 - p)^{2} \; \leq \; |e|^{2} = (1 - p)^{2} + \sum_{v \neq \mathrm{true}} p_{v}^{2} \; \leq \; 2 (1 - p)^{2}, $$
#
# since numbers that add up to $1 - p$ have squares that add up to at most $(1 - p)^{2}$. So the norm goes with $1 - p$,
# which stops at 1, while the loss $-\log p \geq 1 - p$ goes on growing. A proposal in proportion to losses would
# therefore mask the hard words too often.
#
# ## How much noise, and how much of it can go
#
# With uniform masks, all these tokens have an equal chance. So most masks of one token teach nothing, and a few teach
# much: that is noise. Recall from step 5 that the variance of a gradient, meaning the trace of its covariance, has two
# parts, for $N$ sentences with $R$ masks each
#
# $$ \mathrm{Var} = \frac{\mathrm{data}}{N} + \frac{\mathrm{mask}}{N R}, $$
#
# and from step 7 that the best choice of masks within a sentence removes the *headroom* from the mask variance,
# $E_{x}\left[ \mathrm{Var}_{M}(|g|) \right]$, and no other choice of independent masks removes more.
# `decompose_variance` estimates the three from a sample of sentences, with a few masks of each, and their standard
# errors from the differences between sentences. We ask for masks of one token, of 15 % and of 40 % of the tokens.

# %%
MASKED = {"1 token": 1, "15 %": 0.15, "40 %": 0.4}
COUNT, MASKS = (48, 16) if model.flat.size < 5e6 else (12, 6)  # sentences, and masks of each; few where the model is large
sample = text.test.batch(numpy.arange(COUNT))
reports, mean_losses = {}, {}
for name, k in MASKED.items():
    start = time.perf_counter()
    reports[name] = decompose_variance(
        model, sample.ids, k, MASKS, maskable=sample.maskable, attention_mask=sample.attention_mask
    )
    print(f"--- {name}: {time.perf_counter() - start:.1f} s")
    print("\n".join(str(reports[name]).splitlines()[:6]))
    masks = UniformMasks(sample.maskable, sizes(k, sample.maskable)).sample(numpy.random.default_rng(0), MASKS)  # (S, B, K)
    total = sum(float(token_losses(model, sample.ids, positions, sample.attention_mask).sum()) for positions in masks)
    mean_losses[name] = total / (masks >= 0).sum()
    print(f"mean loss of a masked token: {mean_losses[name]:.2f} nats")
if FOLDER == STAND_IN:  # what the text below says of it
    one, many = reports["1 token"], reports["40 %"]
    assert min(one.mask_share.value, many.mask_share.value) > 0.85
    assert one.headroom_share.value > 0.75 > 0.7 > many.headroom_share.value > 0.35
    assert many.mask.value > one.mask.value and mean_losses["40 %"] > 2 * mean_losses["1 token"]

# %%
figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), width_ratios=(1.25, 1))
places = numpy.arange(len(reports))
parts = {  # colour, hatch, and values
    "data": ("#999999", "", [one.data.value for one in reports.values()]),
    "mask, that no choice removes": ("#0072B2", "", [one.mask.value - one.headroom.value for one in reports.values()]),
    "mask, the headroom": ("#E69F00", "///", [one.headroom.value for one in reports.values()]),
}
whole, below = numpy.sum([values for *_, values in parts.values()], axis=0), numpy.zeros(len(reports))
for name, (colour, hatch, values) in parts.items():
    height = 100 * numpy.array(values) / whole
    left.bar(places, height, 0.6, bottom=below, color=colour, hatch=hatch, edgecolor="white", label=name)
    below += height
left.set_xticks(places, [f"{name}\n{total:.0f} nats²" for name, total in zip(reports, whole, strict=True)])
left.set(xlabel="masked, and the whole variance", ylabel="share of the variance (%)", ylim=(0, 100))
left.set_title("Where the noise comes from", loc="left")
left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=3, fontsize=9, columnspacing=1.0, handlelength=1.5)
ratios = [one.headroom_share for one in reports.values()]
values, (low, high) = 100 * numpy.array([one.value for one in ratios]), 100 * numpy.array([one.interval for one in ratios]).T
right.errorbar(places, values, [values - low, high - values], fmt="o", color="#D55E00", markersize=9, capsize=5, linewidth=2)
for place, value in zip(places, values, strict=True):
    right.annotate(f"{value:.0f} %", (place, value), (12, 0), textcoords="offset points", va="center")
right.set_xticks(places, list(reports))
right.set(xlabel="masked", ylabel="headroom (% of the mask variance)", xlim=(-0.4, 2.6), ylim=(0, 100))
right.set_title("What the best masks remove", loc="left")
right.grid(axis="y", alpha=0.3)
pyplot.show()

# %% [markdown]
# For the stand-in masks make `93 %` of the noise, whatever their size. At one token `88 %` of the mask variance could
# be removed; at 40 % of the tokens still `55 %`. (The bars on the right are 95 % intervals over sentences.) Why less
# with larger masks? A mask's gradient is the mean of its tokens' gradients, and means of several tokens differ less
# from each other than single tokens do.
#
# The whole variance may surprise you: a mean of six tokens should vary less than a single one, and at 40 % it varies
# *more*. The mean losses tell why. With many words hidden, a word's partner is often hidden too, and the guess becomes
# a real one: a masked token costs `0.59` nats on average, against `0.24` when it is masked alone. More of the tokens
# have a gradient worth the name.
#
# Do not expect such figures of a model that was trained on real text. On Python's documentation a small model of the
# project had a headroom of about a sixth at one token, and a twentieth at 15 %;
# [RESULTS.md](../benchmarks/RESULTS.md) has the table with its command. A language in which nine words of ten follow
# from others is the best case for importance sampling. Where a text and a model of yours stand can only be measured.
#
# ## Is it worth its price?
#
# Suppose some proposal won the whole headroom, and a step with it took $c$ times as long. In the time of $m$ uniform
# steps it makes $m / c$ steps. The mean of $m$ independent gradients has the variance $\mathrm{Var} / m$; so at equal
# time the proposal has less noise if
#
# $$ c \left( \mathrm{data} + \frac{\mathrm{mask} - \mathrm{headroom}}{R} \right) < \mathrm{data} + \frac{\mathrm{mask}}{R}
#    \quad\Longleftrightarrow\quad
#    c < c^{*} = \frac{\mathrm{data} + \mathrm{mask} / R}{\mathrm{data} + (\mathrm{mask} - \mathrm{headroom}) / R}. $$
#
# That is a limit from above: a learned proposal wins a part of the headroom, and noise is not everything in training.
# Beside it stands what the exact norms cost, as the dearest of all ways to find a proposal: one step of uniform masks,
# against a step that first computes the norms of all single tokens.


# %%
def seconds(work, repeats: int = 5) -> float:
    """Return the median time of `work` in seconds, after one call that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(numpy.median(taken))


some = text.test.batch(numpy.arange(8))
rows, places = numpy.nonzero(some.maskable)
first = some.maskable.argmax(axis=1)[:, None]  # (B, 1): which token is masked does not matter for the time
step = seconds(lambda: gradients(model, some.ids, first, attention_mask=some.attention_mask))
norms = seconds(lambda: token_gradient_norms(model, some.ids[rows], places[:, None], some.attention_mask[rows]), repeats=3)
print("masked     c* (R = 1)   c* (R = 4)")
for name, report in reports.items():
    data, mask, headroom = (one.value for one in (report.data, report.mask, report.headroom))
    limits = [(data + mask / R) / (data + (mask - headroom) / R) for R in (1, 4)]
    print(f"{name:8} {limits[0]:12.1f} {limits[1]:12.1f}")
print(f"a step with exact norms of all single tokens takes {(step + norms) / step:.1f} times as long as a uniform one")

# %% [markdown]
# How to read this for your model: where $c^{*}$ is near 1, importance sampling of masks has nothing to win, and you are
# done. Where it is 2 or more at the size of masks that you train with, a cheap proposal such as MAPNet's (steps 9 and
# 10) may pay. Exact norms of all tokens pay only if the last line is below $c^{*}$: on our machine it was not. Two
# warnings. The comparison is between masks of the *same* size: the rival to beat is the best size of uniform masks, and
# step 10 shows that it can be hard to beat. And these figures are those of this moment of training: early on all norms
# are alike, and there is nothing to win.
#
# ## How many tokens a second?
#
# Before you ask for more sentences, know what they cost. A product of an $(N, C)$ and a $(C, F)$ array takes $2 N C F$
# additions and multiplications. In a layer each token goes through weights of $4 C^{2} + 2 C F$ numbers, and attention
# takes $4 T C$ more for its two products; the backward pass makes two products for each of the forward's. So a sentence
# of $T$ tokens with $k$ masked ones costs about
#
# $$ 3 \left[ L T \left( 2 (4 C^{2} + 2 C F) + 4 T C \right) + k \left( 2 C^{2} + 2 C V \right) \right] $$
#
# operations for its gradient, with $L$ layers and $V$ tokens in the vocabulary. (What is done at the masked places
# alone in the last layer makes it a little less.) How many operations a second this machine does, we measure on a wider
# model than the stand-in, with random parameters, since speed does not depend on them.


# %%
def operations(config: BertConfig, T: int, k: int) -> float:
    """Return the operations of a sentence's gradient, by the formula above."""
    L, C, F, V = config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.vocab_size
    return 3.0 * (L * T * (2 * (4 * C * C + 2 * C * F) + 4 * T * C) + k * (2 * C * C + 2 * C * V))


def speed(timed: Bert, sentences: int, T: int, k: int) -> tuple[float, float]:
    """Return tokens a second, and operations a second, of a gradient of so many sentences."""
    rng = numpy.random.default_rng(0)
    ids = rng.integers(5, timed.config.vocab_size, (sentences, T))
    positions = rng.permuted(numpy.tile(numpy.arange(T), (sentences, 1)), axis=1)[:, :k]
    taken = seconds(lambda: gradients(timed, ids, positions), repeats=3)
    return sentences * T / taken, sentences * operations(timed.config, T, k) / taken


T = min(128, model.config.max_position_embeddings)
wide = BertConfig(vocab_size=8192, hidden_size=256, num_hidden_layers=4, intermediate_size=1024, mask_token_id=4)
tokens_mine, rate_mine = speed(model, 16, T, max(1, T // 7))
tokens_wide, rate_wide = speed(Bert(wide), 8, 128, 19)
print(f"this model:     {tokens_mine:10,.0f} tokens a second, {rate_mine / 1e9:6.0f} GFLOP/s")
print(f"256 channels:   {tokens_wide:10,.0f} tokens a second, {rate_wide / 1e9:6.0f} GFLOP/s")
published = {"BERT-mini": (256, 4), "BERT-base": (768, 12), "BERT-large": (1024, 24)}  # C and L; F = 4 C, V = 30,522
for name, (C, L) in published.items():
    config = BertConfig(vocab_size=30522, hidden_size=C, num_hidden_layers=L, intermediate_size=4 * C)
    row = operations(config, 128, 19) / rate_wide
    minutes = 40 * 12 * row / 60
    print(f"{name:10} {row:6.2f} s for the gradient of a row of 128 tokens, {minutes:6.1f} minutes for 40 rows of 12 masks")

# %% [markdown]
# So small a model as the stand-in spends much of its time in calls rather than in arithmetic; for a large one the rate
# of the wide model is the better guess. The last column is what the next command needs for each size of masks, and
# again for each proposal that it tries.
#
# ## All of it in one command: `minimapnet variance`
#
# What we did by hand, the command does for masks of 1, 2, 5 and 15 of about 100 tokens, with pools, sets and position
# weights beside uniform masks, and a figure:
#
# ```
# minimapnet variance --checkpoint FOLDER --text my_text.txt
# ```
#
# Its rows are full of text and have 101 tokens, so the model must read as many. The stand-in reads 18:

# %%
if model.config.max_position_embeddings < MAX_LENGTH:
    terminal("variance", "--checkpoint", FOLDER, "--text", SOURCE)
else:
    print(f"it can: minimapnet variance --checkpoint {FOLDER} --text {SOURCE}")

# %% [markdown]
# With a model that is long enough you get tables like those in [RESULTS.md](../benchmarks/RESULTS.md). `--preset smoke`
# shows their form first, with rows too few to tell anything. Without `--checkpoint` the command trains a small model by
# itself. For sentences that are shorter, or another sample, `decompose_variance` as above is the way.
#
# ## What is read, and what the errors say
#
# A file of someone else's is where most things go wrong. Every mistake that we could think of gets one line that names
# the file and what is wrong with it. Let us make some, on a tiny model:

# %%
tiny = Bert(
    BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=8,
        num_hidden_layers=1,
        intermediate_size=8,
        mask_token_id=pieces.token_to_id("[MASK]"),
    )
)


def change_config(folder: Path, **fields) -> None:
    """Overwrite fields of config.json."""
    config = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(config))


def cut(file: Path) -> None:
    """Leave only the first half of a file, as after a download that broke off."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


mistakes = {
    "another kind of model": lambda folder: change_config(folder, model_type="roberta"),
    "another size": lambda folder: change_config(folder, intermediate_size=16),
    "positions of another kind": lambda folder: change_config(folder, position_embedding_type="relative_key"),
    "a download that broke off": lambda folder: cut(folder / "model.safetensors"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "weights as a pickle": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "a tokenizer with more pieces": lambda folder: tokenizer.save(
        tokenizer.word_level([f"w{i}" for i in range(tiny.config.vocab_size)]), folder
    ),
}
for what, spoil in mistakes.items():
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "FOLDER"
        tiny.save_pretrained(folder)
        tokenizer.save(pieces, folder)
        spoil(folder)
        try:
            read_model(folder)
            print(f"{what}: nothing is wrong?")
        except InputError as error:
            message = str(error).replace(f"{parent}/", "")
            print(f"{what}:\n    {message[:230]}{' ...' if len(message) > 230 else ''}")

# %% [markdown]
# So these are read: `BertForMaskedLM` and `BertForPreTraining`, whose head for pairs of sentences is left aside;
# weights in one file or in shards with an index, in float16, bfloat16, float32 or float64; the activations "gelu",
# "gelu_new" and "relu"; decoders that share the word embedding, and decoders of their own. A `BertModel` is read as well,
# but it has no head and so guesses nothing. Not read are models that only share a part of the name: RoBERTa, ALBERT,
# DistilBERT and others. A DistilBERT, though, *is* a BERT, under other names: that is the third exercise.
#
# And the way back: `save_pretrained` writes a folder that transformers reads, to the last bit. So a model can be
# trained here and used there.

# %%
with tempfile.TemporaryDirectory() as parent:
    model.save_pretrained(parent)
    again = Bert.from_pretrained(parent)
    assert again.config == model.config
    assert all(numpy.array_equal(again.params[name], value) for name, value in model.params.items())
    print(f"{len(model.params)} arrays written and read again, every bit the same")

# %% [markdown]
# ## Exercises
#
# Write your answers as functions in `12_your_own_model.py` in a folder of your own, and run
# `pytest tests/tutorials/test_12_your_own_model.py --answers FOLDER` from the repository's folder; ours are in
# [solutions/12_your_own_model.py](solutions/12_your_own_model.py).
#
# **1. Which words are large?** `mean_norms(model, ids, maskable)`: ids (B, T) and maskable bool (B, T). Give a dict
# from each token id that stands at a maskable place to the mean, over these places, of the exact norm when that place
# is masked alone. Try it on your model: which tokens are at the top, and are they those you would have named?
#
# **2. What wins at equal time?** `best_choice(reports, cost, masks)`: `reports` is a dict from names to
# `VarianceReport`s, as above. A gradient is that of one sentence with `masks` masks; with the best proposal a step
# takes `cost` times as long as with uniform masks. Give a dict from each name to "uniform" or "optimal", whichever has
# the smaller variance at equal time.
#
# **3. A DistilBERT.** `from_distilbert(tensors)`: the arrays of a `DistilBertForMaskedLM` by their names. Give a dict
# with the names and shapes of a `BertForMaskedLM` with a single token type, so that, with a `config.json` of its sizes,
# `from_pretrained` reads it as the same function. It has no token types: what must their row hold? The names are
# `distilbert.embeddings.` with `word_embeddings`, `position_embeddings` and `LayerNorm`;
# `distilbert.transformer.layer.0.` with `attention.q_lin`, `k_lin`, `v_lin`, `out_lin`, then `sa_layer_norm`,
# `ffn.lin1`, `ffn.lin2`, `output_layer_norm`; and `vocab_transform`, `vocab_layer_norm`, `vocab_projector`, whose
# weight is the word embedding again. All have `.weight`, and all but the two embeddings `.bias`. For BERT's names, look
# at what `stored_tensors` gave above.
#
# ## Where to go on
#
# - [pretrained.py](../minimapnet/model/pretrained.py) has the table of names, and
#   [safetensors_files.py](../minimapnet/model/safetensors_files.py) reads the format safetensors in twenty lines.
#   [test_pretrained.py](../tests/model/test_pretrained.py),
#   [test_pretrained_errors.py](../tests/model/test_pretrained_errors.py) and
#   [test_oracle_bert.py](../tests/model/test_oracle_bert.py) hold them against files made by hand and against transformers
#   itself.
# - [decomposition.py](../minimapnet/variance/decomposition.py) is the decomposition,
#   [variance.py](../minimapnet/experiments/variance.py) what the command measures.
# - To train on your own text: `minimapnet train --text my_text.txt --out runs/mine`, with `--layout lines` where each
#   line stands for itself. Then `minimapnet evaluate runs/mine --text other_text.txt` says how well it guesses, and
#   `minimapnet variance --checkpoint runs/mine` where its noise comes from. To compare proposals:
#   `minimapnet compare --text my_text.txt`.
# - The paper that all this began with: Chen 2020, arXiv 2008.05333.
#
# This was the last step. It began with one hidden word; now you can say, for a model and a text of your own, how much
# its masks matter and how much better they could be.
