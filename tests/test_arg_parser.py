"""Tests of arg_parser.py: defaults, refusals and help of every command line."""

import argparse
import functools
import json
import os
import re

import pytest

import arg_parser
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.commands import arguments
from learned_jpeg.models import contract
from learned_jpeg.search.targets import Target

TRAIN = {
    "train_glob": "images/*.png",
    "batchsize": 8,
    "patchsize": 128,
    "lmbda": 0.002,
    "subsampling": "4:2:0",
    "last_step": 400,
    "preprocess_threads": 16,
    "lr": 1e-4,
    "lr_decay": 1.0,
    "lr_schedule": "cosine",
    "seed": 0,
    "device": "auto",
    "precision": None,
}
LJPEG_TRAIN = {
    "rate_model": "entropy",
    "rounding": None,
    "lpips_weight": 0.0,
    "msssim_weight": 0.0,
    "ssimulacra2_weight": 30.0,
    "total_weight_regularizer": 0.0,
    "table_init": 50.0,
    "tables_from": None,
    "table_lr": 1e-5,
    "rate_lr": 0.1,
}
ATTENTION_TRAIN = {"vgg": "vgg16", "freeze_vgg": True, "feature_cache": None}
GOOGLE_TRAIN = {
    "batchsize": 4,
    "patchsize": 96,
    "lmbda": 0.005,
    "subsampling": "4:4:4",
    "last_step": 600,
    "lr": 1e-5,
    "rate_lr": 0.1,
}
# The publication's settings.
PROXY_TRAIN = {
    "rate_model": "proxy",
    "rounding": "straight_through",
    "patchsize": 256,
    "lmbda": 0.01,
    "subsampling": "4:4:4",
    "last_step": 20000,
    "lr": 1e-6,
    "lr_schedule": "steps",
    "ssimulacra2_weight": 0.0,
    "total_weight_regularizer": 10.0,
    "table_init": None,
    "table_lr": None,
    "rate_lr": None,
}
COMPRESS = {
    "inputs": ["a.png"],
    "output": None,
    "recursive": False,
    "force": False,
    "skip_existing": False,
    "keep_smaller": True,
    "json": None,
    "files_from": None,
    "files_from0": None,
    "dry_run": False,
    "in_place": False,
    "backup": None,
    "keep_time": False,
    "background": (255, 255, 255),
    "shard": None,
    "missing": False,
    "strip_metadata": False,
    "strip_all": False,
    "gain_map": "keep",
    "video": "keep",
    "lenient": False,
    "max_megapixels": 200,
    "raw": False,
    "colour": "keep",
    "entropy_coding": "optimized",
    "quantization": "round",
    "tune": "model",
    "subsampling": None,
    "effort": 2,
    "target_bpp": None,
    "target_bytes": None,
    "target_psnr": None,
    "target_ms_ssim": None,
    "target_ssimulacra2": None,
    "target_cvvdp": None,
    "verbose": False,
    "device": "auto",
    "workers": None,
    "quality": None,
    "lmbda": None,
    "refine_steps": 0,
    "precision": None,
}
# Of ljpeg.py and compress.py without a checkpoint.
WITHOUT_MODEL = {"quantization": "search", "tune": None, "checkpoint_dir": None}
EXPORT = {"output": None, "force": False, "format": "cjpeg", "quality": None}
PARSERS = {
    **{
        name: functools.partial(arg_parser.parse_model, contract.load_model_class(name))
        for name in contract.MODELS
    },
    "evaluate": arg_parser.parse_evaluate,
    "compress": arguments.parse_compress,
}
COMMANDS = {
    "ljpeg": {"train": [], "compress": ["a.png"], "export": []},
    "ljpeg_attention": {"train": [], "compress": ["a.png"], "export": []},
    "ljpeg_PIL": {"compress": ["a.png"], "export": []},
    "google_baseline": {"train": [], "compress": ["a.png"]},
}
HELP_PAGES = [(script, []) for script in PARSERS] + [
    (script, [command]) for script in COMMANDS for command in COMMANDS[script]
]


