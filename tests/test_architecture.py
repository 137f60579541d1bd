"""The house's rules: floors, no circles, and how the array library is reached. Read from the source, nothing is run."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minimapnet"
FLOORS = {
    "errors": 0,
    "files": 1,
    "backend": 1,
    "kernels": 1,
    "plotting": 1,
    "text_tables": 1,
    "special_tokens": 1,
    "progress": 1,
    "text": 2,
    "model": 2,
}
FLOORS |= {"masks": 3, "gradient_norms": 3, "proposals": 4, "mapnet": 5, "variance": 5, "training": 6}
FLOORS |= {"experiments": 7, "reports": 8, "cli": 9, "__main__": 10}
HOST_AND_DEVICE = ("text", "model", "masks", "gradient_norms", "proposals", "mapnet", "variance")
ONE_ROOM = dict.fromkeys(
    ("errors", "files", "backend", "kernels", "plotting", "text_tables", "special_tokens", "progress"), "ground"
)
FACADE = "minimapnet"  # __init__.py offers what the rooms hold; no room goes through it


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package, by its dotted name without "minimapnet."."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name or FACADE] = path
    return found


@cache
def imports(name: str) -> set[str]:
    """Return the package's modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            found |= {resolve(f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {resolve(alias.name) for alias in node.names}
    return found - {None}


def resolve(dotted: str) -> str | None:
    """Return the longest beginning of `dotted` that is a module of the package, or None for another package's."""
    parts = dotted.split(".")
    if parts[0] != FACADE:
        return None
    for length in range(len(parts), 1, -1):
        if ".".join(parts[1:length]) in modules():
            return ".".join(parts[1:length])
    return FACADE


def room(module: str) -> str:
    top = module.split(".")[0]
    return ONE_ROOM.get(top, top)


rooms_modules = pytest.mark.parametrize("name", sorted(set(modules()) - {FACADE}))


@rooms_modules
def test_every_module_stands_on_a_floor(name):
    assert name.split(".")[0] in FLOORS


@rooms_modules
def test_a_room_uses_only_itself_and_the_floors_below(name):
    for other in imports(name):
        assert other != FACADE, f"{name} imports through minimapnet/__init__.py"
        below = FLOORS[other.split(".")[0]] < FLOORS[name.split(".")[0]]
        assert below or room(other) == room(name), f"{name} imports {other}"


def test_no_import_circles():
    finished, under_way = set(), []

    def visit(name):
        assert name not in under_way, f"a circle: {' -> '.join([*under_way[under_way.index(name) :], name])}"
        if name not in finished:
            under_way.append(name)
            for other in sorted(imports(name)):
                visit(other)
            under_way.pop()
            finished.add(name)

    for name in modules():
        visit(name)


@rooms_modules
def test_the_array_library_is_read_when_it_is_used(name):
    """`from minimapnet.backend import xp` would freeze the library that was in use at import."""
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "minimapnet.backend":
            frozen = {alias.name for alias in node.names} & {"xp", "kernels", "name"}
            assert not frozen, f"{name} line {node.lineno}: write backend.{frozen.pop()}"


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[0] in HOST_AND_DEVICE])
def test_numpy_goes_by_its_full_name_above_the_backend(name):
    """There `numpy` is for what lies on the host, and its full name shows each place where it is used."""
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "numpy":
                    assert (alias.name, alias.asname) == ("numpy", None), f"{name} line {node.lineno}"
                assert alias.name.split(".")[0] not in ("cupy", "cupyx"), f"{name} line {node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] not in ("numpy", "cupy", "cupyx"), f"{name} line {node.lineno}"


@pytest.mark.parametrize("name", [name for name in modules() if name.split(".")[0] in ("model", "gradient_norms")])
def test_nothing_is_computed_when_the_model_is_imported(name):
    """A module-level use of backend.xp or backend.kernels would also freeze the library."""
    tree = ast.parse(modules()[name].read_text())
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for statement in outside:
        for node in ast.walk(statement):
            assert not (isinstance(node, ast.Attribute) and node.attr in ("xp", "kernels")), f"{name} line {node.lineno}"
