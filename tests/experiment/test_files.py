"""Spectra in files of every kind: what is found in them, and what is said of files that are wrong."""

import gzip
from argparse import Namespace
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
from containers import pixel_frame
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.experiment._files import find_files, open_files
from moe_sklearn.experiment._spectra import open_spectra

h5py, fits = pytest.importorskip("h5py"), pytest.importorskip("astropy.io.fits")
Table = pytest.importorskip("astropy.table").Table
OPTIONS = ("flux", "error", "ivar", "wave", "labels", "label_names", "wave_unit", "wave_medium", "loglam")


@pytest.fixture
def opened():
    """Function that opens files with options; they are closed after the test."""
    with ExitStack() as stack:

        def open_with(*data, **options):
            given = dict.fromkeys(OPTIONS) | options
            return open_spectra(Namespace(data=[str(path) for path in data], **given), stack)

        yield open_with


def columns_of(files, names=("teff", "mh")):
    """Side information as an array."""
    side = files.side(list(names))
    return np.stack([side[name] for name in side.dtype.names], axis=1)


def rows_of(source):
    return source.take(np.arange(len(source)))


def write_npz(arrays, path):
    np.savez_compressed(path / "spectra.npz", **arrays)
    return [path / "spectra.npz"]


def write_npy(arrays, path):
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return [path]


def write_hdf5(arrays, path):
    """Three shards, with one dataset for each label."""
    for k, rows in enumerate(np.array_split(np.arange(600), 3)):
        with h5py.File(path / f"shard{k}.h5", "w") as file:
            for name in ("flux", "error"):
                file[f"dataset/arrays/{name}/value"] = arrays[name][rows]
            file["wave"] = arrays["wave"][:, None]
            for name, values in zip(arrays["label_names"], arrays["labels"].T, strict=True):
                file[f"labels/{name}"] = values[rows]
    return [path / "shard*.h5"]


def write_fits(arrays, path):
    columns = {name: arrays[name] for name in ("flux", "error")}
    columns |= dict(zip(arrays["label_names"], arrays["labels"].T, strict=True))
    table, axis = Table(columns), Table({"wave": arrays["wave"] / 10})
    axis["wave"].unit = "nm"
    hdus = [fits.PrimaryHDU(), fits.table_to_hdu(table), fits.table_to_hdu(axis)]
    fits.HDUList(hdus).writeto(path / "spectra.fits")
    return [path / "spectra.fits"]


def write_csv(arrays, path):
    pixel_frame(arrays).to_csv(path / "spectra.csv", index=False)
    np.save(path / "wave.npy", arrays["wave"])
    return [path / "spectra.csv", path / "wave.npy"]


def write_parquet(arrays, path):
    pixel_frame(arrays).to_parquet(path / "spectra.parquet")
    return [path / "spectra.parquet"]


WRITERS = [write_npz, write_npy, write_hdf5, write_fits, write_csv, write_parquet]


@pytest.mark.parametrize("write", WRITERS)
def test_all_kinds_of_files_hold_the_same(arrays, tmp_path, opened, write):
    files = opened(*write(arrays, tmp_path))
    assert files.side(["teff", "mh"]).dtype.names == ("Teff", "[M/H]")
    assert files.flux.dtype == files.error.dtype == np.float32
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(rows_of(files.error), arrays["error"])
    assert_allclose(files.target("logg"), arrays["labels"][:, 1])
    assert_allclose(columns_of(files), arrays["labels"][:, [0, 2]])
    if files.wavelength is not None:
        assert_allclose(files.wavelength * (10 if files.wave_unit == "nm" else 1), arrays["wave"])
    assert files.flux.array is None and not any(line.startswith("not used") for line in files.told)


@pytest.mark.parametrize("write", WRITERS)
def test_doubles_stay_doubles_but_in_text(arrays, tmp_path, opened, write):
    arrays["flux"] = arrays["flux"].astype(float)
    files = opened(*write(arrays, tmp_path))
    assert files.flux.dtype == (np.float32 if write is write_csv else np.float64)


