"""How many small faults of the core do the tests find? Mutation testing that needs no installation.

    OPENBLAS_NUM_THREADS=1 python benchmarks/mutation.py

Each mutant changes one place of one module: it changes a comparison, an operator, a number or a condition, or
leaves out a statement. It is killed if a test of that module fails or takes too much processor time;
otherwise it survives. Tests run on a copy of src and tests that is made at the start, so that the tree may be
edited meanwhile. Read the survivors: either a test is missing, or the change has no effect. --skip continues
a run that was stopped, as long as the modules are unchanged. Needs fork.
"""

import argparse
import ast
import contextlib
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import hypothesis.extra.numpy  # noqa: F401  (what the tests need is imported once, before they fork)
import pytest
import scipy.linalg  # noqa: F401
import sklearn.linear_model  # noqa: F401
from common import print_header, print_machine, print_row

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = "src/moe_sklearn", "tests"
COPIED = ["src", "tests", "conftest.py", "pyproject.toml"]

# Module below SOURCE -> files below TESTS that run it, with those most likely to fail first.
MOMENTS = ["moments/test_binned.py", "moments/test_folds.py", "behaviour/test_known_noise.py"]
# Few rows of many columns, and progress of the pass
ROWS = ["moments/test_row_moments.py", "behaviour/test_costs.py", "behaviour/test_progress.py"]
SOLVERS = ["moments/test_solvers.py", "linalg/test_kernels.py"]
FITS = ["experts/test_bin_by_bin.py", "experts/test_ridge.py", "behaviour/test_far_from_zero.py"]
CANDIDATES = [
    "experts/test_cross_validation.py",
    "moments/test_folds.py",
    "experts/test_pls_experts.py",
    *FITS,
    *ROWS,
]
GATE_ROWS = [
    "mixture/test_gate_training.py",
    "behaviour/test_honesty.py",
    "mixture/test_training_rows.py",
    "mixture/test_gate_plan.py",
    "mixture/test_dask.py",
    "behaviour/test_known_noise.py",
    "mixture/test_regressor.py",
    "behaviour/test_groups.py",
]
GATES = [
    *(f"gates/test_{name}.py" for name in ("training", "loss", "regression", "conditioning")),
    "behaviour/test_honesty.py",
    "behaviour/test_progress.py",
    "behaviour/test_known_noise.py",
]
TABLE = {
    # moments
    "moments/_moments.py": ["moments/test_moments.py", "moments/test_solvers.py", *MOMENTS, *ROWS],
    "moments/_row_moments.py": [*ROWS, *MOMENTS, "linalg/test_kernels.py", "behaviour/test_far_from_zero.py"],
    "moments/_binned.py": ["moments/test_binned.py", "moments/test_file.py", *MOMENTS[1:], *ROWS, FITS[0]],
    "moments/_chunks.py": [*MOMENTS, "data/test_sources.py", *ROWS, "features/test_transformer.py", FITS[0]],
    "moments/_file.py": [
        "moments/test_file.py",
        "moments/test_accumulate.py",
        *MOMENTS,
        "mixture/test_dask.py",
    ],
    # solvers
    "moments/_solvers.py": [
        *SOLVERS,
        "experts/test_cross_validation.py",
        "experts/test_pls.py",
        MOMENTS[2],
        *ROWS,
        *FITS,
    ],
    "linalg/_triangles.py": ["linalg/test_cholesky.py", *SOLVERS, *ROWS, *MOMENTS[:2], *FITS],
    "linalg/_cholesky.py": ["linalg/test_cholesky.py", *SOLVERS, *ROWS, *FITS],
    "linalg/_eigen.py": [*SOLVERS, *ROWS, *FITS],
    "linalg/_kernels.py": ["linalg/test_kernels.py", *ROWS, "moments/test_solvers.py", *FITS],
    # folds
    "labels/_folds.py": [
        "labels/test_folds.py",
        "moments/test_folds.py",
        "mixture/test_gate_training.py",
        "mixture/test_training_rows.py",
        "experts/test_bin_by_bin.py",
        "mixture/test_dask.py",
        "behaviour/test_known_noise.py",
    ],
    "moments/_folds.py": ["moments/test_folds.py", FITS[0], "mixture/test_dask.py", MOMENTS[2], *ROWS],
    "experts/_cross_validation.py": CANDIDATES,
    "experts/_curves.py": CANDIDATES,
    "experts/_bin_by_bin.py": [
        "experts/test_bin_by_bin.py",
        "experts/test_cross_validation.py",
        "moments/test_gather.py",
        "behaviour/test_progress.py",
        "behaviour/test_far_from_zero.py",
    ],
    # training of the gate
    "mixture/_gate_rows.py": GATE_ROWS,
    "mixture/_gate_training.py": GATE_ROWS,
    "gates/_loss.py": GATES,
    "gates/_training.py": GATES,
    "gates/_regression.py": GATES,
    "gates/_conditioning.py": GATES,
}

