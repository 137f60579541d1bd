# %% [markdown]
# # 4. The whole BERT in one dict
#
# All pieces are on the table: linear layers, GELU, LayerNorm and softmax with cross-entropy from step 2, attention from
# step 3. This step builds BERT from them. All its parameters lie in one dict, each an array under its name, and its
# forward pass fits on a page. Then we train it on the language of step 1 until it guesses nearly as well as anybody can,
# look at what it still does not know, and see how the scale of the first random numbers decides how soon it begins to use
# the context at all.
#
# Afterwards you know every number in a BERT, can train one on a laptop, and can judge its loss. You need steps 1 to 3. It
# takes about 25 minutes. The model is kept in `runs/tutorials`, and the steps that follow work with it.

# %% [markdown]
# ## From ids to rows of numbers
#
# The text is that of step 1: sentences of 16 words, with `[CLS]` before and `[SEP]` behind, so $T = 18$ tokens a row out
# of a vocabulary of $V = 222$. Our model has $C = 64$ channels.
#
# In step 3 a token's row had one channel for each word. Now every token of the vocabulary gets a row of $C$ numbers that
# are learned, and the rows form a table $E$ of shape $(V, C)$, the *word embedding*. Looking up row `id` is the same as
# multiplying $E$ by a row that is 0 but for a 1 at `id`, only faster. So its gradient is that of a linear layer: if
# $X = A E$ with the one-hot rows $A$ of shape $(T, V)$, then
#
# $$ dE = A^{T} dX \quad (V, C), $$
#
# which adds up, in each row of the table, the gradients of all places at which this token stands.

# %%
import math
import time
from dataclasses import replace

import numpy
import trained
from matplotlib import pyplot

import minimapnet
from minimapnet import plotting
from minimapnet.model import initialisation, layers
from minimapnet.model.attention import attention_forward
from minimapnet.model.batch import sentence_batch
from minimapnet.model.optimizer import AdamW
from minimapnet.proposals import UniformProposal
from minimapnet.text import grammar
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import load_corpus
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer

pyplot.rcParams.update(plotting.PAGE)
text = trained.grammar_text()
V, T = text.vocab_size, trained.MAX_LENGTH
rng = numpy.random.default_rng(0)
ids = numpy.array([3, 0, 3, 4])
A = numpy.eye(5)[ids]  # (4, 5): one-hot rows
E, dX = rng.standard_normal((5, 2)), rng.standard_normal((4, 2))
looked_up, _ = layers.embedding_forward(ids, E)  # (4, 2)
dE = A.T @ dX  # (5, 2)
assert (looked_up == A @ E).all() and numpy.allclose(dE[3], dX[0] + dX[2]) and not dE[1].any()
print("token 3 stands at two places, and its row's gradient is the sum of both; token 1 stands nowhere and gets 0")

# %% [markdown]
# Attention does not know in which order the tokens stand; we saw that. So a second table, the *position embedding* of
# shape $(T, C)$, has a row for each place in the sentence, and it is added to the word's row. A third table of two rows
# tells first from second sentence where BERT is given two; ours always has the first. The sum of the three goes through a
# LayerNorm, and the result is $x$ of shape $(B, T, C)$.
#
# ## A layer
#
# A layer of BERT changes $x$ in two moves. In the first the tokens meet, in the second each works by itself on what it
# got:
#
# $$ x \leftarrow \mathrm{LayerNorm}\big(x + \mathrm{attention}(x W^{qkv} + b^{qkv}) \, W^{o} + b^{o}\big), $$
#
# $$ x \leftarrow \mathrm{LayerNorm}\big(x + \mathrm{GELU}(x W^{1} + b^{1}) \, W^{2} + b^{2}\big), $$
#
# with $W^{qkv}$ of shape $(C, 3C)$ for the queries, keys and values of all heads, $W^{o}$ of shape $(C, C)$, and $W^{1}$
# and $W^{2}$ of shapes $(C, F)$ and $(F, C)$; BERT takes $F = 4C$. The second move is called *feed-forward*. It is needed
# because attention only adds up values under weights: what follows from two words *together* needs something that is not
# linear.
#
# Note that neither move replaces $x$. It adds something to it: a *residual connection*. In $y = x + f(x)$ the input is
# used twice, so by rule 4 of step 2 its gradient is a sum, $dx = dy + (\text{what comes back through } f)$. Even where
# $f$ lets little through, $dy$ itself goes on to the layers below; only the LayerNorms stand in its way. Think of $x$ as
# a stream that passes through all layers, and to which each contributes.
#
# ## The head
#
# After the last layer only the masked places matter. There each row $x_{i}$, of $C$ numbers, goes through one more linear
# layer, GELU and LayerNorm to a row $h$, and becomes $V$ logits, one for each token of the vocabulary:
#
# $$ z = h E^{T} + b, \qquad q = \mathrm{softmax}(z), \qquad \mathrm{loss} = -\log q(\text{the hidden word}) . $$
#
# $E$ is the word embedding again: the two are *tied*. A word's logit says how well $h$ fits the word's own row. That
# saves $V \cdot C$ parameters, and what is learned about a word by guessing it serves to read it. The gradient of $E$
# then has two parts, one from the lookups and one from here.
#
# ## One dict
#
# Here are all parameters of the model, with their shapes. In the code a layer's $W^{o}$ is called `attention_out`,
# $W^{1}$ and $W^{2}$ are `feed_in` and `feed_out`, and $b$ is `head.decoder.bias`.

