# %% [markdown]
# # 1. Guessing hidden words
#
# Hide a word of a sentence and guess it from the others: a model that gets good at this game has learned a lot about the
# language. This step makes the game exact. What is hidden, what counts as a guess, what a wrong guess costs, and how
# little guessing can cost at best. We play it in a small language whose true probabilities we know, so that every guesser
# has an exact mark to be held against.
#
# Afterwards you can read and write down the training objective of a *masked language model* such as BERT, and say of a
# loss whether it is good. You need Python with NumPy, logarithms, and the mean of a random quantity. It takes about 20
# minutes.

# %% [markdown]
# ## A language that we know completely
#
# Nobody knows how likely a word of an English sentence is. So we begin with a language of our own, a *grammar*: sentence
# templates whose words are drawn at random from tables. Here is one of its templates.

# %%
import numpy
import trained
from matplotlib import pyplot

from minimapnet import plotting
from minimapnet.masks import UniformMasks, all_masks, replacement
from minimapnet.text import grammar
from minimapnet.text.batches import unigram_entropy

pyplot.rcParams.update(plotting.PAGE)
language = grammar.read()
lines = grammar.default_file().read_text(encoding="utf-8").splitlines()
template = next(line for line in lines if "trade.who" in line and not line.startswith("#"))
print(template.strip())

# %% [markdown]
# A name such as `person` stands for one row of a table, drawn anew for every sentence, and for the same row wherever it
# stands again: `person.name` is drawn once, so both places hold the same name, and `person.his` is the "his" or "her"
# that goes with it. `tense` is drawn once as well; `trade[tense]` is what the trade does, in this tense. A word such as
# `quality` has no partner: nothing else in the sentence tells what it is. Words that are in no table stand for
# themselves.
#
# The project generates a text of such sentences and divides it into three parts that share no sentence: *train* to learn
# from, *validation* to watch the learning, and *test* to judge at the end. Sentences that were not learned from are
# called *held out*: only they show whether a guesser understood something or remembered it. (`trained.py`, beside the
# tutorials, reads this text, and in later steps the model that step 4 trains on it.)

# %%
text = trained.grammar_text()
train = text.train.batch(numpy.arange(len(text.train)))
test = text.test.batch(numpy.arange(2000))


def words(ids):
    return [text.tokenizer.id_to_token(int(i)) for i in ids]


print(f"{len(text.train):,} sentences to train on, {len(text.test):,} to test on; the first of these:")
for row in test.ids[:7]:
    print(" ".join(words(row)))

# %% [markdown]
# ## Tokens and ids
#
# A model computes with numbers. The text is cut into *tokens*, here words and punctuation marks, and each of the $V$
# different tokens has a number, its *id*. The list of all of them is the *vocabulary*. Five tokens are special:
#
# - `[CLS]` opens each row and `[SEP]` closes it. They are always the same and never hidden.
# - `[MASK]` stands where a word is hidden.
# - `[PAD]` fills up rows that are shorter than others, and `[UNK]` stands for words outside the vocabulary. Our sentences
#   all have 16 words and no unknown ones, so neither occurs here.
#
# Some letters name the sizes of arrays in all that follows: $B$ sentences, $T$ tokens in a row, $V$ tokens in the
# vocabulary. So many rows of ids are an array `ids` of shape $(B, T)$. Beside it stands an array `maskable` of the same
# shape, true where a word may be hidden: everywhere but at the special tokens.

# %%
B, T = test.ids.shape
V = text.vocab_size
SENTENCE = 2  # the one that we look at more closely
print(f"B = {B} sentences of T = {T} tokens; V = {V}, of which {len(language.vocabulary)} are words")
print("ids     ", *test.ids[SENTENCE])
print("maskable", *test.maskable[SENTENCE].astype(int))

