"""The report's page driven in a real browser: it opens from a file, alone, and answers as Python does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ptprof.amortise import breakeven
from ptprof.amortise.accuracy import Metric
from ptprof.amortise.amortising import AmortiseReport, amortise
from ptprof.amortise.assumptions import Assumptions
from ptprof.amortise.costs import Query, Scope, from_study
from ptprof.amortise.pareto import dominators
from ptprof.amortise.table import from_table
from ptprof.profile.paper import TABLE2
from ptprof.report import content, words
from ptprof.report.page import page
from ptprof.study import Study

COUNTS = [10 ** (12 * i / 80) * (1 + 0.01 * (i % 7)) for i in range(80)]

ASK = """
const box = document.getElementById("queries-exact");
return arguments[0].map((n) => {
  box.value = String(n);
  box.dispatchEvent(new Event("change"));
  const answer = document.getElementById("answer-now");
  const rows = [...document.querySelectorAll("#totals-now tbody tr")];
  return {
    queries: Number(answer.dataset.queries),
    cheapest: answer.dataset.cheapest,
    tied: JSON.parse(answer.dataset.tied),
    text: answer.textContent,
    front: JSON.parse(document.getElementById("front")?.dataset.front ?? "null"),
    totals: rows.map((row) => row.children[2].textContent),
  };
});
"""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Open a page from a file; at the end nothing was asked of the network, and the console is silent."""
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")

    def open_page(text: str) -> Any:
        path = tmp_path / "page" / "index.html"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        browser.get(path.as_uri())
        return browser

    return open_page


