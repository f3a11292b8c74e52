"""Every documented format is read, recognised by its content, and refused clearly when it is none."""

import gzip

import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import load_truth, membership
from grape_ops.groundtruth.aliases import load_aliases
from grape_ops.groundtruth.chromosome_arms import load_arms
from grape_ops.groundtruth.curation import screened_genes
from grape_ops.groundtruth.readers import read_complexes
from grape_ops.groundtruth.truth import load_pairs

EXPECTED = {"Alpha complex": ["AAA1", "AAA2", "AAA3"], "Beta complex": ["BBB1", "AAA1"]}

COMPLEXTAB_HEADER = (
    "#Complex ac\tRecommended name\tAliases for complex\tTaxonomy identifier\t"
    "Identifiers (and stoichiometry) of molecules in complex\tExpanded participant list"
)

FILES = {
    "corum_new.txt": "complex_id\tcomplex_name\torganism\tsubunits_gene_name\n"
    "1\tAlpha complex\tHuman\tAAA1;AAA2;AAA3\n2\tBeta complex\tHuman\tBBB1;AAA1\n3\tMurine\tMouse\tCcc1;Ccc2\n",
    "corum_old.txt": "ComplexID\tComplexName\tOrganism\tsubunits(Gene name)\n"
    "1\tAlpha complex\tHuman\tAAA1;AAA2; AAA3\n2\tBeta complex\tHuman\tBBB1;AAA1;AAA1\n",
    "complexes.gmt": "Alpha complex\thttp\tAAA1\tAAA2\tAAA3\nBeta complex\thttp\tBBB1\tAAA1\n",
    "names.tsv": "Alpha complex\tAAA1 AAA2 AAA3\nBeta complex\tBBB1 AAA1\n",
    "headed_names.tsv": 'name\tgenes\nAlpha complex\tAAA1 AAA2 AAA3\n"Beta complex"\tBBB1,AAA1\n',
    "table.tsv": "gene_symbol\tcomplex\nAAA1\tAlpha complex\nAAA2\tAlpha complex\nAAA3\tAlpha complex\n"
    "BBB1\tBeta complex\nAAA1\tBeta complex\n",
    "brieflow.csv": "gene_name,group\nAAA1,Alpha complex\nAAA2,Alpha complex\nAAA3,Alpha complex\n"
    "BBB1,Beta complex\nAAA1,Beta complex\n",
    "capitals.csv": "Gene Symbol,Complex\nAAA1,Alpha complex\nAAA2,Alpha complex\nAAA3,Alpha complex\n"
    "BBB1,Beta complex\nAAA1,Beta complex\n",
    "bare.tsv": "AAA1\tAlpha complex\nAAA2\tAlpha complex\nAAA3\tAlpha complex\n"
    "BBB1\tBeta complex\nAAA1\tBeta complex\n",
}


@pytest.mark.parametrize("name", FILES)
def test_formats_agree(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES[name])
    assert read_complexes(path) == EXPECTED


def test_the_hash_depends_on_content_alone(tmp_path):
    hashes = set()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        hashes.add(load_truth(tmp_path / name).sha256)
    (tmp_path / "other.gmt").write_text("Alpha complex\thttp\tAAA1\tAAA2\nBeta complex\thttp\tBBB1\tAAA1\n")
    assert len(hashes) == 1 and load_truth(tmp_path / "other.gmt").sha256 not in hashes


def test_complextab_gives_accessions_without_stoichiometry_chains_and_chemicals(tmp_path):
    path = tmp_path / "9606.tsv"
    path.write_text(
        COMPLEXTAB_HEADER + "\nCPX-1\tAlpha\t-\t9606\tP84022(1)|CPX-2(1)\tP84022(1)|Q15796(2)|CHEBI:29105(1)\n"
        "CPX-2\tBeta\t-\t9606\tP04637(4)|P01308-PRO_0000015819(1)|[P12345,Q99999-2](0)|A0A024RBG1(1)\t-\n"
    )
    assert read_complexes(path) == {
        "Alpha": ["P84022", "Q15796"],
        "Beta": ["P04637", "P01308", "P12345", "Q99999", "A0A024RBG1"],
    }


def test_gzip_byte_order_mark_and_empty_lines(tmp_path):
    path = tmp_path / "names.tsv.gz"
    path.write_bytes(gzip.compress(("\ufeff" + FILES["names.tsv"].replace("\n", "\r\n\r\n")).encode()))
    assert read_complexes(path) == EXPECTED