# %% [markdown]
# ## Hiding words
#
# A *mask* $M$ is a set of positions in the row. Its words are taken out, `[MASK]` is put in their place, and the model
# sees the result. We write $x$ for the sentence, $x_{i}$ for its word at position $i$, and $x_{\setminus M}$ for the
# sentence without the words in $M$. The number of hidden words is $k = |M|$.
#
# In code, `ids` are always the whole sentences and `positions`, of shape $(B, K)$, say which words are hidden; $K$ is the
# largest $k$ in the batch, and a row with fewer hidden words is filled up with -1.

# %%
positions = numpy.array([[4, 8]])  # (1, K): one sentence, two hidden words
masked = replacement.all_mask(test.ids[[SENTENCE]], positions, text.mask_token_id)  # (1, T)
print("the sentence  ", *words(test.ids[SENTENCE]))
print("the model sees", *words(masked[0]))

# %% [markdown]
# Try it before you read on. The second word is easy: it is Emma's boat, so "her". The first might be small, big, new, old
# or something like it; nothing tells which. An honest answer names no single word. It says *how likely* each one is.
#
# ## What a guess is, and what it costs
#
# So a *guess* at a hidden word is a probability $q(v)$ for every token $v$ of the vocabulary, with $\sum_{v} q(v) = 1$.
# Then the word $x_{i}$ is shown, and we charge
#
# $$ \mathrm{loss} = -\log q(x_{i}), $$
#
# with the natural logarithm. This unit is called *nat*. Being sure of the right word costs $-\log 1 = 0$; calling it
# impossible costs $-\log 0 = \infty$; guessing evenly among $m$ words, one of which is right, costs $\log m$.
#
# Why the logarithm? Two reasons. First, losses add up where probabilities multiply: two independent coins, each called
# with $q = 1/2$, cost $\log 2$ each and $\log 4$ together, which is what one guess among four costs. Second, it pays to
# be honest. Let $P(v)$ be the true probability that the hidden word is $v$. Someone who always announces $q$ pays on
# average $-\sum_{v} P(v) \log q(v)$, the *cross-entropy* of $P$ and $q$. Announcing the truth $q = P$ costs
#
# $$ H(P) = -\sum_{v} P(v) \log P(v), $$
#
# the *entropy* of $P$ (with $0 \log 0 = 0$). No other announcement is cheaper. Since $\log z \le z - 1$ for all $z > 0$,
#
# $$ \sum_{v} P(v) \log q(v) - \sum_{v} P(v) \log P(v) = \sum_{v} P(v) \log \frac{q(v)}{P(v)}
#    \le \sum_{v} P(v) \left(\frac{q(v)}{P(v)} - 1\right) \le 1 - 1 = 0, $$
#
# where the sums run over the words with $P(v) > 0$, so that the $q(v)$ among them add up to 1 at most. Hence
# $-\sum P \log q \ge H(P)$: *the entropy is the least average loss that is possible*, and only $q = P$ reaches it, since
# $\log z = z - 1$ at $z = 1$ alone.
#
# Let us see this for a hidden word that is one of four, with unequal chances.

# %%
P = numpy.array([0.5, 0.25, 0.125, 0.125])  # (4,)
entropy = -(P * numpy.log(P)).sum()
rng = numpy.random.default_rng(0)
q = rng.dirichlet(numpy.ones(4), size=10_000)  # (10000, 4): random announcements, each adds up to 1
average_losses = -(numpy.log(q) @ P)  # (10000,)
print(f"announcing the truth costs {entropy:.3f} nats on average, an even guess {numpy.log(4):.3f}")
print(f"10,000 random announcements cost {average_losses.min():.3f} to {average_losses.max():.1f}")
assert (average_losses > entropy).all()

# %% [markdown]
# None of the random announcements is cheaper than the truth, `1.213` nats, though the best of them comes near.
#
# ## The truth
#
# In our language the true probability of a hidden word can be computed. Every sentence $x$ has a probability $P(x)$: that
# of its template times those of its draws. The probability of a hidden word, given what is seen, is the share of those
# sentences that agree with what is seen and have this word:
#
# $$ P(x_{i} = v \mid x_{\setminus M}) = \frac{\text{probability of all sentences that agree with } x_{\setminus M}
#    \text{ and have } v \text{ at } i}{\text{probability of all sentences that agree with } x_{\setminus M}} . $$
#
# `language.distribution(sentence, place, masked)` computes it. A grammar's sentence has no `[CLS]`, so its words are
# counted from 0: position $i$ of a row is place $i - 1$ of the sentence. We hide different words of our sentence and ask
# for the truth about one of them.

