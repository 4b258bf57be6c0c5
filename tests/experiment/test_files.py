"""Spectra in files of every kind: what is found in them, and what is said of files that are wrong."""

import sys
from argparse import Namespace
from contextlib import ExitStack

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from containers import pixel_frame
from numpy.testing import assert_allclose, assert_array_equal

from moe_sklearn.experiment._files import find_files, open_files
from moe_sklearn.experiment._spectra import open_data

OPTIONS = ("flux", "error", "ivar", "wave", "labels", "label_names", "wave_unit", "wave_medium", "loglam")


@pytest.fixture
def opened():
    """Function that opens files with options; they are closed after the test."""
    with ExitStack() as stack:

        def open_with(*data, **options):
            given = dict.fromkeys(OPTIONS) | options
            return open_data(Namespace(data=[str(path) for path in data], **given), stack)

        yield open_with


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
    assert files.flux.dtype == files.error.dtype == np.float32
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(rows_of(files.error), arrays["error"])
    assert_allclose(files.target("logg"), arrays["labels"][:, 1])
    assert_allclose(files.side(["teff", "mh"]), arrays["labels"][:, [0, 2]])
    if files.wavelength is not None:
        assert_allclose(files.wavelength * (10 if files.wave_unit == "nm" else 1), arrays["wave"])
    assert files.flux.array is None and files.unused == []


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
    assert_array_equal(files.numbers("y", "target"), [1, 2, 2, *[10] * 10])
    assert files.flux.locate(2) == "row 1 of s2.h5" and files.flux.locate(3) == "row 0 of s10.h5"
    # Blocks do not end where files end.
    assert [stop for _, stop, _ in files.flux.blocks(5)] == [5, 10, 13]
    assert_array_equal(rows_of(files.flux)[:, 0], files.numbers("y", "target"))


