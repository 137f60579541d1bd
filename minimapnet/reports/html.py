"""The report as one HTML file that needs nothing else: figures and style within, no script, for screens and for print."""

import base64
from html import escape
from importlib.resources import files
from string import Template

from minimapnet.reports import claims, tables
from minimapnet.reports.tables import masked_words

LIGHT, DARK = (255, 255, 255), (0, 62, 110)
INK_TURNS = 0.68  # shades above this carry white letters: both inks then have a contrast of at least 4.5
UNTOUCHED = ("[CLS]", "[SEP]", "[PAD]")


def page(results: dict, times: dict, pictures: dict[str, bytes]) -> str:
    """Return the report; `pictures` are the SVGs of `figures.draw` by name.

    Each is shown with the first claim that names it.
    """
    judged, shown, sections = claims.claims(results, times), set(), []
    for i, claim in enumerate(judged, 1):
        names = [name for name in claim.figures if name in pictures and name not in shown]
        shown.update(names)
        sections.append(_section(i, claim, names, pictures, _claim_tables(i, results, times)))
    words = {
        "name": results["text"]["name"],
        "summary": summary(results),
        "chance": _chance(results, times),
        "machine": times.get("machine", "an unnamed machine"),
        "threads": times.get("threads", "-"),
        "backend": results["backend"],
        "preset": results["preset"],
    }
    html = {
        "overview": _overview(judged),
        "sections": "\n".join(sections),
        "sentences": sentences(results["sentences"]),
        "rules": "\n".join(f"<p><b>{escape(key)}</b>: {escape(rule)}</p>" for key, rule in results["rules"].items()),
        "settings": tables.html(tables.of_settings(results["settings"])),
    }
    return _template().substitute(html, **{key: escape(str(value)) for key, value in words.items()})


def _template() -> Template:
    return Template((files("minimapnet.reports") / "report.html").read_text(encoding="utf-8"))


def summary(results: dict) -> str:
    """Return a sentence or two on the text that was trained on."""
    text = results["text"]
    words = (
        f"{text['name']}: {text['train_rows']:,} rows to train on, {text['validation_rows']:,} to validate on, at most "
        f"{text['max_length']} tokens each; a vocabulary of {text['vocabulary']:,}. "
        f"Unigram entropy {text['unigram_entropy']:.3f} nats"
    )
    true = text.get("true_entropy")
    return f"{words}." if true is None else f"{words}, true entropy {true:.3f}."


def experiment_words(results: dict, experiment: str) -> str:
    """Return in a line what an experiment's runs have in common."""
    run = results["experiments"][experiment]
    title = claims.TITLES.get(experiment, experiment)
    steps = f"{run['steps']:,} steps of {run['batch_size']} rows"
    words = f"{title[0].upper()}{title[1:]}: {masked_words(run.get('masked'))}, {steps}"
    if "warm" in run:
        words += f" after a warm start of {run['warm']['steps']:,} and a restart of {run['warm']['restart_steps']:,}"
    return f"{words}, {_seeds(run)}; baseline {run['baseline']}"


def _overview(judged):
    return "\n".join(
        f'<tr><th scope="row"><a href="#claim-{i}">{escape(claim.question)}</a></th>'
        f'<td class="verdict">{escape(claim.verdict)}</td>'
        f"<td>{'<br>'.join(map(escape, claim.numbers)) or '-'}</td></tr>"
        for i, claim in enumerate(judged, 1)
    )


def _section(i, claim, names, pictures, more):
    lines = [
        f'<h2 id="claim-{i}">{i}. {escape(claim.question)}</h2>',
        f'<p class="verdict">{escape(claim.verdict)}</p>',
        f"<ul>{''.join(f'<li>{escape(words)}</li>' for words in claim.numbers)}</ul>" if claim.numbers else "",
        *(f"<p>{escape(words)}</p>" for words in claim.answer),
        f'<p class="rule">Rule: {escape(claim.rule)}</p>',
        *(_figure(name, pictures[name]) for name in names),
        *more,
    ]
    return "\n".join(line for line in lines if line)


