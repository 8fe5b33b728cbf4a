"""Errors that the user can fix: one line each, without a traceback."""

from earmark.wording import printable


class UserError(Exception):
    """A problem in params.yaml, the corpus or the machine that the user can fix.

    `problems` holds all problems found, one line each: where it is, what is wrong, how to fix it.
    What a terminal would obey in a name is written out.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(printable(problem, keep="\n\t") for problem in problems)
        super().__init__("\n".join(self.problems))
