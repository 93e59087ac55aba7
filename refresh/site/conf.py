"""Sphinx's settings."""

from importlib.metadata import version as _version

project = "editcore"
project_copyright = "The editcore developers"
release = version = _version("editcore")
language = "en"
root_doc = "index"
extensions = ["myst_parser", "refresh.site.mathml", "refresh.site.terms"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = "editcore"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "editcore"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