# %%
model = minimapnet.Bert(trained.config(text), seed=0, init="random")
C, H = model.config.hidden_size, model.config.num_attention_heads
for name, array in model.params.items():
    if not name.startswith("layer1"):
        print(f"{name:30} {array.shape!s:12} {array.size:7,}")
print("... and layer1 as layer0; together", f"{model.flat.size:,} numbers")
assert all(numpy.shares_memory(array, model.flat) for array in model.params.values())

# %% [markdown]
# That is `120,094` numbers. They all lie in one long array, `model.flat`, and the arrays of the dict are views of parts
# of it: writing to one writes to the other. So what concerns all parameters alike, such as an optimizer's update or the
# norm of a gradient, is one operation on one array.
#
# ## The forward pass on a page
#
# Now the composition. This is all of BERT, from ids to logits; caches are thrown away here.


# %%
def bert_logits(p, ids):
    """ids (B, T) -> logits (B, T, V), by the parameters p."""

    def linear(name, x):
        return layers.linear_forward(x, p[f"{name}.weight"], p[f"{name}.bias"])[0]

    def norm(name, x):
        return layers.layernorm_forward(x, p[f"{name}.weight"], p[f"{name}.bias"], 1e-12)[0]

    def gelu(x):
        return layers.gelu_forward(x, "erf")[0]

    x = p["word_embedding"][ids] + p["position_embedding"][: ids.shape[1]] + p["type_embedding"][0]  # (B, T, C)
    x = norm("embedding_norm", x)
    for layer in ("layer0", "layer1"):
        mixed, _ = attention_forward(linear(f"{layer}.qkv", x), H)  # (B, T, C)
        x = norm(f"{layer}.attention_norm", x + linear(f"{layer}.attention_out", mixed))
        y = gelu(linear(f"{layer}.feed_in", x))  # (B, T, F)
        x = norm(f"{layer}.feed_norm", x + linear(f"{layer}.feed_out", y))  # (B, T, C)
    h = norm("head.norm", gelu(linear("head.transform", x)))  # (B, T, C)
    return h @ p["word_embedding"].T + p["head.decoder.bias"]  # (B, T, V)


test = text.test.batch(numpy.arange(512))
ours, theirs = bert_logits(model.params, test.ids), model.logits(test.ids)
assert numpy.allclose(ours, theirs, rtol=0, atol=1e-4)  # float32
print("our logits and the package's agree:", ours.shape)

# %% [markdown]
# ## The backward pass, and the check of all of it
#
# The backward pass is this page read from bottom to top, each line replaced by its backward. There is nothing new in it.
# `minimapnet.gradients` does it: it takes whole sentences `ids` and the `positions` $(B, K)$ to hide, and gives the loss,
# the mean over sentences of the mean over each sentence's hidden words, and a dict of gradients with the same names and
# shapes as the parameters.
#
# To check 120,094 numbers one by one would take a while. But one random direction $u$ in the space of all parameters is
# enough: if the gradient $g$ is right,
#
# $$ \frac{L(\theta + \varepsilon u) - L(\theta - \varepsilon u)}{2 \varepsilon} \approx g \cdot u, $$
#
# and a wrong $g$ passes only if its error happens to be perpendicular to $u$ (the third exercise of step 2). This is done
# in float64, and a wrong gradient, in which that of one bias is forgotten, takes the same test.

# %%
exact = minimapnet.Bert(replace(trained.config(text), dtype="float64"), seed=0, init="random")
few, hidden = test.ids[:8], numpy.array([[1, 5]] * 8)  # (B, T), (B, K)
_, gradients = minimapnet.gradients(exact, few, hidden)
g = numpy.concatenate([gradients[name].ravel() for name in exact.params])
u = {name: rng.standard_normal(array.shape) for name, array in exact.params.items()}
start, losses = exact.flat.copy(), []
for sign in (1, -1):
    for name, array in exact.params.items():
        array += sign * 1e-6 * u[name]
    losses.append(minimapnet.token_losses(exact, few, hidden).mean())
    exact.flat[:] = start
measured = (losses[0] - losses[1]) / 2e-6
right = g @ numpy.concatenate([u[name].ravel() for name in exact.params])
wrong = right - (gradients["layer0.feed_in.bias"] * u["layer0.feed_in.bias"]).sum()
print(f"measured {measured:.4f}, by the gradient {right:.4f}; with one bias forgotten {wrong:.4f}")
assert math.isclose(measured, right, rel_tol=1e-6) and not math.isclose(measured, wrong, rel_tol=1e-3)