# %%
sentence = words(test.ids[SENTENCE])[1:-1]  # without [CLS] and [SEP]


def show_truth(place, masked):
    shares = language.distribution(sentence, place, masked)  # one for each word of the language
    best = numpy.argsort(-shares, kind="stable")[:6]
    hidden = " ".join(f"[{word}]" if i in masked else word for i, word in enumerate(sentence))
    print(hidden)
    print(f"   {sentence[place]}?  ", ", ".join(f"{language.vocabulary[v]} {shares[v]:.3f}" for v in best if shares[v] > 0))


show_truth(7, masked=[7])
show_truth(3, masked=[3])
show_truth(0, masked=[0])
show_truth(0, masked=[0, 14])
show_truth(0, masked=[0, 7, 14])

# %% [markdown]
# "her" is certain, with probability `1.000`. Each of the eight qualities has `0.125` (six of them are shown). The name is
# certain as long as it stands a second time. With both hidden, "her" still says that it is a woman, and the more frequent
# names are likelier: Emma has `0.154`. With "her" hidden as well, all twelve people are possible. So how hard a word is
# to guess depends on *what else is hidden*. This will matter.
#
# Let us not take the computed probabilities on trust. If we draw many sentences and look at those of this template that
# have "her" where ours does, about $2/13$ of them should begin with Emma: her weight in the table is 2, that of all women
# together 13.

# %%
drawn = language.sample(numpy.random.default_rng(1), 100_000)
alike = [one for one in drawn if one[2] == "a" and one[7] == "her"]
share = sum(one[0] == "emma" for one in alike) / len(alike)
print(f"{len(alike):,} sentences of this kind, of which {share:.3f} begin with emma; 2/13 = {2 / 13:.3f}")
assert abs(share - 2 / 13) < 4 * numpy.sqrt(2 / 13 * 11 / 13 / len(alike))  # four standard deviations

# %% [markdown]
# `language.log_probs(sentence)` gives $\log P(x_{i} \mid \text{all other words})$ for every word, each hidden alone, and
# `language.token_entropies(sentence)` the entropy of each. On average over the language both come to the same: the least
# possible loss, the mark for everything to come.

# %%
true_losses = 0 - numpy.array([language.log_probs(words(row)[1:-1]) for row in test.ids])  # (B, 16)
true_loss = true_losses.mean()
certain = (true_losses < 1e-9).mean()
entropies = numpy.array([language.token_entropies(words(row)[1:-1]) for row in test.ids])  # (B, 16)
print(f"the truth costs {true_loss:.3f} nats per word; {100 * certain:.0f} % of the words are certain")
print(f"mean entropy of a hidden word: {entropies.mean():.3f} nats")

# %% [markdown]
# Most words, `90 %`, follow from the others and could be guessed without loss. The rest are free choices, and make the
# mean `0.167` nats.
#
# ## Guessing by counting
#
# Real guessers do not know the truth; they have to learn from the training sentences. The simplest one ignores the
# sentence and announces how frequent each token is. These frequencies are called *unigram* probabilities. If $n_{v}$ is
# the number of times that $v$ occurs in the training part,
#
# $$ q(v) = \frac{n_{v} + 1}{\sum_{u} (n_{u} + 1)} . $$
#
# The added 1 keeps a word that never occurred from being called impossible, which might cost $\infty$.

