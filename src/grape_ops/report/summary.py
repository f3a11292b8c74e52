"""The run in plain words: what was done, and what can and cannot be concluded from it."""

import numpy as np

from grape_ops.evaluate.confounding import in_words
from grape_ops.evaluate.gene_places import LEVEL
from grape_ops.evaluate.print_scores import p_in_words
from grape_ops.evaluate.records import MethodScores
from grape_ops.report.data_quality import FEW_CELLS
from grape_ops.report.generation import PhenotypeCheck
from grape_ops.report.inputs import ReportInputs
from grape_ops.report.scores import map_from_vectors, number, own_entry
from grape_ops.schema import INIT_FILE, OBS_N_CELLS, OBS_N_GUIDES, TRUST_DIR, UNS_METHOD

SIGNIFICANT = 0.01
MEMORY_GAP = 0.5  # of logits; D then finds seen cells e^0.5 = 1.6 times as likely to be real
SURROUNDINGS_KEPT = 0.5  # correlation


def what_was_done(inputs: ReportInputs) -> str:
    """The screen and the training in one paragraph."""
    run = inputs.run
    table = run.genes.loc[inputs.genes]
    n_cells = int(run.genes[OBS_N_CELLS].sum())
    controls = n_cells - int(table[OBS_N_CELLS].sum())
    batches = len(inputs.batches)
    channels = run.record["channels"]
    steps, planned = inputs.step, run.config.train.steps
    trained = f"{steps:,} steps" if steps >= planned else f"{steps:,} of {planned:,} planned steps"
    return (
        f"GRAPE was trained for {trained} of {run.config.train.batch_size} cells each on {n_cells:,} cells of "
        f"{len(table):,} gene{_s(len(table))} ({int(table[OBS_N_GUIDES].sum()):,} guides) and a shared control "
        f"({controls:,} non-targeting cells) in {batches:,} batch{'es' if batches != 1 else ''}. Each cell is a crop "
        f"of {run.record['crop_size']} px with {len(channels)} channel{_s(len(channels))} ({', '.join(channels)})."
    )


def conclusions(inputs: ReportInputs) -> tuple[list[str], list[str]]:
    """Sentences on what can, and on what cannot be concluded."""
    can: list[str] = []
    cannot: list[str] = []
    own = own_entry(inputs.scores, inputs)
    if own is not None:
        _from_scores(own, inputs, can, cannot)
    else:
        _without_scores(inputs, can, cannot)
    _from_check(inputs, can, cannot)
    _from_training(inputs, can, cannot)
    _from_data(inputs, can, cannot)
    return can, cannot