def refusal(capsys, parse, argv):
    """The last line on stderr of flags that have to be refused with status 2."""
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def help_of(monkeypatch, capsys, script, command):
    """(text of the help page, its parser)."""
    shown = []
    original = argparse.ArgumentParser.print_help
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        argparse.ArgumentParser,
        "print_help",
        lambda self, file=None: (shown.append(self), original(self, file)),
    )
    with pytest.raises(SystemExit) as caught:
        PARSERS[script]([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out, shown[0]


# --- Defaults ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script, own",
    [
        ("ljpeg", LJPEG_TRAIN),
        ("ljpeg_attention", {**LJPEG_TRAIN, **ATTENTION_TRAIN}),
        ("google_baseline", GOOGLE_TRAIN),
    ],
)
def test_defaults_of_train_suit_each_other(script, own):
    wanted = {"checkpoint_dir": "train", "command": "train", **TRAIN, **own}
    assert vars(PARSERS[script](["train"])) == wanted
    if "rate_model" in own:
        wanted |= PROXY_TRAIN
        wanted |= {"freeze_vgg": False} if "freeze_vgg" in own else {}
        assert vars(PARSERS[script](["train", "--rate_model", "proxy"])) == wanted


@pytest.mark.parametrize(
    "flags, wanted",
    [
        ("--msssim_weight 5000", {"ssimulacra2_weight": 0, "patchsize": 176}),
        ("--lpips_weight 500", {"ssimulacra2_weight": 0, "patchsize": 128}),
        ("--lr_decay 0.5", {"lr_schedule": "steps"}),
        ("--tables_from a", {"table_init": None, "table_lr": 2e-6}),
        ("--rate_model search", {"last_step": 60, "rate_lr": None}),
        ("--no-freeze_vgg", {"freeze_vgg": False}),
    ],
)
def test_defaults_of_train_follow_other_flags(flags, wanted):
    script = "ljpeg_attention" if "vgg" in flags else "ljpeg"
    args = vars(PARSERS[script](["train", *flags.split()]))
    assert {key: args[key] for key in wanted} == wanted


def test_a_resume_reads_the_settings_of_the_training(tmp_path, capsys):
    folder = ["--checkpoint_dir", str(tmp_path)]
    flags = "--lambda 0.03 --rate_model proxy --last_step 7 --table_lr 3e-5 --seed 2"
    begun = vars(PARSERS["ljpeg"]([*folder, "train", *flags.split()]))
    (tmp_path / "settings.json").write_text(json.dumps({"script": "ljpeg", **begun}))
    assert vars(PARSERS["ljpeg"]([*folder, "train", "--resume"])) == begun
    longer = vars(PARSERS["ljpeg"]([*folder, "train", "--resume", "--last_step", "9"]))
    assert longer == {**begun, "last_step": 9}
    line = refusal(capsys, PARSERS["ljpeg"], ["train", "--resume"])
    assert "settings.json is not there" in line


@pytest.mark.parametrize(
    "script, own",
    [
        ("ljpeg", WITHOUT_MODEL),
        ("ljpeg_attention", {"checkpoint_dir": "train"}),
        ("ljpeg_PIL", {"checkpoint_dir": None, "quality": 75}),
        ("google_baseline", {"checkpoint_dir": "train", "quality": 25}),
    ],
)
def test_defaults_of_compress(script, own):
    wanted = {"command": "compress", **COMPRESS, **own}
    assert vars(PARSERS[script](["compress", "a.png"])) == wanted


@pytest.mark.parametrize(
    "script, own",
    [
        ("ljpeg", {"checkpoint_dir": "train"}),
        ("ljpeg_attention", {"checkpoint_dir": "train"}),
        ("ljpeg_PIL", {"checkpoint_dir": None, "quality": 75}),
    ],
)
def test_defaults_of_export(script, own):
    wanted = {"command": "export", **EXPORT, **own}
    assert vars(PARSERS[script](["export"])) == wanted


def test_defaults_of_evaluate():
    assert vars(arg_parser.parse_evaluate(["--batch_dir", "b"])) == {
        "batch_dir": "b",
        "jpeg_type": "ljpeg_attention",
        "runs": None,
        "google_dir": None,
        "test_image_glob": ["images/*.png"],
        "entropy_coding": "standard",
        "quantization": "round",
        "tune": "model",
        "subsampling": None,
        "refine_steps": 0,
        "device": "auto",
        "precision": None,
        "workers": None,
        "bpp_range": [0.2, 1.2],
        "shard": None,
        "output_dir": "b",
        "mozjpeg": False,
        "search": None,
        "qualities": [],
        "published": [],
        "report": None,
        "self_contained": False,
    }


def test_a_report_is_named_by_its_end():
    args = arg_parser.parse_compare(["a", "b", "--report"])
    assert (args.folders, args.report) == (["a", "b"], "report.html")
    flags = ["--batch_dir", "b", "--output_dir", "o", "--report"]
    assert arg_parser.parse_evaluate([*flags, "x.html"]).report == "x.html"
    assert arg_parser.parse_evaluate([*flags, "report.html"]).report == "report.html"
    assert arg_parser.parse_evaluate(flags).report == os.path.join("o", "report.html")


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--report", "folder"], "--report folder: name a file that ends with .html"),
        (["--self_contained"], "--self_contained has no effect without --report"),
    ],
)
def test_odd_flags_of_a_report_are_refused(capsys, flags, said):
    for parse, argv in (
        (arg_parser.parse_compare, ["a"]),
        (arg_parser.parse_evaluate, ["--batch_dir", "b"]),
    ):
        with pytest.raises(SystemExit) as caught:
            parse([*argv, *flags])
        assert caught.value.code == 2
        assert said in capsys.readouterr().err


