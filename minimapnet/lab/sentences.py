"""Real sentences as HTML, each token shaded by its exact norm, the optimal proposal and MAPNet's, one under the other.

The shades run from white to a dark blue and differ in lightness alone, so they need no sense of colour. A sentence wraps
where the page is narrow; a token's three shades stay together.
"""

from html import escape

LIGHT, DARK = (255, 255, 255), (0, 62, 110)
INK_TURNS = 0.68  # shades above this carry white letters: both inks then have a contrast of at least 4.5
UNTOUCHED = ("[CLS]", "[SEP]", "[PAD]")


def html(sentences: list[dict]) -> str:
    """Give all sentences with their legend; every token is escaped."""
    if not sentences:
        return "<p>No sentences were kept.</p>"
    norm = max((value for one in sentences for value in one["norms"]), default=0.0) or 1.0
    times = (
        max(value for one in sentences for value in (*_times_uniform(one, "optimal"), *_times_uniform(one, "mapnet"))) or 1.0
    )
    return "\n".join([_legend(norm, times), *(_sentence(one, norm, times) for one in sentences)])


def _sentence(one, norm, times):
    optimal, mapnet = _times_uniform(one, "optimal"), _times_uniform(one, "mapnet")
    columns = ['<span class="token names"><i>norm</i><i>optimal</i><i>MAPNet</i></span>']
    for i, token in enumerate(one["tokens"]):
        word = escape(token)
        if token in UNTOUCHED:
            columns.append(
                f'<span class="token plain" title="{word}: never masked"><i>{word}</i><i>{word}</i><i>{word}</i></span>'
            )
            continue
        title = (
            f"{token}: norm {one['norms'][i]:.3g}; optimal {one['optimal'][i]:.3g}, {optimal[i]:.2f} times uniform; "
            f"MAPNet {one['mapnet'][i]:.3g}, {mapnet[i]:.2f} times uniform"
        )
        shades = (one["norms"][i] / norm, optimal[i] / times, mapnet[i] / times)
        cells = "".join(f'<i style="{shade(share)}">{word}</i>' for share in shades)
        columns.append(f'<span class="token" title="{escape(title)}">{cells}</span>')
    return f'<h3>At step {one["step"]:,}</h3>\n<p class="sentence">{"".join(columns)}</p>'


def shade(share: float) -> str:
    """Give the CSS of a background for a share from 0 to 1, with letters that can be read on it."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(LIGHT, DARK, strict=True))
    return f"background:#{red:02x}{green:02x}{blue:02x};color:{'#fff' if share > INK_TURNS else '#000'}"


def _times_uniform(one, key):
    """Give a proposal's probabilities as multiples of the uniform one over the tokens that may be masked."""
    count = sum(token not in UNTOUCHED for token in one["tokens"])
    return [count * value for value in one[key]]


def _legend(norm, times):
    shares = (0, 0.25, 0.5, 0.75, 1)
    rows = []
    for words, most in (("norm of the token's gradient", norm), ("probability, times uniform", times)):
        cells = "".join(f'<i style="{shade(share)}">{share * most:.2g}</i>' for share in shares)
        rows.append(f'<span class="scale">{words}: {cells}</span>')
    return f'<p class="legend">{" ".join(rows)}</p>'
