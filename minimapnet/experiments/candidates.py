"""The proposals that `minimapnet compare` holds against each other, all from the registry."""

from dataclasses import dataclass, field
from typing import Any

from minimapnet.experiments.presets import BranchSettings, ScratchSettings
from minimapnet.proposals.base import Proposal
from minimapnet.text_tables import amount
from minimapnet.training import proposal_registry
from minimapnet.training.proposal_registry import LEARN_EVERY

DISJOINT = 5  # masks of a sentence that fully explored draws together
POOL = 16  # candidates of MAPNet's pool, which cost it no pass through the model
EXACT_POOL = 4  # candidates of the optimal pool, each of which costs a pass
LEARNING = (
    "MAPNet learns from the norms of every step of the warm start and its restart, and of each "
    f"{LEARN_EVERY}th step of its own runs: the norms and its backward are most of what it costs. A step's cost is the mean "
    "over that many steps."
)
UNIFORM_MIX = 0.2  # of the masks of the branches' scored proposals: no weight is above 5


@dataclass(frozen=True)
class Candidate:
    """A proposal under test: its kind in the registry, with parameters; `masked` is a number of positions, or a share.

    It is given `batch_size / masks` rows of text a step, so that all of an experiment make as many rows of them.
    """

    name: str
    kind: str
    masked: int | float
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What reports put together, as of the registry."""
        return proposal_registry.KINDS[self.kind].family

    @property
    def unbiased(self) -> bool:
        """Whether its gradient is unbiased for the uniform objective."""
        return proposal_registry.KINDS[self.kind].unbiased

    @property
    def masks(self) -> int:
        """The number of masks of a sentence that it uses."""
        return int(self.parameters.get("masks", 1))

    def make(self, model, seed: int) -> Proposal:
        """Make the proposal for a model."""
        return proposal_registry.make(self.kind, model, seed, mask_rate=self.masked, **self.parameters)


def scratch(settings: ScratchSettings) -> list[Candidate]:
    """Return the proposals of the experiment from scratch: uniform masks of several sizes, then the others."""
    k, each = settings.proposal_masked, settings.disjoint_masked
    words = f"{amount(k)} masked"
    return [
        *(Candidate(f"uniform, {amount(size)} masked", "uniform", size) for size in settings.masked),
        Candidate(f"fully explored, {amount(each)} masked", "fully-explored", each, {"masks": DISJOINT}),
        Candidate(f"MAPNet pool, {words}", "mapnet-pool", k, {"candidates": POOL}),
        Candidate(f"optimal pool, {words}", "optimal-pool", k, {"candidates": EXACT_POOL}),
        Candidate(f"MAPNet positions, {words}", "mapnet-positions", k),
    ]


def branches(settings: BranchSettings) -> list[Candidate]:
    """Return the proposals of the branches: uniform masks of several sizes, then the others."""
    mix = {"uniform_mix": UNIFORM_MIX}
    mapnet = mix | {"learning_rate": settings.mapnet_learning_rate}
    pool, wide = mapnet | {"candidates": POOL}, settings.wide_pool_masked
    return [
        *(Candidate(f"uniform, {amount(k)} masked", "uniform", k) for k in settings.masked),
        Candidate("MAPNet single", "mapnet-single", 1, mapnet),
        Candidate("MAPNet pool", "mapnet-pool", settings.pool_masked, pool),
        Candidate(f"MAPNet pool, {amount(wide)} masked", "mapnet-pool", wide, pool),
        Candidate("optimal single", "optimal-single", 1, mix),
    ]


def uniform_with_mapnet(masked: int | float, model, seed: int) -> Proposal:
    """Make uniform masks from which a MAPNet learns at every step: a pool of one candidate, whose weight is 1."""
    return proposal_registry.make("mapnet-pool", model, seed, mask_rate=masked, candidates=1, learn_every=1)