def test_originals_are_for_a_report(capsys):
    with pytest.raises(SystemExit):
        arg_parser.parse_compare(["a", "--test_image_glob", "b/*.png"])
    assert "--test_image_glob has no effect without" in capsys.readouterr().err


def test_no_run_and_few_qualities_can_be_asked_for():
    argv = ["--batch_dir", "b", "--runs", "--qualities", "70", "5", "70"]
    args = arg_parser.parse_evaluate(argv)
    assert (args.runs, args.qualities) == ([], [5, 70])


# --- Values --------------------------------------------------------------------------


def test_lambda_is_stored_as_lmbda():
    args = PARSERS["ljpeg"](["train", "--lambda", "0.0025"])
    assert args.lmbda == 0.0025
    assert not hasattr(args, "lambda")


def test_every_flag_of_batch_job_attention_is_understood():
    argv = (
        "--checkpoint_dir d train --train_glob t/*.png --batchsize 4 --patchsize 64 "
        "--lambda .05 --last_step 20000 --preprocess_threads 2 --lr 1e-6 --lr_decay .5 "
        "--lpips_weight 300 --total_weight_regularizer 10 --msssim_weight 5000 "
        "--rate_model entropy --rate_lr 1e-2 --table_lr 1e-5 --table_init 50"
    )
    args = PARSERS["ljpeg_attention"](argv.split())
    assert (args.checkpoint_dir, args.train_glob) == ("d", "t/*.png")
    assert (args.batchsize, args.patchsize, args.last_step) == (4, 64, 20000)
    assert (args.lmbda, args.lr, args.lr_decay) == (0.05, 1e-6, 0.5)
    assert (args.lpips_weight, args.total_weight_regularizer) == (300, 10)
    assert (args.msssim_weight, args.rate_model, args.rate_lr) == (
        5000,
        "entropy",
        0.01,
    )
    assert (args.table_lr, args.table_init) == (1e-5, 50)


def test_several_inputs_and_a_name_with_a_dash_after_two_dashes():
    args = PARSERS["ljpeg"](["compress", "-v", "--", "-x.png", "b.png"])
    assert args.inputs == ["-x.png", "b.png"]
    assert args.verbose


def test_test_image_glob_takes_several_patterns():
    argv = ["--batch_dir", "b", "--test_image_glob", "a.png", "c/*.png"]
    assert arg_parser.parse_evaluate(argv).test_image_glob == ["a.png", "c/*.png"]


def test_runs_of_evaluate_are_names():
    args = arg_parser.parse_evaluate(["--batch_dir", "b", "--runs", "one", "two"])
    assert args.runs == ["one", "two"]


def test_output_dir_of_evaluate_overrides_the_batch_dir():
    args = arg_parser.parse_evaluate(["--batch_dir", "b", "--output_dir", "o"])
    assert (args.batch_dir, args.output_dir) == ("b", "o")


