"""The report in a real browser, headless Chromium: every image drawn, nothing wider than the screen, nothing loaded.

Run with ``pytest -m browser``; needs a `chromium` (or `chromium-browser`, `google-chrome`) on the path.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from connectofit.pipelines import Pipeline
from connectofit.pipelines.report import Section, Table, Text, picture, render

pytestmark = pytest.mark.browser

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
PHONE, DESK = (390, 844), (1280, 900)

# What a person would see, said by the page itself: it is added to a copy of the report, whose policy forbids scripts.
LOOK = """
<script>
addEventListener("load", () => {
  const images = [...document.images];
  const box = element => element.getBoundingClientRect();
  document.title = JSON.stringify({
    images: images.length,
    missing: images.filter(i => !i.complete || i.naturalWidth === 0 || box(i).width === 0).map(i => i.alt),
    squeezed: images.filter(i => Math.abs(i.naturalWidth / i.naturalHeight / (box(i).width / box(i).height) - 1) > 0.02)
      .map(i => i.alt),
    unnamed: images.filter(i => !i.alt.trim()).length,
    page: document.documentElement.scrollWidth,
    screen: innerWidth,
    headings: [...document.querySelectorAll("h1,h2,h3")].map(h => h.tagName),
    landmarks: ["header", "nav", "main"].filter(name => document.querySelectorAll(name).length === 1),
    language: document.documentElement.lang,
    loaded: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).map(r => r.name),
    smallest: Math.min(...[...document.querySelectorAll("p,td,th,li,figcaption,pre")]
      .map(e => parseFloat(getComputedStyle(e).fontSize))),
  });
});
</script>
"""


def browse(page: Path, size: tuple[int, int], *more: str) -> str:
    if not BROWSER:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size[0]},{size[1]}"]
    done = subprocess.run([*command, *more, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def looked_at(report: Path, size: tuple[int, int], folder: Path) -> dict[str, object]:
    text = report.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert len(policy.findall(text)) == 1
    copy = folder / f"{size[0]}.html"
    # A window of Chromium cannot be as narrow as a phone, so that the page is framed at the phone's width.
    copy.write_text(policy.sub("", text).replace("</body>", LOOK + "</body>"), encoding="utf-8")
    frame = folder / f"frame{size[0]}.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{copy.name}" width="{size[0]}" height="{size[1]}" '
        'style="border:0" onload="setTimeout(() => document.title = frames[0].document.title, 100)"></iframe>'
    )
    dom = browse(frame, DESK, "--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=5000")
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom, re.S)[1]))


def check(report: Path, folder: Path) -> dict[str, object]:
    for size in (PHONE, DESK):
        seen = looked_at(report, size, folder)
        assert seen["screen"] in (size[0], size[0] - 15), "less a scroll bar"
        assert seen["missing"] == []
        assert seen["squeezed"] == []
        assert seen["unnamed"] == 0
        assert seen["page"] <= seen["screen"], "the page scrolls sideways"
        assert seen["headings"][0] == "H1"
        assert set(seen["headings"][1:]) <= {"H2", "H3"}
        assert seen["landmarks"] == ["header", "nav", "main"]
        assert seen["language"] == "en"
        assert seen["loaded"] == []
        assert seen["smallest"] >= 12
    shot = folder / "shot.png"
    browse(report, DESK, f"--screenshot={shot}", "--hide-scrollbars")
    pixels = imread(shot)[..., :3]
    assert pixels.shape[:2] == (DESK[1], DESK[0])
    assert 0.005 < np.mean(pixels.min(axis=2) < 0.5) < 0.5, "dark ink on light paper"
    return seen


def test_a_report_with_wide_tables_and_hostile_names_fits_a_phone_and_a_desk(tmp_path):
    figure = Figure(figsize=(9, 3))
    figure.subplots().plot([0, 1], [0, 1])
    wide = Table("A wide table", [f"column {i}" for i in range(30)], [["x" * 60] * 30], numeric=range(5))
    code = Text("setting = " + "1" * 500, style="code")
    blocks = [Text("<img src=x onerror=alert(1)>" + "word" * 200), wide, code, picture(figure, "a line", "A line.")]
    page = tmp_path / "report.html"
    page.write_text(render("Title " + "long " * 30, [Text("lead")], [Section("One", blocks)]), encoding="utf-8")
    assert check(page, tmp_path)["images"] == 1


def test_an_image_that_is_missing_is_seen(tmp_path):
    figure = Figure(figsize=(4, 3))
    page = tmp_path / "report.html"
    text = render("Title", [], [Section("One", [picture(figure, "a blank", "Blank.")])])
    page.write_text(text.replace("base64,iVBOR", "base64,broken"), encoding="utf-8")
    assert looked_at(page, DESK, tmp_path)["missing"] == ["a blank"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["worm", "cell"])
def test_the_report_of_a_recipe_fits_a_phone_and_a_desk(tmp_path, recipe):
    result = Pipeline.load(recipe, demo=True).run(tmp_path / "run")
    assert check(result.path("report", "report.html"), tmp_path)["images"] >= 4
