"""Every proposal by name: what it draws, what it is drawn by, its parameters, and how it is made.

`train`, `compare`, `variance`, the benchmarks and the tutorials take their proposals from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minimapnet.errors import InputError
from minimapnet.mapnet.learner import LEARNING_RATE, UNIFORM_MIX, MapNetScore
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.proposals.base import Proposal, Score
from minimapnet.proposals.importance import PositionProposal, SetProposal, SingleProposal
from minimapnet.proposals.pools import BatchPoolProposal, PoolProposal
from minimapnet.proposals.scores import exact_norm, mean_loss, output_bound
from minimapnet.proposals.structured import FullyExploredProposal, SpanProposal, UniformProposal, WholeWordProposal
from minimapnet.text.tokenizer import continues_word
from minimapnet.training import setting_fields
from minimapnet.training.setting_fields import whole

MASK_RATE = 0.4  # share of the maskable tokens, by default: small models learn more from it than from 0.15
LEARN_EVERY = 4  # steps between two times that MAPNet learns: the norms and its backward are most of what it costs


@dataclass(frozen=True)
class ProposalKind:
    """A proposal's class, a few words on what it draws, its parameters with their defaults, and what it is drawn by.

    One without the parameter `mask_rate` masks a single position. `score` is a name in SCORES, or None for masks that look
    at nothing but the sentence.
    """

    proposal: type[Proposal]
    summary: str
    parameters: dict[str, Any]
    score: str | None = None

    @property
    def unbiased(self) -> bool:
        """Whether the gradient's expectation is that of uniform masks."""
        return self.proposal.unbiased

    @property
    def family(self) -> str:
        """What reports put together: "uniform", "structured", "MAPNet", "optimal" or "other"."""
        if self.score is None:
            return "uniform" if self.proposal is UniformProposal else "structured"
        return {"mapnet": "MAPNet", "optimal": "optimal"}.get(self.score, "other")


def mapnet_score(model, seed: int, **learning) -> MapNetScore:
    """Make the score of a new MAPNet that goes with a model; `learning` as of MapNetScore."""
    return MapNetScore(MapNet(MapNetConfig.for_model(model.config), seed), **learning)


SCORES: dict[str, Callable[..., Score]] = {
    "mapnet": mapnet_score,
    "optimal": lambda model, seed: exact_norm,
    "output-bound": lambda model, seed: output_bound,
    "loss": lambda model, seed: mean_loss,
}
LEARNING = {"objective": "regression", "learning_rate": LEARNING_RATE, "learn_every": LEARN_EVERY}  # of MAPNet
RATE, POOL = {"mask_rate": MASK_RATE}, {"mask_rate": MASK_RATE, "candidates": 8}
BY_MAPNET = {"uniform_mix": UNIFORM_MIX, **LEARNING}
EXACT = {"uniform_mix": 0.0}

RANGES = {  # of parameters, whichever kind has them
    "mask_rate": setting_fields.MASK_RATE,
    "masks": whole(1),
    "candidates": whole(1),
    "rows": whole(1),
    "uniform_mix": setting_fields.SHARE,
    "exponent": setting_fields.NOT_NEGATIVE,
    "learning_rate": setting_fields.POSITIVE,
    "learn_every": whole(1),
}

KINDS = {
    "uniform": ProposalKind(UniformProposal, "every mask is equally likely", RATE),
    "fully-explored": ProposalKind(
        FullyExploredProposal, "several disjoint masks of a row, all of them used", RATE | {"masks": 2}
    ),
    "whole-word": ProposalKind(WholeWordProposal, "whole words (biased)", RATE | {"masks": 1}),
    "span": ProposalKind(SpanProposal, "contiguous spans (biased)", RATE | {"masks": 1}),
    "mapnet-single": ProposalKind(SingleProposal, "one position, by MAPNet's norms", BY_MAPNET, "mapnet"),
    "mapnet-pool": ProposalKind(PoolProposal, "one of several masks, by MAPNet's norms", POOL | BY_MAPNET, "mapnet"),
    "mapnet-batch-pool": ProposalKind(
        BatchPoolProposal,
        "some of the (row, mask) pairs of a step, by MAPNet's norms",
        POOL | BY_MAPNET | {"rows": 16},
        "mapnet",
    ),
    "mapnet-positions": ProposalKind(
        PositionProposal, "several positions, each by MAPNet's norm (biased)", RATE | BY_MAPNET, "mapnet"
    ),
    "optimal-single": ProposalKind(SingleProposal, "one position, by exact norms (slow)", EXACT, "optimal"),
    "optimal-set": ProposalKind(
        SetProposal, "a set with odds by exact norms (slow)", RATE | EXACT | {"exponent": 1.0}, "optimal"
    ),
    "optimal-pool": ProposalKind(PoolProposal, "one of several masks, by exact norms (slow)", POOL | EXACT, "optimal"),
    "optimal-positions": ProposalKind(
        PositionProposal, "several positions, each by its exact norm (biased, slow)", RATE | EXACT, "optimal"
    ),
    "output-bound-pool": ProposalKind(
        PoolProposal, "one of several masks, by a bound on the decoder's norm", POOL | EXACT, "output-bound"
    ),
    "loss-pool": ProposalKind(PoolProposal, "one of several masks, by their losses", POOL | EXACT, "loss"),
}


def make(name: str, model, seed: int = 0, score: Score | None = None, tokenizer=None, **parameters) -> Proposal:
    """Make a proposal for a model; a parameter that is None, or not given, has the kind's default.

    `score` takes the place of a new one where masks are drawn by a score; `tokenizer` is what whole words are known by.

    Raises InputError for a parameter that the kind does not have, and values outside their range.
    """
    kind = KINDS[name]
    given = {parameter: value for parameter, value in parameters.items() if value is not None}
    if "mask_rate" not in kind.parameters and given.pop("mask_rate", 1) != 1:
        raise InputError(f"the proposal {name} masks a single position: give --mask-rate 1, or leave it out")
    for parameter, value in given.items():
        if parameter not in kind.parameters:
            raise InputError(f"the proposal {name} has no --{parameter.replace('_', '-')}: leave it out")
        if parameter in RANGES and not RANGES[parameter].holds(value):
            raise InputError(f"{parameter} must be {RANGES[parameter].words}, not {value!r}")
    values = kind.parameters | given
    learning = {parameter: values.pop(parameter) for parameter in LEARNING if parameter in values}
    arguments = {"k" if parameter == "mask_rate" else parameter: value for parameter, value in values.items()}
    if kind.score is not None:
        arguments["score"] = score or SCORES[kind.score](model, seed, **learning)
    if kind.proposal is WholeWordProposal:
        arguments["continues"] = continues_word(tokenizer)
    return kind.proposal(**arguments)


def summaries() -> str:
    """Return a line for a help text that says what each kind draws."""
    return "; ".join(f"{name}: {kind.summary}" for name, kind in KINDS.items())


def defaults(parameter: str) -> str:
    """Return words for a help text: a parameter's default for each kind that has it."""
    kinds: dict = {}
    for name, kind in KINDS.items():
        if parameter in kind.parameters:
            kinds.setdefault(kind.parameters[parameter], []).append(name)
    return "; ".join(f"{value:g} for {', '.join(names)}" for value, names in kinds.items())