# --- Refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--batchsize", "0"),
        ("--batchsize", "2.5"),
        ("--patchsize", "7"),
        ("--lambda", "-1"),
        ("--lambda", "nan"),
        ("--lambda", "inf"),
        ("--lambda", "1e13"),
        ("--lambda", "x"),
        ("--last_step", "0"),
        ("--preprocess_threads", "-1"),
        ("--lr", "0"),
        ("--lr", "1e-4x"),
        ("--lr_decay", "0"),
        ("--seed", "-1"),
        ("--seed", str(2**31)),
        ("--precision", "float16"),
    ],
)
def test_wrong_values_of_train_are_refused_by_name(capsys, flag, value):
    for script in ("ljpeg", "ljpeg_attention", "google_baseline"):
        line = refusal(capsys, PARSERS[script], ["train", flag, value])
        assert f"argument {flag}:" in line
        assert value in line


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--lpips_weight", "-1"),
        ("--msssim_weight", "-1"),
        ("--ssimulacra2_weight", "nan"),
        ("--total_weight_regularizer", "nan"),
        ("--vgg", "vgg11"),
        # The search knows no attention.
        ("--rate_model", "search"),
        ("--rate_model", "rdoq"),
        ("--table_init", "0.99"),
        ("--table_init", "256"),
        ("--table_lr", "0"),
        ("--rate_lr", "0"),
    ],
)
def test_wrong_values_of_the_attention_model_are_refused(capsys, flag, value):
    line = refusal(capsys, PARSERS["ljpeg_attention"], ["train", flag, value])
    assert f"argument {flag}:" in line


@pytest.mark.parametrize("value", ["1", "255"])
def test_tables_may_start_at_either_end_of_their_range(value):
    args = PARSERS["ljpeg"](["train", "--table_init", value])
    assert args.table_init == float(value)


@pytest.mark.parametrize(
    "script, flags, words",
    [
        ("ljpeg", "--rate_model proxy --rate_lr 1", ("--rate_lr", "entropy")),
        ("ljpeg", "--rate_model search --rate_lr 1", ("--rate_lr", "--rate_model")),
        ("ljpeg_attention", "--rate_model proxy --rate_lr 1", ("--rate_lr", "entropy")),
        (
            "ljpeg",
            "--rate_model entropy --rounding polynomial",
            ("--rounding", "proxy"),
        ),
        ("ljpeg", "--table_init 9 --tables_from a", ("--tables_from", "--table_init")),
        (
            "google_baseline",
            "--lr_schedule cosine --lr_decay 0.5",
            ("--lr_schedule cosine", "--lr_decay"),
        ),
        (
            "ljpeg_attention",
            "--feature_cache a --no-freeze_vgg",
            ("--feature_cache", "--freeze_vgg"),
        ),
        (
            "ljpeg_attention",
            "--feature_cache a --freeze_vgg --patchsize 100",
            ("--feature_cache", "--patchsize"),
        ),
        ("ljpeg", "--rate_model search --lpips_weight 1", ("search", "--lpips_weight")),
        (
            "ljpeg_attention",
            "--ssimulacra2_weight 1 --msssim_weight 1",
            ("--ssimulacra2_weight", "--msssim_weight"),
        ),
    ],
)
def test_flags_of_train_that_contradict_each_other_are_refused(
    capsys, script, flags, words
):
    line = refusal(capsys, PARSERS[script], ["train", *flags.split()])
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    "flags, sampling",
    [
        ("--rate_model proxy", "4:4:4"),
        ("--rate_model entropy", "4:2:0"),
        ("--rate_model search", "4:2:0"),
        ("--rate_model search --subsampling 4:2:2", "4:2:2"),
        ("--rate_model proxy --subsampling 4:2:0", "4:2:0"),
    ],
)
def test_subsampling_of_a_training_is_that_of_its_rate_model(flags, sampling):
    args = PARSERS["ljpeg"](["train", *flags.split()])
    assert args.subsampling == sampling


def test_the_old_word_for_the_search_is_understood():
    args = PARSERS["ljpeg"](["train", "--rate_model", "rdoq"])
    assert (args.rate_model, args.subsampling) == ("search", "4:2:0")


@pytest.mark.parametrize(
    "script, flags",
    [
        ("ljpeg", "--rate_model entropy --rate_lr 1 --lpips_weight 1"),
        ("ljpeg", "--rate_model search --table_lr 1 --total_weight_regularizer 1"),
        ("ljpeg_attention", "--rate_model entropy --rate_lr 1 --msssim_weight 1"),
        ("ljpeg_attention", "--ssimulacra2_weight 40"),
        ("google_baseline", "--rate_lr 1"),
        ("ljpeg_attention", "--rate_model proxy --rounding polynomial --tables_from a"),
        ("ljpeg", "--lr_schedule cosine --lr 1"),
    ],
)
def test_flags_of_train_that_go_together_are_taken(script, flags):
    args = vars(PARSERS[script](["train", *flags.split()]))
    words = flags.split()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        assert str(args[flag[2:]]) in (value, f"{value}.0")


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--quality", "0"),
        ("--quality", "101"),
        ("--quality", "7.5"),
        ("--target_bpp", "0"),
        ("--target_bpp", "nan"),
        ("--entropy_coding", "huffman"),
        ("--quantization", "floor"),
        ("--workers", "0"),
    ],
)
def test_wrong_values_of_compress_are_refused(capsys, flag, value):
    for script in ("ljpeg_PIL", "google_baseline"):
        line = refusal(capsys, PARSERS[script], ["compress", "a.png", flag, value])
        assert f"argument {flag}:" in line
    line = refusal(capsys, arguments.parse_compress, ["a.png", flag, value])
    assert f"argument {flag}:" in line