# %% [markdown]
# ## What an untrained model says
#
# Before training, the weights and tables are drawn at random, from a normal distribution with mean 0 and standard
# deviation $\sigma = 1/\sqrt{C}$; biases are 0, LayerNorm's scales 1. Why this $\sigma$? For $y = x W$ each number of $y$
# is a sum of $C$ terms $x_{c} W_{cj}$. If the numbers of $x$ have mean square 1, as behind a LayerNorm, each term has
# variance $\sigma^{2}$, and $y$ has variance $C \sigma^{2} = 1$. What goes through the layer neither grows nor shrinks.
#
# So we can predict the first loss. The row $h$ comes from a LayerNorm, hence each logit $z_{v} = h \cdot E_{v}$ is close
# to normal with variance $C \sigma^{2} = 1$. The hidden word's logit is 0 on average. The mean of $e^{z}$ for such a $z$
# is
#
# $$ \int \frac{e^{-z^{2}/2}}{\sqrt{2 \pi}} \, e^{z} \, dz
#    = e^{1/2} \int \frac{e^{-(z - 1)^{2}/2}}{\sqrt{2 \pi}} \, dz = e^{1/2}, $$
#
# so $\mathrm{loss} = -z + \log \sum_{v} e^{z_{v}} \approx 0 + \log (V e^{1/2}) = \log V + 1/2$: half a nat more than an
# even guess, since it is confident without a reason. We judge our models, now and later, by `validation`: `512` sentences
# that are not trained on, each with one random word hidden, always the same.

# %%
validation = trained.validation(text)
first = validation.loss(model)
print(f"{validation.rows} sentences: untrained {first:.2f}, predicted log V + 1/2 = {math.log(V) + 0.5:.2f}")
assert abs(first - math.log(V) - 0.5) < 0.2

# %% [markdown]
# ## From gradient descent to AdamW
#
# So far we used gradient descent, $\theta \leftarrow \theta - \eta g$, with one learning rate $\eta$ for all parameters.
# But look at how different the numbers are that a gradient $g = d\theta$ consists of:

# %%
positions = rng.permuted(numpy.tile(numpy.arange(1, 17), (32, 1)), axis=1)[:, :2]  # two hidden words in each sentence
_, gradients = minimapnet.gradients(model, test.ids[:32], positions)
sizes = abs(numpy.concatenate([gradients[name].ravel() for name in model.params]))
low, middle, high = numpy.quantile(sizes, (0.01, 0.5, 0.99))
print(f"sizes of the gradient's numbers: 1 % below {low:.0e}, half below {middle:.0e}, 1 % above {high:.0e}")
assert 300 * low < high < 3000 * low

# %% [markdown]
# From the smallest hundredth of them to the largest lies a factor of about a thousand. An $\eta$ that is right for the
# large ones hardly moves the small ones. The usual optimizer for such models, *AdamW*, gives each parameter a step of
# its own, by four ideas:
#
# 1. The gradient of a batch is noisy. So take a running mean of the gradients,
#    $m \leftarrow \beta_{1} m + (1 - \beta_{1}) \, g$. With $\beta_{1} = 0.9$ it reaches back about ten batches.
# 2. Measure how large each number of the gradient usually is, by a running mean of its squares,
#    $v \leftarrow \beta_{2} v + (1 - \beta_{2}) \, g^{2}$. With $\beta_{2} = 0.98$ it reaches back about fifty.
# 3. Both begin at 0. After $t$ steps the shares of the gradients in $m$ add up to $1 - \beta_{1}^{t}$ and not to 1 (it is a
#    geometric sum). So divide: $\hat{m} = m / (1 - \beta_{1}^{t})$ and $\hat{v} = v / (1 - \beta_{2}^{t})$.
# 4. Weights that nothing needs should fade. So multiply weights and tables, but not biases and LayerNorms, by
#    $1 - \eta \lambda$ before each update, with $\lambda = 0.01$: *weight decay*, the W of AdamW.
#
# The update, number by number, with a tiny $\epsilon$ against division by 0, is
#
# $$ \theta \leftarrow (1 - \eta \lambda) \, \theta - \eta \, \frac{\hat{m}}{\sqrt{\hat{v}} + \epsilon} . $$
#
# So each parameter moves by about $\eta$ at most, whatever the scale of its gradient. It moves so far where the gradient
# keeps its sign; where the sign keeps changing, $\hat{m}$ averages out and stays small beside $\sqrt{\hat{v}}$. One thing
# is done beforehand: a gradient whose norm is above 1 is shortened to 1 (*clipping*), so that one odd batch cannot do
# much harm. Here are three updates by these rules, beside the package's.


