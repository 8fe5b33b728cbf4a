"""The published corpora and weight files that `download` knows, each with its sources.

A checksum is given only if somebody published it for exactly this file. Sizes are those of the
publisher, or an approximate total. Nothing is guessed.
"""

from earmark.published.download.backbones import BACKBONES
from earmark.published.download.entry import Published, PublishedFile

__all__ = ["PUBLISHED", "Published", "PublishedFile"]

_GIB = 2**30

_ZENODO = "https://zenodo.org/records/{record}/files/{name}?download=1"
_TENSORFLOW = "http://download.tensorflow.org/data/"
_AUDIOSET = "https://storage.googleapis.com/audioset/"
_TORCHVGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
_MAGNATAGATUNE = "https://mirg.city.ac.uk/datasets/magnatagatune/"


def _fsdkaggle2018(name: str, md5: str) -> PublishedFile:
    return PublishedFile(name, _ZENODO.format(record=2552860, name=name), f"md5:{md5}")


_ALL = (
    Published(
        name="fsdkaggle2018",
        description="9,473 + 1,600 clips of 41 classes (DCASE 2018 task 2)",
        licence="each clip its own: CC BY, CC0, 3 of CC BY-NC; of the set as a whole: not found",
        page="https://zenodo.org/records/2552860",
        n_bytes=round(4.6 * _GIB),
        # the sums are those of a third party's verifying script
        files=(
            _fsdkaggle2018("FSDKaggle2018.audio_train.zip", "a8b47ff4b52022c178f88fa5c6f080d0"),
            _fsdkaggle2018("FSDKaggle2018.audio_test.zip", "f85c8665c3fc39311ea1b748e194a81d"),
            _fsdkaggle2018("FSDKaggle2018.meta.zip", "f16828ac8be0e5285b9175a12f90d784"),
            _fsdkaggle2018("FSDKaggle2018.doc.zip", "4f2d1ac88f33a62f9db3108b269ee1b7"),
        ),
    ),
    Published(
        name="esc50",
        description="2,000 clips of 5 s, 50 classes, 5 folds; holds ESC-10",
        licence="CC BY-NC 3.0; the ESC-10 subset CC BY 3.0",
        page="https://github.com/karolpiczak/ESC-50",
        # GitHub packs a branch anew when it changes. Two md5 are in use for this address:
        # 7771e4b9d86d0945acce719c7a59305a (soundata, PaddleAudio, HEAR) and
        # 629e8e9ebc1592bcceb06da6bec40275 (kiwano).
        files=(
            PublishedFile(
                "ESC-50-master.zip", "https://github.com/karolpiczak/ESC-50/archive/master.zip"
            ),
        ),
        note="an archive of a branch, whose bytes may change; the zip's own CRCs are checked",
    ),
    Published(
        name="urbansound8k",
        description="8,732 clips of at most 4 s, 10 classes, 10 folds",
        licence="CC BY-NC 3.0",  # the text in soundata's loader
        page="https://zenodo.org/records/1203745",
        # soundata/datasets/urbansound8k.py: name, address, md5
        files=(
            PublishedFile(
                "UrbanSound8K.tar.gz",
                _ZENODO.format(record=1203745, name="UrbanSound8K.tar.gz"),
                "md5:9aa69802bbf37fb986f71ec1483a196e",
            ),
        ),
    ),
    Published(
        name="speech_commands_v0.01",
        description="64,727 clips of at most 1 s, 30 words",
        profile="speech_commands_31",
        licence="CC BY 4.0",
        page="https://arxiv.org/abs/1804.03209",
        # torchaudio/datasets/speechcommands.py: address and sha256
        files=(
            PublishedFile(
                "speech_commands_v0.01.tar.gz",
                f"{_TENSORFLOW}speech_commands_v0.01.tar.gz",
                "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
            ),
        ),
    ),
    Published(
        name="speech_commands_v0.02",
        description="105,829 clips of at most 1 s, 35 words",
        profile="speech_commands_35",
        licence="CC BY 4.0",
        page="https://arxiv.org/abs/1804.03209",
        n_bytes=2_428_923_189,  # tensorflow_datasets/url_checksums/speech_commands.txt
        # torchaudio/datasets/speechcommands.py, tensorflow_datasets and MLX Data agree
        files=(
            PublishedFile(
                "speech_commands_v0.02.tar.gz",
                f"{_TENSORFLOW}speech_commands_v0.02.tar.gz",
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            ),
        ),
    ),
    Published(
        name="magnatagatune",
        description="29 s mp3 clips with 188 tags",
        licence="CC BY-NC-SA 3.0",  # tagatune.org/Magnatagatune.html
        page="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
        # names and addresses as in several public loaders, which have no sums; the older host
        # mi.soi.city.ac.uk has http alone
        files=tuple(
            PublishedFile(name, f"{_MAGNATAGATUNE}{name}")
            for name in (
                "mp3.zip.001",
                "mp3.zip.002",
                "mp3.zip.003",
                "annotations_final.csv",
                "clip_info_final.csv",
            )
        ),
        note="nobody publishes checksums; the zip's own CRCs are checked",
    ),
    Published(
        name="msos",
        description="Making Sense of Sounds 2018: 1,500 clips of 5 s and a test set, 5 categories",
        licence="not found; read it on the page",
        page="https://cvssp.org/projects/making_sense_of_sounds/site/challenge/",
        listing="https://api.figshare.com/v2/articles/6901475",
        note="figshare itself tells names and md5 when the download begins",
    ),
    Published(
        name="dcase2017_task4",
        description="52,763 clips of 10 s from AudioSet, 17 classes, several per clip",
        licence="not found; the recordings are from YouTube",
        page="http://dcase.community/challenge2017/task-large-scale-sound-event-detection",
        steps=(
            "the audio is handed out through a form of the organisers; no file can be fetched",
            "follow the page's links to the audio and to the ground truth",
            "put groundtruth_weak_label_{training,testing,evaluation}_set.csv into {folder}",
            "put the wav files, whose names begin with Y, into folders below it",
        ),
    ),
    Published(
        name="vegas",
        description="Visually Engaged and Grounded AudioSet (Zhou et al., 2018), to pre-train on",
        licence="not found; the recordings are from YouTube",
        page="http://bvision11.cs.unc.edu/bigpen/yipin/visual2sound_webpage/visual2sound.html",
        steps=(
            "the page has the archive; nobody confirmed an address or a checksum of it here",
            "put the recordings into one folder a class: {folder}/dog/..., and so on",
            "then: python -m earmark profile use folder --root {folder}",
        ),
    ),
    Published(
        name="vggish",
        kind="weights",
        to_convert="vggish_model.ckpt",
        description="VGGish, TensorFlow's checkpoint and PCA",
        licence="the code's is Apache-2.0; of the weights: not found",
        page="https://github.com/tensorflow/models/tree/master/research/audioset/vggish",
        # two independent public projects pin the checkpoint, one the PCA
        files=(
            PublishedFile(
                "vggish_model.ckpt",
                f"{_AUDIOSET}vggish_model.ckpt",
                "sha256:0962b1914e3e053922d957c45bc84a78c985765641dc6bceeeb3a7d8dfecfdf6",
            ),
            PublishedFile(
                "vggish_pca_params.npz",
                f"{_AUDIOSET}vggish_pca_params.npz",
                "sha256:4d878af3e306defbfb37095365aa7e5a6cecb86bad13e859e626151c4e6a8b9d",
            ),
        ),
    ),
    Published(
        name="vggish_pytorch",
        kind="weights",
        to_convert="vggish-10086976.pth",
        description="VGGish, as torchvggish converted it to PyTorch",
        licence="the code's is Apache-2.0; of the weights: not found",
        page="https://github.com/harritaylor/torchvggish",
        n_bytes=288_567_937,
        # a public installer pins it, and its first eight digits are the file's name
        files=(
            PublishedFile(
                "vggish-10086976.pth",
                f"{_TORCHVGGISH}vggish-10086976.pth",
                "sha256:10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
            ),
        ),
    ),
    Published(
        name="soundnet",
        kind="weights",
        to_convert="soundnet8_final.t7",
        description="SoundNet, five and eight layers (Torch7)",
        licence="the code's is MIT; of the weights: not found",
        page="https://github.com/cvondrick/soundnet",
        files=(
            PublishedFile(
                "soundnet_models_public.zip",
                "http://data.csail.mit.edu/soundnet/soundnet_models_public.zip",
            ),
        ),
        note="nobody publishes a checksum; the zip's own CRCs are checked",
    ),
    *BACKBONES,
)

PUBLISHED: dict[str, Published] = {published.name: published for published in _ALL}