def test_variants_of_one_name_stay_apart(tmp_path):
    path = tmp_path / "names.tsv"
    path.write_text("Same\tA B\nSame\tC D\nOther\tE F\n")
    assert read_complexes(path) == {"Same": ["A", "B"], "Same (2)": ["C", "D"], "Other": ["E", "F"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a,b,c\n1,2,3\n", "none of the known truth formats"),
        ("gene_symbol\tcomplex\n", "no gene"),
        (  # ComplexTAB whose header has lost its first field is no GMT
            "Recommended name\tTaxonomy identifier\tExpanded participant list\nCPX-1\tone\t9606\tP0(1)|P1(1)\n",
            "none of the known truth formats",
        ),
    ],
)
def test_bad_files_say_what_is_wanted(tmp_path, text, message):
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(GrapeOpsError, match=message):
        read_complexes(path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_bytes(b"\x89PNG\x00\x81\x00\x03")
    with pytest.raises(GrapeOpsError, match="cannot be read as text"):
        read_complexes(path)


def test_the_built_in_table():
    truth = load_truth("complexes-14x106")
    table = membership(truth, truth.genes)
    assert len(truth.complexes) == 14 and len(truth.genes) == 106
    assert table.sum(axis=1).tolist() == [1] * 106
    assert table.sum(axis=0).min() == 5 and table.sum(axis=0).max() == 10
    assert truth.sha256 == "b1f1683a" + truth.sha256[8:]


def test_unknown_truths_name_the_built_in_ones():
    with pytest.raises(GrapeOpsError, match="complexes-14x106"):
        load_truth("complexes-15x106")


def test_membership_is_multi_label_and_ignores_absent_genes(tmp_path):
    (tmp_path / "t.gmt").write_text(FILES["complexes.gmt"])
    table = membership(load_truth(tmp_path / "t.gmt"), ["AAA1", "XXX", "BBB1"])
    assert table.tolist() == [[True, True], [False, False], [False, True]]


def test_pairs_are_unordered_and_once(tmp_path):
    (tmp_path / "pairs.csv").write_text("entity1,entity2\nB,A\nA,B\nC,C\nC,A\n")
    assert load_pairs(tmp_path / "pairs.csv").pairs == (("A", "B"), ("A", "C"))
    (tmp_path / "bare.tsv").write_text("B\tA\t0.9\nC\tA\t0.8\n")
    assert load_pairs(tmp_path / "bare.tsv").sha256 == load_pairs(tmp_path / "pairs.csv").sha256


@pytest.mark.parametrize("text", ["entity1,entity2\nA,B\nC,D\n", "A\tB\nB\tC\nC\tA\nD\tA\n"])
def test_a_list_of_pairs_is_not_mistaken_for_complexes(tmp_path, text):
    (tmp_path / "pairs.tsv").write_text(text)
    with pytest.raises(GrapeOpsError, match="--pairs"):
        load_truth(tmp_path / "pairs.tsv")


@pytest.mark.parametrize(("text", "message"), [("A\nB\n", "two genes a line"), ("gene1,gene2\nA,A\n", "no pair")])
def test_bad_pairs(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(GrapeOpsError, match=message):
        load_pairs(tmp_path / "pairs.csv")
    with pytest.raises(GrapeOpsError, match="no list of pairs"):
        load_pairs(tmp_path / "absent.csv")
    (tmp_path / "pairs.csv").write_text("gene1,score,gene2\nA,1,B\n")
    with pytest.raises(GrapeOpsError, match=r"names columns \(gene1, score, gene2\), and the first two are not"):
        load_pairs(tmp_path / "pairs.csv")


CORUM = "complex_id\tcomplex_name\torganism\tcomment\tsubunits_gene_name\n"


@pytest.mark.parametrize(
    "note", ['"first line\nsecond line"', "one\x0btwo", "one\x85two", "a\u2028b", '5" long', '"5', ""]
)
def test_a_comment_loses_no_complex(tmp_path, note):
    rows = "".join(f"{i}\tC{i}\tHuman\t{note if i % 2 else 'ok'}\tA{i};B{i}\n" for i in range(6))
    (tmp_path / "corum.txt").write_text(CORUM + rows, encoding="utf-8")
    assert read_complexes(tmp_path / "corum.txt") == {f"C{i}": [f"A{i}", f"B{i}"] for i in range(6)}


def test_a_pair_of_stray_quotes_joins_no_rows(tmp_path):
    rows = [f"A{i},C{i // 3}" for i in range(12)]
    rows[3], rows[7] = '"A3,C1', 'A7",C2'
    (tmp_path / "truth.csv").write_text("gene_symbol,complex\n" + "\n".join(rows) + "\n")
    complexes = read_complexes(tmp_path / "truth.csv")
    assert sum(map(len, complexes.values())) == 12 and complexes["C0"] == ["A0", "A1", "A2"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('1\t"Alpha\tHuman\tok\tA;B\n2\tBeta"\tHuman\tok\ttoo\tC;D\n', "line 2 opens is closed in line 3|line 3 has 6"),
        ("1\tAlpha\tHuman\tA;B\n", "line 2 has 4 fields, where the header has 5"),
        ("1\tAlpha\tHuman\tone\ttwo\tA;B\n", "line 2 has 6 fields, where the header has 5"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, rows, message):
    (tmp_path / "corum.txt").write_text(CORUM + rows)
    with pytest.raises(GrapeOpsError, match=message):
        read_complexes(tmp_path / "corum.txt")


@pytest.mark.parametrize("human", ["Human", "Homo sapiens", "homo sapiens (human)", "9606", "taxid:9606(Homo sapiens)"])
def test_human_rows_count_by_any_name_and_others_are_told(tmp_path, capsys, human):
    rows = f"1\tAlpha\t{human}\t\tA;B\n2\tBeta\tMouse\t\tC;D\n"
    (tmp_path / "corum.txt").write_text(CORUM + rows)
    assert read_complexes(tmp_path / "corum.txt") == {"Alpha": ["A", "B"]}
    assert "1 of 2 rows left out, of other organisms (1 of Mouse)" in capsys.readouterr().err


def test_rows_of_complextab_are_kept_or_counted(tmp_path, capsys):
    rows = "\nCPX-1\tAlpha\t-\tHomo sapiens\t-\tP84022(1)|Q15796(2)\nCPX-2\tBeta\t-\t9606\t-\tCHEBI:29105(1)\n"
    (tmp_path / "9606.tsv").write_text(COMPLEXTAB_HEADER + rows)
    assert read_complexes(tmp_path / "9606.tsv") == {"Alpha": ["P84022", "Q15796"]}
    assert "1 of 2 complexes left out, which name no gene (Beta)" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["NA", "nan", "None", "na", "#N/A", "NULL", "-", " "])
def test_missing_value_words_are_no_genes(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"gene_symbol,complex\nA,C1\n{word},C1\nB,C1\nC,{word}\n")
    assert read_complexes(tmp_path / "t.csv") == {"C1": ["A", "B"]}
    (tmp_path / "pairs.tsv").write_text(f"A\tB\nA\t{word}\n")
    assert load_pairs(tmp_path / "pairs.tsv").pairs == (("A", "B"),)


def test_labels_a_spreadsheet_ruined_are_told(tmp_path, capsys):
    genes = ["2-Sep", "Mar-01", "1.23E+15", "SEPTIN3", "NKX2-5", "HLA-A"]
    (tmp_path / "t.csv").write_text("gene_symbol,complex\n" + "".join(f"{gene},C1\n" for gene in genes))
    assert read_complexes(tmp_path / "t.csv") == {"C1": genes}
    assert "names 3 genes that a spreadsheet seems to have turned" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings_and_semicolons_are_read(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("gene_symbol;complex\nA;Kär\nB;Kär\n".encode(encoding))
    assert read_complexes(tmp_path / "t.csv") == {"Kär": ["A", "B"]}


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("grape_ops.groundtruth.text_tables.MOST_BYTES", 1 << 20)
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"\n" * (1 << 21)))
    with pytest.raises(GrapeOpsError, match=r"t.tsv.gz holds more than 1 MB of text"):
        read_complexes(tmp_path / "t.tsv.gz")


@pytest.mark.parametrize("cut", [1, 12, 40])
def test_a_packed_file_that_is_cut_off_or_damaged_is_named(tmp_path, cut):
    whole = gzip.compress(FILES["names.tsv"].encode())
    for data in (whole[:-cut], whole[:-cut] + b"\xff" * cut):
        (tmp_path / "t.tsv.gz").write_bytes(data)
        with pytest.raises(GrapeOpsError, match="t.tsv.gz cannot be read"):
            read_complexes(tmp_path / "t.tsv.gz")


def test_pieces_packed_one_after_the_other_are_one_file(tmp_path):
    text = FILES["names.tsv"].encode()
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(text[:20]) + gzip.compress(text[20:]))
    assert read_complexes(tmp_path / "t.tsv.gz") == EXPECTED


