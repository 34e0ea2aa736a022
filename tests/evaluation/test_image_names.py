"""Names of test images: told apart, and each with the files that are its own."""

import pytest

from evaluation import image_names, results


@pytest.mark.parametrize(
    "paths, wanted",
    [
        (["set/a.png", "set/b.png"], ["a.png", "b.png"]),
        (["set/a/x.png", "set/b/x.png"], ["a/x.png", "b/x.png"]),
        (["s/x.png", "s/b/c/x.png", "s/b/y.png"], ["x.png", "b/c/x.png", "y.png"]),
        (["x.png", "../other/x.png", "./x.png"], None),
        (["only.png"], ["only.png"]),
        ([], []),
    ],
)
def test_files_of_one_name_are_called_by_their_folders(paths, wanted):
    names = image_names.names_of(paths)
    if wanted is None:  # by the name of the current folder
        assert names[0].endswith("/x.png") and names[1] == "other/x.png"
        assert names[2] == names[0]  # the same file
    else:
        assert names == wanted


def test_files_keep_folders_and_equal_stems_their_suffixes():
    names = ["a/x.png", "a/x.tif", "b/x.png", "y.jpg", "z.jpg", "z.png"]
    wanted = ["a/x.png.jpg", "a/x.tif.jpg", "b/x.jpg", "y.jpg"]
    wanted += ["z.jpg.jpg", "z.png.jpg"]
    assert image_names.plan_files(names) == wanted
    record = {"key": {"images": [{"name": name} for name in names]}}
    assert list(image_names.files_of(record).values()) == wanted
    record["files"] = [f"{index}.jpg" for index in range(6)]
    assert image_names.files_of(record)["b/x.png"] == "2.jpg"


def test_short_names_differ():
    names = ["a/x.png", "b/x.png", "b/x.jpg"]
    short = [image_names.short_name(name, names) for name in names]
    assert short == ["a/x", "b/x.png", "b/x.jpg"]


def test_originals_are_found_by_name_and_bytes(tmp_path):
    paths = []
    for folder in "abc":
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "x.png")
        paths[-1].write_text(folder)
    paths.append(tmp_path / "y.png")
    paths[-1].write_text("y")
    paths = list(map(str, paths))
    images = [
        {"name": "one/x.png", "sha256": results.file_sha256(paths[1])},
        {"name": "two/x.png", "sha256": results.file_sha256(paths[0])},
        {"name": "y.png", "sha256": "of another file"},
        {"name": "gone.png", "sha256": "0"},
    ]
    found = image_names.find_originals(images, paths)
    assert found == {"one/x.png": paths[1], "two/x.png": paths[0], "y.png": paths[3]}