def _from_scores(own: MethodScores, inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    score = (
        f"{_capital(own.method)} finds genes of the same complex with a mean average precision of "
        f"{number(own.map.value)}, where a random order reaches {number(own.map.chance)} "
        f"(label permutation p {p_in_words(own.map.p_value)}, {own.n_genes} genes)."
    )
    if own.map.p_value < SIGNIFICANT:
        can.append(f"{score} Genes that work together lie closer in this map than chance explains.")
    else:
        cannot.append(
            f"{score} That is not significant (p < {SIGNIFICANT} is asked for), so neighbours in this map "
            "are no evidence of shared function."
        )
    for entry in inputs.scores or ():
        # Random vectors are the chance level again; other positions are the same run.
        if entry is not own and not entry.method.lower().startswith(("grape", "random")):
            _against(own, entry, can, cannot)
    for kind, found in vars(own.nuisance).items():
        if found:
            worrying, sentence = in_words(kind, found.value, found.p_value)
            (cannot if worrying else can).append(sentence)


def _against(own: MethodScores, other: MethodScores, can: list[str], cannot: list[str]) -> None:
    """Compare with another method, by the paired bootstrap."""
    gap = next((gap for gap in own.differences if gap.other == other.method and gap.score == "map"), None)
    if gap is None:
        return
    name = f"{other.method} (mAP {number(other.map.value)})"
    ours = _capital(own.method)
    if gap.low > 0:
        can.append(f"{ours} does better than {name}, beyond the spread over complexes.")
    elif gap.high < 0:
        cannot.append(f"{ours} is not the best way to group these genes: {name} does better.")
    else:
        cannot.append(f"There is no evidence that {ours} and {name} differ, given the spread over complexes.")


def _without_scores(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    found = map_from_vectors(inputs)
    if found is None:
        cannot.append(
            "Whether neighbours in this map share a function: nothing to evaluate it with was given. "
            "`--truth` names known complexes, and `grape-ops evaluate` scores the map against them."
        )
        return
    value, chance, n_genes = found
    cannot.append(
        f"The mean average precision of the vectors is {number(value)} where a random order reaches {number(chance)} "
        f"({n_genes} genes). Whether the difference is more than chance is not known: `grape-ops evaluate` computes "
        "the p-value."
    )


def _from_training(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    planned = inputs.run.config.train.steps
    if inputs.step < planned:
        cannot.append(
            f"Training has not reached its planned end (step {inputs.step:,} of {planned:,}); more steps may change "
            "every number on this page."
        )
    lines = [line for line in inputs.metrics if line.get("map") is not None]
    if len(lines) > 2:
        key = "map_ema" if lines[-1].get("map_ema") is not None else "map"
        values = np.array([line.get(key, np.nan) for line in lines], dtype=float)
        peak = int(np.nanargmax(values))
        if values[peak] - values[-1] > 0.05:
            cannot.append(
                f"mAP was highest at step {lines[peak]['step']:,} ({number(values[peak])}) and fell to "
                f"{number(values[-1])}: a sign of overfitting. Picking that step by its mAP would use the answer."
            )
    _from_memory(inputs, can, cannot)
    start = inputs.run.config.train.init.kind
    if start != "noise":
        cannot.append(
            f"M was initialised from a {start}, and this page does not separate its share from that of training: "
            f"`grape-ops evaluate` on the run's {INIT_FILE} does."
        )
    _from_halves(inputs, can, cannot)


def _from_halves(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    """For which genes other cells, and another seed, give the same place in the map."""
    method = "" if inputs.vectors is None else str(inputs.vectors.uns[UNS_METHOD])
    if inputs.places is None or not inputs.places.holds(method):
        others = f"The folder {TRUST_DIR} compares halves of the cells by other methods than {method or 'the run'}."
        why = inputs.missing.get("places", others)
        cannot.append(f"One training run says nothing about how much another seed would change the map. {why}")
        return
    repeating, compared = inputs.places.repeating(method)
    how = f"maps of two halves of the cells (q < {LEVEL:g}, `grape-ops trust`)"
    if repeating:
        can.append(f"The place of {repeating:,} of {compared:,} genes repeats between {how}.")
    if repeating < compared:
        cannot.append(
            f"There is no evidence that the place of {compared - repeating:,} of {compared:,} genes repeats between "
            f"{how}: their neighbours may be chance."
        )


def _from_memory(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    """Whether D knows the cells it has trained on: overfitting that needs no truth to be seen."""
    lines = [line for line in inputs.metrics if line.get("d_seen_logit") is not None]
    if not lines:
        return
    gap = float(np.mean([line["d_seen_logit"] - line["d_unseen_logit"] for line in lines[-3:]]))
    if gap > MEMORY_GAP:
        cannot.append(
            f"The discriminator begins to overfit: its logit is {gap:.2f} higher for cells it has trained on than for "
            "cells of the same genes it has never seen."
        )
    elif gap < -MEMORY_GAP:
        cannot.append(
            "The discriminator scores cells it has never seen differently from those it has trained on: their logit "
            f"is {-gap:.2f} higher. Overfitting does not do that; the two sets of cells may differ (batches, guides)."
        )
    else:
        can.append(
            "The discriminator scores cells it has never seen like those it has trained on (logits differ by "
            f"{_signed(gap)}): no evidence that it overfits."
        )


def _from_check(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    """What the phenotype check allows to say of restyled cells."""
    check = inputs.check
    if check is None:
        return
    table, scored = check.table, check.scored
    inseparable = int((~table["separable"]).sum())
    if inseparable:
        cannot.append(
            f"The phenotype check (a classifier of single cells) finds no evidence that the cells of {inseparable:,} "
            f"of {len(table):,} genes differ from control cells; their restyled cells say nothing of their knock-out."
        )
    nearer, no_nearer = int((scored["share_low"] > 0).sum()), int((scored["share_high"] <= 0).sum())
    scope = f"of {len(scored):,} genes that differ significantly from control"
    restyled, controls = restyled_controls(inputs, check)
    cells = f"{restyled:,} of {controls:,} control cells restyled to each"
    statuses = [part.status for part in check.trusts().values()]
    _from_trust(statuses, cells, can, cannot)
    if nearer and {"significant", "not significant"} & set(statuses):
        can.append(
            f"Restyled cells of {nearer:,} {scope} are nearer to the real knock-outs than control cells are, beyond "
            "the spread over cells."
        )
    if no_nearer:
        cannot.append(
            f"Restyled cells of {no_nearer:,} {scope} are as far from the real knock-outs as control cells are, or "
            "farther: they are no pictures of the phenotype."
        )
    kept = float(table["surroundings"].median()) if "surroundings" in table else np.nan
    if kept < SURROUNDINGS_KEPT:
        cannot.append(
            f"Restyled cells do not keep their surroundings (correlation {_signed(kept)} where 1 is unchanged), so "
            "what differs from the control cell is not the phenotype alone."
        )


def restyled_controls(inputs: ReportInputs, check: PhenotypeCheck) -> tuple[int, int]:
    """How many control cells the phenotype check restyled to each gene, and how many there are."""
    controls = int(inputs.run.genes[OBS_N_CELLS].sum() - inputs.run.genes.loc[inputs.genes, OBS_N_CELLS].sum())
    return min(int(check.summary["settings"]["cells"]), controls), controls


def _from_trust(statuses: list[str], cells: str, can: list[str], cannot: list[str]) -> None:
    """Whose restyled cells may be read as pictures of the phenotype."""
    significant, not_significant = statuses.count("significant"), statuses.count("not significant")
    tested = significant + not_significant
    if not tested and "not checked" in statuses:
        cannot.append(
            "Whether restyling is significant could not be tested for any gene (the row of each gene says why): do not "
            "read restyled cells as the phenotype of a gene."
        )
    if significant:
        can.append(f"Restyling is significant for {significant:,} of {tested:,} genes that could be tested ({cells}).")
    if not_significant:
        cannot.append(
            f"There is no evidence that restyling shows the phenotype of {not_significant:,} of {tested:,} genes that "
            f"could be tested ({cells}): do not read their restyled cells as their phenotype."
        )


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _from_data(inputs: ReportInputs, can: list[str], cannot: list[str]) -> None:
    cells = inputs.run.genes.loc[inputs.genes, OBS_N_CELLS].to_numpy()
    few = int((cells < FEW_CELLS).sum())
    each = ""
    if len(cells):
        least, most = int(cells.min()), int(cells.max())
        same = f"{least:,} cell{_s(least)} each"
        each = same if least == most else f"{least:,} to {most:,} cells each, median {np.median(cells):,.0f}"
    if few:
        cannot.append(
            f"{few:,} of {len(cells):,} genes {'has' if few == 1 else 'have'} fewer than {FEW_CELLS} cells ({each}); "
            f"{'its vector rests' if few == 1 else 'their vectors rest'} on little."
        )
    elif each:
        can.append(f"No gene's vector rests on fewer than {FEW_CELLS} cells ({each}).")
    if len(inputs.batches) == 1:
        cannot.append(
            "There is one batch only, so effects of the experiment cannot be separated from effects of genes."
        )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _capital(text: str) -> str:
    return "GRAPE" + text[5:] if text.lower().startswith("grape") else text[:1].upper() + text[1:]
