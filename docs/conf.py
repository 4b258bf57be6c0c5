"""Sphinx settings: API pages from docstrings, a gallery from examples/, no network needed."""

import sys
from pathlib import Path

import moe_sklearn

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import gallery  # noqa: E402

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
exclude_patterns = ["_build", "_ext", "**/GALLERY_HEADER.rst", "sg_execution_times.rst"]

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
