"""The inspection is one HTML file that says what is in the tables, and its pictures show what they say."""

from __future__ import annotations

import html.parser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from connectofit.connectome import Connectome, SettingError, read_connectome
from connectofit.data import CELEGANS_COLUMNS, celegans_paths
from connectofit.pipelines import cli, inspect_figures
from connectofit.pipelines.inspect import inspection

HOSTILE = "<script>alert('1')</script>"
SECTIONS = ["Data validation", "Size", "Degrees and counts", "Reciprocity and components", "Types", "Positions"]


class Page(html.parser.HTMLParser):
    """Titles, pictures, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.pictures: list[dict[str, Any]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [str(given[name]) for name in ("src", "href") if name in given]
        if tag == "img":
            self.pictures.append(given)
        elif tag not in ("meta", "br"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.inside:
            self.text += data
        if self.inside and self.inside[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def worm_page() -> Page:
    paths = celegans_paths()
    connectome, report = read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)
    return Page(inspection(connectome, report, title="The worm"))


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A caller of the command in a folder with small tables."""
    monkeypatch.chdir(tmp_path)
    Path("edges.csv").write_text("pre,post,count\na,b,3\nb,c,2\na,x,1\nc,a,9\n")
    Path("neurons.csv").write_text(f"id,cell_class,cell_type,x_um,y_um\na,P,{HOSTILE},1.5,2\nb,Q,Q,3,\nc,Q,Q,5,1\n")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, ["inspect", *arguments])

    return invoke


def test_the_page_has_all_sections_pictures_and_numbers(worm_page: Page) -> None:
    assert worm_page.titles == SECTIONS
    assert len(worm_page.pictures) == 4
    for said in (
        "302 neurons with 3,638 chemical and 2,160 electrical edges",
        "1,573",  # unmatched edges
        "unmatched=drop",
        "answered by one in reverse",
        "Ventral cord motor neuron",
        "Neurons without any edge: 2.",
    ):
        assert said in worm_page.text


def test_every_picture_tells_in_words_what_it_shows(worm_page: Page) -> None:
    degrees, counts, types, places = (picture["alt"] for picture in worm_page.pictures)
    assert "In-degree: chemical: median 10, largest 63; electrical: median 5, largest 47" in degrees
    assert "Chemical: median 3, largest 71" in counts
    assert "Largest: Ventral cord motor neuron to Ventral cord motor neuron 3,079" in types
    assert "y_um from -311.6 to 410.1" in places


def test_nothing_is_loaded_from_elsewhere(worm_page: Page) -> None:
    assert "script" not in worm_page.tags
    assert "link" not in worm_page.tags
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in worm_page.addresses)


def test_the_command_writes_the_report_and_says_where(call: Any) -> None:
    done = call("edges.csv", "neurons.csv", "--out", "report.html")
    assert done.exit_code == 0, done.output
    assert done.stdout == "Written: report.html\n"
    text = Path("report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert HOSTILE not in text
    assert HOSTILE in page.text
    assert page.titles == SECTIONS
    assert "3 neurons with 3 chemical edges" in page.text
    assert "edges.csv" in page.text
    assert sorted(path.name for path in Path().iterdir()) == ["edges.csv", "neurons.csv", "report.html"]


def test_columns_and_types_are_as_told(call: Any) -> None:
    Path("other.csv").write_text("from,to,n\na,b,3\nb,c,2\n")
    done = call(
        "other.csv", "neurons.csv", "--columns", "pre=from,post=to", "--columns", "count=n", "--by", "cell_class",
        "--types", "1", "--out", "report.html",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert "Neurons by cell_class" in page.text
    assert "(other types)" in page.text


def test_a_table_without_neurons_has_no_types_and_no_positions(call: Any) -> None:
    assert call("edges.csv", "--out", "report.html").exit_code == 0
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert len(page.pictures) == 2
    assert "no column that is called like one of types; name one with --by" in page.text
    assert "no columns of positions" in page.text


def test_a_report_is_overwritten_only_by_force(call: Any) -> None:
    Path("report.html").write_text("mine")
    done = call("edges.csv", "--out", "report.html")
    assert done.exit_code == 2
    assert "exists already. Name another file, or overwrite it with --force." in done.stderr
    assert Path("report.html").read_text() == "mine"
    assert call("edges.csv", "--out", "report.html", "--force").exit_code == 0
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv", "--out", "r.html"], "none.csv"),
        (["edges.csv", "--out", "."], "is a folder"),
        (["edges.csv", "--out", "no/r.html"], "no folder 'no'"),
        (["edges.csv", "--columns", "pre", "--out", "r.html"], "--columns expects"),
        (["edges.csv", "--preset", "shiuu", "--out", "r.html"], "Did you mean 'shiu'"),
        (["edges.csv", "neurons.csv", "--by", "cell_typ", "--out", "r.html"], "Did you mean 'cell_type'"),
        (["edges.csv", "neurons.csv", "--by", "x_um", "--out", "r.html"], "'x_um': it holds"),
        (["edges.csv"], "Missing option '--out'"),
        (["edges.csv", "--types", "0", "--out", "r.html"], "--types"),
    ],
)
def test_bad_input_gives_a_message_exit_code_2_and_no_report(call: Any, arguments: list[str], message: str) -> None:
    before = sorted(path.name for path in Path().iterdir())
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == before


