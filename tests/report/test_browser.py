"""The page in a real browser: no console message, every figure drawn, search, genes, channels and themes work."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grape_ops.report.html import write_report
from grape_ops.report.report_figures import gene_map

selenium = pytest.importorskip("selenium", reason="the browser test needs selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

Browser = Any


def open_page(browser: Browser, page: Path, scheme: str = "light", width: int = 1366) -> None:
    # Without motion: a page that still scrolls smoothly moves what is to be clicked.
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    set_width(browser, width)
    browser.get(page.resolve().as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'true'")


def set_width(browser: Browser, width: int) -> None:
    size = {"width": width, "height": 768, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(browser: Browser, script: str) -> None:
    WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda driver: driver.execute_script(script), script)


def figures_in(page: Path) -> list[str]:
    raw = page.read_text(encoding="utf-8")
    start = raw.index('id="data-figures">') + len('id="data-figures">')
    return list(json.loads(raw[start : raw.index("</script>", start)]))


@pytest.fixture(scope="module")
def page(full_run, check_folder, write_hits_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("browser") / "report.html"
    is_hit = {"AAA": True, "BBB": False, "CCC": True, "DDD": True}
    hits = write_hits_folder(out.parent / "hits", full_run.record["store_fingerprint"], is_hit)
    write_report(full_run.path, out, phenotype=check_folder, hits=hits)
    return out


@pytest.fixture
def opened(browser, page) -> Iterator[Browser]:
    open_page(browser, page)
    yield browser
    assert browser.get_log("browser") == []


def test_every_figure_is_drawn(opened, page):
    names = figures_in(page)
    expected = {"adversarial", "reconstruction", "logits", "training-map", "gene-map", "cells-per-gene"}
    assert expected | {"complexes", "cells-per-batch", "shares", "volcano", "profiles"} == set(names)
    for name in names:
        marks = "return document.querySelectorAll('#fig-%s .main-svg .trace').length"
        bars = "return document.querySelectorAll('#fig-%s .main-svg .bars, #fig-%s .main-svg .hm').length"
        assert opened.execute_script(marks % name) + opened.execute_script(bars % (name, name)) > 0, name
    assert opened.execute_script("return document.querySelectorAll('.plot').length") == len(names)


def test_figures_keep_their_heights_when_the_window_is_resized(opened, page):
    names = figures_in(page)
    height = "return document.querySelector('#fig-%s .main-svg').getBoundingClientRect().height"
    width = "return document.querySelector('#fig-%s .main-svg').getBoundingClientRect().width"
    before = {name: opened.execute_script(height % name) for name in names}
    widths = {name: opened.execute_script(width % name) for name in names}
    assert min(before.values()) > 150
    for pixels in (700, 420, 1366):
        set_width(opened, pixels)
        wait(opened, f"return document.querySelector('#fig-gene-map .main-svg').clientWidth < {pixels}")
        place = "document.getElementById('fig-%s')"
        for name in names:
            follows = f"Math.abs({place}._fullLayout.width - {place}.clientWidth) < 2" % (name, name)
            wait(opened, f"return {follows}")
            assert opened.execute_script(height % name) == before[name], (name, pixels)
        legend = opened.execute_script("return document.getElementById('fig-gene-map').layout.legend.orientation")
        assert legend == ("h" if pixels < 800 else "v")
    assert {name: opened.execute_script(width % name) for name in names} == widths


def test_search_highlights_and_lists_neighbours(opened):
    box = opened.find_element(By.ID, "search")
    box.send_keys("bbb")
    found = opened.find_element(By.ID, "found")
    assert "BBB" in found.text and "(first)" in found.text and "nearest by cosine" in found.text
    wait(opened, "return document.querySelectorAll('#fig-gene-map .annotation-text').length === 1")
    caption = opened.find_element(By.CSS_SELECTOR, "#table-genes caption").text
    assert (
        "too few genes to say which cosine is unusual" in caption
        and "--out trust says for which genes they do" in caption
    )
    sizes = opened.execute_script("return document.getElementById('fig-gene-map').data.map(t => t.marker.size).flat()")
    assert len(set(sizes)) >= 2
    found.find_elements(By.TAG_NAME, "button")[0].click()
    assert box.get_attribute("value") != "bbb"
    box.clear()
    box.send_keys("zzz")
    assert "No gene" in found.text


def test_the_table_of_genes_is_searched_and_sorted(opened):
    rows = "[...document.querySelectorAll('#table-genes tbody tr')].filter(r => !r.hidden)"
    shown = f"return {rows}.map(r => r.cells[0].textContent.trim())"
    assert opened.execute_script(shown) == ["AAA", "BBB", "CCC", "DDD"]
    box, found = opened.find_element(By.ID, "table-search"), opened.find_element(By.ID, "table-found")
    box.send_keys("second")
    assert opened.execute_script(shown) == ["CCC", "DDD"] and found.text == "2 of 4 genes"
    box.clear()
    box.send_keys("aa, dd")
    assert opened.execute_script(shown) == ["AAA", "DDD"]
    box.clear()
    box.send_keys("cluster 99")
    assert opened.execute_script(shown) == []
    box.clear()
    box.send_keys(" ")
    heading = opened.find_elements(By.CSS_SELECTOR, "#table-genes thead button")
    opened.execute_script("arguments[0].click()", heading[0])
    assert opened.execute_script(shown) == ["AAA", "BBB", "CCC", "DDD"]
    opened.execute_script("arguments[0].click()", heading[0])
    assert opened.execute_script(shown) == ["DDD", "CCC", "BBB", "AAA"]
    opened.execute_script("document.querySelector('[data-gene=CCC]').click()")
    assert opened.find_element(By.ID, "search").get_attribute("value") == "CCC"
    assert "CCC" in opened.find_element(By.ID, "found").text


def test_the_table_of_phenotypes_is_searched_and_genes_without_one_are_grey(opened):
    rows = "[...document.querySelectorAll('#table-hits tbody tr')]"
    assert opened.execute_script(f"return {rows}.map(r => r.cells[0].textContent)") == ["AAA", "CCC", "DDD", "BBB"]
    box = opened.find_element(By.ID, "hits-search")
    box.send_keys("bb")
    assert opened.execute_script(f"return {rows}.filter(r => !r.hidden).map(r => r.cells[0].textContent)") == ["BBB"]
    assert opened.find_element(By.ID, "hits-found").text == "1 of 4 genes"
    shade = "return getComputedStyle(arguments[0]).color"
    quiet, loud = (opened.find_element(By.CSS_SELECTOR, f"#table-hits [data-gene={gene}]") for gene in ("BBB", "AAA"))
    assert opened.execute_script(shade, quiet) != opened.execute_script(shade, loud)
    search = opened.find_element(By.ID, "search")
    search.clear()
    search.send_keys("BBB")
    assert "no evidence of a phenotype: its neighbours mean little" in opened.find_element(By.ID, "found").text


def test_without_a_truth_columns_are_found_by_their_headings(browser, full_run, tmp_path):
    pytest.importorskip("igraph", reason="Leiden needs igraph")
    shutil.copytree(full_run.path, tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace("truth.tsv", "gone.tsv"))
    write_report(tmp_path / "run", tmp_path / "report.html")
    open_page(browser, tmp_path / "report.html")
    body = "[...document.querySelectorAll('#table-genes tbody tr')]"
    headings = browser.execute_script(
        "return [...document.querySelectorAll('#table-genes thead th')].map(h => h.textContent)"
    )
    assert headings[:3] == ["gene", "cluster", "cells"]
    browser.execute_script(f"{body}.forEach((row, i) => {{ row.cells[1].textContent = [2, 10, 1, 2][i] }})")
    shown = f"return {body}.filter(row => !row.hidden).map(row => row.cells[0].textContent)"
    box = browser.find_element(By.ID, "table-search")
    box.send_keys("cluster 2")
    assert browser.execute_script(shown) == ["AAA", "DDD"]
    box.clear()
    box.send_keys("10")  # no name of a gene or complex
    assert browser.execute_script(shown) == []
    box.clear()
    box.send_keys(" ")
    browser.execute_script("document.querySelectorAll('#table-genes thead button')[1].click()")
    assert browser.execute_script(shown) == ["BBB", "AAA", "DDD", "CCC"]
    assert browser.get_log("browser") == []


def test_the_map_is_drawn_once_after_typing(opened):
    opened.execute_script(
        "const real = Plotly.react; window.drawn = 0;"
        "Plotly.react = (...what) => { window.drawn += 1; return real(...what); };"
        "const box = document.getElementById('search');"
        "for (const text of ['a', 'aa', 'aaa']) { box.value = text; box.dispatchEvent(new Event('input')); }"
    )
    assert "AAA" in opened.find_element(By.ID, "found").text
    wait(opened, "return document.querySelectorAll('#fig-gene-map .annotation-text').length === 1")
    assert opened.execute_script("return window.drawn") == 1


def test_projection_changes_the_positions(browser, full_run, tmp_path, monkeypatch):
    planes = {"first": np.zeros((5, 2)), "second": np.arange(10.0).reshape(5, 2)}
    monkeypatch.setattr("grape_ops.report.html.projections", lambda *_, **__: planes)
    write_report(full_run.path, tmp_path / "report.html")
    open_page(browser, tmp_path / "report.html")
    shown = "return document.getElementById('fig-gene-map').data.map(t => t.x).flat().sort()"
    assert browser.execute_script(shown) == [0, 0, 0, 0, 0]
    Select(browser.find_element(By.ID, "projection")).select_by_visible_text("second")
    assert browser.execute_script(shown) == [0, 2, 4, 6, 8]
    assert browser.get_log("browser") == []


def test_a_click_on_a_gene_shows_its_cells(opened):
    click = "document.getElementById('fig-gene-map').emit('plotly_click', {points: [{customdata: 2}]})"
    opened.execute_script(click)
    assert opened.find_element(By.ID, "search").get_attribute("value") == "CCC"
    assert Select(opened.find_element(By.ID, "gene")).first_selected_option.text.startswith("CCC")


def test_a_restyling_that_is_not_significant_is_marked(opened):
    choice = Select(opened.find_element(By.ID, "gene"))
    names = [option.text.split(" ")[0] for option in choice.options]
    trust = opened.find_element(By.ID, "trust")
    choice.select_by_index(names.index("BBB"))
    assert "do not read these pictures as its phenotype" in trust.text and "not-significant" in trust.get_attribute(
        "class"
    )
    assert "not significant" in opened.find_element(By.CSS_SELECTOR, ".row.middle .label").text
    strip = opened.find_element(By.CSS_SELECTOR, ".row.middle .strip")
    assert strip.value_of_css_property("outline-style") == "dashed"
    choice.select_by_index(names.index("AAA"))
    assert "restyling significant (q = 0.002)" in trust.text and trust.get_attribute("class") == "trust significant"
    choice.select_by_index(names.index("CCC"))
    assert "a phenotype for these pictures" in trust.text or "not checked" in trust.text
    labels = [label.text for label in opened.find_elements(By.CSS_SELECTOR, ".group:first-child .row .label")]
    assert labels[:2] == ["control", "restyled to control"] and len(labels) == 4


def test_genes_and_channels_can_be_chosen(opened):
    restyled = "return document.querySelector('.row.middle img').src"
    wait(opened, "return [...document.querySelectorAll('.strip img')].every(i => i.complete && i.naturalWidth === 192)")
    assert opened.execute_script("return document.querySelectorAll('.group').length") == 3
    before = opened.execute_script(restyled)
    control = opened.execute_script("return document.querySelector('.row img').src")
    choice = Select(opened.find_element(By.ID, "gene"))
    assert len(choice.options) == 4
    choice.select_by_index(2)
    assert opened.execute_script(restyled) != before
    assert opened.execute_script("return document.querySelector('.row img').src") == control
    opened.find_element(By.ID, "next").click()
    assert choice.first_selected_option.text == choice.options[3].text
    opened.find_element(By.CSS_SELECTOR, "[data-view='composite']").click()
    wait(opened, "return [...document.querySelectorAll('.strip canvas')].every(c => c.width === 192)")
    assert opened.execute_script("return document.querySelectorAll('.group').length") == 1
    pixel = "return [...document.querySelector('canvas').getContext('2d').getImageData(8, 8, 1, 1).data]"
    both = opened.execute_script(pixel)
    opened.find_elements(By.CSS_SELECTOR, ".chip")[0].click()
    wait(opened, "return document.querySelector('.strip canvas').width === 192")
    assert opened.execute_script(pixel) != both


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_light_and_dark(browser, page, scheme, other):
    open_page(browser, page, scheme)
    paper = "return getComputedStyle(document.body).backgroundColor"
    ink = "return document.getElementById('fig-logits').layout.font.color"
    first = browser.execute_script(paper), browser.execute_script(ink)
    assert browser.execute_script("return document.documentElement.dataset.theme") == scheme
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script("return document.documentElement.dataset.theme") == other
    wait(browser, f"return document.getElementById('fig-logits').layout.font.color !== '{first[1]}'")
    assert browser.execute_script(paper) != first[0]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1366, 800, 400, 360])
def test_nothing_sticks_out(browser, page, width):
    open_page(browser, page, width=width)
    # The page of a real run has longer names than this one.
    browser.execute_script("document.querySelector('#gene option').textContent += ' · a complex of a long name'")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_table_that_is_too_wide_says_that_it_scrolls(browser, page):
    open_page(browser, page, width=390)
    hint = "getComputedStyle(document.querySelector('.scroll:has(.scores)'), '::before').content"
    browser.execute_script("document.querySelector('.scores').style.minWidth = '900px'")
    wait(browser, f"return {hint}.includes('Swipe sideways')")
    browser.execute_script("document.querySelector('.scores').style.display = 'none'")
    wait(browser, f"return {hint} === 'none'")


def test_names_stay_text(browser, hostile_run, tmp_path):
    write_report(hostile_run.path, tmp_path / "report.html")
    open_page(browser, tmp_path / "report.html")
    browser.find_element(By.ID, "search").send_keys("<img")
    assert browser.title != "broken"
    assert browser.execute_script("return document.querySelectorAll('[onerror], main script, .card > b').length") == 0
    assert "<i>DNA</i>" in browser.find_element(By.CSS_SELECTOR, ".group h3").text
    assert browser.get_log("browser") == []


def test_no_picture_and_no_map(browser, full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    write_report(tmp_path / "run", tmp_path / "report.html")
    open_page(browser, tmp_path / "report.html")
    assert browser.get_log("browser") == []


def test_names_in_the_legend_are_escaped():
    figure = gene_map(np.zeros((1, 2)), {"<b>": [0]}, [], ["A"])
    assert figure["data"][0]["name"] == "&lt;b&gt;"
