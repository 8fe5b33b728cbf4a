"""Where every artifact of the pipeline lives, relative to the root of the repository."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from earmark.errors import UserError, WrongUse


@dataclass(frozen=True)
class Layout:
    """Paths of all artifacts below `root`, the folder that holds dvc.yaml."""

    root: Path

    @classmethod
    def here(cls) -> "Layout":
        """The layout of the workspace that DVC, or the user's shell, is in.

        Not that of $DVC_ROOT: in a queued experiment it names the repository that queued it.
        """
        try:
            return cls(Path.cwd())
        except FileNotFoundError:
            raise UserError("the working directory is gone; cd into it again") from None

    @classmethod
    def of_pipeline(cls, *, fix: str = "run this in the folder of dvc.yaml") -> "Layout":
        """The layout of the workspace that the user's shell is in, which has a params.yaml.

        Raises:
            WrongUse: there is none; the message ends with `fix`.
        """
        layout = cls.here()
        if not layout.params.exists():
            raise WrongUse(f"no params.yaml in {layout.root}; {fix}")
        return layout

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def demo(self, name: str) -> Path:
        return self.data / "demo" / name

    @property
    def clips(self) -> Path:
        return self.data / "clips.parquet"

    @property
    def decoded(self) -> Path:
        return self.data / "decoded"

    @property
    def trimmed(self) -> Path:
        return self.data / "trimmed"

    @property
    def all_augmented(self) -> Path:
        return self.data / "augmented"

    def augmented(self, feature: str) -> Path:
        return self.all_augmented / feature

    @property
    def class_mixed(self) -> Path:
        return self.data / "class_mixed"

    @property
    def folds(self) -> Path:
        return self.data / "folds.parquet"

    @property
    def rounds(self) -> Path:
        return self.data / "rounds"

    def labels_before(self, round_: str) -> Path:
        """What the round of self-verification before this one decided; nothing before the first."""
        return self.rounds / f"before_{round_}.parquet"

    @property
    def all_checks(self) -> Path:
        return self.data / "checks"

    def check(self, round_: str, fold: str) -> Path:
        return self.all_checks / round_ / fold

    def features(self, name: str) -> Path:
        return self.data / "features" / name

    def embeddings(self, extractor: str, fold: str) -> Path:
        return self.data / "embeddings" / extractor / fold

    def model(self, member: str, fold: str) -> Path:
        return self.root / "models" / member / fold

    @property
    def all_predictions(self) -> Path:
        return self.data / "predictions"

    def predictions(self, member: str, fold: str) -> Path:
        return self.all_predictions / member / fold

    @property
    def plan(self) -> Path:
        return self.data / "plan.json"

    @property
    def ensemble(self) -> Path:
        return self.data / "ensemble"

    @property
    def unlabelled(self) -> Path:
        """What the student learns of recordings without labels."""
        return self.data / "unlabelled"

    @property
    def timeline(self) -> Path:
        """What was predicted for segments of validation clips, and the estimator fitted on it."""
        return self.data / "timeline"

    @property
    def report(self) -> Path:
        return self.data / "report"

    @property
    def audit(self) -> Path:
        return self.data / "audit"

    @property
    def audit_sound(self) -> Path:
        return self.data / "audit_sound"

    @property
    def code(self) -> Path:
        return self.root / "code.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def all_learning_curves(self) -> Path:
        return self.data / "training"

    def learning_curve(self, member: str, fold: str) -> Path:
        return self.all_learning_curves / f"{member}-{fold}.csv"

    @property
    def student(self) -> Path:
        """What its training leaves beside models/student: among what evaluate reads whole."""
        return self.all_learning_curves / "student"

    @property
    def scratch_folder(self) -> Path:
        """For temporary files of one process that may be as large as a recording.

        Not that of the system where there is a choice: it is in memory on many machines.
        """
        return self.home if self.home.is_dir() else Path(tempfile.gettempdir())

    @property
    def home(self) -> Path:
        """The `.earmark` folder, outside of DVC: work in progress and the MLflow store.

        `dvc exp run --temp` and `--queue` work in `<root>/.dvc/tmp/exps/<name>`, which DVC deletes
        afterwards; what must outlive them belongs to the repository that they came from.
        """
        parts = self.root.parts
        for i in range(len(parts) - 2):
            if parts[i : i + 3] == (".dvc", "tmp", "exps"):
                return Path(*parts[:i]) / ".earmark"
        return self.root / ".earmark"