@pytest.mark.parametrize(
    "argv, flag",
    [
        (["--jpeg_type", "ljpeg_PIL"], "--jpeg_type"),
        (["--entropy_coding", "x"], "--entropy_coding"),
        (["--workers", "0"], "--workers"),
        (["--bpp_range", "0", "1"], "--bpp_range"),
        (["--bpp_range", "1", "1"], "--bpp_range"),
        (["--bpp_range", "1"], "--bpp_range"),
    ],
)
def test_wrong_values_of_evaluate_are_refused(capsys, argv, flag):
    line = refusal(capsys, arg_parser.parse_evaluate, ["--batch_dir", "b", *argv])
    assert flag in line


CODING_COMMANDS = {
    "ljpeg": ["--checkpoint_dir", "d", "compress", "a.png"],
    **{script: ["compress", "a.png"] for script in [*COMMANDS][1:]},
    "evaluate": ["--batch_dir", "b"],
}


@pytest.mark.parametrize("script", CODING_COMMANDS)
def test_old_words_are_understood(script):
    argv, parse = CODING_COMMANDS[script], PARSERS[script]
    args = parse([*argv, "--quantization", "rdoq"])
    assert args.quantization == "search"
    args = parse([*argv, "--entropy_coding", "default"])
    assert (args.quantization, args.entropy_coding) == ("round", "standard")
    for flags in ("--entropy_coding trellis", "--quantization mozjpeg"):
        args = parse([*argv, *flags.split()])
        assert (args.quantization, args.entropy_coding) == ("mozjpeg", "optimized")


def test_old_words_of_the_search_without_a_model():
    for parse, argv in (
        (PARSERS["ljpeg"], ["compress", "a.png"]),
        (arguments.parse_compress, ["a.png"]),
    ):
        args = parse([*argv, "--quantization", "rdoq", "--entropy_coding", "default"])
        assert (args.quantization, args.entropy_coding) == ("search", "standard")


@pytest.mark.parametrize("script", CODING_COMMANDS)
def test_trellis_takes_no_other_quantization(capsys, script):
    argv, parse = CODING_COMMANDS[script], PARSERS[script]
    flags = [["--quantization", "search"], ["--quantization", "rdoq"]]
    # The tables of the other two are not learned, there is no loss to go on with.
    if script not in ("ljpeg_PIL", "google_baseline"):
        flags.append(["--refine_steps", "3"])
    for flag in flags:
        assert parse([*argv, *flag])
        line = refusal(capsys, parse, [*argv, "--entropy_coding", "trellis", *flag])
        assert "--entropy_coding trellis" in line and flag[0] in line


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--tune psnr", ("--tune psnr", "--quantization search")),
        ("--quantization mozjpeg --tune psnr", ("--tune psnr", "--quantization")),
        ("--quantization mozjpeg --entropy_coding standard", ("standard", "mozjpeg")),
        ("--quantization mozjpeg --refine_steps 1", ("--refine_steps", "mozjpeg")),
        ("--quantization search --refine_steps 1", ("--refine_steps", "search")),
        ("--refine_steps 1 --subsampling 4:2:0", ("--refine_steps", "--subsampling")),
    ],
)
def test_flags_of_an_encoding_without_effect_are_refused(capsys, flags, words):
    for script in ("ljpeg", "ljpeg_attention", "evaluate"):
        argv = [*CODING_COMMANDS[script], *flags.split()]
        line = refusal(capsys, PARSERS[script], argv)
        assert all(word in line for word in words)


