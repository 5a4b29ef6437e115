"""How sphinx makes web pages of this folder: `sphinx-build docs docs/_build`."""

project = "steadystar"
author = "The steadystar developers"
extensions = ["myst_nb"]
exclude_patterns = ["_build"]

html_theme = "furo"

# The tests run the Python of the pages (tests/test_docs.py).
nb_execution_mode = "off"

myst_heading_anchors = 3
# The anchors of columns.md are HTML, which MyST does not look into; links reach them.
suppress_warnings = ["myst.xref_missing"]
