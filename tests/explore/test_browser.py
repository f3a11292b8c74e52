"""The explorer in a real browser, as a biologist would use it; every test ends without a console message."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from grape_ops.explore.explore_run import write_static

from .conftest import write_check

selenium = pytest.importorskip("selenium", reason="the browser test needs selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

Browser = Any


def wait(browser: Browser, script: str) -> Any:
    return WebDriverWait(browser, 20, poll_frequency=0.03).until(lambda b: b.execute_script("return " + script), script)


def text(browser: Browser, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def visit(browser: Browser, address: str, scheme: str = "light", width: int = 1366) -> None:
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 768, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")  # another part after # alone would not load the page anew
    browser.get(address)
    wait(browser, "document.documentElement.dataset.ready === 'true'")


def shot(browser: Browser, selector: str) -> str:
    """What a canvas shows."""
    return browser.execute_script(f"return document.querySelector({selector!r}).toDataURL()")


@pytest.fixture
def page(browser, site) -> Iterator[Browser]:
    visit(browser, site.address)
    yield browser
    assert browser.get_log("browser") == []


@pytest.fixture(scope="module")
def tested_site(serve, request_with_hits) -> str:
    return serve(request_with_hits).address


@pytest.fixture
def tested_page(browser, tested_site) -> Iterator[Browser]:
    """The page of a run with hits."""
    visit(browser, tested_site)
    yield browser
    assert browser.get_log("browser") == []


def test_the_page_opens_with_findings_and_genes_without_a_phenotype_are_grey(tested_page):
    start = text(tested_page, "#panel-gene")
    assert "2 of 3 genes at q < 0.05" in start and "4.0% of 150 pseudo-genes" in start
    assert start.index("Genes with a phenotype") < start.index("Pick a gene")
    guides = text(tested_page, "#distrust")
    assert "1 contradicts the other guides of its gene: CCC" in guides and "1 seems to do nothing: AAA" in guides
    assert "not checked: grape-ops trust STORE" in start
    names = [chip.text.split("\n")[0] for chip in tested_page.find_elements(By.CSS_SELECTOR, "#legend .chip")]
    assert names == ["first complex", "second", "no evidence of a phenotype"]
    symbols = tested_page.execute_script("return document.querySelector('.plot').data[0].marker.symbol")
    assert [symbol == "circle-open" for symbol in symbols] == [False, True, False, False]


def test_only_genes_with_a_phenotype_can_be_shown_and_the_address_keeps_it(tested_page):
    shown = "document.querySelector('.plot').data[0].customdata"
    tested_page.find_element(By.ID, "only").click()
    wait(tested_page, f"JSON.stringify({shown}) === '[0,2,3]'")
    assert "#only=1" in tested_page.current_url
    Select(tested_page.find_element(By.ID, "colour")).select_by_value("log_q")
    wait(tested_page, "document.querySelector('#legend .scale')?.textContent.includes('-log10 q')")
    tested_page.find_element(By.ID, "only").click()
    wait(tested_page, f"{shown}.length === 4")


def test_the_card_says_whether_there_is_a_phenotype_and_whom_to_distrust(tested_page):
    look_up(tested_page, "ccc")
    wait(tested_page, "document.getElementById('panel-gene').dataset.gene === 'CCC'")
    card = text(tested_page, "#panel-gene")
    assert "Phenotype: effect 1.50, q 1e-05; 1 of 2 guides agrees" in card
    assert "1 of 2 guides contradicts the others: CCC-GUIDE-1" in card and "do nothing" not in card
    assert "by itself" in text(tested_page, ".guides th:last-child")
    look_up(tested_page, "aaa")
    wait(tested_page, "document.getElementById('panel-gene').dataset.gene === 'AAA'")
    card = text(tested_page, "#panel-gene")
    assert "1 of 2 guides seems to do nothing: AAA-GUIDE-1" in card and "contradicts" not in card
    look_up(tested_page, "bbb")
    wait(tested_page, "document.getElementById('panel-gene').dataset.gene === 'BBB'")
    card = text(tested_page, "#panel-gene")
    assert "No evidence of a phenotype: effect 0.25, q 0.5" in card
    assert "no evidence of a phenotype of BBB: these neighbours mean little" in card


def test_the_screen_has_plate_maps_cells_per_gene_and_guides_to_distrust(tested_page):
    tested_page.find_element(By.ID, "tab-screen").click()
    wait(tested_page, "document.getElementById('panel-screen').dataset.ready === 'true'")
    maps = tested_page.find_elements(By.CSS_SELECTOR, ".platemap")
    assert [part.get_attribute("data-measure") for part in maps] == ["cells", "control", "effect"]
    assert maps[0].find_element(By.CSS_SELECTOR, "td[title]").get_attribute("title").startswith("plate ")
    assert text(tested_page, "#discordant") == "CCC CCC-GUIDE-1"
    assert text(tested_page, "#inactive") == "AAA AAA-GUIDE-1"
    panel = text(tested_page, "#panel-screen")
    assert "contradict the other guides of their gene: 1 of 6" in panel and "seem to do nothing: 1 of 6" in panel
    assert text(tested_page, "#smallest").startswith("Fewest: ")
    assert tested_page.find_elements(By.CSS_SELECTOR, ".histogram i")


def look_up(browser: Browser, words: str) -> None:
    box = browser.find_element(By.ID, "search")
    box.send_keys(words)
    wait(browser, "!document.getElementById('suggestions').hidden")
    box.send_keys(Keys.ENTER)


def test_the_page_opens_with_map_legend_and_a_hint(page):
    assert page.title == "screen-one – gene map"
    assert len(page.execute_script("return document.querySelector('.plot').data[0].x")) == 4
    assert [chip.text.split("\n")[0] for chip in page.find_elements(By.CSS_SELECTOR, "#legend .chip")] == [
        "first complex",
        "second",
    ]
    assert "Pick a gene" in text(page, "#panel-gene")


@pytest.mark.parametrize("words", ["bbb", "BB"])
def test_search_opens_the_gene_card(page, words):
    look_up(page, words)
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'BBB'")
    card = text(page, "#panel-gene")
    assert "first complex · 12 cells · 2 guides" in card and "Nearest genes in GRAPE M" in card
    assert 1 <= len(page.find_elements(By.CSS_SELECTOR, ".neighbours tbody tr")) <= 3
    assert len(page.find_elements(By.CSS_SELECTOR, ".guides tbody tr")) == 2
    assert "#gene=BBB" in page.current_url
    links = page.find_elements(By.CSS_SELECTOR, ".links a")
    assert links and all("BBB" in link.get_attribute("href") for link in links)


def test_an_alias_finds_its_gene(page):
    look_up(page, "oldname")
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'CCC'")


def test_a_list_selects_its_genes_and_names_the_unknown(page):
    look_up(page, "aaa, DDD;NOPE")
    wait(page, "document.getElementById('tab-selection').textContent === 'Selection (2)'")
    assert "not in this run: NOPE" in text(page, "#status")
    assert [row.text for row in page.find_elements(By.CSS_SELECTOR, "#panel-selection td:first-child")] == [
        "AAA",
        "DDD",
    ]
    assert page.execute_script("return document.querySelector('.plot').data[0].selectedpoints") == [0, 3]


def test_a_pasted_column_of_a_spreadsheet_is_a_list(page):
    page.execute_script(
        "const data = new DataTransfer(); data.setData('text', 'AAA\\nBBB\\nCCC\\n');"
        "const box = document.getElementById('search'); box.focus();"
        "box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))"
    )
    wait(page, "document.getElementById('suggestions').textContent.includes('Select 3 genes')")


def test_a_word_nobody_knows_is_said_to_be_unknown(page):
    page.find_element(By.ID, "search").send_keys("qqq")
    wait(page, "document.getElementById('suggestions').textContent.includes('No gene, complex or cluster like qqq')")


def test_a_click_on_a_dot_opens_its_card_and_a_neighbour_leads_on(page):
    page.execute_script(
        "const points = [{ curveNumber: 0, customdata: 2 }];"
        "document.querySelector('.plot').emit('plotly_click', { points, event: {} })"
    )
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'CCC'")
    neighbour = page.find_element(By.CSS_SELECTOR, ".neighbours .gene")
    name = neighbour.text
    neighbour.click()
    wait(page, f"document.getElementById('panel-gene').dataset.gene === {json.dumps(name)}")


def test_lasso_selects(page):
    page.find_element(By.CSS_SELECTOR, "[data-drag='lasso']").click()
    wait(page, "document.querySelector('.plot').layout.dragmode === 'lasso'")
    box = page.find_element(By.CSS_SELECTOR, ".plot .nsewdrag").rect
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]

    def mouse(kind: str, x: float, y: float) -> None:
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        page.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    mouse("mousePressed", *points[0])
    for point in points[1:]:
        mouse("mouseMoved", *point)
    mouse("mouseReleased", *points[-1])
    wait(page, "document.getElementById('tab-selection').textContent === 'Selection (4)'")


def test_undo_redo_and_a_shared_link(page, site):
    look_up(page, "AAA")
    look_up(page, "DDD")
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'DDD'")
    page.find_element(By.ID, "undo").click()
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'AAA'")
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, Keys.SHIFT, "z")
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'DDD'")
    visit(page, site.address + "#colour=n_cells&gene=CCC&selection=AAA,BBB&tab=selection&compare=1")
    assert Select(page.find_element(By.ID, "colour")).first_selected_option.text == "cells"
    assert len(page.find_elements(By.CSS_SELECTOR, ".plot")) == 2
    assert "2 genes selected" in text(page, "#panel-selection")
    assert page.find_elements(By.CSS_SELECTOR, "#legend .scale")


def test_a_link_of_another_run_does_no_harm(page, site):
    visit(
        page,
        site.address + "#map=9&compare=44&gene=%E0%A4%A&selection=X,<img>,AAA&tab=elsewhere&channels=00&mix=9&layout=7",
    )
    assert len(page.find_elements(By.CSS_SELECTOR, ".plot")) == 1
    assert page.execute_script("return document.querySelector('.plot').data[0].selectedpoints") == [0]


def test_colours_follow_the_column(page):
    colours = "JSON.stringify(document.querySelector('.plot').data[0].marker.color)"
    before = page.execute_script("return " + colours)
    Select(page.find_element(By.ID, "colour")).select_by_visible_text("share in P1|A1")
    wait(page, f"{colours} !== {json.dumps(before)}")
    Select(page.find_element(By.ID, "colour")).select_by_visible_text("cluster")
    wait(page, "document.getElementById('legend').textContent.includes('cluster 1')")
    Select(page.find_element(By.ID, "colour")).select_by_visible_text("cells")
    wait(page, "document.querySelector('#legend .scale')")
    Select(page.find_element(By.ID, "colour")).select_by_visible_text("cluster")
    wait(page, "document.getElementById('legend').textContent.includes('cluster 1')")


@pytest.fixture(scope="module")
def annotated_site(serve, request_, tmp_path_factory) -> str:
    """Beside the run, a map with columns of its own and other genes for AAA and BBB, and one with `kind` swapped."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = anndata.read_h5ad(request_.groups[0].partition("=")[2].split(",")[0])
    adata.obs_names = ["EEE", "FFF", "CCC", "DDD", *adata.obs_names[4:]]
    adata.obs["titer"] = [1250.3, 1000.4, 9870.2, 1.5e-10, 0]
    adata.obs["q"] = [2e-20, 0, np.nan, 20, 0]
    adata.obs["n_cells"] = [100, 120, 7, 123_456, 5]
    for name, kinds in (("annotated", "aabb"), ("swapped", "bbaa")):
        adata.obs["kind"], adata.uns["method"] = [*kinds, "a"], name
        adata.write_h5ad(folder / f"{name}.h5ad")
    maps = (folder / "annotated.h5ad", folder / "swapped.h5ad")
    return serve(replace(request_, groups=(), maps=maps, aliases=None)).address