def test_shards_in_natural_order_name_the_file_of_a_row(tmp_path, opened):
    for k in (1, 2, 10):
        with h5py.File(tmp_path / f"s{k}.h5", "w") as file:
            file["flux"], file["y"] = np.full((k, 3), k), np.full(k, k)
    files = opened(tmp_path)
    assert_array_equal(files.target("y"), [1, 2, 2, *[10] * 10])
    assert files.flux.locate(2) == "row 1 of s2.h5" and files.flux.locate(3) == "row 0 of s10.h5"
    # Blocks do not end where files end.
    assert [stop for _, stop, _ in files.flux.blocks(5)] == [5, 10, 13]
    assert_array_equal(rows_of(files.flux)[:, 0], files.target("y"))


def test_files_are_sorted_as_numbers_not_as_the_shell_lists_them(tmp_path):
    names = ["s0.h5", "s1.h5", "s10.h5", "s2.h5", "labels.csv"]
    for folder in ("b2", "b10", "a"):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()

    def found(*data):
        return [
            path.relative_to(tmp_path).as_posix() for path in find_files([f"{tmp_path}/{d}" for d in data])
        ]

    shards = ["s0.h5", "s1.h5", "s2.h5", "s10.h5"]
    assert found("b2/labels.csv", *[f"b2/{n}" for n in names[:-1]], "a/s1.h5") == [
        "b2/labels.csv",
        *[f"b2/{name}" for name in shards],
        "a/s1.h5",
    ]
    assert found("b*/s?.h5") == [f"{folder}/s{k}.h5" for folder in ("b2", "b10") for k in range(3)]