def test_what_nobody_sees_in_a_name_makes_no_other_gene(tmp_path, capsys):
    (tmp_path / "names.tsv").write_text("Alpha complex\tAAA1\u200b AAA2\u00a0AAA3\nBeta complex\tBBB1 \ufeffAAA1\n")
    assert read_complexes(tmp_path / "names.tsv") == EXPECTED
    said = capsys.readouterr().err
    assert "names.tsv: 2 names held invisible characters" in said and "AAA1\\u200b AAA2" in said
    (tmp_path / "pairs.tsv").write_text("gen\u00e9\tB\u200b\ngene\u0301\tB\n")
    assert load_pairs(tmp_path / "pairs.tsv").pairs == (("B", "gen\u00e9"),)
    (tmp_path / "aliases.tsv").write_text("alias\tsymbol\nOLD\u200b\tNEW\u200d\n")
    assert load_aliases(tmp_path / "aliases.tsv").symbol == {"OLD": "NEW"}
    (tmp_path / "arms.tsv").write_text("gene\tarm\nA\u00ad\t17q\n")
    assert load_arms(tmp_path / "arms.tsv") == {"A": "17q"}
    (tmp_path / "library.csv").write_text("gene\nAAA1\u2060\n\u200bnontargeting\n")
    assert screened_genes(tmp_path / "library.csv") == ["AAA1"]