# %%
def adamw_update(p, gradients, m, v, t, rate):
    norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
    for name, g in gradients.items():
        g = g / max(1, norm)
        m[name] = 0.9 * m[name] + 0.1 * g
        v[name] = 0.98 * v[name] + 0.02 * g**2
        if p[name].ndim > 1:  # weights and tables
            p[name] = p[name] * (1 - rate * 0.01)
        m_hat, v_hat = m[name] / (1 - 0.9**t), v[name] / (1 - 0.98**t)
        p[name] = p[name] - rate * m_hat / (numpy.sqrt(v_hat) + 1e-6)


ours = {name: array.copy() for name, array in exact.params.items()}
m, v = ({name: numpy.zeros_like(array) for name, array in ours.items()} for _ in range(2))
optimizer, before = AdamW(exact), exact.flat.copy()
for t in (1, 2, 3):
    _, gradients = minimapnet.gradients(exact, test.ids[32 * t : 32 * t + 32], positions)
    adamw_update(ours, gradients, m, v, t, rate=2e-3)
    optimizer.step(gradients, lr=2e-3)
    if t == 1:
        usual = numpy.median(abs(exact.flat - before)) / 2e-3
        assert 0.99 < usual < 1.01
assert all(numpy.allclose(ours[name], exact.params[name], rtol=0, atol=1e-12) for name in ours)
print("after three updates all parameters agree with the package's")
print(f"in the first update half of all parameters moved by {usual:.3f} times the learning rate or more")

# %% [markdown]
# The first update moves nearly every parameter by the learning rate, because there $\hat{m} / \sqrt{\hat{v}} = \pm 1$
# (only $\epsilon$ and the decay change it a little). Only the sign of one batch's gradient counts, and not how sure it
# is. That is why the learning rate is not at its peak from the start. It rises in a straight line during the first tenth
# of the training (*warm-up*), until $m$ and $v$ rest on many batches. From there it falls in a straight line to nearly 0,
# so that the noise averages out, as in step 2.

# %%
settings = trained.SETTINGS
print(f"{settings.steps:,} steps of {settings.batch_size} sentences, {trained.MASKED} hidden words in each")
for step in (0, 100, 199, 1000, 1999):
    print(f"learning rate at step {step:4}: {settings.lr_scale(step) * settings.learning_rate:.6f}")

# %% [markdown]
# ## Training
#
# Now we train: `2,000` times take `32` sentences, hide `2` random words in each, compute the gradient, update. The
# `Trainer` of the package does that, and measures the validation loss every 100 steps. It takes half a minute to a
# minute. Then we compute the two marks of step 1: what the unigram guess costs on validation sentences, and what the
# truth costs on the very words that are hidden in `validation`.

# %%
began = time.perf_counter()
records = [record for record in trained.train(model, text) if "validation_loss" in record]
trained.save(model)
print(f"trained in {time.perf_counter() - began:.0f} s")
for record in records[::4]:
    print(f"step {record['step']:4}: {record['validation_loss']:.2f} nats")


def words(row):
    return [text.tokenizer.id_to_token(int(i)) for i in row]


language = grammar.read()
hidden = [(row, place) for chunk in validation.chunks for row, place in zip(chunk.ids, chunk.positions[:, 0], strict=True)]
truth = -numpy.mean([language.log_probs(words(row)[1:-1], [place - 1]) for row, place in hidden])
unigram = unigram_entropy(text.train, text.validation, V)
print(f"unigram {unigram:.2f}, model {records[-1]['validation_loss']:.2f}, truth {truth:.3f}")
assert truth < records[-1]["validation_loss"] < 0.3

# %% [markdown]
# The loss falls from `5.95` nats to `0.22`, of which `0.16` are unavoidable. Where is the rest? We hide every single word
# of the `512` test sentences in turn, and sort the places into three kinds. *Facts* are the answers to questions such as
# "what does anna eat in paris at dawn ?". They follow from the town and the hour, but only for those who know all the 16
# times 11 facts of this language by heart. *Free* words are those that are not certain even to the truth. All others, the
# *certain* ones, always stand at their place or follow from another word of the sentence.

# %%
places = numpy.arange(1, 17)  # of words, in the row
every = numpy.repeat(test.ids, 16, axis=0)  # (512 * 16, T)
model_losses = minimapnet.token_losses(model, every, numpy.tile(places, len(test.ids))[:, None]).reshape(-1, 16)
true_losses = 0 - numpy.array([language.log_probs(words(row)[1:-1]) for row in test.ids])  # (512, 16)
questions = test.ids[:, 1] == text.tokenizer.token_to_id("what")  # (512,)
facts = questions[:, None] & (places == 12)  # (512, 16): the twelfth word of such a sentence
free = true_losses > 1e-9
kinds = {"facts": facts, "free": free & ~facts, "certain": ~free & ~facts}
for name, where in kinds.items():
    print(f"{name:8} {100 * where.mean():4.1f} % of the places: model {model_losses[where].mean():.2f}, ", end="")
    print(f"truth {true_losses[where].mean():.2f} nats")
