"""Errors that are the user's to fix: one line each, no traceback."""


class UserError(Exception):
    """Something in params.yaml, the corpus or the machine that its user can put right.

    Carries every problem that was found, each one line that names its place and its fix.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
