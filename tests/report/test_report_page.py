"""The page of a report in a real browser: what is drawn, keys, links, its state."""

import collections
import io
import json
import re
import shutil
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from evaluation import curves
from learned_jpeg.metrics import registry
from report import ballots, preference, report, votes
from tests.report import report_data
from tests.report.report_data import PAGE_JPEG as JPEG
from tests.report.report_data import PAGE_MOZJPEG as MOZJPEG
from tests.report.report_data import RUN
from tests.report.test_votes import MANY

WINDOW = {"width": 1000, "height": 900}

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on the PATH"),
    pytest.mark.slow,
]


def write_page(made, folder, self_contained=False):
    """The path of a new page."""
    results, originals = made
    anchor, *others = curves.read_curves(str(results))
    content = report.Content(
        *(anchor, others, report_data.BPP_RANGE, originals, "python3 x.py", [])
    )
    path = folder / "page #1 50%.html"
    report.write_report(str(path), content, self_contained)
    return path


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    return write_page(made, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # Root, as in many containers, has no sandbox.
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def complaints():
    return []


@pytest.fixture(autouse=True)
def nothing_to_complain_of(complaints):
    """No page may say anything on the console, or ask for anything of a network."""
    complaints.clear()
    yield
    assert complaints == []


@pytest.fixture(scope="module")
def new_page(browser, complaints):
    """A function that opens an address in a page of its own."""

    def is_network(request):
        return not request.url.startswith(("file:", "data:"))

    def new_page(path, state=""):
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(300_000)  # ms, for machines that are busy
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: is_network(r) and complaints.append(r.url))
        page.goto(f"file://{urllib.parse.quote(str(path))}{state}")
        wait_for_pictures(page)
        return page

    return new_page


@pytest.fixture(scope="module")
def shared_page(new_page, written):
    return new_page(written)


@pytest.fixture
def at(shared_page):
    """A function that takes the page, which takes seconds to load, to a state."""

    def at(state):
        shared_page.emulate_media(color_scheme="light")
        shared_page.set_viewport_size(WINDOW)
        shared_page.evaluate("stage.show(null); location.hash = 'off='")
        shared_page.evaluate(f"location.hash = {state!r}")
        shared_page.wait_for_function(f"location.hash === {'#' + state!r}")
        shared_page.evaluate("scrollTo(0, 0)")
        # The handler of the address has run once two frames are drawn.
        shared_page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => "
            "requestAnimationFrame(done)))"
        )
        wait_for_pictures(shared_page)
        return shared_page

    return at


@pytest.fixture
def page(at):
    return at("metric=ssimulacra2")


def wait_for_pictures(page):
    page.wait_for_function("[...document.images].every((i) => i.complete)")


def pixels(page, selector=".pane"):
    """Returns the drawn pixels, float `[h, w, 3]`."""
    wait_for_pictures(page)
    data = page.locator(selector).first.screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


def box_of(page, selector, index=0):
    """Where an element is in the window, scrolled to."""
    element = page.locator(selector).nth(index)
    element.scroll_into_view_if_needed()
    return element.bounding_box()


