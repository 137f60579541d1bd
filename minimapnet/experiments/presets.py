"""What `minimapnet compare` is made of: the numbers of its experiments, and the presets."""

from dataclasses import dataclass, field

from minimapnet.training.settings import ModelSettings


@dataclass(frozen=True)
class TextSettings:
    """How the text becomes rows: one sentence a row, of at most `max_length` tokens, [CLS] and [SEP] counted."""

    vocab_size: int = 2048
    max_length: int = 32
    validation_rows: int = 512


@dataclass(frozen=True)
class ScratchSettings:
    """From scratch: every proposal trains the same model from the same start, with a learning rate that goes down."""

    seeds: int = 3
    steps: int = 1200
    batch_size: int = 30  # that go through the model in a step, over all its sentences
    masked: tuple[int | float, ...] = (0.15, 0.4)  # of the uniform proposals, a number or a share
    disjoint_masked: int | float = 0.15  # of each of the masks of fully explored
    proposal_masked: int | float = 0.4  # of MAPNet's and the optimal proposals
    learning_rate: float = 2e-3
    evaluations: int = 12


@dataclass(frozen=True)
class BranchSettings:
    """Branches: one warm start with uniform masks, then every proposal goes on from there at a constant learning rate.

    The warm start trains a model with a learning rate that goes down, then restarts it: some steps at a high, constant rate
    with as few rows as the branches have. That brings it to the high floor at which noise holds a model in the midst of
    training. The branches have a lower rate, hence a lower floor, and noise decides how soon and how low they come down.
    They end before the baseline does nothing but go up and down on its floor.
    """

    seeds: int = 5
    warm_steps: int = 2000
    warm_batch_size: int = 16
    warm_masked: int = 2
    warm_learning_rate: float = 1e-3  # at its peak
    warm_schedule: str = "linear"
    restart_steps: int = 300
    restart_learning_rate: float = 1e-3
    steps: int = 400
    batch_size: int = 4  # of the restart and the branches: few, so that noise sets the floor
    masked: tuple[int | float, ...] = (1, 2, 4, 0.4)  # of the uniform proposals, a number or a share
    pool_masked: int = 2
    wide_pool_masked: int | float = 0.4  # of a pool that masks as many as the widest uniform proposal
    learning_rate: float = 3e-4
    mapnet_learning_rate: float = 2e-4  # from the restart on
    evaluations: int = 20


@dataclass(frozen=True)
class StageSettings:
    """What is measured along the warm start, on rows of the test part."""

    count: int = 5  # stages
    masked: tuple[int | float, ...] = (1, 0.15, 0.4)  # of each sentence, a number or a share
    sentences: int = 24
    masks: int = 8  # of each sentence
    quality_sentences: int = 128  # whose every token's exact norm MAPNet is held against
    shown: int = 6  # sentences with their tokens shaded


@dataclass(frozen=True)
class CompareSettings:
    """A whole comparison; the defaults are the preset `default`."""

    text: TextSettings = field(default_factory=TextSettings)
    model: ModelSettings = field(default_factory=lambda: ModelSettings(layers=1))
    scratch: ScratchSettings = field(default_factory=ScratchSettings)
    branches: BranchSettings = field(default_factory=BranchSettings)
    stages: StageSettings = field(default_factory=StageSettings)
    timed_steps: int = 48  # of each proposal, in turns


@dataclass(frozen=True)
class Run:
    """One training run: of the experiment "warm", "scratch" or "branches", with a proposal's name, and a seed."""

    experiment: str
    proposal: str
    seed: int

    def __str__(self) -> str:
        return f"the run {self.experiment}, {self.proposal}, seed {self.seed}"


PRESETS = {
    "default": CompareSettings(),
    "full": CompareSettings(
        text=TextSettings(validation_rows=1024),
        scratch=ScratchSettings(seeds=4, steps=3000, evaluations=20),
        branches=BranchSettings(seeds=12, warm_steps=8000),
        stages=StageSettings(count=7, sentences=40, masks=12, quality_sentences=400),
        timed_steps=120,
    ),
    "smoke": CompareSettings(
        text=TextSettings(validation_rows=64),
        model=ModelSettings(hidden_size=32, layers=1),
        scratch=ScratchSettings(seeds=2, steps=12, evaluations=3),
        branches=BranchSettings(seeds=2, warm_steps=12, restart_steps=6, steps=8, masked=(1, 2), evaluations=4),
        stages=StageSettings(count=2, sentences=4, masks=2, quality_sentences=6, shown=2),
        timed_steps=4,
    ),
}
