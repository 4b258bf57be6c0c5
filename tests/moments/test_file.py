import io
import json

import numpy as np
import pandas as pd
import pytest
from edited_files import edit, members_of, npy, preamble_of, rewrite
from numpy.testing import assert_array_equal

from moe_sklearn.moments import BinnedMoments, Moments

DAMAGED = "damaged or is no file of moe_sklearn"
NAMES = ("x_mean", "y_mean", "xx", "xy", "yy")


def gathered(product_dtype="float64"):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)) + 3, rng.normal(size=(60, 2))
    labels = rng.permutation(np.repeat(np.array(["hot", None], object), 30))
    return BinnedMoments(4, 2, product_dtype=product_dtype).update(X, y, labels, rng.random(60))


@pytest.fixture(scope="module")
def moments():
    return gathered()


@pytest.fixture
def path(moments, tmp_path):
    moments.save(tmp_path / "m.npz", progress={"note": [1, "x"]})
    return tmp_path / "m.npz"


def assert_same(loaded, expected):
    assert list(loaded.groups) == list(expected.groups)
    assert (loaded.n_features, loaded.n_targets) == (expected.n_features, expected.n_targets)
    assert loaded.product_dtype == expected.product_dtype
    for label, group in expected.groups.items():
        for name, value in vars(group).items():
            assert_array_equal(getattr(loaded.groups[label], name), value)
            assert np.asarray(getattr(loaded.groups[label], name)).dtype == np.asarray(value).dtype


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
def test_round_trip(product_dtype, tmp_path):
    moments = gathered(product_dtype)
    moments.save(tmp_path / "m.npz", progress={"note": [1, "x"]})
    loaded, progress = BinnedMoments.load(tmp_path / "m.npz", with_progress=True)
    assert_same(loaded, moments)
    assert progress == {"note": [1, "x"]}
    assert all(group.xx.flags.f_contiguous and group.xx.flags.writeable for group in loaded.groups.values())
    assert BinnedMoments(4, 2).merge(BinnedMoments.load(tmp_path / "m.npz")).n_rows == 60


@pytest.mark.parametrize(
    "bins",
    [
        None,
        [3, 2**62 + 1] * 5,
        [-7, 0] * 5,
        [True, False] * 5,
        ["", "a"] * 5,
        [b"a", b"b"] * 5,
        [("a", 1), ("b", 2)] * 5,
        pd.cut(np.arange(10), [-1, 4, 9]),
        [-1] * 10,
    ],
    ids=["none", "large", "negative", "booleans", "strings", "bytes", "tuples", "intervals", "uncovered"],
)
def test_labels_of_every_kind_come_back(bins, tmp_path):
    X = np.random.default_rng(0).normal(size=(10, 3))
    moments = BinnedMoments(np.int64(3), np.int64(1)).update(X, X[:, 0], bins)
    moments.save(tmp_path / "m.npz")
    assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)


def test_counts_of_numpy_are_written_as_numbers(tmp_path):
    moments = gathered()
    group = moments.groups["hot"]
    group.n_rows, group.weight, group.product_eps = np.int64(30), np.float32(8), np.float32(0.5)
    moments.save(tmp_path / "m.npz")
    loaded = BinnedMoments.load(tmp_path / "m.npz").groups["hot"]
    assert (loaded.n_rows, loaded.weight, loaded.product_eps) == (30, 8.0, 0.5)


def test_moments_of_no_rows_and_of_no_targets_come_back(tmp_path):
    for moments in (BinnedMoments(3), BinnedMoments(3, 0).update(np.eye(3)), BinnedMoments(0, 0)):
        moments.groups["empty"] = Moments.zeros(moments.n_features, moments.n_targets)
        moments.save(tmp_path / "m.npz")
        assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)


