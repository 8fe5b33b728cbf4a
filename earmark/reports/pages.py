"""Pages from the templates beside this file: every value is escaped, and nothing is loaded."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """The html of a template of the folder templates/.

    Texts among the values are escaped; `Markup`, as figures are, is not. A value that a template
    asks for and that is not given is an error.
    """
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """The text of a file of the folder templates/."""
    return (files("earmark.reports") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # ours, and put into the page as they are: a page in one file is whole wherever it is shown
    environment.globals |= {
        "style": Markup(source("page.css")),
        "script": Markup(source("page.js")),
    }
    return environment