@pytest.fixture
def annotated(browser, annotated_site) -> Iterator[Browser]:
    visit(browser, annotated_site + "#map=1")
    yield browser
    assert browser.get_log("browser") == []


HOVERS = "document.querySelector('.plot').data[0].hovertext.map((text) => text.split('<br>').at(-1))"


def test_numbers_keep_their_zeros_and_exponents(annotated):
    Select(annotated.find_element(By.ID, "colour")).select_by_value("titer")
    wait(annotated, f"{HOVERS}[0].startsWith('titer')")
    hovers = dict(zip(genes_drawn(annotated), annotated.execute_script("return " + HOVERS), strict=True))
    assert hovers == {"CCC": "titer: 9870", "DDD": "titer: 1.5e-10", "EEE": "titer: 1250", "FFF": "titer: 1000"}
    Select(annotated.find_element(By.ID, "colour")).select_by_value("q")
    wait(annotated, f"{HOVERS}[0].startsWith('q')")
    hovers = dict(zip(genes_drawn(annotated), annotated.execute_script("return " + HOVERS), strict=True))
    assert hovers == {"CCC": "q: –", "DDD": "q: 20", "EEE": "q: 2e-20", "FFF": "q: 0"}
    grey = annotated.execute_script("return getComputedStyle(document.documentElement).getPropertyValue('--dot')")
    assert markers(annotated, 0)["color"] == [grey, 20, 2e-20, 0] and "no value" in text(annotated, "#legend")