def test_numbered_arrays_are_shards_and_labels_can_lie_beside_them(arrays, tmp_path, opened):
    for k in range(2):
        np.save(tmp_path / f"flux_{k}.npy", arrays["flux"][300 * k : 300 * k + 300])
    table = pd.DataFrame(arrays["labels"], columns=["Teff", "logg", "mh"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    np.save(tmp_path / "mask.npy", np.zeros((600, 3)))  # a matrix, but no flux beside arrays of that name
    files = opened(tmp_path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_allclose(files.side(["teff"])["Teff"], arrays["labels"][:, 0])


def test_arrays_are_named_by_options_and_the_unused_are_told(arrays, tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["clean/flux"], file["noisy/flux"] = arrays["flux"], arrays["flux"] + 1
        file["ivar"], file["pix"], file["mask"] = np.full((600, 20), 4.0), arrays["wave"], np.zeros((600, 20))
    with pytest.raises(
        ValueError, match=r"flux can be clean/flux .* or noisy/flux .*: choose one with --flux"
    ):
        opened(tmp_path / "a.h5")
    files = opened(tmp_path / "a.h5", flux="noisy/flux", wave="pix")
    assert_array_equal(rows_of(files.flux), arrays["flux"] + 1)
    assert_array_equal(rows_of(files.error), 0.5)
    assert_array_equal(files.wavelength, arrays["wave"])
    assert "ivar: ivar (600, 20)" in " ".join(files.told)
    assert "not used: clean/flux (600, 20), float32" in files.told[-1] and "mask (600, 20)" in files.told[-1]


def test_bad_pixels_of_inverse_variances_have_infinite_errors(arrays, tmp_path, opened):
    ivar = np.full((600, 20), 4.0)
    ivar[3, 1] = 0
    np.savez(tmp_path / "a.npz", flux=arrays["flux"], ivar=ivar)
    error = rows_of(opened(tmp_path / "a.npz").error)
    assert error[3, 1] == np.inf and np.isfinite(error).sum() == error.size - 1


def test_log_wavelengths(arrays, tmp_path, opened):
    np.savez(tmp_path / "a.npz", flux=arrays["flux"], loglam=np.log10(arrays["wave"]))
    assert_allclose(opened(tmp_path / "a.npz").wavelength, arrays["wave"])
    np.savez(tmp_path / "b.npz", flux=arrays["flux"], wave=np.log10(arrays["wave"]))
    assert_allclose(opened(tmp_path / "b.npz", loglam=True).wavelength, arrays["wave"])


def test_missing_integers_of_fits_tables(arrays, tmp_path, opened):
    labels = np.ma.masked_less(arrays["labels"].astype(int), 4000)  # the marks are 999999 in the file
    columns = {"teff": labels[:, 0], "mh": labels[:, 2].astype(np.uint16).filled(3)}
    columns["mh"] = np.ma.masked_array(columns["mh"], np.arange(600) < 9)
    Table({"flux": arrays["flux"], **columns}).write(tmp_path / "table.fits")
    files = opened(tmp_path / "table.fits")
    for name, values in columns.items():
        assert_array_equal(files.label(name, "label"), values.astype(float).filled(np.nan))


@pytest.mark.parametrize(
    ("dtype", "null"),
    [(np.int16, 7), (np.int32, 7), (np.uint16, 7 - 2**15), (np.uint16, 7)],  # astropy writes the last
)
def test_missing_integers_among_the_pixels_of_fits_tables(tmp_path, opened, dtype, null):
    counts = np.arange(40, dtype=dtype).reshape(8, 5)
    form = {"format": "5J" if dtype is np.int32 else "5I", "null": null}
    flux = fits.Column("flux", array=counts, bzero=2**15 if dtype is np.uint16 else None, **form)
    columns = [flux, fits.Column("id", "K", array=np.arange(8) + 2**60, null=-1)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "table.fits")
    files = opened(tmp_path / "table.fits")
    assert_array_equal(rows_of(files.flux), np.where(counts == 7, np.nan, counts))
    assert_array_equal(files.labels["id"], np.arange(8) + 2**60)


def test_packed_numbers_of_netcdf(tmp_path, opened):
    packed = np.arange(40, dtype=np.int16).reshape(8, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"], file["error"], file["teff"] = packed, packed.astype("f4"), packed[:, 0]
        file["id"] = np.arange(8) + 2**60
        file["flux"].attrs.update({"scale_factor": [0.5], "add_offset": 1.0, "_FillValue": np.int16(7)})
        file["error"].attrs["_FillValue"] = np.nan
        file["teff"].attrs["missing_value"] = file["id"].attrs["_FillValue"] = -1
        file["teff"][2] = -1
    files = opened(tmp_path / "a.h5")
    assert files.flux.dtype == files.error.dtype == np.float32
    assert_array_equal(rows_of(files.flux), np.where(packed == 7, np.nan, 0.5 * packed + 1))
    assert_array_equal(rows_of(files.error), packed)
    assert_array_equal(files.label("teff", "label"), np.where(np.arange(8) == 2, np.nan, packed[:, 0]))
    assert_array_equal(files.labels["id"], np.arange(8) + 2**60)


@pytest.mark.parametrize("attribute", ["unit", "units"])
@pytest.mark.parametrize("unit", ["micron", ["micron"], np.array([b"micron"])])
def test_units_of_hdf5(arrays, tmp_path, opened, attribute, unit):
    with h5py.File(tmp_path / "spectra.h5", "w") as file:
        file["flux"], file["wave"] = arrays["flux"], arrays["wave"] / 1e4
        file["wave"].attrs[attribute] = unit
    assert opened(tmp_path / "spectra.h5").wave_unit == "micron"


@pytest.mark.parametrize(("sep", "decimal"), [(";", ","), ("\t", ".")])
def test_tables_without_commas_are_refused(arrays, tmp_path, opened, sep, decimal):
    pixel_frame(arrays).to_csv(tmp_path / "a.csv", sep=sep, decimal=decimal, index=False)
    with pytest.raises(ValueError, match=r"a.csv .* no comma divides its columns: .*to_csv\(new"):
        opened(tmp_path / "a.csv")


@pytest.mark.parametrize("sep", ["|", " "])
def test_other_separators_are_named_too(arrays, tmp_path, opened, sep):
    pixel_frame(arrays).to_csv(tmp_path / "a.csv", sep=sep, index=False)
    with pytest.raises(ValueError, match=r"a.csv .* no comma divides its columns"):
        opened(tmp_path / "a.csv")
    np.save(tmp_path / "flux.npy", arrays["flux"])
    pd.DataFrame({"signal to noise": np.arange(600)}).to_csv(tmp_path / "a.csv", index=False)
    assert_array_equal(opened(tmp_path).target("signal to noise"), np.arange(600))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_errors_are_matched_by_number(arrays, tmp_path, opened, suffix):
    arrays["error"] = arrays["error"] * np.arange(1, 21, dtype=np.float32)

    def write(frame, name):
        frame.to_parquet(tmp_path / name) if suffix == ".parquet" else frame.to_csv(
            tmp_path / name, index=False
        )

    frame = pixel_frame(arrays)
    write(frame, f"a{suffix}")
    columns = frame.columns.to_numpy().copy()
    columns[20:40] = columns[20:40][::-1]  # the errors of the second file begin with the last pixel
    write(frame[columns], f"b{suffix}")
    files = opened(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert_array_equal(rows_of(files.error), np.concatenate([arrays["error"]] * 2))
    # In a file of their own they must have the order of flux.
    write(frame[columns[:20]], f"c{suffix}")
    write(frame[columns[20:40]], f"d{suffix}")
    with pytest.raises(ValueError, match=rf"d{suffix}: the columns of error have another order than flux"):
        opened(tmp_path / f"c{suffix}", tmp_path / f"d{suffix}")
    assert files.labels.keys() == set(arrays["label_names"])


def test_rows_of_a_table_with_a_cell_more_than_its_first_line(arrays, tmp_path, opened):
    head, *rows = pixel_frame(arrays).assign(name="HD 1").to_csv(index=False).splitlines()
    path = tmp_path / "a.csv"
    path.write_text("\n".join([head, *[f"{row}," for row in rows]]))
    with pytest.raises(ValueError, match="a.csv .* a comma ends its rows, not its first line: remove it"):
        opened(path)
    path.write_text("\n".join([head, *[f"{k},{row}" for k, row in enumerate(rows)]]))  # row names of R
    files = opened(path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert set(files.labels["name"]) == {"HD 1"}


def test_words_of_a_text_are_not_missing(arrays, tmp_path, opened):
    words = ["drug", "None", "null", "", "NA", "nan"] * 100
    frame = pixel_frame(arrays).astype({"mh": object, "flux_0": object}).assign(kind=words)
    frame.loc[0, ["flux_0", "mh"]] = "null"
    frame.to_csv(tmp_path / "a.csv", index=False)
    files = opened(tmp_path / "a.csv")
    assert files.labels["kind"][:3].tolist() == ["drug", "None", "null"]
    assert all(value != value for value in files.labels["kind"][3:6])
    assert np.isnan(files.label("mh", "label")[0]) and np.isnan(rows_of(files.flux)[0, 0])


def test_pixels_have_one_usual_name(arrays, tmp_path, opened):
    pixel_frame(arrays).assign(x1=range(600), x2=0, err_1=5).to_csv(tmp_path / "a.csv", index=False)
    files = opened(tmp_path / "a.csv")
    assert files.flux.shape == files.error.shape == (600, 20)
    assert_array_equal(files.labels["x1"], range(600))
    assert {"x2", "err_1"} < files.labels.keys()


@pytest.mark.filterwarnings("ignore:It is strongly recommended that column names")
@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.fits", "a.h5"])
def test_names_of_columns_can_hold_a_slash(tmp_path, opened, name):
    columns = {"[Fe/H]": np.arange(4.0), "[O/H]": np.ones(4), "S/N": np.zeros(4)}
    path = tmp_path / name
    frame = pd.DataFrame(np.eye(4)).add_prefix("flux_").assign(**columns)
    if name == "a.csv":
        frame.to_csv(path, index=False)
    elif name == "a.parquet":
        frame.to_parquet(path)
    elif name == "a.fits":
        Table({"flux": np.eye(4), **columns}).write(path)
    else:
        with h5py.File(path, "w") as file:
            file["flux"], file["x"] = (
                np.eye(4),
                np.rec.fromarrays(list(columns.values()), names=list(columns)),
            )
    files = opened(path)
    assert list(files.labels) == list(columns)
    assert_array_equal(files.target("[Fe/H]"), np.arange(4))


def test_numbers_as_names_of_columns(tmp_path, opened):
    pd.DataFrame(np.eye(4), columns=[0, 1, 2, 10]).to_parquet(tmp_path / "a.parquet")
    files = opened(tmp_path / "a.parquet", flux="[0-9]")
    assert_array_equal(rows_of(files.flux), np.eye(4)[:, :3])
    assert_array_equal(files.target("10"), [0, 0, 0, 1])


def test_a_column_is_text_in_all_parts_of_all_files(arrays, tmp_path, opened, monkeypatch):
    monkeypatch.setattr("moe_sklearn.experiment._files.READ_ROWS", 200)
    star = [*map(str, range(300)), *[f"HD{k}" for k in range(300)]]
    star[7] = ""  # the numbers of this part would be 1.0, 2.0, ...
    frame = pixel_frame(arrays)
    frame.assign(star=star, flag=frame["mh"] > 0).to_csv(tmp_path / "a.csv", index=False)
    numbers = frame.assign(star=np.where(frame["mh"] > 0, np.nan, 3), flag=frame["mh"] > 0)
    numbers.to_csv(tmp_path / "b.csv", index=False)
    files = opened(tmp_path)
    cells = files.labels["star"]
    assert [cell for cell in cells if cell == cell] == star[:7] + star[8:] + ["3"] * (frame["mh"] <= 0).sum()
    assert files.labels["flag"].dtype == bool and files.flux.shape == (1200, 20)
    assert files.told[0] == "flux: flux (1200, 20), float32, 2 file(s)"


def test_a_table_without_rows_is_an_empty_shard(arrays, tmp_path, opened):
    frame = pixel_frame(arrays).assign(name="HD 1")
    frame[:0].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"flux \(0, 20\).*a\.csv: real numbers are expected"):
        opened(tmp_path / "a.csv")
    frame.to_csv(tmp_path / "b.csv", index=False)
    files = opened(tmp_path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert files.flux.locate(0) == "row 0 of b.csv" and files.target("logg").dtype == float


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_booleans_among_pixels_are_numbers(arrays, tmp_path, opened, suffix):
    frame = pixel_frame(arrays).assign(flux_3=arrays["flux"][:, 3] > 1)
    frame.to_csv(tmp_path / "a.csv", index=False) if suffix == ".csv" else frame.to_parquet(
        tmp_path / "a.parquet"
    )
    assert_array_equal(rows_of(opened(tmp_path / f"a{suffix}").flux)[:, 3], arrays["flux"][:, 3] > 1)


def test_nullable_columns_of_parquet(arrays, tmp_path, opened):
    arrays["flux"][3, 2] = np.nan
    frame = pixel_frame(arrays).convert_dtypes()
    assert not isinstance(frame.dtypes.iloc[0], np.dtype)
    frame.to_parquet(tmp_path / "a.parquet")
    assert_array_equal(rows_of(opened(tmp_path / "a.parquet").flux), arrays["flux"])


def test_parts_of_a_table_have_the_same_columns(arrays, tmp_path, opened):
    frame = pixel_frame(arrays)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[:, ::-1].to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match=r"b.csv .*flux has other columns, or another order, than in"):
        opened(tmp_path / "a.csv", tmp_path / "b.csv")


def test_wavelengths_with_decimals_name_pixels(arrays, tmp_path, opened):
    frame = pd.DataFrame(arrays["flux"], columns=[f"flux_{wave:.2f}" for wave in arrays["wave"]])
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert opened(tmp_path / "a.csv").flux.shape == (600, 20)


def test_scaled_and_compressed_fits(arrays, tmp_path, opened):
    counts = fits.PrimaryHDU(np.arange(40, dtype=np.int16).reshape(4, 10))
    counts.header["BZERO"], counts.header["BSCALE"] = 1.0, 0.5
    counts.writeto(tmp_path / "a.fits")
    files = opened(tmp_path / "a.fits")
    assert_allclose(rows_of(files.flux).ravel(), 1 + 0.5 * np.arange(40))
    fits.PrimaryHDU(arrays["flux"]).writeto(tmp_path / "b.fits.gz")
    assert_array_equal(rows_of(opened(tmp_path / "b.fits.gz").flux), arrays["flux"])


@pytest.mark.parametrize("kind", ["compound", "block", "pandas", "structured"])
def test_labels_of_every_form(arrays, tmp_path, opened, kind):
    names, values = arrays["label_names"].tolist(), arrays["labels"]
    records = np.rec.fromarrays(values.T, names=names)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["flux"] = arrays["flux"]
        if kind == "compound":
            file["catalogue"] = records
        elif kind == "block":
            file["labels"], file["label_names"] = values, names
        elif kind == "pandas":
            file["cat/block0_values"], file["cat/block0_items"] = values, np.array(names, "S")
    if kind == "structured":
        np.save(tmp_path / "labels.npy", records)
    files = opened(tmp_path)
    assert_array_equal(columns_of(files, names), values)


def test_links_of_hdf5(arrays, tmp_path, opened):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw/a"], file["v1/logg"], file["v1/error"] = arrays["flux"], np.arange(600), arrays["error"]
        for name, target in {
            "flux": "/raw/a",
            "raw/loop": "/raw",
            "gone": "/nowhere",
            "v2/error": "/v1/error",
        }.items():
            file[name] = h5py.SoftLink(target)
        file["raw/again"] = file["raw"]
    files = opened(path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(rows_of(files.error), arrays["error"])  # a second path to it is no second array
    assert list(files.labels) == ["logg"]


def test_label_in_a_group_of_its_own_and_a_label_of_two_arrays(arrays, tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"], file["labels/logg/value"] = arrays["flux"], arrays["labels"][:, 1]
        file["noisy/logg"], file["version"] = np.zeros(600), 3
    np.savez(tmp_path / "b.npz", seed=np.array(3))
    files = opened(tmp_path)
    assert_array_equal(files.target("logg"), arrays["labels"][:, 1])
    assert "not used: noisy/logg (600,)" in files.told[-1] and "seed ()" in files.told[-1]


def test_flux_in_a_compound_dataset(arrays, tmp_path, opened):
    table = np.zeros(600, [("flux", np.float32, 20), ("logg", float)])
    table["flux"], table["logg"] = arrays["flux"], arrays["labels"][:, 1]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["table"] = table
    files = opened(tmp_path / "a.h5")
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(files.target("logg"), arrays["labels"][:, 1])


def test_labels_of_one_axis_and_of_text(tmp_path, opened):
    np.savez(tmp_path / "a.npz", flux=np.eye(4), labels=np.arange(4.0), colour=np.array(["r", "b", "r", "b"]))
    files = opened(tmp_path / "a.npz", label_names=["logg"])
    assert_array_equal(files.target("logg"), range(4))
    assert files.side(["logg", "colour"]).tolist()[1] == (1.0, "b")
    with pytest.raises(
        ValueError, match=r"target colour is no finite number in 4 rows, the first is row 0 of a\.npz"
    ):
        files.target("colour")


def test_labels_of_one_of_several_groups(arrays, tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"] = arrays["flux"]
        for group, column in (("true", 1), ("noisy", 2)):
            file[f"{group}/logg"] = arrays["labels"][:, column]
    assert_array_equal(opened(tmp_path / "a.h5", labels="true").target("logg"), arrays["labels"][:, 1])
    assert_array_equal(opened(tmp_path / "a.h5", labels="noisy").target("logg"), arrays["labels"][:, 2])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_by_pattern(arrays, tmp_path, opened, suffix, monkeypatch):
    monkeypatch.setattr("moe_sklearn.experiment._files.READ_ROWS", 256)  # text is converted in parts
    flux, path = pd.DataFrame(arrays["flux"]), tmp_path / f"a{suffix}"

    def write(frame):
        frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)

    write(flux.add_prefix("band").assign(logg=np.arange(600)))
    files = opened(path, flux="band*")
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(files.target("logg"), np.arange(600))
    assert files.flux.locate(599) == f"row 599 of a{suffix}"
    write(pd.concat([flux.add_prefix("flux_"), flux.add_prefix("flux_err_")], axis=1))
    files = opened(path, flux="flux*")
    assert_array_equal(rows_of(files.flux), rows_of(files.error))


def test_names_from_files_bring_no_control_characters(tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"], file["flu\x1b[31mx"], file["text"] = np.eye(3), np.ones(3), ["a\x1b", "b\n", "c"]
    files = opened(tmp_path / "a.h5")
    assert list(files.labels) == [r"flu\x1b[31mx", "text"]
    assert files.labels["text"].tolist() == [r"a\x1b", r"b\n", "c"]


# --- errors ---


@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "*.zip"])
def test_message_of_a_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"no such file, or none of \.npy, \.npz, \.h5"):
        find_files([str(tmp_path / name)])


def test_message_of_a_folder_without_arrays(tmp_path):
    (tmp_path / "notes.txt").write_text("no arrays")
    with pytest.raises(FileNotFoundError, match=r"none of \.npy, \.npz, \.h5.* there"):
        find_files([str(tmp_path)])
    with pytest.raises(ValueError, match=r"\.txt is none of \.npy"), ExitStack() as stack:
        open_files([tmp_path / "notes.txt"], stack, Namespace())


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.fits", "a.csv", "a.parquet"])
def test_message_of_a_damaged_file(tmp_path, opened, name):
    for held in (b"", b"\x00\xff"):
        (tmp_path / name).write_bytes(held)
        with pytest.raises(
            ValueError, match=rf"{name} cannot be read as \.{name[2:]}|the files hold nothing"
        ):
            opened(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy.gz", "a.h5.gz", "a.parquet.gz"])
def test_message_of_a_compressed_file(tmp_path, opened, name):
    (tmp_path / name).write_bytes(gzip.compress(b"1"))
    with pytest.raises(
        ValueError, match=rf"{name}: only .csv and .fits files are read compressed: unpack it"
    ):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_are_not_read(tmp_path, opened, name):
    array = np.array([{"a": 1}], object)
    np.save(tmp_path / name, array) if name == "a.npy" else np.savez(tmp_path / name, flux=array)
    with pytest.raises(ValueError, match=r"Python objects.*: save it as array\.astype\(str\)"):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda a: a.pop("flux"),
            {"flux": "spec"},
            r"no array spec; the files hold error \(600, 20\).*--flux",
        ),
        (lambda a: a.pop("flux"), {}, r"no array flux; the files hold error \(600, 20\)"),
        (lambda a: a.pop("label_names"), {}, "no such label, but none. --label-names names columns"),
        (
            lambda a: a.update(flux=a["flux"][0]),
            {},
            r"flux \(20,\).*real numbers are expected, spectra by pixels",
        ),
        (
            lambda a: a.update(flux=a["flux"] + 1j),
            {},
            r"flux \(600, 20\), complex.* real numbers are expected",
        ),
        (lambda a: a.update(flux=a["flux"].astype(str)), {}, "flux .*, str.* real numbers are expected"),
        (lambda a: a.update(error=a["error"] + 1j), {}, "error .*, complex.* real numbers are expected"),
        (lambda a: a.update(labels=a["labels"][:9]), {}, r"labels \(9, 3\).* does not go with 600 spectra"),
        (
            lambda a: a.update(error=a["error"][:, :9]),
            {},
            r"error \(600, 9\).* not go with flux.*\(600, 20\)",
        ),
        (lambda a: a.update(wave=np.arange(9)), {}, r"wave \(9,\).* must be one axis of 20 pixels"),
        (lambda a: a["labels"].__setitem__((7, 1), np.nan), {}, "in 1 rows, the first is row 7 of a.npz"),
        (lambda a: None, {"label_names": ["a", "b"]}, r"labels \(600, 3\).* not go with .* names a, b"),
        (lambda a: None, {"error": "sigma"}, "no array sigma; the files hold .*: name one with --error"),
        (lambda a: None, {"wave": "w"}, "no array w; the files hold .*: name one with --wave"),
        (lambda a: None, {"labels": "catalogue"}, "no array catalogue; .*: name one with --labels"),
        (lambda a: a.pop("labels"), {}, "target logg: no such label, but none"),
        (lambda a: a.update(label_names=["a", "b", "c"]), {}, "target logg: no such label, but a, b, c"),
    ],
)
def test_message_of_wrong_arrays(arrays, tmp_path, opened, change, options, message):
    change(arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "a.npz", **options).target("logg")


def test_message_of_an_empty_array(tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"] = np.empty((0, 5))
    with pytest.raises(ValueError, match=r"flux \(0, 5\).*a\.h5: real numbers are expected"):
        opened(tmp_path / "a.h5")


def test_messages_of_shards_that_differ(arrays, tmp_path, opened):
    def write(name, **more):
        np.savez(tmp_path / name, **{"flux": arrays["flux"]} | more)

    write("a.npz", wave=arrays["wave"], error=arrays["error"])
    write("b.npz", wave=arrays["wave"] + 1, error=arrays["error"])
    with pytest.raises(
        ValueError, match=r"wave .*2 file\(s\) must be one axis of 20 pixels, the same in all"
    ):
        opened(tmp_path)
    write("b.npz", wave=arrays["wave"])
    with pytest.raises(ValueError, match=r"error \(600, 20\).* does not go with flux.*\(1200, 20\)"):
        opened(tmp_path)
    write("b.npz", flux=arrays["flux"][:, :9])
    with pytest.raises(ValueError, match=r"shards have different numbers of columns, \[9, 20\]"):
        opened(tmp_path)


def test_message_of_columns_with_other_names(arrays, tmp_path, opened):
    frame = pixel_frame(arrays).rename(columns=lambda name: name.replace("flux_", "1"))
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r" 17 \(600,\).*, \.\.\. \(pattern '1\*'\): name one with --flux"):
        opened(tmp_path / "a.csv")
    assert opened(tmp_path / "a.csv", flux="1*").flux.shape == (600, 20)


def test_a_cell_that_is_no_number_is_named(arrays, tmp_path, opened):
    frame = pixel_frame(arrays).astype({"flux_3": object, "mh": object})
    frame.loc[4, "mh"] = "--"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="bin_by mh: '--' in row 4 is no number"):
        opened(tmp_path / "a.csv").side(["mh"])
    frame.loc[5, "flux_3"] = "bad"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="row 5 of column 'flux_3' is no number: leave the cell empty"):
        opened(tmp_path / "a.csv")
