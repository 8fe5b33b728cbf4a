"""Errors that the user can fix: one line each, without a traceback."""


class UserError(Exception):
    """A problem in params.yaml, the corpus or the machine that the user can fix.

    `problems` holds all problems found, one line each: where it is, what is wrong, how to fix it.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