# A mutant may not allocate more than MEMORY, nor use more processor time than TIMES the unmutated tests and
# SECONDS_MORE. The time of the clock also passes while others work: it only ends those that wait for ever.
MEMORY, TIMES, SECONDS_MORE, SECONDS_OF_CLOCK = 8 * 2**30, 3, 10, 600


# What is changed

COMPARISONS = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
# min(a, b) is min(b, a), so functions are swapped, not arguments.
PAIRS = [("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("any", "all"), ("tril", "triu")]
OPPOSITES = dict(PAIRS) | {second: first for first, second in PAIRS}
# Larger numbers, 2**21 too, are sizes of blocks and limits of effort, which tests need not know to the last
# digit.
LARGE = 100

# Not changed, because no result can show it: types, code that shows something, and code that only saves time
# or memory. Lengths that `strict=True` checks are equal unless the code has another fault.
KEPT_FIELDS = {"annotation", "returns", "decorator_list", "type_params"}
KEPT_KEYWORDS = {"check_finite", "overwrite_a", "overwrite_b", "overwrite_c", "stacklevel", "copy"}
SHOWN = {"print", "progress", "Progress", "stage", "end_of_pass"}
KEPT_FUNCTIONS = {"_in_words", "_untouched"}


def root_of_call(node):
    """'stage' for ``stage.end(...)``; None if the node is not a call."""
    if not isinstance(node, ast.Call):
        return None
    node = node.func
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return getattr(node, "id", None)


def is_kept(node):
    """Whether the node and everything in it are left unchanged."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.expr_context():
            return True
        case ast.FunctionDef(name=name):
            return name in KEPT_FUNCTIONS
        case ast.keyword(arg=name):
            return name in KEPT_KEYWORDS or ast.unparse(node) == "strict=True"
        case ast.BinOp(left=ast.Constant(value=base), op=ast.Pow(), right=ast.Constant(value=power)):
            return base**power >= LARGE
        case ast.If(test=test):
            return "TYPE_CHECKING" in ast.unparse(test)
        case ast.Expr(value=value):
            return isinstance(value, ast.Constant) or root_of_call(value) in SHOWN
        case ast.Assign(targets=targets, value=value):
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            return bool(names & {"__all__", "__slots__"}) or root_of_call(value) in SHOWN
    return False


def is_message(node):
    """Whether the node is an error or a warning, which may be left out but whose text is not changed."""
    return isinstance(node, ast.Raise) or (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).endswith("warn")
    )


def of_expression(node):
    """Yield replacements of an expression."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for place, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:place], other(), *ops[place + 1 :]], others)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)) if abs(value) < LARGE:
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in OPPOSITES:
            yield ast.Call(ast.Name(OPPOSITES[name]), args, keywords)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
            if name in OPPOSITES:
                yield ast.Call(ast.Attribute(owner, OPPOSITES[name]), args, keywords)


def of_statement(node):
    """Yield replacements of a statement."""
    match node:
        case ast.AugAssign(target=target, op=op, value=value):
            yield ast.Pass()
            if type(op) in ARITHMETIC:
                yield ast.AugAssign(target, ARITHMETIC[type(op)](), value)
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()  # without an assigned name nothing would run
        case ast.Return(value=None | ast.Constant(value=None)):
            return
        case ast.Return():
            yield ast.Return(ast.Constant(None))


def of_condition(node):
    """Yield the opposite of a condition, unless `of_expression` yields it."""
    if not isinstance(node, ast.Compare) and not (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    ):
        yield ast.UnaryOp(ast.Not(), node)


class Place(NamedTuple):
    """A node that can be changed, its parent, and the statement that it belongs to."""

    owner: ast.AST
    field: str
    index: int | None
    node: Any
    statement: Any
    changes: list

    def put(self, node):
        """Put another node here."""
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def places(owner, statement=None):
    """Yield every Place below a node."""
    for field, value in ast.iter_fields(owner):
        if field in KEPT_FIELDS:
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or is_kept(node):
                continue
            inner = node if isinstance(node, ast.stmt) else statement
            changes = [*of_statement(node), *of_expression(node)]
            if field in ("test", "ifs"):
                changes += of_condition(node)
            if changes:
                yield Place(owner, field, index, node, inner, changes)
            if not is_message(node):
                yield from places(node, inner)


class Mutant(NamedTuple):
    """A changed module."""

    module: str
    line: int
    before: str
    after: str
    source: str


def line_that_differs(before, after):
    """The first lines in which two texts differ."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((pair for pair in pairs if pair[0] != pair[1]), (before, after))


def mutant_of(module, tree, place, change):
    """Change the tree at a place, read it, and change it back."""
    in_statement = place.statement is not place.node
    before = ast.unparse(place.statement)
    place.put(change)
    source = ast.unparse(ast.fix_missing_locations(tree))
    after = ast.unparse(place.statement if in_statement else change)
    place.put(place.node)
    shown = line_that_differs(before, after)
    if in_statement and len(max(shown, key=len)) > 100:
        shown = ast.unparse(place.node), ast.unparse(change)
    return Mutant(module, place.node.lineno, *(text.strip() for text in shown), source)


def shares(sizes, n):
    """Divide `n` in proportion to sizes into whole numbers that add up to `n`, none above its size."""
    n = min(n, sum(sizes))
    exact = [n * size / sum(sizes) for size in sizes]
    found = [int(share) for share in exact]
    by_rest = sorted(range(len(sizes)), key=lambda i: found[i] - exact[i])
    for i in by_rest[: n - sum(found)]:
        found[i] += 1
    return found


def draw(sources, n, seed):
    """Draw `n` mutants from {module: source}, from each module in proportion to its places.

    The order is random, so that a run that is stopped has seen some of each.
    """
    rng = random.Random(seed)
    trees = {module: ast.parse(source) for module, source in sources.items()}
    found = {module: list(places(tree)) for module, tree in trees.items()}
    mutants = []
    for module, n_here in zip(found, shares([*map(len, found.values())], n), strict=True):
        chosen = rng.sample(found[module], n_here)
        mutants += [mutant_of(module, trees[module], place, rng.choice(place.changes)) for place in chosen]
    rng.shuffle(mutants)
    return mutants, {module: len(those) for module, those in found.items()}


# How it is tried


def run_tests(folder, tests, seconds):
    """Run tests on the copy in `folder` and exit with pytest's code; for a forked child."""
    # A process group of its own, so that processes of the tests end with them.
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))
    with open(folder / "log", "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(folder)
    scratch = folder / "scratch"
    scratch.mkdir()
    tempfile.tempdir = str(scratch)
    os.environ.update(PYTHONPATH=str(folder / "src"), TMPDIR=str(scratch))
    for name in [name for name in sys.modules if name.split(".")[0] == "moe_sklearn"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder / "src"))
    # The same examples in each run; the first that fails is enough.
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("mutation")
    options = [
        "-x",
        "-q",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-m",
        "not slow",
    ]
    # hypothesis is imported before pytest
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    paths = [f"{TESTS}/{test}" for test in tests]
    sys.exit(int(pytest.main([*options, f"--basetemp={scratch / 'tests'}", *paths])))