# %%
counts = numpy.bincount(train.ids[train.maskable], minlength=V)  # (V,)
unigram = (counts + 1) / (counts + 1).sum()  # (V,)
targets = test.ids[test.maskable]  # (B * 16,) every word of the test sentences, hidden one at a time
unigram_loss = -numpy.log(unigram[targets]).mean()
print(f"an even guess among {V} tokens costs {numpy.log(V):.3f} nats, the unigram guess {unigram_loss:.3f}")
print(f"entropy of the unigram probabilities: {-(unigram * numpy.log(unigram)).sum():.3f}")
print(f"the package, on all test sentences:   {unigram_entropy(text.train, text.test, V):.3f}")

# %% [markdown]
# Knowing the frequencies improves an even guess, `5.403` nats, to `4.66`. Since the test sentences come from the same
# language, this is the entropy of the unigram probabilities, but for chance. It is the price of ignoring the sentence,
# the *unigram entropy*, and the second mark to remember: a loss below it means that a guesser uses the context. In step 4
# we will watch a model that is being trained come down to this loss quickly, and stay there for a while.
#
# ## Looking at the neighbours
#
# Context can be counted as well. Take the neighbours of a hidden word, and count in the training part which words stood
# between just these neighbours. The more neighbours, the more is known about the hidden word. But the more neighbours,
# the rarer each combination of them, and a combination that never occurred says nothing. So we let each table lean on the
# narrower one. With $n_{c}$ occurrences of the neighbours $c$, of which $n_{c,v}$ had the word $v$ between them,
#
# $$ q(v \mid c) = \frac{n_{c,v} + 10 \; q'(v)}{n_{c} + 10}, $$
#
# where $q'$ is the guess with one neighbour less, and with none the unigram guess. It is as if we had seen ten more cases
# that went like $q'$: they decide where $n_{c}$ is small, and hardly count where it is large.
#
# In code a combination of neighbours is one whole number: its ids are the digits of a number to the base $V$. Then
# counting combinations is counting equal numbers.

# %%
NEIGHBOURS = (-1, 1, -2, 2, -3, 3, -4)  # the nearest ones first
assert V ** (len(NEIGHBOURS) + 1) < 2**63  # these and the word itself fit into one integer


def combinations(batch, neighbours):
    """Return the neighbours of every word that may be hidden as one number each: (B * 16,)."""
    far = max(map(abs, NEIGHBOURS))
    padded = numpy.pad(batch.ids, ((0, 0), (far, far)))  # (B, T + 2 far), with the id of [PAD], 0
    number = numpy.zeros_like(batch.ids)  # (B, T)
    for neighbour in neighbours:
        number = number * V + padded[:, far + neighbour : far + neighbour + batch.ids.shape[1]]
    return number[batch.maskable]


def occurrences(wanted, seen):
    """Count how often each of the numbers `wanted` (n,) occurs in `seen` -> (n,)."""
    found, times = numpy.unique(seen, return_counts=True)
    place = numpy.searchsorted(found, wanted).clip(max=len(found) - 1)
    return numpy.where(found[place] == wanted, times[place], 0)


learned = train.ids[train.maskable]
q = unigram[targets]  # (B * 16,) the probability that was announced for the right word
losses, parts = [-numpy.log(q)], [(unigram_loss, 0.0, 0.0)]
print("neighbours  loss   neighbours seen, never with this word   neighbours never seen")
for number in range(1, len(NEIGHBOURS) + 1):
    before, now = (combinations(batch, NEIGHBOURS[:number]) for batch in (train, test))
    n_c = occurrences(now, before)
    n_cv = occurrences(now * V + targets, before * V + learned)
    q = (n_cv + 10 * q) / (n_c + 10)
    losses.append(-numpy.log(q))
    seen, ruled_out, new = n_cv > 0, (n_c > 0) & (n_cv == 0), n_c == 0  # (B * 16,) each, one of them true
    parts.append([(losses[-1] * which).mean() for which in (seen, ruled_out, new)])
    shares = [f"{100 * which.mean():.0f} %, {(losses[-1] * which).mean():.2f} nats" for which in (ruled_out, new)]
    print(f"{number:10}  {losses[-1].mean():.2f}   {shares[0]:>36}   {shares[1]:>21}")