def test_the_exported_table_holds_numbers_as_they_are(annotated, downloads):
    (downloads / "genes.tsv").unlink(missing_ok=True)
    annotated.find_element(By.CSS_SELECTOR, "#export summary").click()
    annotated.find_element(By.CSS_SELECTOR, "[data-export='tsv']").click()
    WebDriverWait(annotated, 20, poll_frequency=0.05).until(lambda _: (downloads / "genes.tsv").is_file())
    table = pd.read_csv(downloads / "genes.tsv", sep="\t", index_col=0, dtype=str, keep_default_na=False)
    (downloads / "genes.tsv").unlink()
    titers = {"CCC": "9870.2", "DDD": "1.5e-10", "EEE": "1250.3", "FFF": "1000.4"}
    assert table["titer"].to_dict() == titers
    assert table["q"].to_dict() == {"CCC": "", "DDD": "20", "EEE": "2e-20", "FFF": "0"}
    assert table["n_cells"].to_dict() == {"CCC": "7", "DDD": "123456", "EEE": "100", "FFF": "120"}


def test_selected_genes_are_listed_with_their_cells_in_the_map(annotated):
    look_up(annotated, "AAA, CCC, DDD")
    wait(annotated, "document.querySelectorAll('#panel-selection tbody tr').length === 3")
    cells = [row.text for row in annotated.find_elements(By.CSS_SELECTOR, "#panel-selection td:nth-child(3)")]
    assert cells == ["–", "7", "123,456"]
    assert annotated.execute_script("const { count } = await import('./dom.js'); return count(null)") == "–"
    assert "Holds 2 of the 2 genes of second, 1 of the 2 genes of first complex." in text(annotated, "#panel-selection")


def test_names_in_the_legend_select_genes_of_the_map_that_is_shown(annotated):
    Select(annotated.find_element(By.ID, "colour")).select_by_value("kind")
    wait(annotated, "document.querySelector('#legend .chip')?.textContent === 'a2'")
    drawn = annotated.execute_script("return document.documentElement.dataset.drawn")
    Select(annotated.find_element(By.ID, "map")).select_by_visible_text("swapped")
    wait(annotated, f"document.documentElement.dataset.drawn !== '{drawn}'")
    annotated.find_element(By.CSS_SELECTOR, "#legend .chip").click()
    wait(annotated, "document.querySelectorAll('#panel-selection tbody tr').length === 2")
    names = [cell.text for cell in annotated.find_elements(By.CSS_SELECTOR, "#panel-selection td:first-child")]
    assert names == ["CCC", "DDD"]


def genes_drawn(browser: Browser, plot: int = 0) -> list[str]:
    script = f"document.querySelectorAll('.plot')[{plot}].data[0].customdata"
    numbers = browser.execute_script("return " + script)
    return browser.execute_script(
        "const { name } = await import('./explorer.js'); return arguments[0].map(name)", numbers
    )


def markers(browser: Browser, plot: int) -> Any:
    return browser.execute_script(f"return document.querySelectorAll('.plot')[{plot}].data[0].marker")


def test_a_colour_means_the_same_in_both_maps(annotated, annotated_site):
    visit(annotated, annotated_site + "#map=0&compare=1")
    colours = [
        dict(zip(genes_drawn(annotated, plot), markers(annotated, plot)["color"], strict=True)) for plot in (0, 1)
    ]
    assert colours[0]["CCC"] == colours[1]["CCC"] != colours[0]["AAA"]
    visit(annotated, annotated_site + "#map=0&compare=1&colour=n_cells")
    ranges = [(part["cmin"], part["cmax"]) for part in (markers(annotated, 0), markers(annotated, 1))]
    assert ranges[0] == ranges[1]
    assert text(annotated, "#legend").split("\n")[1:] == ["7", "123,456 (log)"]