def half(picture, side):
    """A part of one half, free of the divider and the names."""
    height, width, _ = picture.shape
    start = width // 4 if side == "left" else 5 * width // 8
    return picture[height // 4 : height // 2, start : start + width // 8]


def told(page):
    """The state in the address."""
    return page.evaluate(
        "Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"
    )


def shown_curves(page):
    return page.locator("#plot .scatterlayer .trace").count()


def test_page_opens_with_every_picture_there(page):
    sizes = page.evaluate("[...document.images].map((i) => [i.naturalWidth, i.alt])")
    assert sizes and all(width > 0 and alt for width, alt in sizes)
    assert page.locator(".answer").count() == 3  # SSIMULACRA2, PSNR, LPIPS
    assert shown_curves(page) == 3


def test_slider_moves_the_border_between_two_files(page):
    before = pixels(page)
    page.locator("#stage").focus()
    for _ in range(9):
        page.keyboard.press("[")
    after = pixels(page)
    # The right file is now in the middle, where the left one was.
    assert np.abs(half(before, "left") - half(after, "left")).max() > 8
    np.testing.assert_array_equal(half(before, "right"), half(after, "right"))
    assert float(told(page)["split"]) == pytest.approx(0.05)


def test_slider_follows_the_mouse(page):
    box = box_of(page, ".divider")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = pixels(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 300, y, steps=3)
    page.mouse.up()
    assert float(told(page)["split"]) > 0.7
    changed = np.abs(half(before, "right") - half(pixels(page), "right"))
    assert changed.max() > 8


def test_space_changes_between_the_two_files(page):
    page.locator("#stage").focus()
    slider = pixels(page)
    page.keyboard.press(" ")
    left = pixels(page)
    page.keyboard.press(" ")
    right = pixels(page)
    np.testing.assert_array_equal(half(left, "left"), half(slider, "left"))
    np.testing.assert_array_equal(half(right, "right"), half(slider, "right"))
    assert np.abs(left - right).max() > 8
    page.keyboard.press(" ")
    np.testing.assert_array_equal(pixels(page), left)
    page.keyboard.press("Escape")
    np.testing.assert_array_equal(pixels(page), slider)


def test_the_original_is_shown_while_its_key_is_held(page):
    page.locator("#stage").focus()
    before = pixels(page)
    page.keyboard.down("o")
    assert "original" in page.locator("figcaption").inner_text()
    assert np.abs(pixels(page) - before).max() > 8
    page.keyboard.up("o")
    np.testing.assert_array_equal(pixels(page), before)


def test_pictures_are_the_files_pixel_by_pixel(at):
    """At a scale of 4 each pixel of the decoded file is a square of 4 by 4."""
    page = at("image=a.png&left=original&right=original&x=56&y=40&zoom=4")
    x, y = page.evaluate(
        """(() => {
          const [picture, pane] = [".picture", ".pane"].map((name) =>
            document.querySelector(name).getBoundingClientRect());
          return [picture.x - pane.x, picture.y - pane.y];
        })()"""
    )
    _height, width = report_data.SIZES["a.png"]
    # Middles of the squares, free of the divider and the names.
    columns = round(x) + 4 * np.arange(70, width) + 2
    rows = round(y) + 4 * np.arange(30, 60) + 2
    wanted = report_data.picture_of("a.png")[30:60, 70:]
    np.testing.assert_array_equal(pixels(page)[np.ix_(rows, columns)], wanted)


def test_pixels_of_unequal_widths_are_smooth(at):
    at_scale = "getComputedStyle(document.querySelector('.pane img')).imageRendering"
    for zoom, wanted in (
        ("0.7", "auto"),
        ("1", "pixelated"),
        ("1.3", "auto"),
        ("2", "pixelated"),
    ):
        page = at(f"zoom={zoom}")
        assert page.evaluate(at_scale) == wanted


def test_errors_are_black_where_there_are_none(at):
    page = at("mode=error&left=original&x=45&y=36&zoom=12")
    assert page.locator(".pane.error").count() == 2
    first, second = (pixels(page, f".pane >> nth={i}")[9:-9, 9:-9] for i in (0, 1))
    assert first.max() == 0 and second.max() > 30


def test_panes_side_by_side_move_and_zoom_together(at):
    page = at("mode=side")
    transforms = (
        "[...document.querySelectorAll('.picture')].map((p) => p.style.transform)"
    )
    before = page.evaluate(transforms)
    box = box_of(page, ".pane", 1)
    page.mouse.move(box["x"] + 50, box["y"] + 60)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 90, steps=2)
    page.mouse.up()
    after = page.evaluate(transforms)
    assert len(after) == 3 and len(set(after)) == 1 and after[0] != before[0]
    page.keyboard.press("0")
    assert page.evaluate(transforms) == before


def test_codecs_are_switched_on_and_off(page):
    page.locator(f'#codecs input[value="{MOZJPEG}"]').uncheck()
    assert shown_curves(page) == 2
    assert told(page)["off"] == MOZJPEG
    page.locator(f'#codecs input[value="{MOZJPEG}"]').check()
    assert shown_curves(page) == 3


