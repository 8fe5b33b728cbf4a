"""Digests of the code that can reach an output, read from the sources without importing them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from earmark.code_digests.kept import KeptSources
from earmark.code_digests.syntax import Source, digest_of
from earmark.code_digests.versions import LIBRARIES, installed_version
from earmark.errors import UserError

OWN = ("__init__", "changes", "kept", "keys", "syntax", "versions")
TRACKING = (
    "__init__", "claims", "evaluation", "model", "parents", "registry", "runs", "secrets", "sender",
    "store",
)  # fmt: skip
ENGINES = (
    "__init__", "agent", "body", "engine", "mailbox", "ray_engine", "resources", "slurm_engine",
    "work_folders",
)  # fmt: skip
DECLARATIONS = ("__init__", "section", "preparation", "models", "recipe", "scoring", "params")

# No output can depend on these: they are neither digested nor followed.
EXCLUDED = {
    "earmark/__init__.py": "what `import earmark` offers; nothing of ours goes through it",
    "earmark/errors.py": "messages alone",
    "earmark/layout.py": "where artifacts lie, not what they hold",
    **dict.fromkeys(
        [f"earmark/code_digests/{name}.py" for name in OWN],
        "names the code, and gives its results to no output",
    ),
    **dict.fromkeys(
        [f"earmark/params/{name}.py" for name in DECLARATIONS],
        "declarations: the values are tracked as params",
    ),
    "earmark/params/reading.py": "reads and explains params.yaml; its values are tracked",
    "earmark/turns.py": "when a training makes its steps, not what they compute",
    "earmark/training/progress.py": "says how far a training is, and gives nothing back",
    **dict.fromkeys(
        [f"earmark/tracking/{name}.py" for name in TRACKING],
        "MLflow follows a training and an evaluation, and gives nothing back",
    ),
    **dict.fromkeys(
        [f"earmark/engines/{name}.py" for name in ENGINES],
        "where the command of a stage runs, not what it computes",
    ),
    "stages/__init__.py": "starts a stage; what it sets is tracked as runtime",
}

RESOURCES = "importlib.resources"  # by which a module reads files of its package
SOX = "earmark/sound/sox.py"  # the one module that runs the program

# Which name of a lazy registry stands for which class is an entry of the keys that use it.
NETWORKS, FEATURE_TYPES, ADAPTERS = "NETWORKS", "FEATURE_TYPES", "ADAPTERS"
REGISTRIES = {
    NETWORKS: "earmark/networks/__init__.py",
    FEATURE_TYPES: "earmark/features/__init__.py",
    ADAPTERS: "earmark/corpora/adapters/__init__.py",
}
# One key each; so have `audit`, which reads through the adapter, `student`, with its network, and
# `timeline`, with all networks.
PLAIN_STAGES = ["demo", "trim", "split", "class_mixing", "plan", "ensemble", "evaluate"]
PLAIN_STAGES += ["audit_sound", "decide_labels"]
PER_MODEL, PER_EXTRACTOR = ("train", "predict"), ("finetune", "embed")
CHECK = "check_labels"  # of the model that checks, whose group is a feature
NAMED_STAGES = ("decode", "augment", "features", *PER_EXTRACTOR, CHECK, *PER_MODEL, "unlabelled")
CODE_JSON = "code.json"
# What may be expected where the digests are equal, for who reads code.json.
EQUALITY = {
    "same processor model, versions and runtime.threads": "every byte",
    "another Python with the libraries of the lock": "every byte (3.11 beside 3.13)",
    "another processor with AVX-512 and bf16": "every byte, but for the networks below",
    "resnet1d, resnet2d, cbir": "last bits differ with the size of the L1 cache",
    "other instructions, or runtime.threads": "scores within their intervals",
}


@dataclass(frozen=True)
class Key:
    """A key of code.json, and what a stage runs through it beside its own module."""

    stage: str
    name: str = ""  # of the model, extractor, feature, effect or adapter, where it decides
    entries: frozenset[str] = frozenset()  # module:Class, as the registries name them

    def __str__(self) -> str:
        return f"{self.stage}.{self.name}" if self.name else self.stage

    @property
    def start(self) -> str:
        return f"stages/{self.stage}.py"


class Code:
    """The sources below `root` and what params.yaml makes of them; each file is read once.

    Args:
        root: The folder that holds dvc.yaml.
        params: The plain mapping of params.yaml.
        version_of: Says the version of a library or program.
        excluded: Path -> reason of the modules that no output depends on.
    """

    def __init__(
        self,
        root: Path,
        params: Mapping[str, Any],
        *,
        version_of: Callable[[str], str] = installed_version,
        excluded: Mapping[str, str] = EXCLUDED,
    ) -> None:
        self.root, self.params = root, params
        self._version_of, self._excluded = version_of, excluded
        self._packages = {"earmark", "stages", str(params.get("extensions", "extensions"))}
        self._sources: dict[str, Source] = {}
        self._kept = KeptSources(root)
        self._paths: dict[str, str | None] = {}
        self._versions: dict[str, str] = {}

    @cached_property
    def keys(self) -> list[Key]:
        """Every key that params.yaml asks for."""
        return [Key(stage) for stage in PLAIN_STAGES] + list(self._named_keys())

    def key(self, stage: str, name: str = "") -> Key:
        """One of the keys; raises UserError where params.yaml has no such name."""
        for key in self.keys:
            if (key.stage, key.name) == (stage, name):
                return key
        raise UserError(
            f"code: no key {Key(stage, name)}; there are {', '.join(map(str, self.keys))}"
        )

    def closure(self, *paths: str) -> set[str]:
        """These files and all of ours that they import, at their top or later, directly or not.

        A module that imports importlib.resources reads what lies beside it: all files of its folder
        that are no Python, and of the folders in it, count as imported.
        """
        seen = {path for path in paths if path not in self._excluded}
        to_read = list(seen)
        while to_read:
            path = to_read.pop()
            imports = self.source(path).imports
            found = {of for name in imports if (of := self._path_of(name))}
            if RESOURCES in imports:
                found |= self._files_beside(path)
            new = found - seen - self._excluded.keys()
            seen |= new
            to_read += new
        return seen

    def _files_beside(self, path: str) -> set[str]:
        """The files below the folder of a module that are no Python, but for hidden ones."""
        home = (self.root / path).parent
        names = (one.relative_to(self.root) for one in home.rglob("*") if one.is_file())
        return {
            name.as_posix()
            for name in names
            if name.suffix not in (".py", ".pyc") and not any(p[0] == "." for p in name.parts)
        }

    def source(self, path: str) -> Source:
        if path not in self._sources:
            registries = frozenset(name for name, home in REGISTRIES.items() if home == path)
            self._sources[path] = self._kept.read(path, without=registries)
        return self._sources[path]

    def keep(self) -> None:
        """Let the next command parse only what has changed by then."""
        self._kept.keep()

    def modules(self, key: Key) -> set[str]:
        """The files behind a key; raises UserError for an entry whose module is not there."""
        starts = [key.start]
        for entry in key.entries:
            module = entry.split(":")[0]
            # the packages above the module run first, as with an import of it
            names = [module.rsplit(".", n)[0] for n in range(module.count(".") + 1)]
            if not self._path_of(module):
                raise UserError(f"code: {key}: no module {module} below {self.root}")
            starts += filter(None, map(self._path_of, names))
        return self.closure(*starts)

    def versions(self, modules: set[str]) -> dict[str, str]:
        """The versions of the libraries and programs that these files use."""
        imported = {name.split(".")[0] for path in modules for name in self.source(path).imports}
        names = {LIBRARIES[name] for name in imported & LIBRARIES.keys()}
        if SOX in modules:
            names.add("sox")
        for name in names - self._versions.keys():
            self._versions[name] = self._version_of(name)
        return {name: self._versions[name] for name in sorted(names)}

    def digest(self, key: Key) -> str:
        modules = self.modules(key)
        digests = {path: self.source(path).digest for path in sorted(modules)}
        everything = [digests, sorted(key.entries), self.versions(modules)]
        return digest_of(json.dumps(everything, sort_keys=True))

    def _path_of(self, name: str) -> str | None:
        """The file of a module of ours; None for what is not a module or not ours."""
        if name not in self._paths:
            base = name.replace(".", "/")
            ours = (
                [f"{base}.py", f"{base}/__init__.py"]
                if name.split(".")[0] in self._packages
                else []
            )
            self._paths[name] = next((p for p in ours if (self.root / p).is_file()), None)
        return self._paths[name]

    def _entry(self, registry: str, name: str) -> str:
        """What a registry names; `module:Class` stands for itself."""
        entries = self.source(REGISTRIES[registry]).dictionaries.get(registry, {})
        if ":" in name or name in entries:
            return name if ":" in name else entries[name]
        raise UserError(
            f"code: {REGISTRIES[registry]} has no {name!r}; it has {', '.join(entries)}"
        )

    def _network(self, entry: Mapping[str, Any]) -> str:
        return self._entry(NETWORKS, entry["network"]["name"])

    def _feature(self, name: str) -> str:
        return self._entry(FEATURE_TYPES, self.params["features"][name]["type"])

    def _named_keys(self) -> Iterator[Key]:
        params = self.params
        adapter = params["corpus"]["adapter"]
        reading = frozenset({self._entry(ADAPTERS, adapter)})
        yield Key("decode", adapter, reading)
        yield Key("student", entries=frozenset(self._entries_of_student()))
        yield Key("audit", entries=reading)  # asks the adapter what a synthetic corpus knows
        for name in params["features"]:
            entries = frozenset({self._feature(name)})
            yield Key("features", name, entries)
            if params["augment"]:
                yield Key("augment", name, entries)
        every: set[str] = set()
        for name, extractor in params["extractors"].items():
            entries = frozenset({self._network(extractor), self._feature("patches")})
            every |= entries
            yield from (Key(stage, name, entries) for stage in PER_EXTRACTOR)
        for group, models in params["models"].items():
            for name, model in models.items():
                entries = frozenset(self._entries_of_model(group, name, model))
                every |= entries
                yield from (Key(stage, name, entries) for stage in PER_MODEL)
                if [group, name] == [params["label_rounds"][key] for key in ("feature", "model")]:
                    yield Key(CHECK, name, entries)
        yield Key("timeline", entries=frozenset(every))
        for feature in params.get("student", {}):  # which reads it of recordings without labels
            yield Key("unlabelled", feature, frozenset({*every, self._feature(feature)}))

    def _entries_of_student(self) -> Iterator[str]:
        for feature, student in self.params.get("student", {}).items():
            yield from (self._network(student), self._feature(feature))

    def _entries_of_model(self, group: str, name: str, model: Mapping[str, Any]) -> Iterator[str]:
        yield self._network(model)
        if group == "embedding":
            yield self._entry(FEATURE_TYPES, "embedding")
        if group != "fusion":
            yield self._feature("patches" if group == "embedding" else group)
            return
        for role, feature in self.params["fusion"].items():
            yield self._feature(feature)
            backbone = f"{name}_{role}"
            if backbone not in self.params["models"][feature]:
                raise UserError(f"models.fusion.{name}: no backbone models.{feature}.{backbone}")
            yield self._network(self.params["models"][feature][backbone])


def code_keys(
    root: Path,
    params: Mapping[str, Any],
    *,
    version_of: Callable[[str], str] = installed_version,
) -> dict[str, Any]:
    """The content of code.json.

    Args:
        root: the folder that holds dvc.yaml.
        params: the plain mapping of params.yaml.
        version_of: says the version of a library or program.

    Returns:
        {stage: digest} or, where a model, extractor, feature, effect or adapter decides,
        {stage: {name: digest}}; with the digests of all `modules`, the `versions` behind them, and
        what `equality` of results may be expected.

    Raises:
        UserError: A name of params.yaml stands in no registry, or a file is no Python.
    """
    code = Code(root, params, version_of=version_of)
    content: dict[str, Any] = {stage: {} for stage in NAMED_STAGES}
    modules: set[str] = set()
    for key in code.keys:
        modules |= code.modules(key)
        if key.name:
            content[key.stage][key.name] = code.digest(key)
        else:
            content[key.stage] = code.digest(key)
    content["modules"] = {path: code.source(path).digest for path in sorted(modules)}
    content["versions"] = code.versions(modules)
    code.keep()
    content["equality"] = EQUALITY
    return content