def test_a_map_without_the_column_is_grey_and_says_so(annotated, annotated_site):
    visit(annotated, annotated_site + "#map=0&compare=1&colour=kind")
    titles = [title.text for title in annotated.find_elements(By.CSS_SELECTOR, ".plotname")]
    assert titles == ["GRAPE M: has no column “kind”, drawn grey", "annotated"]
    grey = annotated.execute_script("return getComputedStyle(document.documentElement).getPropertyValue('--dot')")
    assert markers(annotated, 0)["color"] == grey and len(set(markers(annotated, 1)["color"])) == 2
    assert Select(annotated.find_element(By.ID, "colour")).first_selected_option.text == "kind"
    assert [chip.text for chip in annotated.find_elements(By.CSS_SELECTOR, "#legend .chip")] == ["a\n2", "b\n2"]
    visit(annotated, annotated_site + "#map=0&colour=kind")
    assert text(annotated, ".plotname") == "GRAPE M: has no column “kind”, drawn grey"
    assert markers(annotated, 0)["color"] == grey


MANY = """
const { makePlot } = await import('./plot.js');
document.getElementById('plots').replaceChildren();
const genes = [...Array(1600).keys()], symbols = ['circle', 'star', 'circle-open'];
const plot = makePlot(document.getElementById('plots'), { click() {}, select() {}, clear() {}, hover() {} });
plot.draw({
  genes, x: genes, y: genes, names: genes.map(String), hover: genes.map(String), controls: [],
  marker: { color: genes.map(() => 'teal'), symbol: genes.map((i) => symbols[i % 3]) },
  focus: null, near: [], selection: [], strength: genes, dim: null, drag: 'pan', view: 'test',
});
const { type, marker } = plot.place.data[0];
return [type, marker.symbol.slice(0, 3), marker.line.width.slice(0, 3)];
"""


def test_a_large_map_shows_the_marks_of_the_legend(browser, site):
    visit(browser, site.address)
    kind, symbols, lines = browser.execute_script(MANY)
    assert kind == "scattergl" and symbols == ["circle", "star", "circle-open"]
    assert lines[0] == 0 < lines[2]  # WebGL draws an open mark by its line alone
    browser.get("about:blank")
    browser.get_log("browser")  # the graphics driver's


def test_genes_without_evidence_and_genes_not_tested_look_different(tested_page):
    Select(tested_page.find_element(By.ID, "colour")).select_by_value("phenotype")
    wait(tested_page, "document.getElementById('legend').textContent.includes('not tested')")
    chips = tested_page.find_elements(By.CSS_SELECTOR, "#legend .chip")
    assert [chip.text.split("\n")[0] for chip in chips] == ["phenotype", "not tested", "no evidence of a phenotype"]
    look = markers(tested_page, 0)
    of = dict(zip(genes_drawn(tested_page), zip(look["color"], look["symbol"], strict=True), strict=True))
    assert of["AAA"] == of["CCC"] and len({of["AAA"], of["BBB"], of["DDD"]}) == 3
    assert of["BBB"][1] == "circle-open"


KEPT = """
const { json } = await import('./data.js');
const asked = [], real = window.fetch;
window.fetch = async (address) => { asked.push(address); return new Response('{}'); };
for (let i = 0; i < 400; i++) await json('some/' + i);
await json('some/0');
await json('some/400');
await json('some/0');
window.fetch = real;
return asked.filter((address) => address === 'some/0').length;
"""


def test_what_was_used_last_is_kept_longest(page):
    assert page.execute_script(KEPT) == 1


def test_commands_in_sentences_are_code(page):
    assert "`" not in page.find_element(By.TAG_NAME, "main").text
    codes = [code.text for code in page.find_elements(By.CSS_SELECTOR, "#panel-gene code")]
    assert "grape-ops hits STORE --out hits" in codes
    assert "grape-ops trust STORE --config RUN/config.yaml --out trust" in codes


def press(browser: Browser, selector: str) -> None:
    button = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)


def test_the_keyboard_stays_where_it_was_when_a_panel_is_made_anew(page, site):
    focus = "document.activeElement.dataset.focus"
    visit(page, site.address + "#gene=AAA")
    press(page, "#panel-gene .genehead button")
    wait(page, "document.querySelector('#panel-gene .genehead button').ariaPressed === 'true'")
    wait(page, f"{focus} === 'select'")
    visit(page, site.address + "#gene=AAA&tab=cells")
    wait(page, "document.querySelectorAll('.pick').length === 4")
    press(page, "[data-focus='pick-2']")
    wait(page, "document.querySelectorAll('.pick')[2].ariaPressed === 'true'")
    wait(page, f"{focus} === 'pick-2'")
    visit(page, site.address + "#selection=AAA,BBB&tab=selection")
    wait(page, "document.querySelectorAll('#panel-selection tbody tr').length === 2")
    press(page, "[data-focus='out-0']")
    wait(page, "document.querySelectorAll('#panel-selection tbody tr').length === 1")
    wait(page, "document.activeElement.id === 'panel-selection'")
    visit(page, site.address + "#tab=clusters")
    wait(page, "document.querySelector('[data-focus=\"colour\"]')")
    press(page, "[data-focus='colour']")
    wait(page, "document.querySelector('[data-focus=\"colour\"]')?.ariaPressed === 'true'")
    wait(page, f"{focus} === 'colour'")


def test_screen_readers_hear_of_the_gene_and_of_the_entry_chosen(page):
    page.find_element(By.CSS_SELECTOR, ".plot").send_keys(Keys.ARROW_RIGHT)
    wait(page, "document.querySelector('.plotbox [aria-live]').textContent === 'AAA'")
    box = page.find_element(By.ID, "search")
    box.send_keys("b")
    wait(page, "document.getElementById('search').getAttribute('aria-activedescendant') === 'found-0'")
    box.send_keys("?")
    wait(page, "!document.getElementById('search').hasAttribute('aria-activedescendant')")