def test_metric_and_scale_of_the_rate_are_chosen(page):
    before = pixels(page, "#plot")
    page.get_by_role("radio", name="PSNR").click()
    assert "PSNR" in page.locator("#plot .ytitle").text_content()
    psnr = pixels(page, "#plot")
    assert np.abs(psnr - before).max() > 50
    page.get_by_label("logarithmic rate").check()
    assert page.evaluate("byId('plot').layout.xaxis.type") == "log"
    assert np.abs(pixels(page, "#plot") - psnr).max() > 50
    page.get_by_role("radio", name="LPIPS").click()
    low, high = page.evaluate("byId('plot').layout.yaxis.range")
    assert low > high  # smaller is better, and drawn above


def test_link_to_the_worst_image_lands_there(page):
    link = page.locator("#gains tbody tr", has_text="mozjpeg").locator("a")
    image = link.inner_text()
    others = page.evaluate("DATA.images.map((i) => i.name)")
    page.locator("#image").select_option(next(n for n in others if n != image))
    link.click()
    assert page.locator("#image").input_value() == image
    assert page.locator("#left").input_value() == MOZJPEG
    page.wait_for_function("Math.abs(byId('viewer').getBoundingClientRect().top) < 80")
    assert image in page.locator(".pane img").first.get_attribute("alt")


def test_a_point_of_the_scatter_shows_its_image(page):
    page.locator("#images").scroll_into_view_if_needed()
    point = (
        page.locator("#scatter .scatterlayer .trace").first.locator("path.point").nth(1)
    )
    box = point.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    hovered = page.locator("#scatter .hoverlayer .hovertext").first
    assert report_data.ODD in hovered.text_content()
    page.mouse.click(*middle)
    image = page.evaluate("state.image")
    assert image == report_data.ODD == page.locator("#image").input_value()


def test_address_alone_brings_the_state_back(new_page, written, page):
    page.locator("#image").select_option("d.png")
    page.locator("#match").select_option("quality")
    page.locator("#mode").select_option("side")
    page.locator("[data-crop=worst]").click()
    page.get_by_role("radio", name="PSNR").click()
    state = page.evaluate("location.hash")
    again = new_page(written, state)
    assert told(again) == told(page)
    np.testing.assert_array_equal(pixels(again, "#stage"), pixels(page, "#stage"))
    assert again.locator("#match").input_value() == "quality"


def test_a_state_of_another_page_does_no_harm(at):
    page = at("image=gone.png&left=x&rate=9&metric=vmaf&zoom=big&mode=y&match=z")
    assert page.locator("#left").input_value() == MOZJPEG
    assert page.locator(".pane").count() == 1


def test_captions_tell_bytes_which_are_nearly_equal(page):
    caption = page.locator("figcaption").inner_text()
    sizes = [int(text) for text in re.findall(r"(\d+) bytes", caption)]
    assert len(sizes) == 2 and sizes[1] <= sizes[0] < 1.25 * sizes[1]
    assert MOZJPEG in caption and RUN in caption and "SSIMULACRA2" in caption


def to_scheme(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("byId('plot').layout.paper_bgcolor === colours().back")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_reach_the_plots(page, scheme):
    to_scheme(page, scheme)
    corner = pixels(page, "#plot")[3, 3].mean()
    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(v) for v in re.findall(r"\d+", body)])
    assert abs(corner - brightness) < 3
    assert (brightness > 200) == (scheme == "light")
    other = "dark" if scheme == "light" else "light"
    to_scheme(page, other)
    assert abs(pixels(page, "#plot")[3, 3].mean() - corner) > 100


@pytest.mark.parametrize("mode", ["slider", "side", "error"])
def test_a_narrow_window_needs_no_scrolling_sideways(at, mode):
    page = at(f"mode={mode}")
    page.set_viewport_size({"width": 340, "height": 700})
    # The plots follow the window a moment later.
    fits = "document.documentElement.scrollWidth <= 340"
    page.wait_for_function(fits, timeout=60_000)
    for box in (pane.bounding_box() for pane in page.locator(".pane").all()):
        assert 250 < box["width"] <= 340


def test_a_page_without_pictures_has_its_curves(new_page, made, tmp_path):
    path = write_page((made[0], {}), tmp_path)
    page = new_page(path)
    assert (
        page.locator("#viewer-content").inner_text() == "There are no pictures to show."
    )
    page.get_by_role("radio", name="PSNR").click()
    page.set_viewport_size({"width": 700, "height": 700})
    page.locator(f'#codecs input[value="{MOZJPEG}"]').uncheck()
    assert shown_curves(page) == 2 and page.locator("#gains a").count() == 0


