"""Everything the page can show of a run, opened once and asked by number; nothing here knows of the web.

A gene's number is its place in ``ExplorerData.genes``, a map's its place in ``ExplorerData.map_views``.
"""

from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np

from grape_ops import __version__
from grape_ops.cells.genes import BATCH_PREFIX
from grape_ops.errors import GrapeOpsError
from grape_ops.explore.findings import Findings
from grape_ops.explore.guides_and_doubts import Reference, batch_warnings, cell_warnings, guide_table
from grape_ops.explore.map_view import MapView
from grape_ops.explore.montage import Montage
from grape_ops.explore.places import Places
from grape_ops.explore.sources import Request, open_live_restyler, open_map_views
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.groundtruth.truth import KnownPairs, load_pairs
from grape_ops.report.generation import trust_of
from grape_ops.report.html import page_title
from grape_ops.report.inputs import gather
from grape_ops.report.plates import plate_maps, smallest, wells_of
from grape_ops.report.scores import own_entry
from grape_ops.schema import OBS_N_CELLS, OBS_N_GUIDES


class ExplorerData:
    """A run, its maps and its cells.

    Attributes
    ----------
    map_views, left_out : maps, the run's own first; sentences about files beside the run that are no maps.
    genes, number : all symbols of the run and the maps, sorted, and their numbers.
    findings : which genes have a phenotype; None where nobody has tested.
    places : which genes have the same place in maps of two halves of the cells.
    trust : for each gene of the run, how far its restyled cells may be trusted.
    montage, no_montage : pictures of cells, or why there are none.
    no_restyler : why cells cannot be restyled; empty if they can.
    """

    def __init__(self, request: Request):
        self.request = request
        self.settings = request.settings
        given = {"store_path": request.store, "truth": request.truth, "hits": request.hits}
        self.inputs = gather(request.run, request.run, scores=None, **given)  # type: ignore[arg-type]
        self.seed: int = self.inputs.run.config.seed
        aliases = load_aliases(request.aliases) if request.aliases is not None else Aliases()
        self.pairs: list[KnownPairs] = [load_pairs(path, aliases) for path in request.pairs]
        self.map_views, self.left_out = open_map_views(self.inputs, request, aliases)
        renamed = aliases.rename(self.inputs.genes)
        row = {gene: place for place, gene in enumerate(self.inputs.run.genes.index)}
        self._rows = {renamed[gene]: row[gene] for gene in self.inputs.genes}
        self.genes = sorted(set(self._rows).union(*(view.genes for view in self.map_views)))
        self.number = {gene: number for number, gene in enumerate(self.genes)}
        trusts = trust_of(self.inputs.check, self.inputs.genes)
        self.trust = {renamed[gene]: trusts[gene] for gene in self.inputs.genes}
        found = self.inputs.phenotypes
        self.findings = Findings(found, renamed) if found is not None else None
        self.places = Places(self.inputs.places, self.inputs.missing.get("places", ""), renamed)
        self.truth = self.inputs.truth and self.inputs.truth.renamed(aliases)
        self.aliases = {alias: symbol for alias, symbol in aliases.symbol.items() if symbol in self.number}
        self.aliases |= {old: new for old, new in renamed.items() if old != new}
        self.restyler, self.no_restyler = open_live_restyler(self.inputs)
        self.montage = (
            Montage(self.inputs.store, self.settings, self.seed, self.restyler) if self.inputs.store else None
        )
        self.no_montage = self.inputs.missing.get("store", "")
        self._lock = RLock()

    @property
    def title(self) -> str:
        """Name of the run."""
        return page_title(self.request.run)

    def overview(self, mode: str) -> dict[str, Any]:
        """What the page needs at once; ``mode`` is live or static."""
        store, montage = self.inputs.store, self.montage
        return {
            "mode": mode,
            "title": self.title,
            "version": __version__,
            "genes": self.genes,
            "has_cells": [gene in self._rows for gene in self.genes],
            "aliases": self.aliases,
            "maps": [{"name": view.name, "runs": len(view.runs), "genes": len(view.genes)} for view in self.map_views],
            "complexes": [
                {"name": name, "genes": [self.number[gene] for gene in genes if gene in self.number]}
                for name, genes in (self.truth.complexes.items() if self.truth else ())
            ],
            "truth": self.truth.name if self.truth else None,
            "missing": {
                "maps": "" if self.map_views else self.inputs.missing.get("vectors", "There is no map."),
                "cells": self.no_montage,
                "restyler": self.no_restyler,
                "truth": self.inputs.missing.get("truth", ""),
                "hits": self.inputs.missing.get("hits", ""),
            },
            "simulated": self.inputs.run.simulated,
            "findings": self.findings.overview() if self.findings else None,
            "places": self.places.in_words(self.map_views[0].name) if self.map_views else "",
            "quiet": [self.number[gene] for gene in self.genes if self.findings and self.findings.quiet(gene)],
            "n_cells": int(self.inputs.run.genes[OBS_N_CELLS].sum()),
            "batches": self.inputs.batches,
            "step": self.inputs.step,
            "averaged": self.inputs.averaged,
            "channels": montage.describe_channels() if montage else [],
            "crop_size": store.crop_size if store else 0,
            "cells_per_row": self.settings.cells,
            "pixel_size": self._pixel_size(),
            "steps": self.mixes,
            "left_out": self.left_out,
            "pictured": self.pictured if mode == "static" else None,
        }

    def view(self, number: int) -> dict[str, Any]:
        """A map: its genes, positions and columns."""
        view = self._map_view(number)
        n = len(view.genes)
        with self._lock:
            planes = view.planes
        return {
            "genes": [self.number[gene] for gene in view.genes],
            "planes": [{"name": name, "x": _short(p[:n, 0]), "y": _short(p[:n, 1])} for name, p in planes.items()],
            "controls": [
                {
                    "name": name,
                    "x": [_short(p[n + i : n + i + 1, 0])[0] for p in planes.values()],
                    "y": [_short(p[n + i : n + i + 1, 1])[0] for p in planes.values()],
                }
                for i, name in enumerate(view.controls)
            ],
            "columns": [*view.columns(self.truth, self.findings), *self.places.columns(view.name, view.genes)],
            "clusterings": self.clusterings(number),
        }

    def clusterings(self, number: int) -> list[str]:
        """Names of a map's clusterings, by their numbers."""
        return self._map_view(number).clusterings(self.request.evaluate)

    def details(self, number: int, choice: int) -> dict[str, Any]:
        """A map's clusters, their enrichment, and its nuisance scores."""
        offered = self.clusterings(number)
        if not 0 <= choice < len(offered):
            raise GrapeOpsError(f"There is no clustering of number {choice}; there are {len(offered)}.")
        view = self._map_view(number)
        # A map that was evaluated is not evaluated again: report and explorer show the same numbers.
        own = own_entry(self.inputs.scores, self.inputs) if view.is_own else None
        return view.details(self.request.evaluate, choice, self.truth, own.nuisance if own is not None else None)

    def export(self, number: int, genes: Sequence[int]) -> bytes:
        """Some genes of a map as ``.h5ad``: vectors, columns, planes, the clusterings looked at so far."""
        return self._map_view(number).h5ad([self._gene(gene) for gene in genes], self.truth)

    def card(self, number: int) -> dict[str, Any]:
        """A gene: cells, guides, batches, nearest genes in every map, warnings."""
        gene = self._gene(number)
        row = self._rows.get(gene)
        near = [
            {
                "neighbours": view.neighbours(gene, self.settings.neighbours, self.truth, self.pairs),
                "warnings": batch_warnings(view, gene, self.request.evaluate),
                "words": view.neighbours_in_words,
                "place": self.places.card(view.name, gene),
            }
            if gene in view.genes
            else None
            for view in self.map_views
        ]
        known = self.truth.complexes_of(gene) if self.truth else []
        card: dict[str, Any] = {"symbol": gene, "complexes": known, "maps": near, "warnings": [], "guides": None}
        card["phenotype"] = self.findings.card(gene) if self.findings else None
        card["trust"] = vars(self.trust[gene]) if gene in self.trust else None
        if row is None:
            return card | {"n_cells": None, "n_guides": None, "batches": []}
        entry = self.inputs.run.genes.iloc[row]
        n_cells = int(entry[OBS_N_CELLS])
        quiet = None
        if self.inputs.store is not None:
            reference = self._reference
            card["guides"] = guide_table(self.inputs.store, row, reference, self.seed)
            quiet = float(np.quantile(reference.effects, 0.95)) if len(reference.effects) >= 4 else None
        card["quiet_effect"] = None if quiet is None else round(quiet, 2)
        batches = [(batch, int(entry[BATCH_PREFIX + batch])) for batch in self.inputs.batches]
        return card | {
            "n_cells": n_cells,
            "n_guides": int(entry[OBS_N_GUIDES]),
            "batches": sorted(((batch, n) for batch, n in batches if n), key=lambda pair: -pair[1]),
            "warnings": cell_warnings(n_cells, card["guides"], quiet, (card["phenotype"] or {}).get("by_guide")),
        }

    @cached_property
    def screen(self) -> dict[str, Any]:
        """The screen as a whole: well and plate maps (None without a store), cells of each gene, those with fewest."""
        run, store = self.inputs.run, self.inputs.store
        cells = run.genes.loc[self.inputs.genes, OBS_N_CELLS]
        with self._lock:
            plates = plate_maps(wells_of(run, store)) if store is not None else None
        return {"plates": plates, "cells": [int(n) for n in cells], "smallest": smallest(cells)}

    def row(self, number: int) -> int:
        """Row of M, and label in the store, of a gene.

        Raises
        ------
        GrapeOpsError : the run has no cells of the gene.
        """
        gene = self._gene(number)
        if gene not in self._rows:
            raise GrapeOpsError(f"{gene} is in a map only: the run has no cells of it.")
        return self._rows[gene]

    def pictures(self) -> Montage:
        """The montage.

        Raises
        ------
        GrapeOpsError : there is none.
        """
        if self.montage is None:
            raise GrapeOpsError(self.no_montage)
        return self.montage

    def strip(self, number: int) -> bytes:
        """The first control cells, restyled step by step from control to a gene."""
        montage = self._montage_with_restyler()
        cells = montage.controls(0)[: self.settings.strip_cells].tolist()
        return montage.strip(self.row(number), cells, montage.control_row, self.mixes)

    def restyled(self, cell: int, number: int, mixes: Sequence[float], start: int | None) -> bytes:
        """A cell of the store restyled on the way to a gene, from another gene or from the control."""
        montage = self._montage_with_restyler()
        if not 0 <= cell < len(montage.store):
            raise GrapeOpsError(f"There is no cell of number {cell}; the store holds {len(montage.store):,}.")
        first = montage.control_row if start is None else self.row(start)
        return montage.strip(self.row(number), [cell], first, mixes)

    def _montage_with_restyler(self) -> Montage:
        montage = self.pictures()
        if self.restyler is None:
            raise GrapeOpsError(self.no_restyler)
        return montage

    def warm(self) -> None:
        """Compute what the page shows first, so that it opens at once."""
        for view in self.map_views[:1]:
            _ = view.planes
            view.near(self.request.evaluate)
        if self.truth is None and self.map_views:
            self.details(0, (len(self.clusterings(0)) - 1) // 2)

    @property
    def mixes(self) -> list[float]:
        """Steps of a strip, from the control (0) to the gene (1)."""
        return [round(float(mix), 3) for mix in np.linspace(0, 1, self.settings.strip_steps)]

    @cached_property
    def pictured(self) -> list[int]:
        """Genes a static page has pictures of: all, or those furthest from the control."""
        numbers = [number for number, gene in enumerate(self.genes) if gene in self._rows]
        if self.montage is None or self.settings.static_genes is None or self.restyler is None:
            return numbers if self.montage is not None else []
        far = self.restyler.distances(self.montage.control_row)
        chosen = sorted(numbers, key=lambda number: -far[self._rows[self.genes[number]]])
        return sorted(chosen[: self.settings.static_genes])

    @cached_property
    def _reference(self) -> Reference:
        with self._lock:
            assert self.inputs.store is not None
            return Reference.of(self.inputs.store, self.seed)

    def _pixel_size(self) -> float | None:
        if self.settings.pixel_size is not None or self.inputs.store is None:
            return self.settings.pixel_size
        known = self.inputs.store.meta["provenance"].get("pixel_size")
        return float(known) if known else None

    def _gene(self, number: int) -> str:
        if not 0 <= number < len(self.genes):
            raise GrapeOpsError(f"There is no gene of number {number}; there are {len(self.genes)}.")
        return self.genes[number]

    def _map_view(self, number: int) -> MapView:
        if not 0 <= number < len(self.map_views):
            raise GrapeOpsError(f"There is no map of number {number}; there are {len(self.map_views)}.")
        return self.map_views[number]


def _short(values: np.ndarray) -> list[float]:
    """Coordinates with the digits a screen can show."""
    return [float(f"{value:.5g}") for value in values]
