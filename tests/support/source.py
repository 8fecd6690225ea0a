"""The package's source as syntax trees, for rules about code."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "services" / "telemed"


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path

    @property
    def place(self) -> str:
        """Give its path inside the package: `kernel/database.py`."""
        return self.path.relative_to(PACKAGE).as_posix()

    @cached_property
    def text(self) -> str:
        """Give its source."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """Give its syntax tree."""
        return ast.parse(self.text)

    def calls(self) -> Iterator[tuple[str, int]]:
        """Walk over what is called, as it is written (`session.commit`), with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node.lineno

    def functions(self) -> Iterator[tuple[str, int]]:
        """Walk over its functions with their length in lines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1

    def imports(self) -> Iterator[str]:
        """Walk over the modules that it imports, at whatever depth; names imported from a package count as modules."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(*, outside: tuple[str, ...] = ()) -> list[Module]:
    """Give every module but those below these folders (or these files)."""
    found = [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]
    return [module for module in found if not module.place.startswith(outside or ("\0",))]