def test_a_self_contained_page_stands_alone(new_page, made, tmp_path):
    path = write_page(made, tmp_path, self_contained=True)
    assert [file.name for file in tmp_path.iterdir() if "pictures" in file.name] == []
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.move(path, tmp_path / "elsewhere" / "x.html")
    page = new_page(alone)
    assert page.evaluate("[...document.images].every((i) => i.naturalWidth > 0)")
    assert np.abs(pixels(page) - 0x77).max() > 50


# --- The first view -------------------------------------------------------------------


def test_first_view_is_ours_beside_mozjpeg_at_equal_bytes(at):
    page = at("log=0")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("innerWidth === 1280 && stage.view().width > 1000")
    box = page.locator("#stage").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 800
    chosen = [page.locator(f"#{i}").input_value() for i in ("left", "right", "match")]
    assert chosen == [MOZJPEG, RUN, "bytes"]


def test_every_image_can_be_chosen(page):
    names = page.evaluate("[...byId('image').options].map((o) => o.value)")
    assert sorted(names) == sorted(report_data.SIZES)


def test_space_works_without_a_focus_where_the_stage_is_seen(page):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    assert page.evaluate("[stage.alone, scrollY]") == [0, 0]
    page.evaluate("stage.show(null); byId('gains').scrollIntoView()")
    before = page.evaluate("scrollY")
    page.keyboard.press(" ")
    page.wait_for_function(f"scrollY > {before}")
    assert page.evaluate("stage.alone") is None


def test_no_column_of_the_table_is_cut(page):
    """As many metrics as there are, with the longest name of them."""
    page.set_viewport_size({"width": 1280, "height": 800})
    more = len(registry.compared()) - page.locator("#gains thead th").count() + 2
    page.evaluate(
        """(more) => {
          for (const row of document.querySelectorAll("#gains tr"))
            for (let i = 0; i < more; i++) {
              const cell = row.cells[1].cloneNode(true);
              if (cell.scope) cell.firstElementChild.textContent = "PSNR-HVS-M";
              row.cells[1].before(cell);
              cell.className = "added";
            }
        }""",
        more,
    )
    assert page.locator("#gains thead th").count() == 2 + len(registry.compared())
    sizes = page.evaluate(
        "[byId('gains').querySelector('.scroll')].map((e) => "
        "[e.scrollWidth, e.clientWidth])[0]"
    )
    page.evaluate("document.querySelectorAll('.added').forEach((e) => e.remove())")
    assert more > 3 and sizes[0] <= sizes[1]


def test_gains_are_green_and_losses_red(page):
    cells = page.evaluate(
        """[...document.querySelectorAll("#gains .gain, #gains .loss")].map((cell) =>
          [cell.textContent, getComputedStyle(cell).color.match(/[0-9]+/g).map(Number)])
        """
    )
    assert len(cells) > 6
    for text, (red, green, _) in cells:
        assert (red > green) == (not text.strip().startswith("\N{MINUS SIGN}"))


def test_ticks_of_logarithmic_axes_are_written_in_full(page):
    ticks = page.evaluate("logTicks(2.5, 45)")
    assert ticks["ticktext"] == ["3", "5", "10", "20", "30"]
    assert ticks["tickvals"] == [3, 5, 10, 20, 30]
    assert page.evaluate("logTicks(0.8, 1200).ticktext") == [
        *("1", "3", "10", "30", "100", "300", "1000")
    ]
    low, high = page.evaluate("byId('scatter').layout.xaxis.range")
    texts = page.locator("#scatter .xtick text").all_text_contents()
    assert texts and all(10**low <= float(text) <= 10**high for text in texts)


def test_legend_has_dashes_and_axis_says_what_is_better(page):
    dashes = page.evaluate(
        "[...document.querySelectorAll('#codecs path[stroke-dasharray]')].map((p) => "
        "p.getAttribute('stroke-dasharray'))"
    )
    assert len(dashes) == len(set(dashes)) == 3 and dashes.count("") == 1
    title = page.locator("#plot .ytitle").text_content()
    assert title == "SSIMULACRA2 (higher is better)"


# --- The blind test -------------------------------------------------------------------


