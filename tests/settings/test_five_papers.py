"""The profiles that train all five papers' networks as members of one ensemble."""

import pytest

from earmark.params.roster import members_of
from tests.params.raw_params import profile, sound

# Member -> its group, its network, and the type of the feature that it reads.
MEMBERS = {
    "densenet_logmel": ("logmel", "densenet", "logmel"),
    "densenet_mfcc": ("mfcc", "densenet", "mfcc"),
    "resnet1d": ("wave44k", "resnet1d", "waveform"),
    "soundnet": ("wave44k", "soundnet", "waveform"),
    "comb_audio": ("wave44k", "cnn_audio", "waveform"),
    "comb_spec": ("logmel128", "cnn_spec", "logmel"),
    "comb": ("fusion", "cnn_comb", None),
    "attention-vggish": ("embedding", "multilevel_attention", None),
    "cbir": ("patches", "cbir", "patches"),
    "samplecnn": ("wave16k", "samplecnn", "waveform"),
}


PROFILES = ["five_papers", "five_papers_folder", "five_papers_fsdkaggle2018"]
OURS = {"five_papers_folder": {"compact": "logmel128"}}


@pytest.mark.parametrize("name", PROFILES)
def test_every_papers_networks_are_members_of_one_ensemble(name):
    params = sound(profile(name))
    papers = {member: group for member, (group, _, _) in MEMBERS.items()}
    assert members_of(params) == papers | OURS.get(name, {})
    for member, (group, network, type_) in MEMBERS.items():
        model = params.models[group][member.partition("-")[0]]
        assert model.network.name == network
        assert type_ is None or params.features[group].type == type_
    assert params.ensemble.weights == "learned"


@pytest.mark.parametrize("name", PROFILES)
def test_two_log_mels_of_80_and_128_bands_live_in_one_run(name):
    params = sound(profile(name))
    bands = [params.features[feature].options["n_mels"] for feature in ("logmel", "logmel128")]
    assert bands == [80, 128]
    assert (params.fusion.audio, params.fusion.spec) == ("wave44k", "logmel128")
