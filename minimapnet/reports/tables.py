"""Numbers as words, and the tables that the report and the command print alike."""

from html import escape

from minimapnet.text_tables import amount

Table = list[list[str]]  # the first row is the header


def percent(share: float) -> str:
    """Write a share in percent, with a digit after the point below 10 %."""
    return f"{100 * share:.1f} %" if abs(share) < 0.0995 else f"{100 * share:.0f} %"


def uncertain_percent(estimate) -> str:
    """Write [value, low, high] in percent with its interval."""
    value, low, high = (percent(share)[:-2] for share in estimate)
    return f"{value} [{low}, {high}] %"


def signed(value: float) -> str:
    """Write a difference of losses in nats."""
    return f"{value:+.3f}"


def interval_words(interval, digits: str) -> str:
    """Write the ends of an interval, or say that one seed gives none."""
    return "[one seed]" if interval is None else f"[{interval[0]:{digits}}, {interval[1]:{digits}}]"


def label(proposal: dict) -> str:
    """Return a proposal's name, marked where it is biased."""
    return proposal["name"] if proposal["unbiased"] else f"{proposal['name']} (biased)"


def masked_words(masked) -> str:
    """Write a number of masked tokens, or a share of them."""
    if masked is None:
        return "masked as named"
    return f"{amount(masked)} masked"


def cost_ratio(results: dict, times: dict, experiment: str, name: str) -> float | None:
    """Return what a step of a proposal costs, as a multiple of the baseline's step; None where it was not timed."""
    steps = times.get("steps", {}).get(experiment, {})
    baseline = results["experiments"][experiment]["baseline"]
    return steps[name]["ratio"] / steps[baseline]["ratio"] if name in steps and baseline in steps else None


def start_of_branches(results: dict) -> dict:
    """Return the stage measured where the branches start, after the restart."""
    return results["experiments"]["branches"]["warm"]["start"]


def of_proposals(results: dict, times: dict, experiment: str) -> Table:
    """Return final loss, difference, ratios and cost of every proposal of an experiment."""
    run = results["experiments"][experiment]
    against = {comparison["name"]: comparison for comparison in run["comparisons"]}
    ratios = times.get("time_ratios", {}).get(experiment, {})
    table = [["proposal", "final loss", "95 % interval", "difference", "steps", "time", "a step costs"]]
    for proposal in run["proposals"]:
        name, final = proposal["name"], proposal["final"]
        row = [label(proposal), f"{final['mean']:.3f}", interval_words(final["interval"], ".3f")]
        if name == run["baseline"]:
            row += ["baseline", "1", "1"]
        else:
            comparison = against.get(name)
            digits = {"difference": "+.3f", "steps_ratio": ".2f"}
            row += [_cell(comparison and comparison[key], form) for key, form in digits.items()]
            row.append(_cell(ratios.get(name), ".2f"))
        cost = cost_ratio(results, times, experiment, name)
        table.append([*row, "-" if cost is None else f"{cost:.2f}"])
    return table


def of_stages(results: dict) -> Table:
    """Return the parts of the variance at each stage and for each number of masked tokens, with 95 % intervals."""
    table = [["step", "loss", "masked", "data, nats²", "masks, nats²", "masks' share", "headroom, of masks"]]
    for step, stage in _stages(results):
        for masks in stage["masks"]:
            shares = [uncertain_percent(masks["mask_share"]), uncertain_percent(masks["headroom_share"])]
            parts = [f"{masks['data'][0]:.3g}", f"{masks['mask'][0]:.3g}"]
            table.append([step, f"{stage['loss']:.3f}", amount(masks["k"]), *parts, *shares])
    return table


def of_mapnet(results: dict) -> Table:
    """Return how good MAPNet is at each stage, on held-out rows, for single masks."""
    table = [["step", "headroom won", "KL, nats", "correlation", "slope", "intercept"]]
    for step, stage in _stages(results):
        if quality := stage.get("mapnet"):
            row = [step, percent(quality["headroom_won"]), f"{quality['kl']:.3g}"]
            table.append([*row, *(f"{quality[key]:.2f}" for key in ("correlation", "slope", "intercept"))])
    return table


def of_diagnostics(results: dict, experiment: str) -> Table:
    """Return each proposal's diagnostics, as means over the run; proposals without any are left out."""
    proposals = [proposal for proposal in results["experiments"][experiment]["proposals"] if proposal.get("diagnostics")]
    names = list(dict.fromkeys(name for proposal in proposals for name in proposal["diagnostics"]))
    rows = [[label(proposal), *(_number(proposal["diagnostics"].get(name)) for name in names)] for proposal in proposals]
    return [["proposal", *(name.replace("_", " ") for name in names)], *rows]


def of_settings(settings: dict) -> Table:
    """Return every setting, nested ones by their dotted names."""
    return [["setting", "value"], *_flat(settings, "")]


def html(table: Table) -> str:
    """Write a table as HTML in a frame that scrolls sideways where the screen is narrow; every cell is escaped."""
    header, *rows = table
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _stages(results):
    """Return (what its step is called, stage) of all stages, and of where the branches start."""
    stages = [(f"{stage['step']:,}", stage) for stage in results["stages"]]
    start = start_of_branches(results)
    return [*stages, (f"{start['step']:,}, restarted", start)]


def _flat(settings, prefix):
    rows = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append([f"{prefix}{name}", words])
    return rows


def _cell(estimate, digits):
    return f"{estimate['mean']:{digits}} {interval_words(estimate['interval'], digits)}" if estimate else "-"


def _number(value):
    return "-" if value is None else f"{value:.3g}"