# ---- pictures ----


def connectome(**columns: Any) -> Connectome:
    return Connectome.from_edges(
        pa.table({"id": ["a", "b", "c", "d"], **columns}),
        pre=[0, 0, 1, 2, 3, 2],
        post=[1, 2, 2, 0, 2, 3],
        count=[5, 1, 2, 2, 4, 4],
        kind=[0, 0, 0, 0, 1, 1],
    )


def lines(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    (axes,) = figure.axes
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_the_degree_lines_are_shares_of_neurons() -> None:
    assert lines(inspect_figures.degree_distribution(connectome())) == {
        "chemical, in": ([1, 2], [3 / 4, 1 / 4]),
        "chemical, out": ([1, 2], [3 / 4, 1 / 4]),
        "gap junctions": ([1], [2 / 4]),
    }


def test_the_count_lines_are_shares_of_edges() -> None:
    assert lines(inspect_figures.count_distribution(connectome())) == {
        "chemical": ([1, 2, 5], [1, 3 / 4, 1 / 4]),
        "electrical": ([4], [1]),
    }


def test_the_matrix_shows_the_summary_and_leaves_zeros_blank() -> None:
    summary = connectome(cell_type=["P", "P", "Q", "Q"]).summary()
    image = inspect_figures.type_matrix(summary).axes[0].images[0]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), 0), [[5, 3], [2, 8]])
    with pytest.raises(SettingError, match="no column of types"):
        inspect_figures.type_matrix(connectome().summary())


def test_positions_show_every_neuron_that_has_one() -> None:
    c = connectome(x=[0.0, 10.0, 20.0, None], y=[0.0, 1.0, 2.0, 3.0], z=[5, 6, 7, 8], kind=["P", None, "Q", "Q"])
    figure = inspect_figures.positions(c, ("x", "y", "z"), "kind")
    assert [axes.get_ylabel() for axes in figure.axes] == ["y", "z"]
    points = {scatter.get_label(): scatter.get_offsets().tolist() for scatter in figure.axes[1].collections}
    assert points == {"P": [[0, 5]], "other": [[10, 6]], "Q": [[20, 7]]}
    with pytest.raises(SettingError, match="two or three columns"):
        inspect_figures.positions(c, ("x",))


@pytest.mark.parametrize("n", [1, 2])
def test_graphs_without_edges_have_pictures_too(n: int) -> None:
    c = Connectome.from_edges(
        pa.table({"id": ["a", "b"][:n], "cell_type": ["P", "Q"][:n], "x": [1.0, 1.0][:n], "y": [2.0, 2.0][:n]}),
        pre=[], post=[], count=np.zeros(0, int),
    )  # fmt: skip
    assert inspect_figures.degree_distribution(c).axes[0].texts[0].get_text() == "no edges"
    assert inspect_figures.count_distribution(c).axes[0].texts[0].get_text() == "no edges"
    for figure in (inspect_figures.type_matrix(c.summary()), inspect_figures.positions(c, ("x", "y"), "cell_type")):
        figure.canvas.draw()
