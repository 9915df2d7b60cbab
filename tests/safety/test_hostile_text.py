"""Names of strangers in reports and tables: text, never markup, formulas or pickles."""

from __future__ import annotations

import ast
import html.parser
from pathlib import Path

import pandas as pd
import pytest

from connectofit.connectome import read_connectome
from connectofit.pipelines.inspect import inspection

ROOT = Path(__file__).parents[2]
SOURCES = [
    p for layer in ("data", "connectome", "sim", "builders", "fit", "pipelines") for p in (ROOT / layer).rglob("*.py")
]
HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "' onmouseover='alert(4)",
    "<svg/onload=alert(5)>",
    "</script><script>alert(6)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "$\\frac{$",
    "$\\unknown{x}$",
    "\u202ereversed",
]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    neurons = pd.DataFrame({"id": HOSTILE, "cell_class": HOSTILE, "x_um": range(len(HOSTILE)), "y_um": 0.0})
    edges = pd.DataFrame({"pre": HOSTILE, "post": [*HOSTILE[1:], HOSTILE[0]], "count": 2})
    connectome, report = read_connectome(edges, neurons)
    return Page(inspection(connectome, report, title=HOSTILE[1], by="cell_class"))


def test_no_tag_or_handler_comes_from_a_name(page):
    assert {tag for tag, _ in page.tags} & {
        "script",
        "svg",
        "iframe",
        "object",
        "embed",
        "form",
        "link",
        "base",
    } == set()
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")


def test_names_stand_in_the_report_as_they_are(page):
    for name in HOSTILE[:8]:
        assert name in page.text


def test_a_page_forbids_scripts_and_addresses_by_itself(page):
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


def test_no_source_pickles_evaluates_or_loads_arrays_of_objects():
    wrong = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", None) or ""
            banned = ("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve")
            wrong += [f"{path}: imports {n}" for n in (*names, module) if n.split(".")[0] in banned]
        for name, keywords in calls(path):
            loads = name in ("np.load", "numpy.load") or name.endswith("format.read_array")
            if loads and keywords.get("allow_pickle") != "False":
                wrong.append(f"{path}: {name} without allow_pickle=False")
            if name in ("eval", "exec", "os.system", "pd.read_pickle", "yaml.load", "joblib.load"):
                wrong.append(f"{path}: {name}")
            if name.endswith((".extractall", ".extract")) and "str" not in name:
                wrong.append(f"{path}: {name}")
            if keywords.get("shell") == "True":
                wrong.append(f"{path}: {name} by a shell")
    assert wrong == []


def test_every_table_for_spreadsheets_is_guarded():
    """Whatever writes CSV guards its cells, but SONATA's tables of types, which are parted by blanks."""
    writers = set()
    for path in SOURCES:
        if any(
            name.endswith(("to_csv", "write_csv", "csv.writer", "csv.DictWriter", "savetxt")) for name, _ in calls(path)
        ):
            writers.add(path)
    unguarded = [p.name for p in writers if "csv_cells" not in p.read_text(encoding="utf-8")]
    assert unguarded == ["sonata.py"]