def test_keys(page):
    page.find_element(By.CSS_SELECTOR, ".plot").send_keys(Keys.ARROW_RIGHT)
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'AAA'")
    page.find_element(By.CSS_SELECTOR, ".plot").send_keys(Keys.ENTER)
    wait(page, "document.getElementById('tab-selection').textContent === 'Selection (1)'")
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys("3")
    wait(page, "!document.getElementById('panel-clusters').hidden")
    body.send_keys(Keys.ESCAPE)
    wait(page, "document.getElementById('tab-selection').textContent === 'Selection'")
    body.send_keys("/")
    assert page.switch_to.active_element.get_attribute("id") == "search"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.find_element(By.TAG_NAME, "body").send_keys("?")
    wait(page, "document.getElementById('keys').open")


def test_montage_pins_controls_and_shows_each_guide(page, site):
    visit(page, site.address + "#gene=BBB&tab=cells")
    wait(page, "document.querySelectorAll('.cellrow').length === 5")
    kinds = [row.get_attribute("class").split()[1] for row in page.find_elements(By.CSS_SELECTOR, ".cellrow")]
    assert kinds == ["control", "unchanged", "restyled", "knockout", "knockout"]
    control = page.find_element(By.CSS_SELECTOR, ".cellrow.control")
    assert control.value_of_css_property("position") == "sticky"
    assert "5 µm" in control.text
    assert len(page.find_elements(By.CSS_SELECTOR, ".cellrow.restyled canvas")) == 4
    assert shot(page, ".cellrow.control canvas") != shot(page, ".cellrow.restyled canvas")


def test_a_gene_that_nobody_checked_is_marked_so(page, site):
    for tab in ("gene", "cells"):
        visit(page, f"{site.address}#gene=BBB&tab={tab}")
        wait(page, f"document.querySelector('#panel-{tab} .trust.not-checked')")
        trust = text(page, f"#panel-{tab} .trust")
        assert "not checked" in trust and "grape-ops phenotype RUN STORE --out phenotype" in trust


def test_the_card_says_whether_the_place_repeats_between_halves(browser, serve, compared):
    site = serve(compared)
    visit(browser, site.address + "#gene=AAA")
    wait(browser, "document.querySelector('#panel-gene .place.significant')")
    assert "AAA: its place repeats between maps of two halves" in text(browser, "#panel-gene .place")
    visit(browser, site.address + "#gene=BBB")
    wait(browser, "document.querySelector('#panel-gene .place.not-significant')")
    assert "no evidence that its place repeats" in text(browser, "#panel-gene .place")
    visit(browser, site.address + "#gene=CCC")
    wait(browser, "document.getElementById('panel-gene').dataset.gene === 'CCC'")
    assert not browser.find_elements(By.CSS_SELECTOR, "#panel-gene .place")
    Select(browser.find_element(By.ID, "colour")).select_by_visible_text("place in halves")
    wait(browser, "document.getElementById('legend').textContent.includes('no evidence that it repeats')")
    visit(browser, site.address)
    assert "The place of 1 of 2 genes repeats between maps of two halves" in text(browser, "#panel-gene")
    assert browser.get_log("browser") == []


def test_a_restyling_that_is_not_significant_is_marked_beside_its_pictures(browser, serve, copied):
    write_check(copied.run, {"AAA": True, "BBB": False})
    site = serve(copied)
    visit(browser, site.address + "#gene=BBB&tab=cells")
    wait(browser, "document.querySelector('#panel-cells .trust.not-significant')")
    assert "do not read these pictures as its phenotype" in text(browser, "#panel-cells .trust")
    wait(browser, "document.getElementById('restyle-words').textContent.includes('not significant')")
    outline = browser.find_element(By.CSS_SELECTOR, ".cellrow.restyled .cell").value_of_css_property("outline-style")
    assert outline == "dashed"
    visit(browser, site.address + "#gene=AAA&tab=cells")
    wait(browser, "document.querySelector('#panel-cells .trust.significant')")
    assert "restyling significant (q = 0.001)" in text(browser, "#panel-cells .trust")
    wait(browser, "document.getElementById('restyle-words').textContent === 'restyled to AAA'")
    visit(browser, site.address + "#gene=CCC&tab=gene")
    wait(browser, "document.querySelector('#panel-gene .trust.not-checked')")
    assert "made for other genes" in text(browser, "#panel-gene .trust")
    assert browser.get_log("browser") == []


def test_channels_composites_other_cells_and_full_size(page, site):
    visit(page, site.address + "#gene=BBB&tab=cells")
    wait(page, "document.querySelectorAll('.cellrow').length === 5")
    both = shot(page, ".cellrow.control canvas")
    page.find_element(By.XPATH, "//*[@id='panel-cells']//button[text()='actin']").click()
    wait(page, f"document.querySelector('.cellrow.control canvas').toDataURL() !== {json.dumps(both)}")
    grey = "[...document.querySelector('.cellrow.control canvas').getContext('2d').getImageData(9, 9, 1, 1).data]"
    r, g, b, _ = page.execute_script("return " + grey)
    assert r == g == b
    page.find_element(By.XPATH, "//*[@id='panel-cells']//button[text()='Composite']").click()
    wait(page, f"document.querySelector('.cellrow.control canvas').toDataURL() === {json.dumps(both)}")
    page.find_element(By.XPATH, "//button[text()='Other cells']").click()
    wait(page, f"document.querySelector('.cellrow.control canvas').toDataURL() !== {json.dumps(both)}")
    page.find_element(By.CSS_SELECTOR, ".cellrow.knockout .cell").click()
    wait(page, "document.getElementById('large').open")
    assert [f.text for f in page.find_elements(By.CSS_SELECTOR, "#large figcaption")] == ["Composite", "DNA", "actin"]
    assert "plate P1, well A" in text(page, "#large")


