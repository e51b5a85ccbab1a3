"""Sphinx: Markdown in, HTML and man pages out; any warning fails the build (make docs)."""

import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
project = "Spawngrid"
version = release = _project["version"]
author = "the Spawngrid authors"
project_copyright = author

extensions = ["myst_parser", "docs._ext"]
exclude_patterns = ["_build", "_ext", "reference/notes"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "alabaster"
html_theme_options = {
    "description": _project["description"],
    "page_width": "1100px",
    "fixed_sidebar": True,
}
html_copy_source = False
html_show_copyright = False
man_show_urls = False
