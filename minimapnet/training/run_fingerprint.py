"""What a run is: everything that a resumed run must share with the one that was stopped, in a form that JSON can hold."""

import dataclasses
import hashlib
import json

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.training.setting_fields import compared_settings

STEPS = "settings.steps"
SAMPLED_ROWS = 64  # of the text, whose tokens are looked at one by one


def describe(model, text, proposal, settings, evaluation, replacement: str = "mask") -> dict:
    """Return the settings, the model's config, the text, the proposal, the evaluation and the replacement of a run."""
    fixed = evaluation and {name: describe_object(getattr(evaluation, name)) for name in ("k", "seed", "rows")}
    parts: dict = {
        "settings": compared_settings(settings),
        "model": dataclasses.asdict(model.config),
        "text": describe_text(text),
    }
    parts |= {"proposal": describe_object(proposal), "evaluation": fixed}
    if replacement != "mask":
        parts["replacement"] = replacement
    return json.loads(json.dumps(parts))


def describe_text(text) -> dict:
    """Return a text's name, a digest of its tokenizer, and how long training and validation are, with one of some rows."""
    described = {"name": text.name, "tokenizer": _digest(text.tokenizer.to_str().encode())}
    for part in ("train", "validation"):
        rows = getattr(text, part)
        sample = numpy.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(numpy.int64)
        described[part] = {
            "rows": len(rows),
            "tokens": int(rows.lengths.sum()),
            "some": _digest(rows.batch(sample).ids.tobytes()),
        }
    return described


def describe_object(thing):
    """Return an object's class and public attributes, in a form that JSON can hold.

    Arrays are given by a digest, functions by their names, configs by their fields, and a network by its config: its numbers
    are in the checkpoint.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, dict):
        return {str(key): describe_object(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [describe_object(part) for part in thing]
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        array = backend.to_host(thing)
        return array.item() if array.ndim == 0 else _digest(numpy.ascontiguousarray(array).tobytes())
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: describe_object(getattr(thing, field.name)) for field in dataclasses.fields(thing)}
    if hasattr(thing, "__qualname__"):
        return thing.__qualname__
    if hasattr(thing, "config"):
        return {"kind": type(thing).__name__, "config": describe_object(thing.config)}
    public = {name: value for name, value in sorted(getattr(thing, "__dict__", {}).items()) if not name.startswith("_")}
    return {"kind": type(thing).__name__, **describe_object(public)}


def check_same(before: dict, now: dict, where, made: int) -> None:
    """Raise InputError, naming the first difference, unless a run is what it was.

    Its number of steps alone may be another, if that is more than the steps `made`.
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    for name in [*new, *(name for name in old if name not in new)]:
        if name == STEPS and name in old and old[name] != new[name]:
            if new[name] <= made:
                raise InputError(
                    f"the run in {where} has made {made} steps, and {new[name]} are asked for: give more than it has made"
                )
        elif old.get(name) != new.get(name):
            with_name = f"with {name} {old[name]!r}" if name in old else f"without {name}"
            but_now = f"not {new[name]!r}" if name in new else "which is not given now"
            raise InputError(
                f"the run in {where} was begun {with_name}, {but_now}: resume it as it was begun, or begin one elsewhere"
            )


def _flat(tree, name: str = ""):
    """List the leaves of nested dicts and lists with their dotted names; None is as good as missing."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if parts is None:
        if tree is not None:
            yield name, tree
        return
    for key, value in parts:
        yield from _flat(value, f"{name}.{key}" if name else str(key))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
