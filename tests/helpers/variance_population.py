"""A small population of sentences with the gradients of all their masks, and what looks gradients up there."""

import numpy

from minimapnet import Bert, gradients
from minimapnet.masks.base import all_masks
from minimapnet.variance import decomposition
from minimapnet.variance.passes import Groups
from tests.helpers import tiny
from tests.helpers.proposal_checks import PositionScore, distribution_of


class Population:
    """S sentences of n positions, `ids` (S, n), equally likely, with all M masks of k, `masks` (M, k), of each.

    `flat` (S, M, P) holds the gradients as flat buffers, computed one by one, and `squares` (G, S, M) their squared norms by
    group of parameters.
    """

    def __init__(self, S, n, k, model=None, seed=0):
        self.model = model or tiny.model(max_position_embeddings=n)
        self.ids = numpy.random.default_rng(seed).integers(2, self.model.config.vocab_size, (S, n))
        assert len(numpy.unique(self.ids, axis=0)) == S  # a sentence is known by its tokens
        self.masks, self.groups = all_masks(n, k), Groups(self.model.shapes)
        self.flat = numpy.array([[self._gradient(row[None], mask[None]) for mask in self.masks] for row in self.ids])
        found = [[self.groups.squares(vector) for vector in rows] for rows in self.flat]  # (S, M, G)
        self.squares = numpy.moveaxis(numpy.array(found), -1, 0)
        self._sentence = {row.tobytes(): s for s, row in enumerate(self.ids)}
        self._mask = {mask.tobytes(): m for m, mask in enumerate(self.masks)}

    def _gradient(self, ids, positions):
        found = gradients(self.model, ids, positions)[1]
        return next(iter(found.values())).base.copy()  # all gradients are views of one buffer

    def truth(self) -> dict:
        """Return what a sample of this population estimates, by the definitions: the whole population's numbers."""
        norms = numpy.sqrt(self.squares.sum(axis=0))  # (S, M)
        means = self.flat.mean(axis=1)  # (S, P)
        data = ((means - means.mean(axis=0)) ** 2).sum(axis=1).mean()
        mask = ((self.flat - means[:, None]) ** 2).sum(axis=2).mean()
        return {
            "data": data,
            "mask": mask,
            "headroom": norms.var(axis=1).mean(),
            "mask_share": mask / (data + mask),
            "headroom_share": norms.var(axis=1).mean() / mask,
            "signal": (means.mean(axis=0) ** 2).sum(),
        }

    def lookup(self, monkeypatch) -> None:
        """Make `decompose_variance` look gradients up instead of computing them; all else runs as it is."""

        def mean_gradient(model, groups, sentence, positions, weights=None):
            s, m, w = self._rows(sentence.ids, positions, weights)
            return w @ self.flat[s, m] / len(m), w * w * self.squares[:, s, m]

        def sequence_squares(model, ids, positions, weights=None, attention_mask=None):
            s, m, w = self._rows(ids, positions, weights)
            return dict(zip(self.groups.names, w * w * self.squares[:, s, m], strict=True))

        monkeypatch.setattr(decomposition, "mean_gradient", mean_gradient)
        monkeypatch.setattr(decomposition, "sequence_squares", sequence_squares)

    def _rows(self, ids, positions, weights):
        """Return the numbers of the one sentence in all rows of `ids`, and of each row's mask, and the masks' weights."""
        w = numpy.ones(len(positions)) if weights is None else weights.sum(axis=1)
        return self._sentence[ids[0].tobytes()], [self._mask[row.tobytes()] for row in positions], w


def even_model() -> Bert:
    """Make a model whose sentences differ little: 24 channels, as drawn before training."""
    return Bert(tiny.config(hidden_size=24, intermediate_size=24), seed=1, init="random")


# A score of positions that has nothing to do with norms.
scores = PositionScore(
    lambda ids: numpy.broadcast_to(numpy.random.default_rng(5).uniform(0.7, 1.4, ids.shape[1]), ids.shape)
)


def exact_share(population: Population, proposal) -> float:
    """Return the share of the headroom that a set proposal with these scores wins, by its probabilities of all masks."""
    squares = population.squares.sum(axis=0)  # (S, M)
    maskable = numpy.ones((1, population.ids.shape[1]), bool)
    distribution = distribution_of(proposal, None, population.ids[:1], maskable)
    q = numpy.exp(distribution.log_prob(population.masks[:, None]))[:, 0]  # (M,)
    gain = squares.mean(axis=1) - (squares / (len(q) ** 2 * q)).sum(axis=1)
    return gain.mean() / numpy.sqrt(squares).var(axis=1).mean()


class OneGroup:
    """Groups of plain vectors, for tests of the sums alone."""

    names = ("all",)

    def totals(self, work):
        return numpy.array(work(slice(None)))[:, None]

    def squares(self, vector):
        return numpy.array([vector @ vector])