class Copy:
    """A copy of the files that the tests need, in which one module at a time is changed."""

    def __init__(self, folder):
        self.folder, self.n_written = folder, 0
        folder.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def write(self, module, source):
        """Write a module, with a new date each time, so that no stale compiled file is read."""
        path = self.folder / SOURCE / module
        path.write_text(source, encoding="utf-8")
        self.n_written += 1
        os.utime(path, (self.n_written, self.n_written))

    def start(self, module, source, tests, seconds):
        """Start tests of a changed module in a child, which may use so many seconds of a processor."""
        self.module, self.kept = module, (self.folder / SOURCE / module).read_text(encoding="utf-8")
        self.write(module, source)
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        fork = multiprocessing.get_context("fork")
        self.child = fork.Process(target=run_tests, args=(self.folder, tests, seconds))
        self.deadline = time.monotonic() + SECONDS_OF_CLOCK
        self.child.start()

    def is_late(self):
        return time.monotonic() > self.deadline

    def finish(self):
        """End the tests and restore the module; pytest's code, None if they took too long."""
        code = self.child.exitcode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child.join()
        self.write(self.module, self.kept)
        return None if code == -signal.SIGXCPU else code


def outcomes(copies, tasks):
    """Try (key, module, source, tests, seconds) in the copies; yield (key, code) as they end."""
    tasks, free, busy = iter(tasks), list(copies), {}
    while True:
        while free and (task := next(tasks, None)):
            copy = free.pop()
            key, *what = task
            copy.start(*what)
            busy[copy] = key
        if not busy:
            return
        wait(
            [copy.child.sentinel for copy in busy],
            max(0.0, min(copy.deadline for copy in busy) - time.monotonic()),
        )
        for copy in [copy for copy in busy if copy.child.exitcode is not None or copy.is_late()]:
            yield busy.pop(copy), copy.finish()
            free.append(copy)


