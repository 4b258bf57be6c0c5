"""Sphinx settings: API pages from docstrings, a gallery from examples/, no network needed."""

import sys
from pathlib import Path

import moe_sklearn

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import gallery  # noqa: E402
from offline_inventories import write_inventories  # noqa: E402

project = "moe-sklearn"
author = "the moe-sklearn developers"
copyright = f"2026, {author}"
version = release = moe_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without a network
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "inherited_sources",
    "short_names",
    "thumbnail_texts",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "**/GALLERY_HEADER.rst", "**/sg_execution_times.rst"]
default_role = "py:obj"
intersphinx_mapping = write_inventories(Path(__file__).parent / "_build" / "inventories")

# written by scikit-learn, and full of references into its own manual
hidden_methods = ["get_metadata_routing"]
hidden_methods += [
    f"set_{method}_request" for method in ("fit", "partial_fit", "predict", "score", "transform")
]
toc_object_entries_show_parents = "hide"  # else names are cut off
autosummary_generate = True
autosummary_context = {"hidden_methods": hidden_methods}
autodoc_typehints = "none"  # numpydoc states the types
autodoc_default_options = {"exclude-members": ", ".join(hidden_methods)}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_attributes_as_param_list = False  # but as a table
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # words that are no types stay words
numpydoc_xref_aliases = {
    "array-like": ":term:`array-like <numpy:array_like>`",
    "ndarray": "numpy.ndarray",
    "DataFrame": "pandas.DataFrame",
    "Series": "pandas.Series",
    "RandomState": "numpy.random.RandomState",
    "None": "None",
    "LogisticGate": "moe_sklearn.gates.LogisticGate",
    "RegressionGate": "moe_sklearn.gates.RegressionGate",
    "BinnedMoments": "moe_sklearn.moments.BinnedMoments",
    "FoldMoments": "moe_sklearn.moments.FoldMoments",
    "TrainingRows": "moe_sklearn.mixture.TrainingRows",
    "MixturePredictor": "moe_sklearn.mixture.MixturePredictor",
    "Regimes": "moe_sklearn.binning.Regimes",
}
numpydoc_xref_aliases |= {name: f"moe_sklearn.{name}" for name in moe_sklearn.__all__ if name[0].isupper()}
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "ignore_pattern": gallery.ignore_pattern(),
    "within_subsection_order": "gallery.page_order",
    "image_scrapers": ("gallery.with_alt_text",),
    "image_srcset": ["2x"],
    "remove_config_comments": True,
    "capture_repr": ("_repr_html_",),  # no "[Text(...)]" below figures
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("moe_sklearn",),
    "reference_url": {"moe_sklearn": None},
    "download_all_examples": False,
    "abort_on_example_error": True,
    "show_signature": False,
    "write_computation_times": False,  # their page loads scripts from the web
}

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_style = "a11y-high-contrast-light"
html_favicon = "_static/icon.svg"
html_theme_options = {
    "logo": {
        "text": project,
        "alt_text": "Home",
        "image_light": "_static/icon.svg",
        "image_dark": "_static/icon.svg",
    },
    "github_url": "https://github.com/moe-sklearn/moe-sklearn",
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_start": ["navbar-logo", "version"],
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher", "navbar-icon-links"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {page: [] for page in ("index", "accuracy", "comparison", "search")}  # nothing to list
