"""The page of a report in a real browser: what is drawn, keys, links, its state."""

import io
import re
import shutil
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from evaluation import curves
from report import report
from tests.report import report_data
from tests.report.report_data import MOZJPEG, RUN

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
