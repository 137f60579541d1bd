"""What the variance decomposition finds, to be read as attributes, printed as a table, or saved as JSON.

All variances and squared norms are in nats^2: squared Euclidean norms of gradients of a loss in nats, the trace of the
covariance where it is a variance, of one gradient of one sentence under one mask.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from minimapnet.files import write_json
from minimapnet.text_tables import aligned


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error over sentences (the jackknife's), and the ends of its 95 % interval.

    The interval is that of `jackknife`; it is not symmetric where the number is a variance or a share. How often it
    holds the truth was counted in 1,500 samples each, of small models' sentences all of whose masks were enumerated:

    - 32 sentences of 4 masks, which differ little: 94 to 96 %, whatever the number;
    - 24 to 40 sentences of 3 to 12 masks, with heavy tails (the headroom of a sentence varies by 0.8 to 1.5 times its mean):
      91 to 98 % for data and mask variance, headroom, signal, shares, and a proposal's mask variance, but 85 to 94 % for
      what a proposal wins or removes: a sample may miss the few sentences on which it loses most. Draw more for that.

    The standard error is 0, and both ends are the number itself, where it is exact.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]

    @classmethod
    def exact(cls, value) -> "Estimate":
        """Make a number that is not estimated."""
        return cls(float(value), 0.0, (float(value), float(value)))

    def text(self, digits: str = ".4g", percent: bool = False) -> str:
        """Write the number with its standard error behind it."""
        scale, sign = (100, " %") if percent else (1, "")
        if not self.standard_error:
            return f"{self.value * scale:{digits}}{sign}"
        error = self.standard_error * scale
        return f"{self.value * scale:{digits}} +- {error:{'.2g' if error < 100 else '.0f'}}{sign}"


@dataclass(frozen=True)
class Variances:
    """The variance of a gradient under uniform masks, or that of one group of parameters' part of it, in nats^2.

    data: Var_x(E_M[g | x]); mask: E_x[Var_M(g | x)]; headroom: E_x[Var_M(|g| | x)], the most that a choice of single masks
    within a sentence can remove of the mask variance. Data and mask variances of the groups add up to those of the whole;
    the headroom of a group is what could be removed if that group alone counted, and headrooms do not add up.
    """

    data: Estimate
    mask: Estimate
    headroom: Estimate


@dataclass(frozen=True)
class ProposalVariance:
    """What one proposal makes of the mask variance, against uniform masks of the same sentences.

    mask: its own mask variance, in nats^2: the variance within a sentence of its estimate, times the rows that the estimate
    takes, so that proposals compare at equal numbers of gradient rows (what scoring costs is not in it). ratio: the same as
    a share of the uniform masks' mask variance. share_won: what it removes, as a share of the headroom; None for a biased
    proposal, which removes something else as well, and for one of several rows, which the headroom does not bound.

    Where it is biased (`unbiased` False), also in nats^2 and possibly below 0 by chance, as the estimates are unbiased:
    sentence_bias is E_x |E g of the proposal - E g of uniform masks, given x|^2, and bias the squared norm of the same
    difference after the average over x, which is at most that and what is left however large the batch.
    """

    unbiased: bool
    rows: int
    mask: Estimate
    ratio: Estimate
    removed_by_group: dict[str, Estimate]
    share_won: Estimate | None = None
    sentence_bias: Estimate | None = None
    bias: Estimate | None = None


@dataclass(frozen=True)
class VarianceReport:
    """Where the variance of a gradient comes from; see `Variances` for the words and the units.

    sentences N and masks R of each are what it was estimated from; masks is None where all were enumerated, and then data
    is the variance over these very sentences and nothing has a standard error. positions is the mean number of masked
    positions of a mask, maskable that of maskable positions. mask_share is mask / (data + mask); headroom_share is
    headroom / mask; signal is |E g|^2. The mean gradient of N sentences with R masks each has the variance
    data / N + mask / (N R).
    """

    sentences: int
    masks: int | None
    positions: float
    maskable: float
    whole: Variances
    mask_share: Estimate
    headroom_share: Estimate
    signal: Estimate
    groups: dict[str, Variances]
    proposals: dict[str, ProposalVariance]

    @property
    def data(self) -> Estimate:
        """Var_x(E_M[g | x]), in nats^2."""
        return self.whole.data

    @property
    def mask(self) -> Estimate:
        """E_x[Var_M(g | x)] under uniform masks, in nats^2."""
        return self.whole.mask

    @property
    def headroom(self) -> Estimate:
        """E_x[Var_M(|g| | x)], in nats^2."""
        return self.whole.headroom

    def save(self, file: str | Path) -> None:
        """Write everything as JSON, estimates as {"value", "standard_error", "interval"}.

        Raises InputError where the file cannot be written; what was there before then still is.
        """
        write_json(Path(file), asdict(self))

    def __str__(self) -> str:
        drawn = "all masks" if self.masks is None else f"{self.masks} masks each"
        heading = (
            f"{self.sentences} sentences, {drawn}, of {self.positions:.3g} of {self.maskable:.3g} positions on average"
            + ("" if self.masks is None else " (+- standard error over sentences)")
        )
        parts = [heading, aligned(self._whole_rows()), aligned(self._group_rows())]
        if self.proposals:
            parts.append(aligned(self._proposal_rows()))
        return "\n\n".join(parts)

    def _whole_rows(self):
        return [
            ["one mask of one sentence", "nats^2", ""],
            ["data variance", self.data.text(), ""],
            ["mask variance", self.mask.text(), f"{self.mask_share.text('.1f', percent=True)} of the two"],
            ["headroom", self.headroom.text(), f"{self.headroom_share.text('.1f', percent=True)} of the mask variance"],
            ["|mean gradient|^2", self.signal.text(), ""],
        ]

    def _group_rows(self):
        rows = [["by group of parameters", "data", "mask", "headroom"]]
        for name, group in self.groups.items():
            rows.append([name, group.data.text(), group.mask.text(), group.headroom.text()])
        return rows

    def _proposal_rows(self):
        rows = [["proposal", "mask variance", "of uniform", "of headroom won", "bias^2, a sentence", "bias^2"]]
        for name, one in self.proposals.items():
            ratio, won = one.ratio.text(".1f", percent=True), or_dash(one.share_won, ".0f", percent=True)
            biases = [or_dash(bias, ".3g") for bias in (one.sentence_bias, one.bias)]
            rows.append([name, one.mask.text(), ratio, won, *biases])
        return rows


def or_dash(estimate: Estimate | None, digits: str, percent: bool = False) -> str:
    """Write an estimate as `Estimate.text` does, or a dash where there is none."""
    return "-" if estimate is None else estimate.text(digits, percent)
