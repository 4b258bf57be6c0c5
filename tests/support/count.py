"""Size of the package in figures: code lines, modules, and the imports between its packages.

    python tests/support/count.py

A package is the first part of a path below src/moe_sklearn; a module at the top is a package of one file.
"""

import argparse
import ast
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "moe_sklearn"


def code_lines(tree, source):
    """Numbers of the lines that are neither empty, comments nor docstrings."""
    lines = {i for i, line in enumerate(source.splitlines(), 1) if line.strip() and line.strip()[0] != "#"}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant):
                lines -= set(range(body[0].lineno, body[0].end_lineno + 1))
    return lines


def imported_names(node, path):
    """Yield the absolute dotted names that an import statement of the file `path` reads."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        folder = ("moe_sklearn", *Path(path).parent.parts)
        base = folder[: len(folder) - node.level + 1] if node.level else ()
        for alias in node.names:
            yield ".".join(filter(None, (*base, node.module, alias.name)))


def package_of(path):
    """'datasets' for datasets/_gaia.py, 'moments' for moments.py."""
    return Path(path).with_suffix("").parts[0]


def sources_of(folder=PACKAGE):
    """{path below the folder: source} of all modules."""
    paths = sorted(Path(folder).rglob("*.py"))
    return {path.relative_to(folder): path.read_text(encoding="utf-8") for path in paths}


class Import(NamedTuple):
    """A name that one package imports from another."""

    package: str
    target: str
    name: str
    statement: tuple
    """File and line."""


def imports_between(sources, joined=None):
    """Every Import of a package from another; `joined` is {package: the one that it is counted as}."""
    joined = joined or {}
    packages = {package_of(path) for path in sources}
    found = []
    for path, source in sources.items():
        own = package_of(path)
        for node in ast.walk(ast.parse(source)):
            for dotted in imported_names(node, path):
                first, *parts = dotted.split(".")
                if first != "moe_sklearn":
                    continue
                target = parts[0] if parts and parts[0] in packages else "__init__"
                package, target = joined.get(own, own), joined.get(target, target)
                if package != target:
                    found.append(Import(package, target, dotted.split(".")[-1], (path, node.lineno)))
    return found


class Counts(NamedTuple):
    """What is counted, of all modules and of each package."""

    lines: Counter
    files: Counter
    imports: list

    @property
    def pairs(self):
        """Pairs (package, another that it imports)."""
        return {(each.package, each.target) for each in self.imports}

    @property
    def n_statements(self):
        """Import statements that cross a border; one that reads from two packages counts once for each."""
        return len({(each.statement, each.target) for each in self.imports})

    def read_by_others(self, package):
        """Names of a package that other packages import."""
        return {each.name for each in self.imports if each.target == package}

    def imported_by(self, package):
        """Packages that a package imports."""
        return {target for own, target in self.pairs if own == package}


def count(sources, joined=None):
    """Counts of {path: source}; `joined` as for `imports_between`."""
    joined, lines, files = joined or {}, Counter(), Counter()
    for path, source in sources.items():
        package = joined.get(package_of(path), package_of(path))
        lines[package] += len(code_lines(ast.parse(source), source))
        files[package] += 1
    return Counts(lines, files, imports_between(sources, joined))


def joined_of(texts):
    """{'labels': 'data', 'sources': 'data'} of ['data=labels,sources']."""
    pairs = [text.split("=") for text in texts]
    return {module: package for package, modules in pairs for module in modules.split(",")}


def print_row(*cells):
    print(f"| {' | '.join(map(str, cells))} |")


def print_counts(counts):
    print_row("package", "files", "code lines", "packages it imports", "names that others import")
    print_row(*["---"] * 5)
    for package in sorted(counts.files):
        figures = counts.files[package], f"{counts.lines[package]:,}", len(counts.imported_by(package))
        print_row(package, *figures, len(counts.read_by_others(package)))
    n_names = len({(each.target, each.name) for each in counts.imports})
    print_row("all", counts.files.total(), f"{counts.lines.total():,}", len(counts.pairs), n_names)
    print(
        f"\n{len(counts.files)} packages, {len(counts.pairs)} pairs of packages with an import, "
        f"{counts.n_statements} import statements with {len(counts.imports)} names between packages"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--join", nargs="+", default=[], metavar="PACKAGE=MODULE,MODULE", help="count these as one package"
    )
    args = parser.parse_args(argv)
    print_counts(count(sources_of(), joined_of(args.join)))


if __name__ == "__main__":
    main()
