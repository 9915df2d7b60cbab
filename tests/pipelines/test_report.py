"""The report is one self-contained file that escapes what users' files say, and tells what the stages wrote."""

from __future__ import annotations

import base64
import html.parser
import json
import struct

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome import read_connectome
from connectofit.connectome.errors import SettingError
from connectofit.pipelines.report import Picture, Section, Table, Text, render
from connectofit.pipelines.scores import score_table
from connectofit.pipelines.stages import StageContext, StageCost
from connectofit.pipelines.worm_report import write_report

HOSTILE = "<script>alert('1')</script>"


def scores_frame() -> pd.DataFrame:
    rows = [
        ("connectome", 0, 0, 0.70, 0.65, 0.20, 0.18, 6.0, 8.0),
        ("connectome", 0, 1, 0.74, 0.67, 0.22, 0.19, 5.0, 8.0),
        ("rewired", 0, 0, 0.63, 0.55, 0.11, 0.05, 4.0, 8.0),
        ("rewired", 1, 0, 0.61, 0.54, 0.10, 0.04, 3.0, 8.0),
        ("no_connectome", 0, 0, 0.64, 0.56, 0.12, 0.06, 4.0, 8.0),
        ("raw_weights", 0, 0, 0.56, 0.55, 0.08, 0.07, np.nan, np.nan),
    ]
    columns = ["model", "replicate", "fold_seed", "auroc", "auroc_within", "spearman", "spearman_within"]
    return pd.DataFrame(rows, columns=[*columns, "assays_right", "assays_total"])


def history_frame() -> pd.DataFrame:
    """Made-up curves that fall and then rise again in validation."""
    rows = []
    for fold in range(2):
        for start in range(2):
            for step in range(0, 101, 10):
                training = 0.6 * np.exp(-step / 40) + 0.1 * start + 0.02 * fold
                rows.append(
                    ("connectome", 0, 0, fold, start, step, training, training + 0.05 + (step - 60) ** 2 * 1e-5)
                )
    columns = ["model", "replicate", "fold_seed", "fold", "start", "step", "training", "validation"]
    return pd.DataFrame(rows, columns=columns)