def _figure(name, svg):
    source = base64.b64encode(svg).decode("ascii")
    words = f"Figure {escape(name)}; the tables of this section hold its numbers"
    return f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{source}"></figure>'


def _claim_tables(i, results, times):
    if i == 1 and results["stages"]:
        return [tables.html(tables.of_stages(results))]
    if i == 3 and any(stage.get("mapnet") for stage in results["stages"]):
        return [tables.html(tables.of_mapnet(results))]
    if i == 4:
        parts = []
        for experiment in results["experiments"]:
            parts.append(f"<p>{escape(experiment_words(results, experiment))}</p>")
            parts.append(tables.html(tables.of_proposals(results, times, experiment)))
            diagnostics = tables.of_diagnostics(results, experiment)
            if len(diagnostics) > 1:
                parts.append(tables.html(diagnostics))
        return parts
    return []


def _chance(results, times):
    """Return how many intervals may exclude the middle by chance alone."""
    count = sum(finding.interval is not None for finding in claims.findings(results, times))
    if not count:
        return "With one seed there are no intervals, hence no verdicts on loss, steps and time."
    return (
        f"The comparisons below hold {count} intervals of 95 %, so about {max(1, round(count / 20))} may exclude the line "
        "by chance alone. Proposals marked (biased) have gradients that are biased for the uniform objective."
    )


def _seeds(run):
    count = len(run["proposals"][0]["curves"])
    return "one seed" if count == 1 else f"{count} seeds"


def sentences(shown: list[dict]) -> str:
    """Return all sentences with their legend; every token is escaped."""
    if not shown:
        return "<p>No sentences were kept.</p>"
    norm = max((value for sentence in shown for value in sentence["norms"]), default=0.0) or 1.0
    times = (
        max(value for sentence in shown for key in ("optimal", "mapnet") for value in _times_uniform(sentence, key)) or 1.0
    )
    return "\n".join([_legend(norm, times), *(_sentence(sentence, norm, times) for sentence in shown)])


def _sentence(sentence, norm, times):
    optimal, mapnet = _times_uniform(sentence, "optimal"), _times_uniform(sentence, "mapnet")
    columns = ['<span class="token names"><i>norm</i><i>optimal</i><i>MAPNet</i></span>']
    for i, token in enumerate(sentence["tokens"]):
        word = escape(token)
        if token in UNTOUCHED:
            columns.append(
                f'<span class="token plain" title="{word}: never masked"><i>{word}</i><i>{word}</i><i>{word}</i></span>'
            )
            continue
        title = (
            f"{token}: norm {sentence['norms'][i]:.3g}; optimal {sentence['optimal'][i]:.3g}, {optimal[i]:.2f} times "
            f"uniform; MAPNet {sentence['mapnet'][i]:.3g}, {mapnet[i]:.2f} times uniform"
        )
        shades = (sentence["norms"][i] / norm, optimal[i] / times, mapnet[i] / times)
        cells = "".join(f'<i style="{shade(share)}">{word}</i>' for share in shades)
        columns.append(f'<span class="token" title="{escape(title)}">{cells}</span>')
    return f'<h3>At step {sentence["step"]:,}</h3>\n<p class="sentence">{"".join(columns)}</p>'


def shade(share: float) -> str:
    """Return the CSS of a background for a share from 0 to 1, with letters that can be read on it."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(LIGHT, DARK, strict=True))
    return f"background:#{red:02x}{green:02x}{blue:02x};color:{'#fff' if share > INK_TURNS else '#000'}"


def _times_uniform(sentence, key):
    """Return a proposal's probabilities as multiples of the uniform one over the tokens that may be masked."""
    count = sum(token not in UNTOUCHED for token in sentence["tokens"])
    return [count * value for value in sentence[key]]


def _legend(norm, times):
    shares = (0, 0.25, 0.5, 0.75, 1)
    rows = []
    for words, most in (("norm of the token's gradient", norm), ("probability, times uniform", times)):
        cells = "".join(f'<i style="{shade(share)}">{share * most:.2g}</i>' for share in shares)
        rows.append(f'<span class="scale">{words}: {cells}</span>')
    return f'<p class="legend">{" ".join(rows)}</p>'
