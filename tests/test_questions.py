"""Questions: a file in the folder of evidence is a table, a figure and a section of the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import deepcams_eval.evidence
from deepcams_eval.cli.evaluate import app
from deepcams_eval.evidence.questions import questions
from tests.hourly_pairs import hourly, write_pairs

pytestmark = pytest.mark.usefixtures("undrawn")

FILE = '''
"""How often is it right to the digit."""
from deepcams_eval.evidence import parts
from deepcams_eval.evidence.questions import Question
from deepcams_eval.report import style
from deepcams_eval.report.evidence import Section
from deepcams_eval.report.tables import Column, Table
import pandas as pd

def answer(given):
    table = given.pairs.table
    products = given.pairs.products
    right = [(table[one].round() == table["observed"].round()).mean() for one in products]
    return {"hits": pd.DataFrame({"product": products, "share": right})}

def draw(frames, content):
    figure = style.new_figure(parts.WIDTH, 2.0)
    figure.subplots().bar(frames["hits"]["product"], frames["hits"]["share"])
    title = "Right to the digit"
    return parts.finished(figure, content, "hits", title=title, note="By product.", alternative="")

def section(frames, content):
    columns = Column("product", "Product"), Column("share", "Share right", decimals=3)
    table = Table("hits", "Right to the digit", columns, frames["hits"])
    sentences = ("It is -1 at times.",)
    drawn = (draw(frames, content),)
    title = "How often is it right?"
    return Section("hits", "Hits", title, sentences, tables=(table,), drawings=drawn)

QUESTION = Question("hits", 45, answer, section)
'''


def test_one_file_is_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "hits.py").write_text(FILE)
    places = [*deepcams_eval.evidence.__path__, str(tmp_path / "more")]
    monkeypatch.setattr(deepcams_eval.evidence, "__path__", places)
    assert list(questions()).index("hits") == 1 + list(questions()).index("fairmode")

    pairs = hourly(12, stations=6)
    saved, out = write_pairs(tmp_path / "pairs.parquet", pairs, synthetic=True), tmp_path / "out"
    command = ["score", str(saved), "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(out / "hits.csv")["product"]) == list(pairs.products)
    assert "SYNTHETIC" in (out / "tables" / "hits.md").read_text()
    assert (out / "figures" / "hits.pdf").is_file()
    page = (out / "report.html").read_text()
    sections = [
        page.index(f'<section id="{name}">') for name in ("fairmode", "hits", "exceedances")
    ]
    assert sections == sorted(sections)
    assert '<a href="#hits">Hits</a>' in page
    assert 'id="table-hits"' in page
    assert "It is −1 at times." in page


def test_each_question_stands_at_a_place_of_its_own() -> None:
    known = questions()
    assert list(known) == [
        *("added_value", "uncertainty", "published", "fairmode"),
        *("exceedances", "distributions", "sensitivity", "lags"),
    ]
    assert len({one.place for one in known.values()}) == len(known)