def test_numbered_arrays_are_shards_and_labels_can_lie_beside_them(arrays, tmp_path, opened):
    for k in range(2):
        np.save(tmp_path / f"flux_{k}.npy", arrays["flux"][300 * k : 300 * k + 300])
    table = pd.DataFrame(arrays["labels"], columns=["Teff", "logg", "mh"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    np.save(tmp_path / "mask.npy", np.zeros((600, 3)))  # a matrix, but no flux beside arrays of that name
    files = opened(tmp_path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_allclose(files.side(["teff"])[:, 0], arrays["labels"][:, 0])


def test_a_single_matrix_of_another_name_is_the_flux(arrays, tmp_path, opened):
    np.savez(tmp_path / "a.npz", stars=arrays["flux"], logg=arrays["labels"][:, 1])
    assert_array_equal(rows_of(opened(tmp_path / "a.npz").flux), arrays["flux"])


def test_arrays_are_named_by_options_and_the_unused_are_told(arrays, tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["clean/flux"], file["noisy/flux"] = arrays["flux"], arrays["flux"] + 1
        file["ivar"], file["pix"], file["mask"] = np.full((600, 20), 4.0), arrays["wave"], np.zeros((600, 20))
    with pytest.raises(ValueError, match=r"flux can be each of clean/flux, noisy/flux, in a\.h5"):
        opened(tmp_path / "a.h5")
    files = opened(tmp_path / "a.h5", flux="noisy/flux", wave="pix")
    assert_array_equal(rows_of(files.flux), arrays["flux"] + 1)
    assert_array_equal(rows_of(files.error), 0.5)
    assert_array_equal(files.wavelength, arrays["wave"])
    assert files.unused == ["clean/flux (600, 20)", "mask (600, 20)"]
    assert "not used: clean/flux" in files.lines()[-1]


def test_log_wavelengths(arrays, tmp_path, opened):
    np.savez(tmp_path / "a.npz", flux=arrays["flux"], loglam=np.log10(arrays["wave"]))
    assert_allclose(opened(tmp_path / "a.npz").wavelength, arrays["wave"])
    np.savez(tmp_path / "b.npz", flux=arrays["flux"], wave=np.log10(arrays["wave"]))
    assert_allclose(opened(tmp_path / "b.npz", loglam=True).wavelength, arrays["wave"])


def test_wavelengths_of_the_header_of_an_image(arrays, tmp_path, opened):
    hdu = fits.PrimaryHDU(arrays["flux"])
    hdu.header.update({"CRVAL1": 400.0, "CDELT1": 1.0, "CRPIX1": 1.0, "CUNIT1": "nm"})
    hdu.writeto(tmp_path / "a.fits")
    files = opened(tmp_path / "a.fits")
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_allclose(files.wavelength, 400 + np.arange(20))
    assert files.wave_unit == "nm"


def test_scaled_and_compressed_fits(arrays, tmp_path, opened):
    counts = fits.PrimaryHDU(np.arange(40, dtype=np.int16).reshape(4, 10))
    counts.header["BZERO"], counts.header["BSCALE"] = 1.0, 0.5
    counts.writeto(tmp_path / "a.fits")
    files = opened(tmp_path / "a.fits")
    assert_allclose(rows_of(files.flux).ravel(), 1 + 0.5 * np.arange(40))
    fits.PrimaryHDU(arrays["flux"]).writeto(tmp_path / "b.fits.gz")
    assert_array_equal(rows_of(opened(tmp_path / "b.fits.gz").flux), arrays["flux"])


@pytest.mark.parametrize("kind", ["compound", "block", "pandas table", "pandas fixed", "structured"])
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
        elif kind == "pandas table":  # as pandas writes it by means of pytables
            dtype = [("index", int), ("values_block_0", float, 3)]
            table = np.array(list(zip(range(600), values, strict=True)), dtype)
            file["cat/table"] = table
            file["cat/table"].attrs["values_block_0_kind"] = np.bytes_(
                b"(lp0\nVteff\np1\naVlogg\np2\naVmh\np3\na."
            )
        elif kind == "pandas fixed":
            file["cat/block0_values"], file["cat/block0_items"] = values, np.array(names, "S")
    if kind == "structured":
        np.save(tmp_path / "labels.npy", records)
    files = opened(tmp_path)
    assert_array_equal(files.side(names), values)


def test_flux_in_a_compound_dataset_is_read_by_rows(arrays, tmp_path, opened):
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
    assert files.side(["logg", "colour"]).tolist()[1] == [1.0, "b"]
    with pytest.raises(ValueError, match="target colour holds text"):
        files.target("colour")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_columns_by_pattern_by_wavelength_and_in_cells(arrays, tmp_path, opened, suffix):
    flux, path = pd.DataFrame(arrays["flux"]), tmp_path / f"a{suffix}"

    def write(frame):
        if suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")

    write(flux.add_prefix("band").assign(logg=1.0))
    assert_array_equal(rows_of(opened(path, flux="band*").flux), arrays["flux"])
    write(pd.concat([flux.add_prefix("flux_"), flux.add_prefix("flux_err_")], axis=1))
    files = opened(path, flux="flux*")
    assert_array_equal(rows_of(files.flux), rows_of(files.error))
    write(flux.set_axis([f"{wave:g}" for wave in arrays["wave"]], axis=1).assign(logg=1.0))
    files = opened(path)
    assert_array_equal(rows_of(files.flux), arrays["flux"])
    assert_array_equal(files.wavelength, arrays["wave"])
    if suffix == ".parquet":
        write(pd.DataFrame({"flux": list(arrays["flux"]), "logg": 1.0}))
        assert_array_equal(rows_of(opened(path).flux), arrays["flux"])


def test_names_from_files_bring_no_control_characters(tmp_path, opened):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"], file["flu\x1b[31mx"] = np.eye(3), np.ones(3)
    assert list(opened(tmp_path / "a.h5").columns) == ["flu?[31mx"]


# --- errors ---


@pytest.mark.parametrize("name", ["nowhere", "nowhere.npz", "*.zip"])
def test_message_of_a_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no such file, folder or pattern"):
        find_files([str(tmp_path / name)])


def test_message_of_a_folder_without_arrays(tmp_path):
    (tmp_path / "notes.txt").write_text("no arrays")
    with pytest.raises(FileNotFoundError, match=r"the folder holds none of \.npy, \.npz, \.h5"):
        find_files([str(tmp_path)])
    with pytest.raises(ValueError, match=r"\.txt is none of \.npy"), ExitStack() as stack:
        open_files([tmp_path / "notes.txt"], stack)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.fits", "a.csv", "a.parquet"])
def test_message_of_a_damaged_file(tmp_path, opened, name):
    for held in (b"", b"\x00\xff"):
        (tmp_path / name).write_bytes(held)
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a \.{name[2:]} file"):
            opened(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_are_not_read(tmp_path, opened, name):
    array = np.array([{"a": 1}], object)
    np.save(tmp_path / name, array) if name == "a.npy" else np.savez(tmp_path / name, flux=array)
    with pytest.raises(ValueError, match=r"Python objects.*: save it as array\.astype\(str\)"):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        ("a.h5", "h5py", "h5py", "hdf5"),
        ("a.fits", "astropy.io.fits", "astropy", "fits"),
        ("a.csv", "pandas", "pandas", "tables"),
    ],
)
def test_a_missing_package_names_its_extra(tmp_path, opened, monkeypatch, name, module, package, extra):
    (tmp_path / name).write_text("")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"need {package}: pip install 'moe-sklearn\[{extra}\]', or"):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda a: a.pop("flux"), {"flux": "flux"}, r"lacks the flux; it holds error \(600, 20\), wave"),
        (lambda a: [a.pop("flux"), a.pop("error")], {}, "lacks the array flux; it holds wave"),
        (
            lambda a: a.pop("label_names"),
            {},
            "no such label; .* labels has no column names: add the array label_names",
        ),
        (
            lambda a: a.update(flux=a["flux"][0]),
            {},
            r"flux of a.npz has shape \(20,\), expected \(any, any\)",
        ),
        (
            lambda a: a.update(labels=a["labels"][:9]),
            {},
            r"labels of a.npz has shape \(9, 3\), expected \(600, ",
        ),
        (
            lambda a: a.update(error=a["error"][:, :9]),
            {},
            r"error of a.npz has shape \(600, 9\), expected \(600",
        ),
        (lambda a: a.update(wave=np.arange(9)), {}, r"wave of a.npz has shape \(9,\), expected \(20\)"),
        (lambda a: a["labels"].__setitem__((7, 1), np.nan), {}, "in 1 rows, the first is row 7 of a.npz"),
        (lambda a: None, {"label_names": ["a", "b"]}, "labels has 3 columns, label_names has 2 names"),
        (lambda a: None, {"error": "sigma"}, "error sigma: no such array"),
        (lambda a: None, {"wave": "w"}, "wave w: no such array"),
        (lambda a: None, {"labels": "catalogue"}, "labels catalogue: no such array or group"),
        (lambda a: a.pop("labels"), {}, "target logg: no such label; the files hold no labels"),
        (
            lambda a: a.update(label_names=["a", "b", "c"]),
            {},
            "target logg: no such label; the files hold a, b, c",
        ),
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
    with pytest.raises(ValueError, match=r"flux of a\.h5 is empty, its shape is \(0, 5\)"):
        opened(tmp_path / "a.h5")


def test_messages_of_shards_that_differ(arrays, tmp_path, opened):
    def write(name, **more):
        np.savez(tmp_path / name, **{"flux": arrays["flux"]} | more)

    write("a.npz", wave=arrays["wave"], error=arrays["error"])
    write("b.npz", wave=arrays["wave"] + 1, error=arrays["error"])
    with pytest.raises(ValueError, match=r"wave of b\.npz is another axis than that of a\.npz"):
        opened(tmp_path)
    write("b.npz", wave=arrays["wave"])
    with pytest.raises(ValueError, match=r"b\.npz lacks the array error, which other files have"):
        opened(tmp_path)
    write("b.npz", flux=arrays["flux"][:, :9])
    with pytest.raises(ValueError, match=r"flux of b\.npz has shape \(600, 9\)"):
        opened(tmp_path)


def test_a_cell_that_is_no_number_is_named(arrays, tmp_path, opened):
    frame = pixel_frame(arrays).astype({"flux_3": object, "mh": object})
    frame.loc[4, "mh"] = "--"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="bin_by mh: '--' in row 4 is no number"):
        opened(tmp_path / "a.csv").side(["mh"])
    frame.loc[5, "flux_3"] = "bad"
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="'bad' in row 5 of column 'flux_3' is no number"):
        opened(tmp_path / "a.csv")