excess = model_losses - true_losses
share = excess[facts].sum() / excess.sum()
print(f"the facts have {100 * share:.0f} % of what the model pays above the truth")
assert share > 2 / 3

# %%
figure, (left, right) = pyplot.subplots(1, 2, width_ratios=(3, 2))
left.plot([r["step"] for r in records], [r["validation_loss"] for r in records], "o-", label="the model", markersize=4)
left.axhline(unigram, color="#777777", linestyle=":", label="unigram guess")
left.axhline(truth, color="#009E73", linestyle="--", label="the truth")
left.set(xlabel="step", ylabel="validation loss (nats per word)", yscale="log")
left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
left.set_yticks([], minor=True)
left.set_title("The model comes near the truth")
left.legend()
bars = ((-0.2, model_losses, "the model", "#0072B2", ""), (0.2, true_losses, "the truth", "#009E73", "//"))
for shift, losses, name, colour, hatch in bars:
    heights = [losses[where].mean() for where in kinds.values()]
    drawn = right.bar(numpy.arange(3) + shift, heights, 0.38, color=colour, hatch=hatch, edgecolor="white", label=name)
    right.bar_label(drawn, fmt="%.2f", padding=2)
right.set_xticks(range(3), kinds)
right.set(xlabel="kind of hidden word", ylabel="loss (nats per word)", ylim=(0, 2.2))
right.set_title("What is missing are the facts")
right.legend()
pyplot.show()

# %% [markdown]
# So the model has learned nearly everything but the facts. Certain words cost it next to nothing. For free words it pays
# `1.7` nats where the truth pays `1.6`: it knows what may stand there, and how often. The facts are few, but they have
# more than two thirds of all that it pays above the truth.
#
# ## A look inside
#
# We give the model sentences with a `[MASK]` and print its best guesses. Below them we print where it looked: for each of
# the four heads of the last layer, the word that got most of the masked place's attention weight (summed over the places
# where this word stands). The weights lie in the caches of the forward pass.


# %%
def attention_weights(model, ids):
    """Return the attention weights of every layer, (B, H, T, T) each."""
    _, (_, caches) = model.encoder_forward(sentence_batch(model.config, ids))
    return [attention_cache[1] for (_, attention_cache), *_ in caches]


def guesses(ids, places):
    """Return the model's probabilities (B, V) for one place of each sentence, ids (B, T) with [MASK] in them."""
    logits = model.logits(ids)[numpy.arange(len(ids)), places]  # (B, V)
    powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def look(sentence):
    ids = numpy.array([text.tokenizer.encode(sentence).ids])  # (1, T)
    place = int((ids[0] == text.mask_token_id).argmax())
    (q,) = guesses(ids, [place])
    weights = attention_weights(model, ids)[-1][0, :, place] @ numpy.eye(V)[ids[0]]  # (H, V), by word
    print(sentence)
    best, tops = numpy.argsort(-q)[:5], weights.argmax(axis=1)
    print("   guesses: ", "  ".join(f"{word} {p:.2f}" for word, p in zip(words(best), q[best], strict=True)))
    print("   looks at:", "  ".join(f"{word} {w:.2f}" for word, w in zip(words(tops), weights.max(axis=1), strict=True)))
    return words(tops)


for sentence in (
    "[MASK] was a old gardener and watered her garden with a hose , said anna .",
    "anna gave bruno these small lamps , and then bruno showed [MASK] these small lamps .",
):
    assert "anna" in look(sentence)
_ = look("clara , who found her [MASK] lamps yesterday , blamed herself and hid her lamps .")
question = "what does anna eat in paris at dawn ? anna eats [MASK] at dawn in paris"
seen = look(question)
assert "dawn" in seen and "paris" not in seen
fact = language.distribution(question.replace("[MASK]", "eggs").split(), 11, [11])
print(f"   in truth:  {language.vocabulary[fact.argmax()]} {fact.max():.2f}")

# %% [markdown]
# The first two are the game of step 3: the hidden name stands once more, and there is a head that gives nearly all of its
# weight to this word, wherever it stands. Nobody told the model to do that. For the third sentence it rightly spreads its
# guess over the eight qualities.
#
# The last one asks for a fact: in Paris, at dawn, Anna eats eggs. Here the model hesitates. Among the words that its
# heads look at most there is "dawn", but not "paris". Does the model know what is eaten at dawn, but not yet where? Let
# us ask for all 176 facts. For comparison we take a guesser who knows the hour (or the season, or the day) and ignores
# the town: it gives each answer a probability equal to the share of the 16 towns that have it.

# %%
sentences, answers, shares = [], [], []
ways = (("eat", "at", "hour"), ("wear", "in", "season"), ("play", "on", "day"))
for template, (verb, preposition, when) in zip(language.templates[-3:], ways, strict=True):
    custom = template.draws["custom"]  # the table of facts
    for time_of in template.draws[when].keys:
        column = custom.columns[time_of]  # the answer for each town
        for town, answer in zip(custom.keys, column, strict=True):
            place_and_time = f"{preposition} {time_of} in {town}"
            sentences.append(
                f"what does anna {verb} in {town} {preposition} {time_of} ? anna {verb}s [MASK] {place_and_time}"
            )
            answers.append(text.tokenizer.token_to_id(answer))
            shares.append(column.count(answer) / 16)