# %% [markdown]
# Two neighbours help much: the loss falls from the unigram's `4.66` to `1.20`. A third helps a little. After that it gets
# worse, although more is known. The table shows why. Combinations that never occurred are not to blame: with seven
# neighbours there are `22 %` of them, but there the guess falls back on the narrower tables, and they make up only `0.07`
# nats of the loss. The trouble is with neighbours that did occur, but never with the word that stands there now. That
# happens to `14 %` of the words, and costs `1.16` of the `1.77` nats. The wide table has learned its sentences by heart,
# and what it never saw it calls all but impossible. But every held-out sentence is one that it never saw. This is called
# *overfitting*.

# %%
means = numpy.array([one.mean() for one in losses])
figure, axes = pyplot.subplots()
segments = (
    ("the word was seen between these neighbours", "#56B4E9", ""),
    ("the neighbours were seen, but never with this word", "#D55E00", "//"),
    ("the neighbours were never seen", "#000000", ""),
)
below = numpy.zeros(8)
for (name, colour, hatch), part in zip(segments, numpy.transpose(parts), strict=True):
    axes.bar(range(8), part, 0.7, bottom=below, color=colour, hatch=hatch, edgecolor="white", label=name)
    below += part
axes.axhline(true_loss, color="#009E73", linestyle="--", linewidth=2, label="the truth: the least possible loss")
axes.set(xlabel="neighbours that the table looks at", ylabel="held-out loss (nats per word)", ylim=(0, 5))
axes.set_title("Wide tables learn sentences by heart, and fail where a new one differs")
axes.legend()
pyplot.show()
assert means.argmin() == 3 and means[3] > 1 and means[7] > 1.5

# %% [markdown]
# And why does the narrow table not come nearer to the truth? Look at what each guesser pays for the words of our
# sentence.

# %%
by_word = [one.reshape(B, -1)[SENTENCE] for one in (losses[0], losses[2])] + [true_losses[SENTENCE]]
names = ("unigram: no context", "table of two neighbours", "the truth, given all other words")
for word, *paid in zip(sentence, *by_word, strict=True):
    print(f"{word:9}", *(f"{loss:6.2f}" for loss in paid))

# %% tags=["picture"]
figure, axes = pyplot.subplots()
places = numpy.arange(len(sentence))
styles = (("#BBBBBB", ""), ("#0072B2", ""), ("#E69F00", "//"))
for number, (paid, name, (colour, hatch)) in enumerate(zip(by_word, names, styles, strict=True)):
    axes.bar(places + 0.28 * (number - 1), paid, 0.26, color=colour, hatch=hatch, edgecolor="white", label=name)
axes.set_xticks(places, sentence, rotation=35, ha="right", rotation_mode="anchor", fontsize=12)
axes.set_ylabel("loss of the word (nats)")
axes.set_title("Given all other words, only two words cost anything; two neighbours leave much open")
axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.0))
axes.set_ylim(0, 9)
pyplot.show()

# %% [markdown]
# Words that follow from those next to them, such as "a" and "with", cost the table next to nothing. "her" costs it `0.69`
# nats, $\log 2$: between "steered" and "boat" there may as well stand "his". The name from which "her" follows is seven
# words away, and from the first "emma" to the last it is fourteen. A table that reached so far would have a row for every
# combination of the words in between. We saw what comes of that with seven neighbours already: what a table remembers of
# one combination, it cannot use for another.
#
# ## Several words at once, and the mean over masks
#
# So far one word was hidden at a time. Where several words of a sentence are hidden together, a model reads the sentence
# once and makes several guesses, so in practice more than one is hidden; BERT hides 15 %. The loss of a mask is the mean
# over its words, each guessed from what is seen:
#
# $$ \ell(x, M) = \frac{1}{k} \sum_{i \in M} -\log q(x_{i} \mid x_{\setminus M}) . $$
#
# Every hidden word is guessed by itself, and no guess sees another. The loss depends on the mask. To see how much, we
# take another sentence, hide every pair of its words in turn, and ask what the truth costs, that is $q = P$.

