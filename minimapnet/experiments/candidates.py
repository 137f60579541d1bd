"""The proposals that `minimapnet compare` holds against each other."""

from collections.abc import Callable
from dataclasses import dataclass

from minimapnet.experiments.presets import BranchSettings, ScratchSettings
from minimapnet.mapnet.learner import MapNetPool, MapNetPosition, MapNetSingle
from minimapnet.proposals import FullyExploredProposal, PoolProposal, Proposal, SingleProposal, UniformProposal
from minimapnet.proposals.scores import exact_norm, score_each_position
from minimapnet.text_tables import amount
from minimapnet.training.proposal_registry import LEARN_EVERY, mapnet

DISJOINT = 5  # masks of a sentence that fully explored draws together
POOL = 16  # candidates of MAPNet's pool, which cost it no pass through the model
EXACT_POOL = 4  # candidates of the optimal pool, each of which costs a pass
LEARNING = (
    "MAPNet learns from the norms of every step of the warm start and its restart, and of each "
    f"{LEARN_EVERY}th step of its own runs: the norms and its backward are most of what it costs. A step's cost is the mean "
    "over that many steps."
)
UNIFORM_SHARE = 0.2  # of the masks of the branches' scored proposals: no weight is above 5


@dataclass(frozen=True)
class Candidate:
    """A proposal under test: `make(model, seed)` makes it, `masked` is what it masks of a sentence, a number or a share.

    It is given `rows` rows of text a step, and makes `rows * masks` rows of them, as many as every other of its experiment.
    """

    name: str
    family: str
    masked: int | float
    make: Callable[[object, int], Proposal]
    masks: int = 1  # of a sentence
    unbiased: bool = True  # for the uniform objective


def scratch(settings: ScratchSettings) -> list[Candidate]:
    """Return the proposals of the experiment from scratch, the baseline first."""
    k, learning = settings.masked, {"learn_every": LEARN_EVERY}
    return [
        Candidate("uniform", "uniform", k, lambda model, seed: UniformProposal(k)),
        Candidate("fully explored", "structured", k, lambda model, seed: FullyExploredProposal(k, DISJOINT), DISJOINT),
        Candidate("MAPNet pool", "MAPNet", k, lambda model, seed: MapNetPool(k, mapnet(model, seed), POOL, **learning)),
        Candidate("optimal pool", "optimal", k, lambda model, seed: PoolProposal(k, exact_norm, EXACT_POOL)),
        Candidate(
            "MAPNet positions",
            "MAPNet",
            k,
            lambda model, seed: MapNetPosition(k, mapnet(model, seed), **learning),
            unbiased=False,
        ),
    ]


def branches(settings: BranchSettings) -> list[Candidate]:
    """Return the proposals of the branches: uniform masks of several sizes, then the others."""
    exact = score_each_position(exact_norm)
    uniform = [
        Candidate(f"uniform, {amount(k)} masked", "uniform", k, lambda model, seed, k=k: UniformProposal(k))
        for k in settings.masked
    ]
    k, wide, rate = settings.pool_masked, settings.wide_pool_masked, settings.mapnet_learning_rate
    learning = {"uniform": UNIFORM_SHARE, "learning_rate": rate, "learn_every": LEARN_EVERY}

    def pool(name, k):
        return Candidate(name, "MAPNet", k, lambda model, seed: MapNetPool(k, mapnet(model, seed), POOL, **learning))

    return [
        *uniform,
        Candidate("MAPNet single", "MAPNet", 1, lambda model, seed: MapNetSingle(mapnet(model, seed), **learning)),
        pool("MAPNet pool", k),
        pool(f"MAPNet pool, {amount(wide)} masked", wide),
        Candidate("optimal single", "optimal", 1, lambda model, seed: SingleProposal(exact, UNIFORM_SHARE)),
    ]


def uniform_with_mapnet(masked: int | float, model, seed: int) -> MapNetPool:
    """Make uniform masks from which a MAPNet learns: a pool of one candidate, whose weight is 1."""
    return MapNetPool(masked, mapnet(model, seed), candidates=1)
