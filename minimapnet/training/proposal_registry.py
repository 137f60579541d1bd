"""The proposals that a model can be trained with, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from minimapnet.errors import InputError
from minimapnet.mapnet.learner import MapNetPool, MapNetPosition, MapNetSingle
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.proposals import FullyExploredProposal, PoolProposal, Proposal, SingleProposal, UniformProposal
from minimapnet.proposals.optimal import optimal_position_proposal
from minimapnet.proposals.scores import exact_norm

LEARN_EVERY = 4  # steps between two times that MAPNet learns: the norms and its backward are most of what it costs
USUAL_SHARE = 0.15  # of the tokens are masked


def mapnet(model, seed: int) -> MapNet:
    """Make the MAPNet that goes with a model."""
    return MapNet(MapNetConfig.for_model(model.config), seed)


@dataclass(frozen=True)
class Kind:
    """A proposal by name: a few words, and how to make it of (model, k, masks of a row, seed).

    `masks` is how many masks of a row it looks at or uses by default, None where that is no choice. A single one masks one
    position.
    """

    words: str
    make: Callable[..., Proposal]
    masks: int | None = None
    single: bool = False


KINDS = {
    "uniform": Kind("every mask is equally likely", lambda model, k, masks, seed: UniformProposal(k)),
    "fully-explored": Kind(
        "several disjoint masks of a row, all of them used",
        lambda model, k, masks, seed: FullyExploredProposal(k, masks),
        masks=5,
    ),
    "mapnet-single": Kind(
        "one position, by the gradient norm that MAPNet predicts",
        lambda model, k, masks, seed: MapNetSingle(mapnet(model, seed), learn_every=LEARN_EVERY),
        single=True,
    ),
    "mapnet-pool": Kind(
        "one of several masks, by MAPNet",
        lambda model, k, masks, seed: MapNetPool(k, mapnet(model, seed), masks, learn_every=LEARN_EVERY),
        masks=8,
    ),
    "mapnet-positions": Kind(
        "several positions, each by MAPNet (biased)",
        lambda model, k, masks, seed: MapNetPosition(k, mapnet(model, seed), learn_every=LEARN_EVERY),
    ),
    "optimal-single": Kind(
        "one position, by its exact gradient norm (slow)",
        lambda model, k, masks, seed: SingleProposal(optimal_position_proposal),
        single=True,
    ),
    "optimal-pool": Kind(
        "one of several masks, by their exact gradient norms (slow)",
        lambda model, k, masks, seed: PoolProposal(k, exact_norm, masks),
        masks=8,
    ),
}
WORDS = "; ".join(f"{name}: {kind.words}" for name, kind in KINDS.items())
MASKS = ", ".join(f"{kind.masks} for {name}" for name, kind in KINDS.items() if kind.masks)


def masked(name: str, k: int | float | None) -> int | float:
    """Return k, or its default for this kind of proposal.

    Raises InputError for another k than 1 where only 1 is possible.
    """
    if not KINDS[name].single:
        return USUAL_SHARE if k is None else k
    if k not in (None, 1):
        raise InputError(f"the proposal {name} masks a single position: give --mask-rate 1, or leave it out")
    return 1


def make(name: str, model, k: int | float, masks: int | None, seed: int) -> Proposal:
    """Make a proposal for a model. Raises InputError for a number of masks where the kind has no use for it."""
    kind = KINDS[name]
    if masks is not None and kind.masks is None:
        raise InputError(f"the proposal {name} draws one mask of a row: leave out --masks")
    return kind.make(model, k, kind.masks if masks is None else masks, seed)
