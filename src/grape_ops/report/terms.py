"""Terms of the page, explained where they stand and in its glossary."""

import re
from typing import Any

GLOSSARY = {
    "mAP": "mean average precision: for each gene, how far up the list of nearest genes those of its complex stand, "
    "averaged over genes; 1 if they come first, and near the level of chance if the map knows nothing of complexes",
    "AP": "average precision of one gene, of which mAP is the mean",
    "M": "the learned matrix with one row per gene, the gene's vector (position 1)",
    "F(M)": "the style codes into which the mapping network F turns the rows of M; the generator restyles by them "
    "(position 2)",
    "EMA": "exponential moving average: weights averaged over training steps, which vary less than the last ones",
    "D": "the discriminator: tells real cells of a gene from restyled ones",
    "G": "the generator: restyles a cell to a gene",
    "q": "q-value: share of false discoveries among all genes with a q-value at most as large (Benjamini and Hochberg)",
    "AUC": "area under the ROC curve: 0.5 if two sets of cells do not differ, 1 if they differ without overlap",
    "Leiden": "a method that divides the graph of nearest genes into clusters",
    "purity": "share of genes that lie in a cluster whose most frequent complex is their own; grows with the number of "
    "clusters, so compare it with that of random maps",
    "chance": "what the score is on average if the map knows nothing of complexes",
    "p": "how often complexes shuffled over the genes reach as large an mAP",
    "NMI": "normalised mutual information of clusters and complexes: 1 if they are the same",
    "ARI": "adjusted Rand index of clusters and complexes: 0 by chance, 1 if they are the same",
}
_MARKED = re.compile(r"F\(M\)|\b(?:mAP|EMA|AUC|NMI|ARI)\b|(?<=GRAPE )M\b|\bM(?= was initialised)|(?<=rows of )M\b")


def rich(text: str) -> Any:
    """Escape a sentence; what stands between backticks becomes code, and terms are explained when pointed at."""
    from markupsafe import Markup, escape

    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # a lone backtick opens nothing
        parts[-2:] = ["`".join(parts[-2:])]
    marked = [
        f"<code>{escape(part)}</code>" if odd % 2 else _terms(str(escape(part))) for odd, part in enumerate(parts)
    ]
    return Markup("".join(marked))


def _terms(escaped: str) -> str:
    return _MARKED.sub(lambda found: f'<abbr title="{GLOSSARY[found[0]]}">{found[0]}</abbr>', escaped)
