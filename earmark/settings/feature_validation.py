"""Whether the features of params.yaml can be computed at the working rate."""

import numpy as np

from earmark import features
from earmark.features.logmel import LogMel, Mfcc, slaney_mel_weights
from earmark.params import Feature, Params
from earmark.params.roster import EMBEDDING, FUSION, PATCHES
from earmark.settings.built import feature_of
from earmark.settings.objections import objections
from earmark.settings.option_limits import FEATURE_LIMITS, limit_problems


def feature_problems(params: Params) -> list[str]:
    """What is wrong with the section `features`."""
    rate, problems = params.decode.sample_rate, []
    for name, feature in params.features.items():
        key = f"features.{name}"
        if name in (EMBEDDING, FUSION):
            problems.append(f"{key}: is a name of earmark's; take another")
        elif feature.type == EMBEDDING:
            fix = "delete the feature and name its models under models.embedding"
            problems.append(f"{key}.type: only extractors make embeddings; {fix}")
        elif wrong := limit_problems(feature.options, FEATURE_LIMITS, key):
            problems += wrong
        else:
            lines = objections(features.build, feature.type, feature.options, sample_rate=rate)
            problems += [f"{key}.{line}" for line in lines] or _spectrum_problems(feature, key)
    patches = params.features.get(PATCHES)
    if params.extractors and patches is not None and patches.type != "patches":
        fix = "set it to patches, which extractors read"
        problems.append(f"features.{PATCHES}.type: {patches.type}; {fix}")
    return problems


def _spectrum_problems(feature: Feature, key: str) -> list[str]:
    """Frames with gaps between them, and more filters than the spectrum has bins."""
    options = feature.options
    if "n_fft" not in options:
        return []
    n_fft, hop_length, n_mels = (options[name] for name in ("n_fft", "hop_length", "n_mels"))
    problems = []
    if hop_length > n_fft:
        fix = f"it must be at most n_fft, {n_fft}, or samples between frames are left out"
        problems.append(f"{key}.hop_length: {hop_length}; {fix}")
    if n_mels > n_fft // 2 + 1:
        fix = f"it must be at most {n_fft // 2 + 1}, the bins of n_fft {n_fft}"
        problems.append(f"{key}.n_mels: {n_mels}; {fix}")
    return problems


def feature_warnings(params: Params) -> list[str]:
    """Mel filters that lie between two bins of the spectrum, so that their band is always empty."""
    warnings = []
    for name, feature in params.features.items():
        built = feature_of(params, name)
        if (target_hz := feature.options.get("target_hz", 0)) > params.decode.sample_rate:
            warnings.append(
                f"params.yaml: features.{name}.target_hz: {target_hz} is above decode.sample_rate, "
                f"{params.decode.sample_rate}; more samples hold no more sound, so lower it"
            )
        spec = built.log_mel if isinstance(built, Mfcc) else built
        if not isinstance(spec, LogMel):
            continue
        if n_empty := int(np.sum(slaney_mel_weights(spec).max(axis=0) == 0)):
            warnings.append(
                f"params.yaml: features.{name}.n_mels: {n_empty} of {spec.n_mels} mel filters hold "
                "no bin of the spectrum; lower it or raise n_fft"
            )
    return warnings