def test_contrast_is_shared_by_all_pictures_and_kept_in_the_address(page, site):
    visit(page, f"{site.address}#gene=AAA&tab=cells&channels=10")
    wait(page, "document.getElementById('panel-cells').dataset.gene === 'AAA'")
    wait(page, "document.querySelector('#restyle-made canvas') !== null")
    page.execute_script("document.querySelector('.contrast').open = true")
    places = (".cellrow.control canvas", ".cellrow.knockout canvas", "#restyle-made canvas")
    before = [shot(page, place) for place in places]
    drag = "const s = document.querySelector('[data-end=\"0-1\"]'); s.value = 90; s.dispatchEvent(new Event('input'))"
    page.execute_script(drag)
    after = [shot(page, place) for place in places]
    assert all(one != other for one, other in zip(before, after, strict=True))
    wait(page, "location.hash.includes('contrast=0-90')")
    address = page.current_url
    page.find_element(By.CSS_SELECTOR, ".contrast button").click()
    assert [shot(page, place) for place in places] == before
    visit(page, address)
    wait(page, "document.getElementById('panel-cells').dataset.gene === 'AAA'")
    assert shot(page, places[0]) == after[0]


SLOW = """
const real = window.fetch;
const later = (address, options) => new Promise((done) => { window.release = () => done(real(address, options)); });
window.fetch = (address, options) => (address.includes("data/gene/") ? later : real)(address, options);
"""


def test_a_card_on_its_way_says_so(page):
    page.execute_script(SLOW)
    look_up(page, "ccc")
    wait(page, "document.querySelector('#panel-gene .waiting')?.textContent === 'Looking up CCC…'")
    page.execute_script("window.release()")
    wait(page, "document.getElementById('panel-gene').dataset.gene === 'CCC'")
    assert not page.find_elements(By.CSS_SELECTOR, "#panel-gene .waiting")


def test_pictures_of_the_way_that_do_not_differ_are_not_shown(page, site):
    visit(page, f"{site.address}#gene=BBB&from=BBB&tab=cells")
    wait(page, "document.querySelector('#strip p') !== null")
    assert "look the same" in text(page, "#strip") and not page.find_elements(By.CSS_SELECTOR, "#strip canvas")


def test_a_cell_is_restyled_live(page, site):
    visit(page, site.address + "#gene=BBB&tab=cells")
    shown = "document.getElementById('restyle-made')?.dataset.shown"
    wait(page, f"{shown} === '1/0/null/1'")
    first = shot(page, "#restyle-made canvas")
    # The last picture of the strip is the gene itself.
    wait(page, "document.querySelectorAll('#strip canvas').length === 3")
    assert page.execute_script("return [...document.querySelectorAll('#strip canvas')].at(-1).toDataURL()") == first
    page.find_element(By.ID, "mix").send_keys(Keys.HOME)
    wait(page, f"{shown} === '1/0/null/0'")
    assert shot(page, "#restyle-made canvas") != first
    start = page.find_element(By.ID, "from")
    start.clear()
    start.send_keys("ddd", Keys.TAB)
    wait(page, f"{shown} === '1/0/3/0'")
    assert "restyled to DDD" in text(page, "#restyle-words")
    page.execute_script("document.querySelectorAll('.pick')[2].click()")
    wait(page, f"{shown} === '1/2/3/0'")
    assert page.find_elements(By.CSS_SELECTOR, ".slot.picked")
    start = page.find_element(By.ID, "from")
    start.clear()
    start.send_keys("NOPE", Keys.TAB)
    wait(page, "document.getElementById('status').textContent.includes('NOPE is not a gene')")


ONE_BY_ONE = """
const real = window.fetch;
window.asked = [];
window.fetch = (address, options) => {
  if (!address.includes('restyled.png')) return real(address, options);
  window.asked.push(address);
  return new Promise((done) => { window.release = () => done(real(address)); });
};
const slider = document.getElementById('mix');
for (const mix of [0.9, 0.8, 0.7, 0.6, 0.5]) {
  slider.value = mix;
  slider.dispatchEvent(new Event('input'));
}
"""


def test_dragging_the_slider_asks_for_one_picture_at_a_time(page, site):
    visit(page, site.address + "#gene=BBB&tab=cells")
    shown = "document.getElementById('restyle-made')?.dataset.shown"
    wait(page, f"{shown} === '1/0/null/1'")
    page.execute_script(ONE_BY_ONE)
    mixes = "window.asked.map((address) => address.split('mix=')[1])"
    assert page.execute_script("return " + mixes) == ["0.9"]
    page.execute_script("window.release()")
    wait(page, f"{mixes}.length === 2")
    assert page.execute_script("return " + mixes) == ["0.9", "0.5"]
    page.execute_script("window.release()")
    wait(page, f"{shown} === '1/0/null/0.5'")
    wait(page, "document.getElementById('restyle-words').textContent.startsWith('50 %')")


def test_clusters_are_listed_and_select_their_genes(page, site):
    pytest.importorskip("igraph", reason="Leiden needs igraph")
    visit(page, site.address + "#tab=clusters")
    wait(page, "document.querySelectorAll('.cluster').length >= 1")
    assert "FDR" in text(page, "#panel-clusters") and "first complex" in text(page, "#panel-clusters")
    page.find_element(By.CSS_SELECTOR, ".cluster header button").click()
    wait(page, "document.getElementById('tab-selection').textContent.startsWith('Selection (')")