def processor_seconds():
    """Processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def unmutated_seconds(copies, sources):
    """Processor time of the tests of each unchanged module, which must pass; shared files are run once."""
    unchanged, seconds = next(iter(sources.items())), {}
    tests = sorted({test for module in sources for test in TABLE[module]})
    used = processor_seconds()
    for test, code in outcomes(copies[:1], [(test, *unchanged, [test], 600) for test in tests]):
        if code != 0:
            log = (copies[0].folder / "log").read_text(encoding="utf-8")
            raise SystemExit(f"{test} fails without a mutant:\n\n{log[-3000:]}")
        seconds[test], used = processor_seconds() - used, processor_seconds()
    return {module: sum(seconds[test] for test in TABLE[module]) for module in sources}


# What is printed


def in_cell(code):
    code = textwrap.shorten(code, 120, placeholder=" ...")
    return "`" + code.replace("|", "\\|") + "`"


def percent(killed, n):
    return f"{100 * killed / n:.0f} %" if n else ""


def print_scores(mutants, survivors, n_places, seconds):
    print_header("module", "places", "mutants", "killed", "score", "seconds unmutated")
    for module in n_places:
        n = sum(mutant.module == module for mutant in mutants)
        killed = n - sum(mutant.module == module for mutant in survivors)
        print_row(module, n_places[module], n, killed, percent(killed, n), f"{seconds[module]:.1f}")
    n, killed = len(mutants), len(mutants) - len(survivors)
    print_row("all", sum(n_places.values()), n, killed, percent(killed, n), f"{sum(seconds.values()):.1f}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=300, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0, help="which mutants are drawn")
    parser.add_argument("--skip", type=int, default=0, help="how many of them were tried before")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at a time")
    parser.add_argument("--only", choices=TABLE, nargs="+", default=list(TABLE), metavar="MODULE")
    args = parser.parse_args(argv)
    print_machine()
    sources = {module: (ROOT / SOURCE / module).read_text(encoding="utf-8") for module in args.only}
    mutants, n_places = draw(sources, args.mutants, args.seed)
    mutants = mutants[args.skip :]
    survivors, n_late, start = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation_") as folder:
        copies = [Copy(Path(folder) / str(job)) for job in range(args.jobs)]
        seconds = unmutated_seconds(copies, sources)
        tasks = [
            (m, m.module, m.source, TABLE[m.module], TIMES * seconds[m.module] + SECONDS_MORE)
            for m in mutants
        ]
        print_header("survivor", "before", "after")
        for n_tried, (mutant, code) in enumerate(outcomes(copies, tasks), 1):
            name = f"{mutant.module}:{mutant.line}"
            if code is None:
                n_late += 1
                print(f"{name} took too long: {mutant.after}", file=sys.stderr, flush=True)
            if code == 0:
                survivors.append(mutant)
                print_row(name, in_cell(mutant.before), in_cell(mutant.after))
            if n_tried % 10 == 0:
                print(f"{n_tried} of {len(mutants)} tried", file=sys.stderr, flush=True)
    print()
    print_scores(mutants, survivors, n_places, seconds)
    minutes = (time.monotonic() - start) / 60
    print(f"\n{len(mutants)} mutants in {minutes:.0f} minutes, seed {args.seed}; {n_late} took too long")


if __name__ == "__main__":
    main()