def test_genes_that_differ_by_case_alone_are_told(tmp_path, capsys):
    (tmp_path / "t.tsv").write_text("C1\tPSMA1 PSMB2\nC2\tpsma1 KRAS\n")
    read_complexes(tmp_path / "t.tsv")
    assert "PSMA1 and psma1 differ by case alone, and count as different genes" in capsys.readouterr().err


def test_a_gmt_without_descriptions_is_refused_where_its_genes_show_it(tmp_path):
    (tmp_path / "t.gmt").write_text("C1\tPSMA1\tPSMB2\tKRAS\nC2\tKRAS\tPSMA1\tTP53\nC3\tTP53\tPSMA1\n")
    with pytest.raises(
        GrapeOpsError, match=r"second fields, such as PSMA1, KRAS, TP53, are genes of other lines \(3 of 3\)"
    ):
        read_complexes(tmp_path / "t.gmt")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (("PSMA1", "KRAS"), True),
        (("Psma1", "C1orf43"), True),
        (("HLA-A", "TP53"), True),
        (("na", "na"), False),
        (("-", "-"), False),
        (("http://x", "http://y"), False),
        (("the first", "the second"), False),
        (("R-HSA-12", "R-HSA-3"), False),
        (("CPX-1", "CPX-2"), False),
        (("KEGG", "KEGG"), False),
        (("C1", "C2"), False),  # their names once more
        (("PSMA1", "20S core"), False),
    ],
)
def test_a_gmt_whose_descriptions_may_be_genes_says_so(tmp_path, capsys, seconds, told):
    (tmp_path / "t.gmt").write_text(f"C1\t{seconds[0]}\tAAA1\tAAA2\nC2\t{seconds[1]}\tBBB1\tBBB2\n")
    assert read_complexes(tmp_path / "t.gmt") == {"C1": ["AAA1", "AAA2"], "C2": ["BBB1", "BBB2"]}
    assert ("look like genes, and are left out as descriptions" in capsys.readouterr().err) == told


COMMENT = "# complexes of our lab\n#\n"


@pytest.mark.parametrize("name", [name for name in FILES if name != "complexes.gmt"])
def test_comments_and_empty_columns_behind_are_left_out(tmp_path, name):
    end = "," if name.endswith("csv") else "\t"
    lines = FILES[name].splitlines()
    (tmp_path / name).write_text(COMMENT + "\n".join([lines[0] + end, "#not\tyet", *lines[1:]]) + end + "\n")
    assert read_complexes(tmp_path / name) == EXPECTED


def test_a_header_may_begin_with_a_hash(tmp_path):
    (tmp_path / "t.tsv").write_text("#gene\tcomplex\nA\tC1\nB\tC1\n")
    assert read_complexes(tmp_path / "t.tsv") == {"C1": ["A", "B"]}
    (tmp_path / "9606.tsv").write_text(COMPLEXTAB_HEADER + "\nCPX-1\tAlpha\t-\t9606\tP84022(1)\tP84022(1)|Q15796(2)\n")
    assert read_complexes(tmp_path / "9606.tsv") == {"Alpha": ["P84022", "Q15796"]}


def test_the_line_that_fits_no_format_is_named(tmp_path):
    (tmp_path / "t.tsv").write_text("C1\tA B\nC2\tC D\nC3\tE F\tG\n")
    with pytest.raises(GrapeOpsError, match=r"Line 3 has 3 fields, where 2 of 3 lines have 2\."):
        read_complexes(tmp_path / "t.tsv")


def test_a_stray_zero_byte_makes_no_other_encoding_of_a_text(tmp_path):
    table = "gene_symbol\tcomplex\n" + "".join(f"GENE{i}\tcomplex {i // 3}\n" for i in range(9))
    (tmp_path / "truth.tsv").write_text(table.replace("GENE5", "\0"))
    with pytest.raises(GrapeOpsError, match=r"truth\.tsv cannot be read as text"):
        load_truth(tmp_path / "truth.tsv")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "truth.tsv").write_text(table, encoding=encoding)
        assert list(load_truth(tmp_path / "truth.tsv").complexes) == ["complex 0", "complex 1", "complex 2"]