def check_alone(browser: Any) -> None:
    """No request but for the file itself, no error and no violation of the page's policy on the console."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert [url for url in asked if url.startswith("file:")] == [browser.current_url]
    assert browser.get_log("browser") == []


def check_answers(browser: Any, report: AmortiseReport) -> None:
    """At many numbers of queries the page says what Python says, word for word."""
    candidates = report.costs.candidates
    lives = [candidate.lifetime for candidate in candidates]
    known = [c for c in candidates if c.error is not None]
    seen = set()
    for n, found in zip(COUNTS, browser.execute_script(ASK, COUNTS), strict=True):
        assert found["queries"] == n
        best, tied = breakeven.cheapest(lives, n)
        assert found["cheapest"] == candidates[best].model
        assert found["tied"] == [candidates[i].model for i in tied]
        seen.add((best, tied))
        assert [found["text"]] == words.answer(amortise(report.costs, [n]))
        for life, text in zip(lives, found["totals"], strict=True):
            assert math.isclose(grams(text), life.total(n).value, rel_tol=6e-3)
        if known:
            by = dominators([(c.lifetime, c.error) for c in known], n)
            assert set(found["front"]) == {c.model for c, rivals in zip(known, by, strict=True) if not rivals}
    assert len(seen) > 2, "the answer never changed: nothing was tested"


def grams(text: str) -> float:
    value, *_, unit = text.split()
    return (
        float(value)
        * {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[
            unit[:-1]
        ]
    )


def test_the_papers_table_gives_the_same_answers(opened: Callable[[str], Any]) -> None:
    report = amortise(from_table(TABLE2), [1e6])
    browser = opened(page(content.from_table(report)))
    check_answers(browser, report)
    check_alone(browser)


@pytest.mark.parametrize(
    "assumptions", [Assumptions(), Assumptions(retrain_every=2e4)], ids=["once", "retrained"]
)
def test_shared_errors_and_trainings_anew_give_the_same_answers(
    opened: Callable[[str], Any], study: Study, assumptions: Assumptions
) -> None:
    scope = Scope(metric=Metric("vrmse", 5))
    report = amortise(from_study(study, Query(), assumptions=assumptions, scope=scope), [1e4])
    browser = opened(page(content.from_table(report)))
    check_answers(browser, report)


def test_a_model_alone_has_a_page(opened: Callable[[str], Any]) -> None:
    costs = from_table(TABLE2)
    report = amortise(replace(costs, candidates=costs.candidates[:1]), [1e6])
    browser = opened(page(content.from_table(report)))
    (found,) = browser.execute_script(ASK, [1e6])
    assert found["text"] == "Only unet is known: there is nothing to compare it with."
    assert found["totals"] == ["3.50 ± 0.02 kg"]
    check_alone(browser)


def test_the_slider_moves_the_answer_the_table_and_the_charts(
    opened: Callable[[str], Any], study: Study
) -> None:
    browser = opened(page_of(study))
    look = """
        const slider = document.getElementById("queries");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"));
        const place = (name) => document.querySelector(`#chart-${name} .cursor`)?.getAttribute("x1");
        return {
          answer: document.getElementById("answer-now").textContent,
          spoken: slider.getAttribute("aria-valuetext"),
          best: document.querySelector("#totals-now tr.best th").textContent,
          exact: document.getElementById("queries-exact").value,
          cursor: Number(place("cost-against-queries")),
          marks: [...document.querySelectorAll("#chart-error-against-carbon [transform]")]
            .map((mark) => mark.getAttribute("transform")),
        };
    """
    few, many = browser.execute_script(look, "3"), browser.execute_script(look, "5")
    assert few["answer"].startswith("At 1,000 queries fno has the smallest total")
    assert many["answer"].startswith("At 10⁵ queries unet has the smallest total")
    assert (few["spoken"], many["spoken"]) == ("1,000 queries", "10⁵ queries")
    assert (few["best"], many["best"]) == ("fno", "unet")
    assert (few["exact"], many["exact"]) == ("1000", "1e5")
    assert many["cursor"] > few["cursor"] > 0
    assert few["marks"] != many["marks"]
    check_alone(browser)


def page_of(study: Study) -> str:
    from ptprof import workflows

    return Path(workflows.report(study, queries=["1e3", "1e4", "1e5"]).page).read_text(encoding="utf-8")


def test_what_is_no_number_of_queries_leaves_the_answer_as_it_is(
    opened: Callable[[str], Any], study: Study
) -> None:
    browser = opened(page_of(study))
    enter = """
        const box = document.getElementById("queries-exact");
        box.value = arguments[0];
        box.dispatchEvent(new Event("change"));
        return [box.getAttribute("aria-invalid"), document.getElementById("answer-now").textContent];
    """
    _, before = browser.execute_script(enter, "1e4")
    for text in ("", "many", "0", "-5", "NaN", "1e19", "Infinity"):
        assert browser.execute_script(enter, text) == ["true", before]
    assert browser.execute_script(enter, "10_000") == [None, before]


def test_every_chart_is_drawn_within_its_frame(opened: Callable[[str], Any], study: Study) -> None:
    browser = opened(page_of(study))
    drawn = browser.execute_script("""
        return [...document.querySelectorAll("figure svg[role=img]")].map((svg) => {
          const frame = svg.getBoundingClientRect();
          const out = [...svg.querySelectorAll("text, path, circle, rect")].filter((part) => {
            const box = part.getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1
              || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
          });
          const bad = [...svg.querySelectorAll("*")].filter((part) =>
            [...part.attributes].some((a) => /NaN|Infinity|undefined/.test(a.value)));
          const outside = out.map((part) => part.outerHTML);
          return [svg.parentElement.id, svg.querySelectorAll("*").length, outside, bad.length];
        });
    """)
    assert len(drawn) >= 8
    for name, parts, out, bad in drawn:
        assert parts > 10, name
        assert out == [], name
        assert bad == 0, name


def test_a_phone_scrolls_down_only(opened: Callable[[str], Any], study: Study) -> None:
    browser = opened(page_of(study))
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        browser.refresh()
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
        smallest = browser.execute_script("""
            return Math.min(...[...document.querySelectorAll("svg text")].map((text) =>
              parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a));
        """)
        assert smallest >= 11
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_paper_has_no_slider_and_keeps_the_answer(opened: Callable[[str], Any], study: Study) -> None:
    browser = opened(page_of(study))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = browser.execute_script("""
            return ["queries", "answer-now", "chart-training", "heading-cite"].map((id) =>
              document.getElementById(id).getClientRects().length > 0);
        """)
        assert shown == [False, True, True, True]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
