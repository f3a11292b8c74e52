"""The page as a file: what it holds, what it never loads, and what it says of pieces that are missing."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.methods.grape import training_identity
from grape_ops.report.html import page_title, write_report
from grape_ops.report.terms import rich
from grape_ops.schema import CHECKPOINTS_DIR, METRICS_FILE
from grape_ops.train.loop import train

from .conftest import EVIL_COMPLEX, EVIL_GENE, EVIL_METHOD, changed


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        self.text += "" if self._silent else data


def read(page: Path) -> Tags:
    return Tags(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(full_run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    write_report(full_run.path, out)
    return out


def test_the_page_tells_run_scores_quality_and_settings(page, full_run):
    text = read(page).text
    assert "screen-one" in text
    assert "8 steps" in text and "4 genes" in text and "2 batches" in text
    assert "GRAPE M" in text and "statistics" in text and "★" in text
    assert "this run" in text
    assert full_run.record["store_fingerprint"] in text
    assert full_run.record["versions"]["torch"] in text
    assert "train.steps" in text and "checkpoint_every: 4" in text
    assert "What it does not show" in text


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in read(page).tags:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), (tag, name, value)
    raw = page.read_text(encoding="utf-8")
    styles = "".join(re.findall(r"<style>(.*?)</style>", raw, re.S))
    assert "url(" not in styles and "@import" not in styles
    assert "default-src 'none'" in raw


def test_the_page_is_small(page):
    assert page.stat().st_size < 6_500_000


def test_the_same_run_gives_the_same_page(page, full_run, tmp_path):
    write_report(full_run.path, tmp_path / "again.html")
    pages = [file.read_text(encoding="utf-8") for file in (page, tmp_path / "again.html")]
    first, second = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in pages)
    assert first == second


def test_tables_have_headers_and_captions(page):
    raw = page.read_text(encoding="utf-8")
    tables = re.findall(r"<table.*?</table>", raw[: raw.index("data-figures")], re.S)
    assert len(tables) >= 4
    assert all("<caption>" in table and 'scope="row"' in table for table in tables)


def test_names_are_escaped(hostile_run, tmp_path):
    write_report(hostile_run.path, tmp_path / "report.html")
    found = read(tmp_path / "report.html")
    assert not [attributes for _, attributes in found.tags if "onerror" in attributes]
    assert sum(tag == "script" for tag, _ in found.tags) == 6
    assert EVIL_METHOD in found.text and EVIL_COMPLEX in found.text and EVIL_GENE in found.text
    assert ("option", {"value": EVIL_GENE}) in found.tags


def test_without_truth_and_scores(tiny_store, settings, tmp_path):
    plain = changed(settings, "train.ema.enabled=false", "train.keep_checkpoints=1", "train.steps=4")
    train(tiny_store.path, tmp_path / "runs" / "plain", plain)
    write_report(tmp_path / "runs" / "plain", tmp_path / "report.html")
    text = read(tmp_path / "report.html").text
    assert "--truth NAME_OR_FILE" in text
    assert "There is no scores.json" in text
    assert "mAP along training is logged when" in text
    assert "last weights" in text


def test_a_moved_store_is_named_by_its_option(tiny_store, settings, tmp_path):
    shutil.copytree(tiny_store.path, tmp_path / "store")
    short = changed(settings, "train.steps=2")
    train(tmp_path / "store", tmp_path / "run", short)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    write_report(tmp_path / "run", tmp_path / "report.html")
    raw, text = (tmp_path / "report.html").read_text(encoding="utf-8"), read(tmp_path / "report.html").text
    assert "--store" in text and 'id="panels"' not in raw
    assert str(tmp_path / "store") not in text  # folders of this machine say nothing to a collaborator
    write_report(tmp_path / "run", tmp_path / "report.html", store_path=tmp_path / "elsewhere")
    assert 'id="panels"' in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_before_its_first_checkpoint(full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / CHECKPOINTS_DIR)
    (tmp_path / "run" / METRICS_FILE).unlink()
    write_report(tmp_path / "run", tmp_path / "report.html", truth=full_run.truth)
    text = read(tmp_path / "report.html").text
    assert "has no checkpoint yet" in text and "Nothing was logged yet" in text
    assert "0 of 8 planned steps" in text


def test_a_truth_that_moved_or_knows_other_genes(full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    record = (tmp_path / "run" / "run.json").read_text().replace("truth.tsv", "gone.tsv")
    (tmp_path / "run" / "run.json").write_text(record)
    write_report(tmp_path / "run", tmp_path / "report.html")
    assert "There is no ground truth" in read(tmp_path / "report.html").text
    other = tmp_path / "other.tsv"
    other.write_text("gene_symbol\tcomplex\nXXX\tc\nYYY\tc\n")
    write_report(tmp_path / "run", tmp_path / "report.html", truth=str(other))
    assert "no known complex" not in read(tmp_path / "report.html").text


def test_what_was_asked_for_must_be_there(full_run, tmp_path):
    out = tmp_path / "report.html"
    with pytest.raises(GrapeOpsError, match="no run folder|not a run folder"):
        write_report(tmp_path, out)
    with pytest.raises(GrapeOpsError, match="There are no scores at"):
        write_report(full_run.path, out, scores=tmp_path / "none.json")
    with pytest.raises(GrapeOpsError, match="no ground truth"):
        write_report(full_run.path, out, truth="nowhere.tsv")
    with pytest.raises(GrapeOpsError, match="--store"):
        write_report(full_run.path, out, store_path=tmp_path / "nostore")
    with pytest.raises(GrapeOpsError, match="is a folder; name a file"):
        write_report(full_run.path, tmp_path)
    assert not out.exists()


def test_a_page_of_others_is_refused_and_ours_replaced(full_run, tmp_path, capsys):
    out = tmp_path / "page.html"
    out.write_text("<html>my home page</html>")
    with pytest.raises(GrapeOpsError, match="is not a report of grape-ops"):
        write_report(full_run.path, out)
    assert "home page" in out.read_text()
    out.unlink()
    write_report(full_run.path, out)
    write_report(full_run.path, out)
    assert "was replaced" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '[{"method": "x"}]', '{"a": 1}'])
def test_scores_that_are_none_become_a_sentence(full_run, tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    write_report(full_run.path, tmp_path / "report.html")
    assert "grape-ops evaluate" in read(tmp_path / "report.html").text
    with pytest.raises(GrapeOpsError):
        write_report(full_run.path, tmp_path / "report.html", scores=tmp_path / "scores.json")


def test_scores_by_another_truth_are_left_out_unless_asked_for(full_run, tmp_path):
    other = tmp_path / "other.tsv"
    other.write_text("gene_symbol\tcomplex\nAAA\tc\nCCC\tc\n")
    write_report(full_run.path, tmp_path / "report.html", truth=str(other))
    assert "computed with other complexes" in read(tmp_path / "report.html").text
    asked = full_run.path.parent / "scores.json"
    write_report(full_run.path, tmp_path / "report.html", truth=str(other), scores=asked)
    assert "computed with other complexes" not in read(tmp_path / "report.html").text


def test_the_page_tells_no_folders_of_this_machine(full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"command": "grape-ops train /home/me/store --out run --config 'my own.yaml'"}))
    write_report(tmp_path / "run", tmp_path / "report.html")
    text = read(tmp_path / "report.html").text
    assert "grape-ops train store --out run --config 'my own.yaml'" in text
    assert "/home/me" not in text


def test_titles(tmp_path):
    assert page_title(tmp_path / "demo" / "run") == "demo / run"
    assert page_title(tmp_path / "screen-one") == "screen-one"


def test_a_training_that_broke_down_still_has_a_page(full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    with (tmp_path / "run" / METRICS_FILE).open("a") as file:
        file.write('{"step": 9, "d_adversarial": NaN, "g_adversarial": Infinity, "cycle": 0.5}\n')
    write_report(tmp_path / "run", tmp_path / "report.html")
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    (figures,) = re.findall(r'id="data-figures">(.*?)</script>', raw, re.S)
    assert "adversarial" in json.loads(figures, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_null_scores_are_dashes(full_run, tmp_path):
    entries = json.loads((full_run.path.parent / "scores.json").read_text())
    entries[0]["map"] |= {"value": None, "p_value": None}
    (tmp_path / "scores.json").write_text(json.dumps(entries))
    write_report(full_run.path, tmp_path / "report.html")
    assert f"chance {entries[0]['map']['chance']:.3f}, p = –" in read(tmp_path / "report.html").text


def test_genes_clusters_and_cost_are_tables_without_a_script(page):
    raw, text = page.read_text(encoding="utf-8"), read(page).text
    body = raw[raw.index('id="table-genes"') : raw.index("</table>", raw.index('id="table-genes"'))]
    assert re.findall(r'data-gene="(\w+)"', body) == ["AAA", "BBB", "CCC", "DDD"]
    assert all(name in body for name in ("first", "second"))
    known = json.loads(re.search(r'id="data-map">(.*?)</script>', raw, re.S)[1])["near"]
    assert len(re.findall(r"<small>\d\.\d\d<", body)) == sum(map(len, known.values())) > 0
    assert "Cost of the training" in text and "8 × 8 = 64 cells" in text
    assert "style encoder" in text and "all genes are one cluster" in text


def test_a_phenotype_check_is_shown_if_it_belongs_to_the_run(full_run, check_folder, tmp_path):
    write_report(full_run.path, tmp_path / "report.html", phenotype=check_folder)
    text = read(tmp_path / "report.html").text
    assert "knock-out cells of 2 of 4 genes differ significantly from control cells" in " ".join(text.split())
    assert "Restyled cells of 2 of 2 genes that differ significantly from control are nearer" in text
    assert "no evidence that the cells of 2 of 4 genes differ from control cells" in text
    assert "do not keep their surroundings (correlation −0.20" in text
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    counted = "1 of 2 genes that could be tested (16 of 16 control cells restyled to each)"
    assert f"Restyling is significant for {counted}." in text
    assert f"no evidence that restyling shows the phenotype of {counted}: do not read" in text
    assert ">0.90</td><td>40%</td><td>significant</td>" in raw
    assert '>0.80</td><td>30%</td><td class="doubt">not significant</td>' in raw
    assert "BBB · not significant · first" in text and "AAA · not sig" not in text
    assert "<td>0.50</td><td>0.25</td><td>–</td><td>1.00</td><td>0.25</td>" in raw
    assert ">0.90</td><td>40%</td>" in raw and ">not significantly different from control</td>" in raw


def test_where_no_restyling_could_be_tested_nothing_is_concluded_from_it(full_run, check_folder, tmp_path):
    shutil.copytree(check_folder, tmp_path / "phenotype")
    file = tmp_path / "phenotype" / "phenotype.tsv"
    table = pd.read_csv(file, sep="\t", keep_default_na=False)
    table["restyling_q"], table["restyling_significant"] = "", False
    table.to_csv(file, sep="\t", index=False)
    write_report(full_run.path, tmp_path / "report.html")
    text = " ".join(read(tmp_path / "report.html").text.split())
    assert text.count("Whether restyling is significant could not be tested for any gene") == 2
    assert "are nearer to the real knock-outs" not in text and "16 control cells were restyled to each gene" in text


def test_without_a_check_the_page_offers_its_command(page):
    cells = json.loads(re.search(r'id="data-cells">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1])
    words = {gene["trust"]["words"] for gene in cells["genes"]}
    assert {gene["trust"]["status"] for gene in cells["genes"]} == {"not checked"}
    assert all("not checked: `grape-ops phenotype RUN STORE --out phenotype`" in word for word in words)
    assert len(cells["unchanged"]) == len(cells["channels"])


def test_a_check_of_another_checkpoint_is_refused_if_asked_for_and_left_out_if_found(full_run, check_folder, tmp_path):
    shutil.copytree(check_folder, tmp_path / "phenotype")
    file = tmp_path / "phenotype" / "phenotype.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"checkpoint": "step_00000001"}))
    with pytest.raises(GrapeOpsError, match="another checkpoint"):
        write_report(full_run.path, tmp_path / "report.html", phenotype=tmp_path / "phenotype")
    write_report(full_run.path, tmp_path / "report.html")
    text = read(tmp_path / "report.html").text
    assert "made for another checkpoint" in text and "Restyled cells of" not in text


def test_a_check_that_lacks_a_column_is_refused_by_its_name(full_run, check_folder, tmp_path):
    shutil.copytree(check_folder, tmp_path / "phenotype")
    file = tmp_path / "phenotype" / "phenotype.tsv"
    file.write_text(file.read_text().replace("restyling_significant", "other"))
    with pytest.raises(GrapeOpsError, match=r"no column 'restyling_significant'; `grape-ops phenotype` makes it again"):
        write_report(full_run.path, tmp_path / "report.html", phenotype=tmp_path / "phenotype")


def test_a_discriminator_that_overfits_is_named(full_run, tmp_path):
    shutil.copytree(full_run.path, tmp_path / "run")
    with (tmp_path / "run" / METRICS_FILE).open("a") as metrics:
        for step in (9, 10, 11):
            metrics.write(json.dumps({"step": step, "d_seen_logit": 2.0, "d_unseen_logit": 1.1}) + "\n")
    write_report(tmp_path / "run", tmp_path / "report.html")
    assert "begins to overfit: its logit is 0.90 higher" in read(tmp_path / "report.html").text


def test_commands_in_sentences_are_set_as_code(tiny_store, settings, tmp_path):
    train(tiny_store.path, tmp_path / "run", changed(settings, "train.steps=4"))
    write_report(tmp_path / "run", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<code>grape-ops phenotype</code> makes it" in page
    assert "`" not in read(tmp_path / "report.html").text
    assert rich("`a` <b>") == "<code>a</code> &lt;b&gt;" and rich("5` off") == "5` off"


def test_terms_are_explained_where_they_stand_and_in_a_glossary(page):
    assert '<abbr title="mean average precision:' in rich("mAP of `mAP`") and "<code>mAP</code>" in rich("mAP of `mAP`")
    found = read(page)
    assert {"glossary", "findings"} <= {attributes.get("id") for tag, attributes in found.tags if tag == "section"}
    assert sum(tag == "abbr" for tag, _ in found.tags) >= 3
    assert "exponential moving average" in found.text
    heads = re.findall(r'<th scope="col"><abbr title="([^"]+)">([^<]+)</abbr></th>', section(page, "scores"))
    assert [name for _, name in heads] == ["mAP", "chance", "p", "purity", "NMI", "ARI"]


def section(page: Path, name: str) -> str:
    raw = page.read_text(encoding="utf-8")
    return re.search(rf'<section id="{name}">(.*?)</section>', raw, re.S)[1]


def test_the_page_opens_with_the_genes_that_have_a_phenotype(full_run, write_hits_folder, tmp_path):
    is_hit = {"AAA": True, "BBB": True, "CCC": False}
    store = full_run.record["store_fingerprint"]
    hits = write_hits_folder(tmp_path / "found", store, is_hit, discordant="BBB", inactive="AAA")
    write_report(full_run.path, tmp_path / "report.html", hits=hits)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    places = [raw.index(f'<section id="{name}">') for name in ("summary", "findings", "map", "genes", "scores")]
    assert places == sorted(places)
    findings = section(tmp_path / "report.html", "findings")
    text = " ".join(Tags(findings).text.split())
    assert "2 of 3 genes have a phenotype at q < 0.05" in text and "1 more was not tested" in text
    assert "4.0% of 150 pseudo-genes" in text
    assert "contradict the other guides of their gene: 1 of 6" in text and "seem to do nothing: 1 of 6" in text
    assert "BBB: BBB-GUIDE-1" in text and "AAA: AAA-GUIDE-1" in text and findings.count(">1 of 2<") == 2
    assert "<code>BBB-GUIDE-1</code> contradicts<" in findings and "<code>AAA-GUIDE-1</code> inactive<" in findings
    assert "CCC-GUIDE" not in findings  # without a phenotype, guides without an effect are as they should be
    assert (
        'class="quiet" title="no evidence of a phenotype"><th scope="row"><a href="#map" data-gene="CCC">' in findings
    )
    genes = section(tmp_path / "report.html", "genes")
    assert genes.count("<em>uncertain:</em>") == 1  # DDD was not tested, which is no evidence against it
    assert '"quiet": ["CCC"]' in raw
    figures = json.loads(re.search(r'id="data-figures">(.*?)</script>', raw, re.S)[1])
    quiet = next(trace for trace in figures["gene-map"]["data"] if trace["name"] == "no evidence of a phenotype")
    assert len(quiet["x"]) == 1 and len(figures["volcano"]["data"]) == 2


def test_without_hits_the_page_names_the_command(page, full_run, write_hits_folder, tmp_path):
    assert "grape-ops hits STORE --out hits" in section(page, "findings")
    other = write_hits_folder(tmp_path / "hits", "0" * 64, {"AAA": True})
    with pytest.raises(GrapeOpsError, match="another crop store"):
        write_report(full_run.path, tmp_path / "report.html", hits=other)
    write_report(full_run.path, tmp_path / "report.html")
    assert "another crop store" in section(tmp_path / "report.html", "findings")


def test_the_page_says_which_places_repeat_between_halves_of_the_cells(page, full_run, write_trust_folder, tmp_path):
    assert "grape-ops trust STORE --config RUN/config.yaml" in section(page, "conclusions")
    repeats = {"AAA": True, "BBB": False, "CCC": True}
    training = training_identity(full_run.config)
    write_trust_folder(tmp_path / "trust", full_run.record["store_fingerprint"], repeats, training=training)
    write_report(full_run.path, tmp_path / "report.html")
    said = " ".join(Tags(section(tmp_path / "report.html", "conclusions")).text.split())
    assert "The place of 2 of 3 genes repeats between maps of two halves" in said
    assert "no evidence that the place of 1 of 3 genes repeats" in said and "One training run says" not in said
    rows = re.findall(r"<tr.*?</tr>", section(tmp_path / "report.html", "genes"), re.S)
    of = {name: next(row for row in rows if f'data-gene="{name}"' in row) for name in ("AAA", "BBB", "DDD")}
    assert ">0.90<" in of["AAA"] and ">no evidence<" in of["BBB"] and ">not compared<" in of["DDD"]
    assert "different genes below 0.70" in of["AAA"]
    write_trust_folder(tmp_path / "other" / "trust", "0" * 64, repeats)
    write_report(full_run.path, tmp_path / "other" / "report.html")
    assert "another crop store" in section(tmp_path / "other" / "report.html", "conclusions")


def test_a_simulated_screen_is_called_so(page, full_run, tmp_path):
    assert "imulated" not in read(page).text
    shutil.copytree(full_run.path, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"simulated": True}))
    write_report(tmp_path / "run", tmp_path / "report.html")
    text = read(tmp_path / "report.html").text
    assert "GRAPE report · simulated screen" in text and "This screen is simulated" in text
    assert "simulated screen · grape-ops report" in text and "Simulated screen. Written by" in text


def test_genes_that_point_away_are_not_listed_as_neighbours(page):
    known = json.loads(re.search(r'id="data-map">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1])
    assert all(cosine >= 0 for near in known["near"].values() for _, cosine in near)
