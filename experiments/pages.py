"""A page of the documentation, of which a part is written by a program."""

from pathlib import Path

from earmark.errors import UserError
from earmark.whole_files import whole_file

START, END = "<!-- table of recipes -->", "<!-- end of the table of recipes -->"


def put_into(path: Path, text: str) -> None:
    """Replace what stands between the two markers of a page.

    Raises:
        UserError: it has no such place.
    """
    check_place(path)
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    with whole_file(path) as part:
        part.write_text(f"{before}{START}\n{text}{END}{after}", encoding="utf-8")


def check_place(path: Path) -> None:
    """Raise UserError unless the page is there, with the first marker before the second."""
    if not path.is_file():
        raise UserError(f"--into {path}: no such file; correct the path")
    text = path.read_text(encoding="utf-8")
    if not -1 < text.find(START) < text.find(END):
        raise UserError(f"--into {path}: lacks the lines {START} and {END}; add them to it")