def test_two_maps_side_by_side(page, site):
    visit(page, site.address + "#gene=AAA")
    page.find_element(By.ID, "compare").click()
    wait(
        page, "document.querySelectorAll('.plot').length === 2 && document.querySelectorAll('.neighbours').length === 2"
    )
    assert "of the 3 nearest genes are the same in both maps" in text(page, "#agreement")
    one, several = (part.text for part in page.find_elements(By.CSS_SELECTOR, ".believe"))
    assert "too few genes to say which cosine" in one and "too few genes to say which cosine" in several
    assert "one training run" in one and "grape-ops trust STORE" in one and "one training run" not in several
    assert [title.text for title in page.find_elements(By.CSS_SELECTOR, ".plotname")] == ["GRAPE M", "other (3 runs)"]
    page.find_element(By.ID, "compare").click()
    wait(page, "document.querySelectorAll('.plot').length === 1")


def test_exports(page, site, downloads):
    visit(page, site.address + "#selection=BBB,DDD&tab=selection")

    def export(kind: str, name: str) -> Path:
        page.find_element(By.CSS_SELECTOR, "#export summary").click()
        page.find_element(By.CSS_SELECTOR, f"[data-export='{kind}']").click()
        WebDriverWait(page, 20, poll_frequency=0.05).until(lambda _: (downloads / name).is_file(), name)
        return downloads / name

    lines = export("tsv", "genes.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["gene_symbol", "BBB", "DDD"]
    assert lines[0].split("\t")[1:2] == ["complex"] and "n_cells" in lines[0] and lines[0].endswith("cluster")
    assert list(anndata.read_h5ad(export("h5ad", "genes.h5ad")).obs_names) == ["BBB", "DDD"]
    assert export("png", "map.png").read_bytes().startswith(b"\x89PNG")
    svg = export("svg", "map.svg").read_text()
    assert "<svg" in svg and "BBB" in svg


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page, site, scheme):
    visit(page, site.address, scheme)
    root = "document.documentElement.dataset.theme"
    paper = "return getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('.plot').layout.font.color"
    before, first = page.execute_script(paper), page.execute_script("return " + ink)
    assert page.execute_script("return " + root) == scheme
    page.find_element(By.ID, "theme").click()
    wait(page, f"{ink} !== {json.dumps(first)}")
    assert page.execute_script(paper) != before
    page.execute_script("localStorage.clear()")


@pytest.mark.parametrize("width", [1366, 800, 390])
@pytest.mark.parametrize("tab", ["gene", "cells", "clusters", "selection", "screen"])
def test_nothing_sticks_out(page, site, width, tab):
    visit(page, f"{site.address}#gene=AAA&selection=AAA,BBB&compare=1&tab={tab}", width=width)
    wait(page, f"document.getElementById('panel-{tab}').children.length > 1")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


CLOSE_TOGETHER = """
const { makePlot } = await import('./plot.js');
document.getElementById('plots').replaceChildren();
const n = 48, genes = [...Array(n).keys()];
const plot = makePlot(document.getElementById('plots'), { click() {}, select() {}, clear() {}, hover() {} });
plot.draw({
  genes, x: genes.map((i) => (i % 12) / 6), y: genes.map((i) => Math.floor(i / 12) / 12),
  names: genes.map((i) => 'SMARCA' + i), hover: genes.map(String), marker: { color: 'teal' }, controls: [],
  focus: 15, near: [16], selection: [], strength: genes, dim: null, drag: 'pan', view: 'test',
});
const names = () => [...document.querySelectorAll('.plot .textpoint text')].filter((text) => text.textContent);
const boxes = names().map((text) => text.getBoundingClientRect());
const clash = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4;
const clashes = boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => clash(a, b))).length;
const dots = [...document.querySelector('.plot .scatterlayer .trace').querySelectorAll('.point')];
const round = dots.map((dot) => dot.getBoundingClientRect());
const touching = boxes.filter((a) => round.some((dot) => clash(a, dot))).length;
const before = names().map((text) => text.textContent);
await Plotly.relayout(plot.place, { 'xaxis.range': [-0.1, 0.5], 'yaxis.range': [-0.02, 0.1] });
return [before, clashes + touching, names().map((text) => text.textContent)];
"""


@pytest.mark.parametrize("width", [1366, 390])
def test_names_that_would_overlap_a_name_or_a_dot_are_moved_or_left_out(page, site, width):
    visit(page, site.address, width=width)
    before, clashes, after = page.execute_script(CLOSE_TOGETHER)
    assert clashes == 0
    # The gene in focus, then those of the strongest effect.
    assert {"SMARCA15", "SMARCA47"} <= {*before}
    if width == 390:
        assert len(before) < 48
        assert {"SMARCA0", "SMARCA1", "SMARCA2", "SMARCA12"} <= {*after}  # those in view, now that there is room


def test_a_table_that_is_too_wide_says_that_it_scrolls(page, site):
    visit(page, f"{site.address}#gene=AAA", width=390)
    wait(page, "document.querySelector('.scroll > .guides') !== null")
    hint = "getComputedStyle(document.querySelector('.scroll:has(.guides)'), '::before').content"
    assert page.execute_script(f"return {hint}") == "none"
    page.execute_script("document.querySelector('.guides').style.minWidth = '600px'")
    page.execute_script("document.querySelector('.scroll:has(.guides)').style.maxWidth = '300px'")
    wait(page, f"{hint}.includes('Swipe sideways')")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390


LONG_GUIDES = """
document.querySelectorAll('.guides tbody tr').forEach((row) => {
  row.cells[0].textContent = 'CGCGGGGCCGATTACTCTGG';
  row.cells[2].innerHTML = '<span>1.0</span><small class="tag">like control</small>';
});
const table = document.querySelector('.guides');
return [document.querySelectorAll('.bars').length, table.offsetWidth, table.parentElement.clientWidth];
"""