def test_lambda_is_for_a_search(capsys):
    for script in COMMANDS:
        argv = [*CODING_COMMANDS[script], "--lambda", "0.01"]
        line = refusal(capsys, PARSERS[script], argv)
        assert "--lambda has no effect without --quantization search" in line
        args = PARSERS[script]([*argv, "--quantization", "search"])
        assert args.lmbda == 0.01
    for value in ("0", "-1", "nan", "inf", "x", "1e300", "1e-300"):
        line = refusal(capsys, arguments.parse_compress, ["a.png", "--lambda", value])
        assert "argument --lambda:" in line


EMPTY_VALUES = {
    "ljpeg": [
        ["--checkpoint_dir", "", "compress", "a.png"],
        ["compress", ""],
        ["compress", "a.png", "-o", ""],
        ["compress", "a.png", "--json", ""],
        ["compress", "--files_from", ""],
        ["export", "--output", ""],
        ["train", "--train_glob", ""],
        ["train", "--tables_from", ""],
    ],
    "evaluate": [
        ["--batch_dir", ""],
        ["--batch_dir", "d", "--runs", "a", ""],
        ["--batch_dir", "d", "--output_dir", ""],
    ],
}


@pytest.mark.parametrize("script", EMPTY_VALUES)
def test_no_value_of_a_flag_is_empty(capsys, script):
    for argv in EMPTY_VALUES[script]:
        line = refusal(capsys, PARSERS[script], argv)
        assert "'' is empty: name something, or leave the flag out" in line
        assert "COMMAND" not in line


def test_no_file_is_called_as_standard_output_is(capsys):
    for script, argv in (
        ("ljpeg", ["compress", "a.png", "--json", "-"]),
        ("evaluate", ["--batch_dir", "d", "--output_dir", "-"]),
    ):
        line = refusal(capsys, PARSERS[script], argv)
        assert f"argument {argv[-2]}: '-' does not stand for standard output" in line


def test_a_training_with_a_search_needs_a_lambda_that_weighs_bits(capsys):
    for value in ("0", "1e-13"):
        argv = ["train", "--lambda", value, "--rate_model"]
        line = refusal(capsys, PARSERS["ljpeg"], [*argv, "rdoq"])
        assert f"--lambda {value}: --rate_model search weighs bits by it" in line
        assert PARSERS["ljpeg"]([*argv, "entropy"]).lmbda == float(value)


@pytest.mark.parametrize(
    "flags, options",
    [
        ("", EncodeOptions()),
        ("--quality 40", EncodeOptions(quality=40)),
        ("--lambda 0.1 --tune psnr", EncodeOptions(lmbda=0.1, tune="psnr")),
        ("--effort 3", EncodeOptions(effort=3)),
        ("--target_bytes 2k", EncodeOptions(target=Target("bytes", 2000))),
        ("--target_ms_ssim 0.9", EncodeOptions(target=Target("ms_ssim", 0.9))),
        (
            "--model d --quantization mozjpeg --subsampling 4:2:2",
            EncodeOptions(quantization="mozjpeg", subsampling="4:2:2", tune="model"),
        ),
        (
            "--model d --refine_steps 3 --entropy_coding standard",
            EncodeOptions(
                quantization="round",
                tune="model",
                refine_steps=3,
                entropy_coding="standard",
            ),
        ),
    ],
)
def test_flags_become_options(flags, options):
    args = arguments.parse_compress(["a.png", *flags.split()])
    assert arguments.options_of(args) == options


def test_a_target_stands_in_for_the_default_quality():
    args = PARSERS["ljpeg_PIL"](["compress", "a.png", "--target_psnr", "30"])
    found = arguments.options_of(args)
    assert (found.quality, found.target) == (None, Target("psnr", 30))
    args = PARSERS["ljpeg_PIL"](["compress", "a.png"])
    assert arguments.options_of(args).quality == 75


@pytest.mark.parametrize("steps", ["-1", "2.5"])
@pytest.mark.parametrize(
    "script, argv",
    [("ljpeg", ["compress", "a.png"]), ("evaluate", ["--batch_dir", "b"])],
)
def test_wrong_numbers_of_refinement_steps_are_refused(capsys, script, argv, steps):
    line = refusal(capsys, PARSERS[script], [*argv, "--refine_steps", steps])
    assert "argument --refine_steps:" in line


def test_baseline_cannot_be_refined(capsys):
    argv = ["--batch_dir", "b", "--google_dir", "g", "--refine_steps"]
    assert arg_parser.parse_evaluate([*argv, "0"]).google_dir == "g"
    line = refusal(capsys, arg_parser.parse_evaluate, [*argv, "1"])
    assert "--google_dir" in line and "refined" in line