@pytest.mark.parametrize("product_dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 300])
def test_what_a_subtraction_leaves_can_be_saved(scale, product_dtype, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3)).astype(np.float32) * scale
    X[-2:] = 1  # of which rounding alone is left

    def gather(rows):
        return BinnedMoments(3, product_dtype=product_dtype).update(rows, rows[:, 0])

    moments = gather(X).subtract(gather(X[:-2]))
    moments.save(tmp_path / "m.npz")
    assert_same(BinnedMoments.load(tmp_path / "m.npz"), moments)
    assert moments.n_rows == 2


def spoiled(name, value):
    moments = gathered()
    group = moments.groups["hot"]
    if name in ("n_rows", "weight"):
        setattr(group, name, value)
    else:
        getattr(group, name)[(0,) * getattr(group, name).ndim] = value
    return moments


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("xx", np.inf, "xx of bin 'hot' holds nan or infinity"),
        ("y_mean", np.nan, "y_mean of bin 'hot' holds nan or infinity"),
        ("xx", -1e-30, "xx of bin 'hot' has a negative sum of squares"),
        ("yy", -1e-30, "yy of bin 'hot' has a negative sum of squares"),
        ("n_rows", -3, "bin 'hot' has -3 rows"),
        ("weight", 0.0, "bin 'hot' has 30 rows of weight 0.0"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(name, value, message, path, moments):
    with pytest.raises(ValueError, match=message):
        spoiled(name, value).save(path)
    assert_same(BinnedMoments.load(path), moments)


def test_labels_that_could_not_be_loaded_are_not_saved(path, moments):
    both = gathered()
    both.groups[3] = both.groups["hot"]
    with pytest.raises(ValueError, match="labels"):
        both.save(path)
    assert_same(BinnedMoments.load(path), moments)


def test_a_file_of_the_release_before_says_its_version(moments, tmp_path):
    header = {"labels": ["hot"], "n_features": 4, "n_targets": 2, "product_dtype": "float64", "progress": {}}
    preamble = {"format": "moe_sklearn archive", "kind": "moments", "version": 1, "header": header}
    arrays = {f"{name}_0": value for name, value in vars(moments.groups["hot"]).items()}
    np.savez(tmp_path / "m.npz", preamble=np.array(json.dumps(preamble)), **arrays)
    with pytest.raises(ValueError, match="m.npz is of version 1, this moe_sklearn reads version 4"):
        BinnedMoments.load(tmp_path / "m.npz")


def arrays_of(path):
    return {name[:-4]: np.load(io.BytesIO(content)) for name, content in members_of(path).items()}


def changed(array, rng):
    """The array, with one value changed, in another shape, in another precision."""
    other = array.copy()
    place = tuple(rng.integers(0, size) for size in array.shape)
    other[place] += rng.choice([1e-12, 1.0, np.nan, np.inf, -1e9])
    return [
        other,
        array[:-1],
        array[None],
        array.reshape(-1)[: array.size // 2],
        np.concatenate([array, array]),
        array.astype(np.float16),
        array.astype(">f8"),
        array.astype(int),
        array.astype(complex),
        array.astype(str),
        np.zeros(0),
        np.float64(3),
        array.T if array.ndim == 2 and array.shape[0] != array.shape[1] else array[:0],
    ]


NASTY = (None, True, -1, 0, 3.5, np.nan, 10**9, 10**400, "", "x", "float16", "\ud800", [], [[]], {}, {"a": 1})


def paths_into(value, path=()):
    """Yield the position of every value in nested lists and dicts."""
    yield path
    children = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for key, child in children:
        yield from paths_into(child, (*path, key))


def with_value(document, place, value):
    document = json.loads(json.dumps(document))
    *parents, last = place
    target = document
    for key in parents:
        target = target[key]
    target[last] = value
    return document


def without_value(document, place):
    document = with_value(document, place, None)
    target = document
    for key in place[:-1]:
        target = target[key]
    del target[place[-1]]
    return document


def edited_preambles(path):
    """The preamble with each of its values replaced or left out, and with values moved."""
    preamble = preamble_of(path)
    for place in paths_into(preamble):
        if place and place[:2] != ("header", "progress"):
            yield from (with_value(preamble, place, value) for value in NASTY)
            yield without_value(preamble, place)
    groups = preamble["header"]["groups"]
    yield with_value(preamble, ("header", "groups"), groups[::-1])
    yield with_value(preamble, ("header", "groups"), groups + groups[:1])
    yield with_value(preamble, ("header", "layout"), preamble["header"]["layout"] | {"directory": "x"})
    yield with_value(preamble, ("header", "layout", "n_features"), 2)


def edited_members(path):
    """Lists of members: each array changed, left out, twice, under another name, or exchanged."""
    rng = np.random.default_rng(0)
    members, arrays = members_of(path), arrays_of(path)
    for name, content in members.items():
        rest = {key: value for key, value in members.items() if key != name}
        yield rest.items()
        yield (rest | {"other.npy": content}).items()
        yield (rest | {name[:-4]: content}).items()
        yield (rest | {name: content}).items()  # in another order
        yield [*members.items(), ("more.npy", content)]
        yield (members | {name: content[:-1]}).items()
        yield (members | {name: content + b"x"}).items()
        yield (members | {name: b""}).items()
        if name != "preamble.npy":
            for array in changed(arrays[name[:-4]], rng):
                yield (members | {name: npy(array)}).items()
    for preamble in edited_preambles(path):
        yield (members | {"preamble.npy": npy(np.array(json.dumps(preamble)))}).items()


def refused_or_same(path, expected):
    """Whether a file is refused with a ValueError; it holds the expected moments if it is not."""
    try:
        loaded = BinnedMoments.load(path)
    except ValueError:
        return True
    assert_same(loaded, expected)
    return False


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_edited_files_with_valid_checksums_are_refused_or_the_same(path, moments):
    edits = [list(members) for members in edited_members(path)]
    assert len(edits) > 600
    refused = []
    for members in edits:
        rewrite(path, members, sealed=False)
        refused.append(refused_or_same(path, moments))
    assert all(refused)


def test_bytes_changed_lost_or_added_are_refused(path, moments):
    rng = np.random.default_rng(0)
    content = path.read_bytes()
    for _ in range(300):
        spoiled = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            spoiled[place] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        assert refused_or_same(path, moments) or bytes(spoiled) == content
    for length in rng.integers(0, len(content), 100):
        path.write_bytes(content[:length])
        assert refused_or_same(path, moments)
        path.write_bytes(content[length:] + content[:length] if length else content[1:])
        assert refused_or_same(path, moments)
    path.write_bytes(content + b"x")
    assert refused_or_same(path, moments)


def test_wrong_headers_below_a_digest_that_fits_are_refused_or_the_same(path, moments):
    """Only what cannot be told from other moments passes: another name or number of rows of a bin."""
    members = members_of(path)
    passed = []
    for preamble in edited_preambles(path):
        rewrite(
            path,
            (members | {"preamble.npy": npy(np.array(json.dumps(preamble)))}).items(),
            sealed=True,
        )
        try:
            loaded = BinnedMoments.load(path)
        except ValueError:
            continue
        passed.append(preamble)
        sizes = [
            [label, group.n_rows, group.weight, group.product_eps] for label, group in loaded.groups.items()
        ]
        assert sizes == preamble["header"]["groups"] and len(sizes) == 2
        for _, n_rows, weight, _ in sizes:
            assert type(n_rows) is int and n_rows > 0 and type(weight) is float and 0 < weight < np.inf
        assert (loaded.n_features, loaded.n_targets, loaded.directory) == (4, 2, None)
    assert len(passed) < 40


@pytest.mark.parametrize("n_rows", [0, 0.0, 1, 5, 5.0, True, -5, None])
@pytest.mark.parametrize("weight", [0, 0.0, 2, 0.25, 2.5, True, -2.5, np.nan, np.inf, None])
def test_rows_and_weights_are_both_positive_or_both_zero(n_rows, weight, path):
    preamble = with_value(preamble_of(path), ("header", "groups", 0, 1), n_rows)
    preamble = with_value(preamble, ("header", "groups", 0, 2), weight)
    edit(path, preamble=np.array(json.dumps(preamble)))
    both = type(n_rows) is int and type(weight) is float
    if both and (n_rows == weight == 0 or (n_rows > 0 and 0 < weight < np.inf)):
        assert BinnedMoments.load(path).n_rows == n_rows + 30
        return
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


@pytest.mark.parametrize("label", [-1, 2, True, 2.5, "", [1], "cool", None])
@pytest.mark.parametrize("other", [3, "cool", None])
def test_labels_are_distinct_and_of_one_kind(label, other, path):
    preamble = with_value(preamble_of(path), ("header", "groups", 0, 0), label)
    preamble = with_value(preamble, ("header", "groups", 1, 0), other)
    edit(path, preamble=np.array(json.dumps(preamble)))
    if [label, other] in ([2, 3], [True, 3], ["", "cool"], [None, 3], [None, "cool"]) or (
        other is None and type(label) in (int, bool, str) and label != -1
    ):
        assert list(BinnedMoments.load(path).groups) == [label, other]
        return
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


@pytest.mark.parametrize("name", ["n_features", "n_targets"])
@pytest.mark.parametrize("value", [-1, 4.0, 2.0, True, None])
def test_numbers_of_columns_are_whole_also_where_there_are_no_rows(value, name, path):
    forged = with_value(preamble_of(path), ("header", "layout", name), value)
    for groups, arrays in ((forged["header"]["groups"], {}), ([], dict.fromkeys(arrays_of(path)))):
        names = [] if arrays else forged["arrays"]
        preamble = with_value(with_value(forged, ("header", "groups"), groups), ("arrays",), names)
        edit(path, **arrays | {"preamble": np.array(json.dumps(preamble))})
        with pytest.raises(ValueError, match=DAMAGED):
            BinnedMoments.load(path)


@pytest.mark.parametrize("eps", [0.0, 1e-17, 1, np.inf, np.nan, None])
def test_the_error_of_products_is_that_of_a_precision(eps, path):
    edit(path, preamble=np.array(json.dumps(with_value(preamble_of(path), ("header", "groups", 0, 3), eps))))
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


@pytest.mark.parametrize("progress", [None, [], 3, "x"])
def test_progress_is_a_dictionary(progress, path):
    edit(path, preamble=np.array(json.dumps(with_value(preamble_of(path), ("header", "progress"), progress))))
    with pytest.raises(ValueError, match=DAMAGED):
        BinnedMoments.load(path)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arrays_below_a_digest_that_fits_are_refused(name, path):
    stored = arrays_of(path)[f"{name}_1"]
    content = path.read_bytes()
    wrong = changed(stored, np.random.default_rng(0))[1:]
    for value in (np.nan, np.inf, -np.inf):
        array = stored.copy()
        array[(-1,) * array.ndim] = value
        wrong.append(array)
    if name != "xx":
        wrong.append(stored.astype(np.float32))
    if name in ("xx", "yy"):
        wrong.append(-stored)
    for array in wrong:
        path.write_bytes(content)
        edit(path, **{f"{name}_1": array})
        with pytest.raises(ValueError, match=DAMAGED):
            BinnedMoments.load(path)


def test_products_in_the_other_order_are_the_same(path, moments):
    """X'X in C order, which the products of later rows would not be written to."""
    edit(path, xx_1=np.ascontiguousarray(arrays_of(path)["xx_1"]))
    loaded = BinnedMoments.load(path)
    assert_same(loaded, moments)
    assert loaded.groups["hot"].xx.flags.f_contiguous


def test_an_edited_file_whose_digest_fits_is_loaded(path, moments):
    """The edits above are refused for what they change, not for how they are written."""
    rewrite(path, members_of(path).items(), sealed=True)
    assert_same(BinnedMoments.load(path), moments)
    edit(path, yy_0=arrays_of(path)["yy_0"] + 1)
    first = next(iter(moments.groups))
    assert_array_equal(BinnedMoments.load(path).groups[first].yy, moments.groups[first].yy + 1)