@pytest.mark.parametrize("width", [1366, 800, 390])
def test_long_guides_do_not_lie_over_the_batches(page, site, width):
    visit(page, f"{site.address}#gene=AAA", width=width)
    wait(page, "document.querySelector('.guides') !== null")
    bars, table, room = page.execute_script(LONG_GUIDES)
    assert bars == 1 and table <= room


def test_names_stay_text(browser, serve, hostile):
    site = serve(hostile)
    for tab in ("gene", "cells", "clusters", "selection"):
        evil = "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'broken'%22%3E"
        visit(browser, f"{site.address}#gene={evil}&selection={evil},BBB&tab={tab}")
        wait(browser, f"document.getElementById('panel-{tab}').textContent.includes('<img src=x')")
    browser.find_element(By.ID, "search").send_keys("<img")
    wait(browser, "!document.getElementById('suggestions').hidden")
    browser.execute_script("Plotly.Fx.hover(document.querySelector('.plot'), [{ curveNumber: 0, pointNumber: 0 }])")
    wait(browser, "document.querySelector('.hoverlayer').textContent.includes('<img src=x')")
    assert browser.title != "broken"
    assert browser.execute_script("return document.querySelectorAll('[onerror], body script, i > i').length") == 0
    assert browser.get_log("browser") == []


def test_empty_states_say_what_brings_more(browser, serve, copied):
    import shutil

    shutil.rmtree(copied.run / "checkpoints")
    site = serve(replace(copied, groups=(), maps=(), aliases=None, truth=None))
    visit(browser, site.address + "#gene=AAA&tab=cells")
    assert "There is no map yet" in text(browser, "#plots") and "no checkpoint" in text(browser, "#plots")
    wait(browser, "document.querySelectorAll('.cellrow').length === 3")
    assert "no checkpoint" in text(browser, ".restyle")
    browser.find_element(By.ID, "tab-clusters").click()
    assert "There are no clusters" in text(browser, "#panel-clusters")
    browser.find_element(By.ID, "tab-selection").click()
    assert "Nothing is selected" in text(browser, "#panel-selection")
    browser.find_element(By.ID, "search").send_keys("cluster 3")
    wait(browser, "document.getElementById('suggestions').textContent.includes('None of these is a gene')")
    assert str(copied.run) not in browser.page_source
    assert browser.get_log("browser") == []


def test_a_run_that_cannot_be_opened_gets_a_page(browser, serve, tmp_path, request_):
    site = serve(replace(request_, run=tmp_path, groups=()))
    browser.get(site.address)
    assert "This run cannot be explored" in text(browser, "h1")
    assert "is not a run folder" in text(browser, "#message")
    assert all("500" in line["message"] for line in browser.get_log("browser"))


def test_a_server_that_has_gone_is_reported(page, site):
    page.execute_script("window.fetch = () => Promise.reject(new TypeError('gone'))")
    look_up(page, "DDD")
    wait(page, "document.getElementById('panel-gene').textContent.includes('does not answer any more')")


@pytest.fixture(scope="module")
def static_site(request_, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("static") / "page"
    write_static(request_, folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/page/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_static_page_in_a_folder_of_any_server(browser, static_site, downloads):
    visit(browser, static_site + "#gene=BBB&tab=cells&mix=0.5")
    wait(browser, "document.querySelectorAll('.cellrow').length === 5")
    wait(browser, "document.getElementById('restyle-made')?.dataset.shown === '1/0/null/0.5'")
    assert not browser.find_elements(By.XPATH, "//button[text()='Other cells']")
    browser.find_element(By.ID, "mix").send_keys(Keys.END)
    wait(browser, "document.getElementById('restyle-made').dataset.shown === '1/0/null/1'")
    browser.execute_script("document.querySelectorAll('.pick')[3].click()")
    wait(browser, "document.getElementById('restyle-words')?.textContent.includes('control cells 1 to 2')")
    for tab in ("gene", "clusters", "selection"):
        browser.find_element(By.ID, f"tab-{tab}").click()
        wait(browser, f"document.getElementById('panel-{tab}').children.length >= 1")
    browser.find_element(By.ID, "compare").click()
    wait(browser, "document.querySelectorAll('.plot').length === 2")
    assert browser.get_log("browser") == []


LATE_STRIP = """
const real = window.fetch;
window.fetch = (address, options) =>
  address.endsWith('strip/1.png') ? new Promise((done) => { window.release = () => done(real(address)); })
  : address.endsWith('strip/3.png') ? Promise.reject(new TypeError('gone'))
  : real(address, options);
"""


def test_a_late_strip_of_a_static_page_does_not_replace_a_newer_picture(browser, static_site):
    visit(browser, static_site + "#gene=AAA&tab=cells")
    shown = "document.getElementById('restyle-made')?.dataset.shown"
    wait(browser, f"{shown} === '0/0/null/1'")
    browser.execute_script(LATE_STRIP)
    browser.execute_script("location.hash = '#gene=BBB&tab=cells'")
    wait(browser, "window.release && document.getElementById('panel-cells').dataset.gene === 'BBB'")
    browser.execute_script("location.hash = '#gene=CCC&tab=cells'")
    wait(browser, f"{shown} === '2/0/null/1'")
    browser.execute_script("window.release()")
    browser.execute_script("const { picture } = await import('./data.js'); await picture('data/strip/1.png')")
    assert browser.execute_script("return " + shown) == "2/0/null/1"
    browser.execute_script("location.hash = '#gene=DDD&tab=cells'")  # its strip cannot be had
    wait(browser, "document.getElementById('status').textContent.includes('does not answer')")
    browser.execute_script("location.hash = '#gene=CCC&tab=cells&from=AAA&mix=0.5'")
    wait(browser, "document.getElementById('restyle-words')?.textContent === '50 % of the way from control to CCC'")
    assert browser.get_log("browser") == []