def test_defaults_of_compress_with_a_checkpoint_of_ljpeg():
    """The same as with other models."""
    argv = ["--checkpoint_dir", "d", "compress", "a.png"]
    wanted = {"command": "compress", **COMPRESS, "checkpoint_dir": "d"}
    assert vars(PARSERS["ljpeg"](argv)) == wanted


def test_defaults_of_compress_py():
    assert vars(arguments.parse_compress(["a.png"])) == {**COMPRESS, **WITHOUT_MODEL}
    found = vars(arguments.parse_compress(["a.png", "--model", "d"]))
    assert found == {**COMPRESS, "checkpoint_dir": "d"}


@pytest.mark.parametrize(
    "words, named",
    [
        ("--checkpoint_dir d compress a.png --quality 5", "--quality"),
        ("compress a.png --quantization round", "leave out --quantization"),
        ("compress a.png --quantization mozjpeg", "leave out --quantization"),
        ("compress a.png --quality 5 --lambda 1", "--lambda"),
        ("compress a.png --lambda 1 --target_bytes 9k", "--target_bytes"),
        ("compress a.png --tune model", "--tune model"),
        ("compress a.png --entropy_coding trellis", "trellis"),
        ("compress a.png --refine_steps 3", "--refine_steps"),
        ("compress a.png --quality 5 --target_psnr 30", "--target_psnr"),
    ],
)
def test_flags_that_do_not_fit_a_call_without_a_model(capsys, words, named):
    line = refusal(capsys, PARSERS["ljpeg"], words.split())
    assert named in line


def test_quality_and_target_bpp_exclude_each_other(capsys):
    argv = ["compress", "a.png", "--quality", "90", "--target_bpp", "1"]
    line = refusal(capsys, PARSERS["ljpeg_PIL"], argv)
    assert "--target_bpp" in line and "--quality" in line


def test_evaluate_without_batch_dir_is_refused(capsys):
    assert "--batch_dir" in refusal(capsys, arg_parser.parse_evaluate, [])


@pytest.mark.parametrize("script", list(COMMANDS))
def test_no_command_and_an_unknown_one_are_refused(capsys, script):
    assert "COMMAND" in refusal(capsys, PARSERS[script], [])
    assert "'decode'" in refusal(capsys, PARSERS[script], ["decode"])


@pytest.mark.parametrize("script", list(COMMANDS))
def test_compress_without_inputs_is_refused(capsys, script):
    assert "INPUT" in refusal(capsys, PARSERS[script], ["compress"])


@pytest.mark.parametrize(
    "parse, argv",
    [
        (PARSERS["ljpeg"], ["--checkpoint", "d", "train"]),
        (PARSERS["ljpeg"], ["train", "--batch", "4"]),
        (PARSERS["ljpeg"], ["compress", "a.png", "--verb"]),
        (PARSERS["ljpeg"], ["export", "--form", "json"]),
        (arg_parser.parse_evaluate, ["--batch", "b"]),
    ],
)
def test_abbreviated_flags_are_refused(capsys, parse, argv):
    refusal(capsys, parse, argv)


@pytest.mark.parametrize(
    "parse, argv",
    [
        (PARSERS["google_baseline"], ["train", "--lpips_weight", "1"]),
        (PARSERS["google_baseline"], ["train", "--vgg", "vgg16"]),
        (PARSERS["google_baseline"], ["train", "--rate_model", "entropy"]),
        (PARSERS["google_baseline"], ["train", "--table_lr", "1"]),
        (
            PARSERS["google_baseline"],
            ["compress", "a.png", "--refine_steps", "1"],
        ),
        (PARSERS["google_baseline"], ["export"]),
        (PARSERS["ljpeg"], ["train", "--vgg", "vgg16"]),
        (PARSERS["ljpeg_attention"], ["compress", "a.png", "--quality", "5"]),
        (PARSERS["ljpeg_PIL"], ["train"]),
        (PARSERS["ljpeg_PIL"], ["compress", "a.png", "--refine_steps", "1"]),
        (PARSERS["ljpeg_PIL"], ["--checkpoint_dir", "d", "compress", "a.png"]),
    ],
)
def test_flags_that_a_script_could_not_obey_do_not_exist_there(capsys, parse, argv):
    refusal(capsys, parse, argv)


# --- Help ----------------------------------------------------------------------------