q = guesses(numpy.array([text.tokenizer.encode(sentence).ids for sentence in sentences]), 12)  # (176, V)
right = (q.argmax(axis=1) == answers).mean()
paid = -numpy.log(q[numpy.arange(len(q)), answers]).mean()
print(f"{len(q)} facts: the model's first guess is right for {100 * right:.0f} %; it pays {paid:.2f} nats,")
print(f"one who ignores the town {-numpy.log(shares).mean():.2f}, one who knows the facts 0")
assert 0.25 < right < 0.75 and paid < -numpy.log(shares).mean()

# %% [markdown]
# In part. One who ignores the town pays `2.0` nats, and the model pays `1.6`: it has learned what the time tells and
# begun to learn what the town tells, and its first guess is right for about half of the facts. So it finds some words
# easy, some hard and some impossible. For what this series is about, that is welcome.
#
# ## The unigram plateau
#
# In our curve the loss passes the unigram guess at once. That is owed to the rows: each holds one sentence, so the place
# alone tells a lot. Real text is usually cut into rows wherever a row is full. Then a place tells nothing, and there is
# only one way below the unigram guess: to use the context. We cut our text in this way, into rows of `24` tokens.
#
# On such rows a model may come down to the unigram guess and stay there, on a *plateau*. How long it stays there depends
# on the scale $\sigma$ of the first random numbers. BERT was published with $\sigma = 0.02$, for $C = 768$ channels. A
# linear layer multiplies sizes by $\sigma \sqrt{C}$, which was $0.55$ there. With our $C = 64$ it would be $0.16$, and
# look at what becomes of attention:
#
# - Queries and keys are products with weights, so both shrink to $0.16$, and the scores to about $0.16^{2} = 0.026$. All
#   weights are nearly equal, and attention is the plain mean of step 3.
# - Its output passes two linear layers, of the values and $W^{o}$. It shrinks to less than $0.16^{2}$ and is added to a
#   stream of size 1. So the row of a `[MASK]` is almost the same in every sentence, and nothing can be guessed from it but
#   frequencies.
# - The gradient of the queries' weights comes back through $W^{o}$, the values and the keys, all of them small. What
#   could teach the model to look anywhere is drowned by everything else.
#
# With $\sigma = 1/\sqrt{C}$ no factor shrinks. We measure all three for untrained models: the standard deviation of the
# scores of a masked place, how much its row in the last layer varies between sentences (as a share of its size), and the
# share of the gradient's norm that belongs to queries and keys.

# %%
ROW = 24
packed = load_corpus("grammar", trained.FOLDER / "cache", max_length=ROW, layout="packed")
judged = Evaluation(packed.validation, 3, seed=0, most=256)
batch = packed.test.batch(numpy.arange(256))
print(f"rows of {batch.ids.shape[1]} tokens, such as:", *words(batch.ids[1]))


def untrained(scale, seed):
    config = replace(trained.config(text), max_position_embeddings=ROW, initializer_range=scale)
    return minimapnet.Bert(config, seed, init="random")


shares = {}
for scale in (0.02, 1 / math.sqrt(C)):
    some = untrained(scale, seed=0)
    masked = batch.ids.copy()
    masked[:, 12] = text.mask_token_id
    weights = attention_weights(some, masked)[0][:, :, 12]  # (256, H, T), of the first layer
    spread = numpy.log(weights).std(axis=-1).mean()  # the log of a softmax is the score less a constant
    rows = some.encode(masked)[:, 12]  # (256, C)
    varies = math.sqrt(rows.var(axis=0).sum() / (rows**2).mean(axis=0).sum())
    _, gradients = minimapnet.gradients(some, batch.ids, numpy.full((256, 1), 12))
    total = math.sqrt(sum((g**2).sum() for g in gradients.values()))
    looking = [gradients[f"layer{i}.qkv.weight"][:, : 2 * C] for i in (0, 1)]  # of queries and keys
    shares[scale] = math.sqrt(sum((g**2).sum() for g in looking)) / total
    print(f"scale {scale:.3f}: scores {spread:.3f}, the masked row varies by {100 * varies:.1f} %, ", end="")
    print(f"queries and keys have {100 * shares[scale]:.3f} % of the gradient")
assert shares[1 / math.sqrt(C)] > 100 * shares[0.02]

# %% [markdown]
# As predicted. (The scores lie somewhat below the estimates, since all rows share the type's row, which makes no
# difference between keys.) With the small scale the row of a masked place hardly knows in what sentence it stands, and
# the share of the gradient that could teach it where to look is less than a hundredth of what it is with the other scale.
# So we expect the small one to stay on the plateau for longer. We train both with all else equal, from two seeds each,
# for `300` steps with a peak learning rate of $0.004$.