@pytest.fixture
def blind(at):
    """The page without a session, its dialog closed."""
    page = at("log=0")
    page.evaluate("dialog.close(); session = null; storeSession(); drawBlind()")
    page.evaluate("byId('blind-setup').reset(); byId('blind-mode').value = 'turns'")
    return page


def begin(page, count=12, against="codecs"):
    """Starts a test of the first three codecs by the keyboard."""
    page.locator("#blind-open").focus()
    page.keyboard.press("Enter")
    for box in page.locator("#blind-codecs input").all():
        if not box.is_checked():
            box.focus()
            page.keyboard.press(" ")
    page.locator(f"#blind-setup [value={against}]").check()
    page.locator("#blind-count").select_option(str(count))
    page.locator("#blind-setup [type=submit]").focus()
    page.keyboard.press("Enter")
    wait_for_pictures(page)


def trial(page):
    return page.evaluate("session.trials[session.votes.length]")


def vote(page, trial):
    """Votes for the original, ours, and no difference, as a careful person does."""
    if trial["kind"] == "same":
        page.keyboard.press("n")
    else:
        is_first = trial["codecs"][0] in ("original", RUN)
        page.keyboard.press("a" if is_first else "b")


def test_a_blind_test_needs_the_keyboard_alone_and_exports_votes(blind, tmp_path):
    page = blind
    begin(page)
    assert page.evaluate("document.activeElement.id") == "blind-stage"
    trials = page.evaluate("session.trials")
    for shown in trials:
        assert shown == trial(page)
        vote(page, shown)
    assert page.locator("#blind-result").is_visible()
    page.locator("#blind-export").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = tmp_path / "votes.json"
    download.value.save_as(path)
    ballot = ballots.read_ballot(str(path))
    assert ballot.failure == "" and len(ballot.votes) == len(trials)
    assert ballot.recognised == ballot.called_equal == (3, 3)
    preferred = {vote.preferred for vote in ballot.pairs if RUN in vote.codecs}
    assert preferred == {RUN}
    entries = json.loads(path.read_text())["votes"]
    assert [entry["image"] for entry in entries] == [t["image"] for t in trials]
    page.locator("#blind-back").click()
    assert trial(page) == trials[-1]
    vote(page, trials[-1])
    # The result says the same as the merge of one file.
    rows = page.locator("#blind-tables tbody tr").all_text_contents()
    for pair in votes.preferences(ballot.pairs):
        text = " over ".join(pair.codecs) + f"{pair.preference.value:.0%}"
        assert any(row.replace(" %", "%").startswith(text) for row in rows)


def test_nothing_tells_whose_an_image_is(blind):
    page = blind
    begin(page)
    for _ in range(6):
        html = page.evaluate("byId('blind-trial').outerHTML")
        stems = page.evaluate(
            "[...byId('blind-stage').querySelectorAll('img')].map"
            "((i) => i.getAttribute('src').split('/').pop())"
        )
        assert not any(name in html for name in (JPEG, MOZJPEG, RUN, "bytes", "bpp"))
        name = trial(page)["image"]
        stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        pattern = rf"{stem}-[0-9a-f]{{10}}\.(jpg|png)"
        assert len(stems) == 3 and all(re.fullmatch(pattern, s) for s in stems)
        page.keyboard.press("n")


