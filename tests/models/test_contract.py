"""The list of models, and what each of them has to provide."""

import inspect
import subprocess
import sys

import pytest

import weights
from learned_jpeg.common.errors import UserError
from learned_jpeg.models import contract
from learned_jpeg.models.settings import RATE_MODELS, TRUNKS, ModelSettings
from tests.paths import ROOT

CLASSES = {name: contract.load_model_class(name) for name in contract.MODELS}


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_follows_the_contract(name):
    model_class, entry = CLASSES[name], contract.MODELS[name]
    traits = model_class.TRAITS
    assert model_class.NAME == name == entry.script
    assert set(traits.rate_models) <= set(RATE_MODELS)
    assert traits.has_network or not (traits.has_trunk or traits.has_maps)
    assert not (entry.tables_only and traits.has_network)
    methods = {"code"}
    methods |= {"training_graph"} if traits.is_trained else set()
    methods |= {"features"} if traits.has_trunk else set()
    for method in methods:
        protocol = contract.TrunkModel if traits.has_trunk else contract.TrainableModel
        found, wanted = (
            list(inspect.signature(getattr(c, method)).parameters.items())
            for c in (model_class, protocol)
        )
        assert [p.default for _, p in found] == [p.default for _, p in wanted]
        assert [n for n, _ in found] == [n for n, _ in wanted]


def test_traits_tell_which_model_has_which_command():
    assert {n for n, c in CLASSES.items() if not c.TRAITS.is_trained} == {"ljpeg_PIL"}
    exports = {n for n, c in CLASSES.items() if c.TRAITS.has_export}
    assert exports == {"ljpeg", "ljpeg_attention", "ljpeg_PIL"}
    qualities = {n: c.TRAITS.default_quality for n, c in CLASSES.items()}
    assert qualities == {
        "ljpeg": None,
        "ljpeg_attention": None,
        "ljpeg_PIL": 75,
        "google_baseline": 25,
    }


def test_trunks_are_those_that_there_are_weights_for():
    assert set(TRUNKS) == set(weights.VGG_BLOCKS)


def test_an_unknown_model_is_one_line():
    with pytest.raises(
        UserError, match="^jpeg2000: no such model; choose one of ljpeg"
    ):
        contract.load_model_class("jpeg2000")


@pytest.mark.parametrize("missing", ["somewhere_else", "tensorflow_nowhere"])
def test_a_script_that_cannot_be_imported_is_one_line(monkeypatch, tmp_path, missing):
    """An installation may lack the repository, or a package."""
    if missing != "somewhere_else":
        (tmp_path / "somewhere_else.py").write_text(f"import {missing}\n")
        monkeypatch.syspath_prepend(tmp_path)
    entry = contract.ModelEntry("somewhere_else", "Model")
    monkeypatch.setitem(contract.MODELS, "other", entry)
    with pytest.raises(UserError) as caught:
        contract.load_model_class("other")
    message = str(caught.value)
    assert message.startswith(f"other.py: cannot be imported (no module {missing});")
    assert 'pip install ".[train]"' in message and "\n" not in message


def test_models_are_light_to_import():
    code = (
        "import sys, learned_jpeg.models.contract, learned_jpeg.models.folders\n"
        "heavy = ('tensorflow', 'numba', 'scipy', 'PIL', 'training', 'tensorflow_v1')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "rate_model, trained_at, rounded, searched",
    [
        ("proxy", "4:4:4", "4:4:4", "4:2:0"),
        ("entropy", "4:2:2", "4:2:2", "4:2:0"),
        ("search", "4:2:2", "4:2:2", "4:2:2"),
        ("search", "4:4:4", "4:4:4", "4:4:4"),
        ("search", None, "4:4:4", "4:2:0"),
    ],
)
def test_subsampling_of_files_that_nobody_asks_for(
    rate_model, trained_at, rounded, searched
):
    settings = ModelSettings("ljpeg", rate_model=rate_model, subsampling=trained_at)
    assert settings.file_subsampling(is_searched=False) == rounded
    assert settings.file_subsampling(is_searched=True) == searched