# %%
short = TrainSettings(steps=300, batch_size=32, learning_rate=4e-3, eval_every=25, checkpoint_every=0)
curves = {}
print(f"{short.steps} steps of {short.batch_size} rows")
for scale in shares:
    for seed in (0, 1):
        log = Trainer(untrained(scale, seed), packed, UniformProposal(3), short, evaluation=judged).run()
        curves[scale, seed] = [(record["step"], record["validation_loss"]) for record in log if "validation_loss" in record]
unigram = unigram_entropy(packed.train, packed.validation, V)
print(f"unigram guess {unigram:.2f} nats")
for (scale, seed), curve in curves.items():
    print(f"scale {scale:.3f}, seed {seed}:", ", ".join(f"step {step} {loss:.2f}" for step, loss in curve[4::4]))
assert all(curves[0.02, seed][-1][1] > curves[1 / math.sqrt(C), seed][-1][1] + 0.1 for seed in (0, 1))

# %% tags=["picture"]
figure, axes = pyplot.subplots()
for (scale, seed), curve in curves.items():
    label, colour, style = ("0.02", "#E69F00", "s--") if scale == 0.02 else ("$1/\\sqrt{C}$ = 0.125", "#0072B2", "o-")
    axes.plot(*zip(*curve, strict=True), style, color=colour, label=None if seed else f"initial scale {label}")
axes.axhline(unigram, color="#777777", linestyle=":", label="unigram guess")
axes.set(xlabel="step", ylabel="validation loss (nats per word)", ylim=(None, 5.2))
axes.set_title("With a small initial scale the model stays on the unigram plateau (two seeds each)")
axes.legend()
pyplot.show()

# %% [markdown]
# All four models come down to the unigram guess, `4.66` nats, within some fifty steps. From there those with
# $\sigma = 1/\sqrt{C}$ go on, slowly, while those with $\sigma = 0.02$ are on the plateau, or have barely left it, when the
# run ends. They need not stay there for ever: an update may move each weight by as much as the learning rate, so the
# weights can grow. How long that takes depends on the text, the rows and the learning rate; we chose a case in which the
# difference is plain. `BertConfig` takes $1/\sqrt{C}$ unless `initializer_range` says otherwise.
#
# ## The way out: begin by looking at neighbours
#
# On larger texts even the right scale is not enough: two layers on Python's documentation stay at the unigram guess for
# thousands of steps. What is so hard? Say that the token before a `[MASK]` tells something about it. To use that, the
# query of place $t$ has to match the key of place $t - 1$, for every $t$. In a table of random position vectors the rows
# of places 7 and 6 have nothing to do with those of places 8 and 7, so "the token before" is as many facts as there are
# places, each to be learned by heart; and none of them pays before it is learned.
#
# Now let the row of place $t$ consist of pairs $(\cos \omega_i t, \sin \omega_i t)$, each with a frequency $\omega_i$ of
# its own (*sinusoids*). A rotation $R_d$ that turns pair $i$ by the angle $\omega_i d$ takes the row of any place to that
# of the place $d$ further on, since angles add up:
#
# $$ R_d\, p_t = p_{t+d}. $$
#
# So "the token before" is *one* matrix, $R_{-1}$, for all places. And a query that was turned by it meets the keys with
# the scores
#
# $$ (R_d\, p_t) \cdot p_s = \sum_i \cos \omega_i (t + d - s), $$
#
# which is the number of pairs at $s = t + d$. Elsewhere the cosines cancel, if the frequencies are spread over all of
# $0$ to $\pi$: the mean of $\cos \omega k$ over these $\omega$ is 0 for every whole $k \neq 0$.

# %%
w = initialisation.frequencies(trained.config(text), seed=0)  # (m,): those of a model's first layer
p = initialisation.sinusoids(numpy.arange(ROW), w)  # (ROW, 2m)
turned = initialisation.rotated(p, w, -1)  # R_(-1) p_t for all t
assert numpy.allclose(turned[1:], p[:-1])
scores = turned @ p.T  # (ROW, ROW): of query t for key s
assert (scores[1:].argmax(axis=1) == numpy.arange(ROW - 1)).all()
others = numpy.delete(scores[12], 11)
print(f"{len(w)} pairs: place 12 gives place 11 the score {scores[12, 11]:.1f}, the others at most {others.max():.1f}")

# %% [markdown]
# That is how a new model begins in this project, unless it is told `init="random"`: its position table is made of
# sinusoids, and each head of the first layer has the rotation of an offset of its own in its queries, the token before,
# the one after, the second before, the second after. The weights are ordinary weights of a BERT, and training may change
# them as it likes; they only begin elsewhere. (The projections of the layers above are a tenth of their size at first, so
# that what the first layer finds gets through.) [initialisation.py](../minimapnet/model/initialisation.py) has the rest of
# the derivation, and where the ideas are from. We train as before, from two seeds, and keep the attention of one model.