# %%
sentence = words(test.ids[6])[1:-1]
pairs = all_masks(16, 2)  # (120, 2): all sets of two places
pair_losses = 0 - numpy.array([language.log_probs(sentence, pair).mean() for pair in pairs])  # (120,)
costly = pairs[pair_losses.argmax()]
print(*sentence)
print(f"{len(pairs)} masks of two words: mean {pair_losses.mean():.3f} nats, largest {pair_losses.max():.2f}")
print(f"{100 * (pair_losses < 1e-9).mean():.0f} % cost nothing; the most costly one hides", *(sentence[i] for i in costly))

# %% [markdown]
# Of the 120 masks of two words, `72 %` ask only for what can be known. Others hide a word together with its partner and
# are hard: hiding Ida's name in both places costs `3.26` nats per word, although either of them alone is certain. Which
# mask we happen to draw decides what a model is asked, and so what it can learn from the answer.
#
# No single mask is the right one to train with; we want a model that can guess any word. So the objective is a mean over
# masks as well as over sentences,
#
# $$ L = E_{x} E_{M} \, \ell(x, M), $$
#
# where $E$ is the mean over what may be drawn: $x$ is a sentence of the language, and $M$ is one of the
# $\binom{n}{k}$ sets of $k$ of its $n$ words, all of them equally likely (*uniform* masks). For $k = 1$ this is the mean
# over all words that we have taken so far. In training nobody computes it. One draws some sentences and a mask for each,
# and takes the mean over this *batch* as an estimate of $L$.

# %%
masks = UniformMasks(16, 2).sample(numpy.random.default_rng(2), 400)  # (400, 1, 2): 400 draws for one sentence
drawn_losses = 0 - numpy.array([language.log_probs(sentence, mask[0]).mean() for mask in masks])  # (400,)
estimates = drawn_losses.reshape(100, 4).mean(axis=1)  # (100,): from four masks each
print(f"mean over all masks of this sentence: {pair_losses.mean():.3f}; over 400 random ones: {drawn_losses.mean():.3f}")
print(f"means over four random masks range from {estimates.min():.2f} to {estimates.max():.2f}")

# %% [markdown]
# The estimates are right on average, but they scatter: from four masks we get anything between `0.00` and `0.99`. The
# same happens to whatever else is estimated from a few masks, and above all to the gradient that a model learns from. How
# much of a gradient's noise comes from the choice of masks, and whether a better choice can lower it, is the question of
# this series.
#
# Last, how many words to hide? The more are hidden, the less is left to guess from, and the least possible loss rises.

# %%
sizes = numpy.arange(1, 17)
least = []
for k in sizes:
    several = 1600 // int(k) + 400  # sentences, with a mask each
    masks = UniformMasks(16, int(k)).sample(numpy.random.default_rng(3), several)[:, 0]  # (several, k)
    asked = zip(test.ids[:several], masks, strict=True)
    least.append(numpy.mean([-language.log_probs(words(row)[1:-1], mask).mean() for row, mask in asked]))
print("hidden:", *(f"{k:5}" for k in sizes[[0, 1, 3, 7, 11, 15]]))
print("nats:  ", *(f"{least[i]:5.2f}" for i in (0, 1, 3, 7, 11, 15)))

# %%
figure, (left, right) = pyplot.subplots(1, 2)
left.hist(pair_losses, bins=numpy.arange(-0.1, 3.6, 0.2), color="#0072B2", edgecolor="white")
left.axvline(pair_losses.mean(), color="#D55E00", linestyle="--", label="mean over all masks")
left.set(xlabel="loss of the mask (nats per word)", ylabel="masks of two words, of 120")
left.set_title("One sentence: most masks cost nothing")
left.legend()
right.plot(sizes, least, "s-", color="#009E73", label="the truth")
right.axhline(unigram_loss, color="#777777", linestyle=":", label="unigram: no context, no position")
right.set(xlabel="words hidden, of 16", ylabel="loss (nats per word)")
right.set_title("The more is hidden, the less can be known")
right.legend(loc="center left")
right.set_ylim(0, 5)
pyplot.show()

