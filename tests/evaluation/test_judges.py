"""Tests of outside judges: what a codec minimises, and who chose by which metric."""

import pytest

from evaluation import judges
from evaluation.operating_points import encoding
from learned_jpeg.metrics import registry
from learned_jpeg.search.tunes import TUNES

SEARCH = encoding(quantization="search", entropy_coding="optimized", tune="visual")
ROUND = encoding(quantization="round", entropy_coding="standard")
TRAINED = {"script": "ljpeg", "rate_model": "proxy", "lpips_weight": 0.0}


@pytest.mark.parametrize(
    "settings, keys",
    [
        (ROUND, set()),
        ({"tables": "mozjpeg", **ROUND}, set()),
        ({"script": "ljpeg_PIL", **SEARCH}, {"ssimulacra2", "cvvdp", "psnr"}),
        ({"script": "ljpeg_PIL", **SEARCH, "tune": "psnr"}, {"psnr"}),
        ({"script": "ljpeg_PIL", **SEARCH, "tune": "mixed"}, {"psnr", "ms-ssim"}),
        ({**TRAINED, **ROUND}, {"psnr"}),
        ({**TRAINED, **ROUND, "lpips_weight": 2.0}, {"psnr", "lpips"}),
        ({**TRAINED, **SEARCH, "tune": "ms-ssim"}, {"psnr", "ms-ssim"}),
        ({**TRAINED, **SEARCH, "tune": "model"}, {"psnr"}),
        (
            {**TRAINED, **SEARCH, "tune": "model", "ssimulacra2_weight": 1.0},
            {"psnr", "ssimulacra2"},
        ),
    ],
)
def test_a_codec_minimises_its_loss_and_its_tune(settings, keys):
    assert judges.minimised_by(settings) == keys


def test_every_tune_names_metrics_that_there_are():
    for tune in TUNES.values():
        assert tune.minimises and set(tune.minimises) <= registry.METRICS.keys()


def test_defaults_were_chosen_by_what_the_default_minimises_and_butteraugli():
    assert {*TUNES["visual"].minimises, "butteraugli", "mse"} == {*registry.CHOSEN_BY}
    outside = [m.key for m in registry.compared() if judges.is_outside(m)]
    assert {"psnr-hvs-m", "ms-ssim", "lpips"} <= set(outside)
    assert judges.marked(registry.get("lpips"), "x") == "x \N{DAGGER}"
    assert judges.marked(registry.get("psnr"), "x") == "x"


def test_note_names_few_codecs_and_nothing_without_an_outside_judge():
    metrics = [registry.get("psnr"), registry.get("lpips")]
    minimised = {name: frozenset({"lpips"}) for name in "abcde"}
    note = judges.note_on_judges(metrics, minimised)
    assert note.endswith("LPIPS is minimised by a; b; c and 2 more.")
    search = "search, no model, optimized, 4:2:0, search, tuned for psnr"
    note = judges.note_on_judges(metrics, {search: frozenset({"psnr"})})
    assert note.endswith("PSNR is minimised by ours, PSNR.")
    assert judges.note_on_judges(metrics[:1], minimised) == ""