# %%
begins = {seed: minimapnet.Bert(untrained(1 / math.sqrt(C), 0).config, seed) for seed in (0, 1)}
patterns = [attention_weights(begins[0], batch.ids)[0].mean(axis=0)]  # (H, T, T), of the first layer
for seed, model in begins.items():
    log = Trainer(model, packed, UniformProposal(3), short, evaluation=judged).run()
    curves["neighbours", seed] = [
        (record["step"], record["validation_loss"]) for record in log if "validation_loss" in record
    ]
patterns.append(attention_weights(begins[0], batch.ids)[0].mean(axis=0))
for seed in begins:
    print(
        f"neighbours, seed {seed}:", ", ".join(f"step {step} {loss:.2f}" for step, loss in curves["neighbours", seed][4::4])
    )
assert all(curves["neighbours", seed][4][1] < curves[1 / math.sqrt(C), seed][4][1] - 0.5 for seed in begins)

# %%
figure, grid = pyplot.subplots(2, 4, figsize=(9, 5), sharex=True, sharey=True)
for line, when, pattern in zip(grid, ("at the start", f"after {short.steps} steps"), patterns, strict=True):
    line[0].set_ylabel(f"{when}\nplace that looks")
    for axes, offset, weights in zip(line, initialisation.offsets(4), pattern, strict=True):
        shown = axes.imshow(weights, vmin=0, vmax=1, cmap="Blues")
        axes.set_title(f"offset {offset:+d}", fontsize=9)
for axes in grid[1]:
    axes.set_xlabel("place looked at")
figure.suptitle("The heads of the first layer begin at their own neighbour (mean of 256 rows)")
figure.colorbar(shown, ax=grid, label="attention weight")
pyplot.show()

# %% [markdown]
# The diagonals are the heads' offsets: each begins by looking at its neighbour. After `100` steps these models are far
# below those with a random table, and what training makes of the heads can be seen in the second line.
#
# Why does this series care? A model on the plateau guesses by frequency, whatever the sentence. Only when it has learned
# to look do some words become easy in their sentence while others stay hard; and only then, as step 7 will show, does it
# matter much which of them are hidden.
#
# ## Exercises
#
# Write your answers as functions in `04_bert_in_one_dict.py` in a folder of your own, and run, from the repository's
# folder, `pytest tests/tutorials/test_04_bert_in_one_dict.py --answers FOLDER`; ours are in
# [solutions/04_bert_in_one_dict.py](solutions/04_bert_in_one_dict.py).
#
# **1. The plateau by hand.** The unigram guess is one of the functions that a BERT can be. Write
# `set_to_unigram(model, counts)`, which changes as few of `model.params` as you can (in place) such that the loss of
# every hidden token $v$ is $-\log(n_{v} / \sum_{u} n_{u})$, whatever the sentence. `counts` are the $n_{v}$, positive, of
# shape $(V,)$. The word embedding must stay as it is.
#
# **2. The gradient of the tied table.** The word embedding meets the loss at two places, the lookups and the decoder.
# Write `tied_gradient(ids, dx, h, dlogits)`, which gives its gradient of shape $(V, C)$, from `ids` $(B, T)$ as they were
# looked up, `dx` $(B, T, C)$ at what the lookup gave, `h` $(N, C)$, the rows that the decoder was given for the $N$
# masked tokens, and `dlogits` $(N, V)$. Mind tokens that stand at several places.
#
# **3. The surest first.** Where several words are hidden, each guess is made without knowing the others, and two that are
# good by themselves may not fit together. So fill them in one at a time: write `fill_in(model, ids)` for one sentence
# `ids` $(T,)$ with any number of `[MASK]` in it. It puts in the guess of highest probability, over all masked places and
# all tokens but `[MASK]` itself, asks the model again, and so on until no `[MASK]` is left. It gives the filled ids $(T,)$
# and the list of places in the order in which they were filled, and leaves `ids` as they were.
#
# ## Where to go on
#
# [bert.py](../minimapnet/model/bert.py) has the forward pass of this step with its mirror, and
# [parameters.py](../minimapnet/model/parameters.py) the table of parameters.
# [optimizer.py](../minimapnet/model/optimizer.py) is AdamW, [trainer.py](../minimapnet/training/trainer.py) the loop
# around it. [test_gradients.py](../tests/gradient_norms/test_gradients.py) checks the gradient of the whole model, and
# [test_oracle_bert.py](../tests/model/test_oracle_bert.py) holds the model against the one in the library transformers. The
# sources are *BERT* (Devlin and others 2018, arXiv 1810.04805) and, for AdamW, *Decoupled Weight Decay Regularization*
# (Loshchilov and Hutter 2019, arXiv 1711.05101).
#
# Every gradient that we followed here came from a few sentences with random masks, so it was random itself. How random,
# and where does that come from? [5. Noise](05_noise.ipynb).