# %% [markdown]
# The least possible loss rises slowly at first: it is `0.17` nats with one hidden word, `0.27` with four, `0.48` with
# eight. Even with all 16 hidden it is `2.64`, far below the unigram's, because the position still tells something: many
# of these sentences begin with a name and end with a full stop.
#
# ## What we need
#
# A good guesser has to use partners that are far away, in whatever company they appear. A table cannot. What we want
# instead is a *function*: it takes the ids of the masked sentence and gives $q(v \mid x_{\setminus M})$ for every hidden
# position, and it has adjustable numbers in it, its *parameters* $\theta$. What it learns about Emma and "her" then holds
# for every sentence with Emma in it. With the function, the objective becomes a function of $\theta$,
#
# $$ L(\theta) = E_{x} E_{M} \,
#    \frac{1}{k} \sum_{i \in M} -\log q_{\theta}(x_{i} \mid x_{\setminus M}), $$
#
# and to learn is to change $\theta$ such that $L$ falls. For that we must know how $L$ changes with each of many thousand
# parameters: its gradient. How to compute that is the subject of the next step; the function itself is that of steps 3
# and 4.
#
# ## Exercises
#
# Write your answers as functions in `01_guessing_hidden_words.py` in a folder of your own, and run, in the repository's
# folder, `pytest tests/tutorials/test_01_guessing_hidden_words.py --answers FOLDER`; ours are in
# [solutions/01_guessing_hidden_words.py](solutions/01_guessing_hidden_words.py).
#
# **1. The loss of masks.** Write `mask_losses(log_q, ids, positions)`, where `log_q` of shape $(B, T, V)$ holds the
# announced $\log q$ for every position of $B$ sentences, `ids` is $(B, T)$, and `positions` is $(B, K)$, filled up with
# -1. It returns $\ell(x, M)$ of every sentence, $(B,)$: the mean over its own hidden words, which may be fewer than $K$.
#
# **2. Perplexity.** A loss of $\log m$ is that of an even guess among $m$ words. So $e^{\mathrm{loss}}$ is the number of
# words among which a guesser seems to waver, its *perplexity*. Write `perplexity(P, q)` for arrays of shape $(V,)$: the
# perplexity of someone who announces $q$ where the truth is $P$. Words with $P(v) = 0$ must not count, even where
# $q(v) = 0$; where $q$ calls a possible word impossible, it is `numpy.inf`.
#
# **3. What two hidden words tell about each other.** Someone who guesses two hidden words one after the other, and is
# shown the first before guessing the second, pays less than someone who guesses both blindly. The mean difference is
# called the *mutual information* of the two. Write `mutual_information(language, sentence, first, second)`, which returns
# it in nats, given all words of the sentence but those at the two places: the entropy of the second word with both
# hidden, minus its mean entropy once the first is shown, the mean taken over the words that might stand at `first`. Use
# `language.distribution` and `language.vocabulary`. Then ask it about two places of a name, and about a quality and a
# verb.
#
# ## Where to go on
#
# - The language: [data/grammar.toml](../data/grammar.toml) explains its templates;
#   [grammar.py](../minimapnet/text/grammar.py) computes the true probabilities, and
#   [test_grammar.py](../tests/text/test_grammar.py) checks them against a list of all sentences of a tiny grammar.
# - Rows of ids and the unigram entropy: [batches.py](../minimapnet/text/batches.py).
# - Masks: [uniform.py](../minimapnet/masks/uniform.py) draws uniform ones,
#   [replacement.py](../minimapnet/masks/replacement.py) puts `[MASK]` in place. It also has BERT's own mixture, in which
#   some hidden words are replaced by a random word or left as they are; here we always put `[MASK]`.
# - The paper that made this game popular: Devlin et al. 2018, arXiv 1810.04805.
# - The next step: [2. A backward pass by hand](02_a_backward_pass_by_hand.ipynb).