def parameters_frame() -> pd.DataFrame:
    """Two types of one parameter: 1.5 and -0.25 in the final fit, 1.0 to 2.0 and -0.5 to 0.0 over folds."""
    rows = []
    for model, fold, values in (
        ("connectome", 0, (1.0, -0.5)),
        ("connectome", 1, (2.0, 0.0)),
        ("final", -1, (1.5, -0.25)),
    ):
        for name, value in zip(("AVA to AVB", HOSTILE), values, strict=True):
            rows.append(("chemical.log_gain", "1", name, value, fold, model))
    return pd.DataFrame(rows, columns=["parameter", "unit", "type", "value", "fold", "model"])


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> StageContext:
    """Stage folders with small made-up content, for the report alone."""
    tmp_path = tmp_path_factory.mktemp("stages")
    names = ["import", "build", "simulate", "fit", "evaluate", "out"]
    folders = {name: tmp_path / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    neurons = pd.DataFrame({"id": ["AVAL", HOSTILE, "PVC"], "cell_class": ["AVA", "AVB", "PVC"]})
    edges = pd.DataFrame(
        {
            "pre": ["AVAL", HOSTILE, "PVC", "AVAL", "AVAL"],
            "post": [HOSTILE, "PVC", "AVAL", "PVC", "<b>muscle</b>"],
            "count": [3, 1, 2, 4, 9],
            "kind": ["chemical"] * 3 + ["electrical", "chemical"],
            "sign": ["+", "-", "+", None, "+"],
        }
    )
    connectome, report = read_connectome(edges, neurons)
    connectome.write(folders["import"] / "connectome")
    (folders["import"] / "validation.json").write_text(report.to_json())
    network = {
        "populations": [{"name": HOSTILE, "model": "graded_leaky", "neurons": 3, "types": 3}],
        "projections": [{"name": "syn", "pre": "a", "post": "b", "synapse": "graded", "edges": 3, "types": 3}],
    }
    (folders["build"] / "network.json").write_text(json.dumps(network))
    protocol = {"shown": ["AVAL", HOSTILE], "stimulated": ["PVC"], "start_ms": 10, "stop_ms": 50, "amplitude": 1.0}
    (folders["simulate"] / "protocol.json").write_text(json.dumps(protocol))
    t_ms = np.arange(100.0)
    traces = pd.DataFrame({"t_ms": t_ms, "AVAL": np.sin(t_ms / 20), HOSTILE: np.cos(t_ms / 20), "PVC": 0 * t_ms})
    traces.to_parquet(folders["simulate"] / "traces.parquet")
    found = json.loads(report.to_json())
    (folders["fit"] / "data.json").write_text(json.dumps({"q_below": 0.05, "atlas": found, "assays": found}))
    history_frame().to_parquet(folders["fit"] / "history.parquet")
    parameters_frame().to_parquet(folders["fit"] / "parameters.parquet")
    assays = pd.DataFrame(
        {
            "model": ["connectome", "connectome", "rewired"],
            "replicate": 0,
            "fold_seed": [0, 1, 0],
            "fold": 0,
            "stimulus": "ALML ALMR",
            "ablated": "",
            "truth": "backward",
            "predicted": ["backward", "forward", "none"],
            "kind": "touch",
        }
    )
    assays.to_parquet(folders["fit"] / "assays.parquet")
    scores_frame().to_parquet(folders["evaluate"] / "scores.parquet")
    stages = {"fit": {"key": "0" * 64, "settings": {"folds": 5, "fold_seeds": [0], "rewirings": 3}, "files": {}}}
    return StageContext(
        settings=None,
        out=folders["out"],
        inputs=folders,
        files={},
        work=tmp_path,
        costs={"import": StageCost(1.25, 200_000_000), "fit": StageCost(60.0, None)},
        provenance={"recipe": HOSTILE, "environment": {"jax": "1.2.3"}, "stages": stages},
    )


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text, and notices tags that are not closed."""

    EMPTY = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(context) -> Reader:
    write_report(context)
    reader = Reader((context.out / "report.html").read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_hostile_names_are_text_and_never_tags(report):
    assert report.all("script") == []
    assert report.all("b") == []
    assert HOSTILE in report.text
    assert "<b>muscle</b>" in report.text


def test_nothing_is_loaded_from_elsewhere(report):
    for _, attributes in report.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), value
    assert report.all("link") == []


def test_every_link_inside_the_report_has_its_target(report):
    ids = {attributes["id"] for _, attributes in report.tags if "id" in attributes}
    assert {attributes["href"].removeprefix("#") for attributes in report.all("a")} <= ids
    assert len(report.all("h2")) == 9


def test_every_image_is_a_png_of_the_stated_shape_with_a_text_alternative(report):
    images = report.all("img")
    assert len(images) == 2 + 1 + 2 + 4 + 1  # adjacency, traces, losses, scores, parameters
    for image in images:
        assert len(image["alt"]) > 20
        data = base64.b64decode(image["src"].partition(",")[2])
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert width / height == pytest.approx(int(image["width"]) / int(image["height"]), rel=0.01)


def test_the_report_tells_findings_costs_scores_and_settings(report):
    assert "unmatched" in report.text
    assert "1.2" in report.text
    assert "200" in report.text
    assert "0.720\n(0.700 to 0.740)" in report.text
    assert "5 folds, fold seeds 0, 3 rewirings" in report.text
    assert "backward (1 of 2), forward (1 of 2)" in report.text


def test_the_report_cites_the_models_and_methods_that_the_run_used(report):
    for cited in ("Kunert, Shlizerman", "Kingma", "Maslov", "Wang et al. 2024"):
        assert cited in report.text
    assert "Brette" not in report.text


def test_the_report_tells_parameters_with_their_range_over_folds(report):
    row = ["chemical.log_gain", "1", "2", "0.625", "-0.075 to 1.32", "0.75"]
    assert "".join(row) in report.text.replace("\n", "")
    assert "Free parameters; ranges are over 2 fits" in report.text
    assert any("highest AVA to AVB 1.5, lowest" in image["alt"] for image in report.all("img"))


def test_the_same_results_give_the_same_bytes(context):
    write_report(context)
    first = (context.out / "report.html").read_bytes()
    write_report(context)
    assert (context.out / "report.html").read_bytes() == first


def test_the_score_table_holds_means_and_ranges(context):
    lines = str(score_table(context.inputs["evaluate"])).splitlines()
    assert lines[0].split()[:3] == ["model", "runs", "AUROC"]
    assert lines[2].startswith("connectome")
    assert "0.720 (0.700 to 0.740)" in lines[2]
    assert lines[2].endswith("5.5 of 8")
    assert lines[3].startswith("rewired connectome")
    assert "0.620 (0.610 to 0.630)" in lines[3]
    assert "0.560" in lines[5]
    assert lines[5].endswith("-")


def test_a_picture_without_a_text_alternative_and_a_crooked_table_are_refused():
    with pytest.raises(SettingError, match="no text alternative"):
        Picture(b"", " ", "caption", 1, 1)
    with pytest.raises(SettingError, match="Row 1 of the table 't' has 1 cells, where there are 2"):
        Table("t", ("a", "b"), [(1, 2), (3,)])


def test_a_section_of_plain_text_needs_no_figures():
    reader = Reader(render("Title & more", [Text("lead")], [Section("One", [Text("a < b", "note")])]))
    assert "a < b" in reader.text
    assert "Title & more" in reader.text