@pytest.mark.parametrize("script, command", HELP_PAGES)
def test_every_flag_has_a_help_text(monkeypatch, capsys, script, command):
    text, parser = help_of(monkeypatch, capsys, script, command)
    assert parser.description or command
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(choice.help for choice in action._choices_actions)
            continue
        assert action.help, action
        for flag in action.option_strings:
            assert re.search(rf"(^|\s){re.escape(flag)}\b", text, re.M), flag


@pytest.mark.parametrize("script, command", HELP_PAGES)
def test_every_default_is_in_the_help(monkeypatch, capsys, script, command):
    text, parser = help_of(monkeypatch, capsys, script, command)
    shown = " ".join(text.split())
    for action in parser._actions:
        if action.default not in (None, False, [], argparse.SUPPRESS):
            help_text = " ".join((action.help % vars(action)).split())
            assert f"{help_text} (default: {action.default})" in shown


@pytest.mark.parametrize("script", list(COMMANDS))
def test_help_of_a_script_names_its_commands(monkeypatch, capsys, script):
    text, _ = help_of(monkeypatch, capsys, script, [])
    for command in COMMANDS[script]:
        assert re.search(rf"^\s+{command}\s+\w", text, re.M)


EVALUATE = ["--batch_dir", "runs"]
ARRAY = {"ID": "2", "COUNT": "4", "MIN": "0", "MAX": "3"}


def set_array(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)


def test_shard_is_that_of_the_array_unless_it_is_named(monkeypatch):
    assert arg_parser.parse_evaluate(EVALUATE).shard is None
    set_array(monkeypatch, **ARRAY)
    assert arg_parser.parse_evaluate(EVALUATE).shard == (2, 4)
    assert arg_parser.parse_evaluate([*EVALUATE, "--shard", "0/1"]).shard == (0, 1)


@pytest.mark.parametrize("text", ["5/4", "4/4", "-1/4", "1", "1/", "a/b", "0/0"])
def test_a_shard_out_of_range_is_refused(capsys, text):
    with pytest.raises(SystemExit) as caught:
        arg_parser.parse_evaluate([*EVALUATE, f"--shard={text}"])
    assert caught.value.code == 2
    assert f"--shard: {text!r} is not I/N" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"MIN": "1", "MAX": "4"}, {"MAX": "7"}])
def test_an_array_that_is_not_numbered_from_zero_is_refused(
    monkeypatch, capsys, change
):
    set_array(monkeypatch, **{**ARRAY, **change})
    with pytest.raises(SystemExit):
        arg_parser.parse_evaluate(EVALUATE)
    assert "--array=0-3" in capsys.readouterr().err


# --- Unknown flags -------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, meant",
    [
        ("-q", "did you mean --quality?"),
        ("--out", "did you mean --output?"),
        ("--out=x", "did you mean --output?"),
        ("--skip-existing", "did you mean --skip_existing?"),
        ("-quality", "did you mean --quality?"),
        ("--Quality", "did you mean --quality?"),
        ("--qualty", "did you mean --quality?"),
        ("-j", "did you mean --workers?"),
        ("--overwrite", "did you mean --force?"),
        ("--target", "did you mean --target_bpp or --target_bytes or --target_psnr?"),
    ],
)
def test_usual_spellings_are_suggested(capsys, word, meant):
    with pytest.raises(SystemExit) as caught:
        arguments.parse_compress(["a.png", word])
    assert caught.value.code == 2
    usage, line = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: ") and usage.endswith(" --help)")
    assert line.endswith(f"error: unrecognized arguments: {word} ({meant})")


def test_nothing_is_suggested_for_what_is_like_no_flag(capsys):
    line = refusal(capsys, arguments.parse_compress, ["a.png", "-z", "--zoom"])
    assert line.endswith("error: unrecognized arguments: -z, --zoom")


def test_a_flag_behind_the_command_is_told_its_place(capsys):
    argv = ["compress", "a.png", "--checkpoint_dir", "b"]
    line = refusal(capsys, PARSERS["ljpeg"], argv)
    assert line.endswith("--checkpoint_dir (it stands before the command)")


@pytest.mark.parametrize("script", PARSERS)
def test_an_error_of_usage_takes_two_lines(capsys, script):
    with pytest.raises(SystemExit):
        PARSERS[script](["--lr\n"])
    usage, line = capsys.readouterr().err.splitlines()
    assert "[FLAGS]" in usage and " error: " in line
