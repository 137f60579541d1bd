"""The figures of a comparison by name, drawn from its two dicts with matplotlib's Figure alone, without pyplot."""

from functools import partial

import matplotlib
from matplotlib.figure import Figure

from minimapnet.lab import figures_training as training
from minimapnet.lab import figures_variance as variance
from minimapnet.lab.figure_style import CONTEXT


def draw(results: dict, times: dict) -> dict[str, Figure]:
    """Give every figure that was measured, by the name that `claims.Claim.figures` uses."""
    with matplotlib.rc_context(CONTEXT):
        return {name: drawing() for name, drawing in _drawings(results, times).items()}


def _drawings(results, times):
    found = {f"loss_{name}": partial(training.losses, results, times, name) for name in results["experiments"]}
    if any(run["comparisons"] for run in results["experiments"].values()):
        found["ratios"] = partial(training.ratios, results, times)
    if times.get("steps"):
        found["cost"] = partial(training.cost, results, times)
    if results["stages"]:
        found["variance_parts"] = partial(variance.variance_parts, results)
        found["headroom"] = partial(variance.headroom, results)
    if any(stage.get("mapnet") for stage in results["stages"]):
        found["mapnet"] = partial(variance.mapnet, results)
    if len((results.get("calibration") or {}).get("exact", [])) > 1:
        found["calibration"] = partial(variance.calibration, results)
    return found