def test_pairs_are_of_equal_bytes_and_controls_are_spread_among_them(blind):
    page = blind
    begin(page, 24)
    trials = page.evaluate("session.trials")
    pairs = [t for t in trials if t["kind"] == "pair"]
    # Three images at three rates: fewer where bytes differ by more than a tenth.
    assert 12 <= len(pairs) <= 24
    for t in pairs:
        sizes = page.evaluate("(t) => t.codecs.map((c) => bytesOf(c, t))", t)
        assert max(sizes) <= 1.1 * min(sizes)
    counts = collections.Counter(frozenset(t["codecs"]) for t in pairs)
    assert len(counts) == 3
    sides = {tuple(t["codecs"]) for t in pairs}
    assert len(sides) > 3  # both orders
    for kind in ("same", "worse"):
        places = [i for i, t in enumerate(trials) if t["kind"] == kind]
        assert len(places) == 3
        thirds = [3 * place // len(trials) for place in places]
        assert thirds == [0, 1, 2]


def test_votes_survive_a_reload_and_can_be_undone(blind):
    page = blind
    begin(page)
    for key in "abn":
        page.keyboard.press(key)
    stored = page.evaluate("session")
    page.reload()
    wait_for_pictures(page)
    assert page.evaluate("session") == stored
    assert [v["choice"] for v in stored["votes"]] == ["first", "second", "none"]
    button = page.locator("#blind-open")
    assert button.inner_text().startswith("Go on with the blind test (3 of")
    button.click()
    page.keyboard.press("u")
    assert page.evaluate("session.votes.length") == 2
    assert trial(page) == stored["trials"][2]
    for _ in range(3):
        page.keyboard.press("u")
    assert page.evaluate("readSession().votes") == []
    assert page.locator("#blind-undo").is_disabled()
    page.keyboard.press("Escape")
    assert not page.locator("#blind-test").is_visible()
    assert page.evaluate("document.activeElement.id") == "blind-open"


def test_sides_are_seen_by_turns_and_the_original_while_its_key_is_held(blind):
    page = blind
    begin(page)
    while trial(page)["kind"] != "worse":
        page.keyboard.press("n")
    first = pixels(page, "#blind-stage .pane")
    assert page.locator("#blind-stage .tag:visible").inner_text() == "A"
    page.keyboard.press(" ")
    second = pixels(page, "#blind-stage .pane")
    assert page.locator("#blind-stage .tag:visible").inner_text() == "B"
    assert np.abs(first[40:] - second[40:]).max() > 30  # below the letters
    original = [first, second][trial(page)["codecs"].index("original")]
    page.keyboard.down("o")
    seen = pixels(page, "#blind-stage .pane")
    page.keyboard.up("o")
    np.testing.assert_array_equal(seen[40:], original[40:])
    zoom = page.evaluate("Number(look.zoom)")
    assert zoom >= 1 and zoom == round(zoom)  # of whole pixels
    page.keyboard.press("+")
    assert page.evaluate("Number(look.zoom)") == 1.25 * zoom
    page.locator("#blind-mode").select_option("side")
    assert page.locator("#blind-stage .pane").count() == 2
    sizes = page.evaluate(
        "[...byId('blind-stage').querySelectorAll('img')].map((i) => i.style.clipPath)"
    )
    assert sizes == ["", "inset(100%)"] * 2


def test_files_are_compared_with_the_original_which_is_then_hidden(blind):
    page = blind
    begin(page, against="original")
    trials = page.evaluate("session.trials")
    assert all("original" in t["codecs"] for t in trials if t["kind"] != "same")
    assert page.locator("#blind-stage img").count() == 2
    page.keyboard.down("o")
    assert page.evaluate("blindStage.alone") == 0
    page.keyboard.up("o")
    assert page.locator("#blind-reference").is_hidden()


def test_a_test_of_one_codec_is_refused_in_words(blind):
    page = blind
    page.locator("#blind-open").click()
    for box in page.locator("#blind-codecs input").all()[1:]:
        box.uncheck()
    page.locator("#blind-setup [type=submit]").click()
    assert page.locator("#blind-problem").inner_text() == "Choose at least two codecs."
    assert page.evaluate("session") is None


def test_statistics_of_the_page_are_those_of_the_merge(page):
    found = page.evaluate("(votes) => pairsOf(votes)", MANY)
    pairs = preference.pairs_of(MANY)
    assert [tuple(pair["codecs"]) for pair in found] == [p.codecs for p in pairs]
    assert [tuple(pair["votes"]) for pair in found] == [p.votes for p in pairs]
    shares = [pair["preference"] for pair in found]
    np.testing.assert_allclose(shares, [p.preference for p in pairs], rtol=1e-12)
    strengths = page.evaluate("(votes) => strengthsOf(pairsOf(votes))", MANY)
    wanted = preference.strengths_of(pairs)
    assert [s["codec"] for s in strengths] == [s.codec for s in wanted]
    np.testing.assert_allclose(
        [[s["logOdds"], *s["preference"]] for s in strengths],
        [[s.log_odds, *s.preference] for s in wanted],
        rtol=1e-9,
    )
    apart = [vote for vote in MANY if "jpeg" not in vote and "webp" not in vote]
    assert page.evaluate("(votes) => strengthsOf(pairsOf(votes))", apart) == []
