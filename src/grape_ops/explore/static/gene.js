// The gene card: what it is, what to doubt, its nearest genes in each map shown, its guides and batches.

import * as explorer from "./explorer.js";
import { $, count, el, empty, number, plural, refill, rich, scrolling, waiting } from "./dom.js";
import * as maps from "./maps.js";
import { findings, phenotype } from "./phenotype.js";
import * as state from "./state.js";

const LINKS = {
  UniProt: (s) =>
    `https://www.uniprot.org/uniprotkb?query=(gene_exact:${s})+AND+(organism_id:9606)+AND+(reviewed:true)`,
  NCBI: (s) => `https://www.ncbi.nlm.nih.gov/gene/?term=${s}[sym]+AND+human[orgn]`,
  Ensembl: (s) => `https://www.ensembl.org/Homo_sapiens/Gene/Summary?g=${s}`,
  HGNC: (s) => `https://www.genenames.org/tools/search/#!/?query=${s}`,
  DepMap: (s) => `https://depmap.org/portal/gene/${s}`,
  STRING: (s) => `https://string-db.org/network/9606/${s}`,
};
const BY_ITSELF =
  "By grape-ops hits: agrees (p < 0.05 by itself, and cells change the way of the other guides), contradicts, inactive (seems to do nothing while the gene's other guides work), no evidence of an effect (p at least 0.05), or unclear";
const WAIT = 200; // milliseconds before the panel says that it waits
let round = 0;

/** A gene's symbol to click; pointing at it points at its dot. */
export const geneButton = (gene, text) =>
  el("button", {
    class: explorer.quiet(gene) ? "gene nophenotype" : "gene",
    "data-focus": `gene-${gene}`,
    title: explorer.quiet(gene) ? explorer.QUIET : null,
    text: text ?? explorer.name(gene),
    onclick: () => state.set({ gene, tab: state.get().tab === "cells" ? "cells" : "gene" }),
    onpointerenter: () => maps.point(gene),
    onpointerleave: () => maps.point(null),
    onfocus: () => maps.point(gene),
    onblur: () => maps.point(null),
  });

export function heading(gene, card) {
  const selected = state.get().selection.includes(gene);
  const facts =
    card.n_cells === null
      ? ["in the map only: this run has no cells of it"]
      : [plural(card.n_cells, "cell"), plural(card.n_guides, "guide")];
  return el(
    "header",
    { class: "genehead" },
    el(
      "div",
      {},
      el("h2", { text: card.symbol }),
      el("p", {
        class: "quiet",
        text: [card.complexes.join("; ") || (explorer.overview.truth ? "no known complex" : null), ...facts]
          .filter(Boolean)
          .join(" · "),
      }),
    ),
    el("button", {
      "data-focus": "select",
      "aria-pressed": String(selected),
      onclick: () => maps.toggleSelected(gene),
      text: selected ? "Selected" : "Select",
      title: "Put into or take out of the selection",
    }),
  );
}

function neighbourTable(found, shared, runs, narrow) {
  const head = [
    [""],
    ["gene"],
    ["cosine"],
    narrow ? null : ["mutual rank", "Geometric mean of both genes' ranks for each other; 1 is mutual first"],
    runs > 1 ? ["support", "How often the gene is among the nearest when the runs are resampled"] : null,
    narrow ? ["known"] : ["known relation"],
  ];
  const rows = found.neighbours.map((n) =>
    el(
      "tr",
      { class: shared.has(n.gene_symbol) ? "shared" : null },
      el("td", { class: "rank", text: n.rank }),
      el("td", {}, geneButton(explorer.find(n.gene_symbol), n.gene_symbol)),
      el(
        "td",
        { class: "cosine" },
        el("i", { style: { "--share": Math.max(0, n.cosine) } }),
        el("span", { text: number(n.cosine) }),
      ),
      narrow ? null : el("td", { text: number(n.mutual_rank, 1) }),
      runs > 1 ? el("td", { text: n.support === null ? "–" : `${Math.round(100 * n.support)} %` }) : null,
      el("td", { class: "words", text: narrow && n.relation ? "●" : n.relation, title: n.relation }),
    ),
  );
  return scrolling(
    el(
      "table",
      { class: "neighbours" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          head.filter(Boolean).map(([text, title]) => el("th", { text, title })),
        ),
      ),
      el("tbody", {}, rows),
    ),
  );
}

/** Symbols that are among the closest in both maps. */
function sharedClose(card, maps) {
  const [first, second] = maps.map(
    (map) =>
      card.maps[map] &&
      card.maps[map].neighbours.slice(0, Math.min(...maps.map(explorer.close))).map((n) => n.gene_symbol),
  );
  return new Set(first && second ? first.filter((symbol) => second.includes(symbol)) : []);
}

function neighbourhood(card, s) {
  if (!card.maps.length) return [];
  const shown = s.other === null ? [s.map] : [s.map, s.other];
  const both = shown.length === 2 && shown.every((map) => card.maps[map]);
  const shared = both ? sharedClose(card, shown) : new Set();
  const sections = shown.map((map) => {
    const found = card.maps[map],
      { name, runs } = explorer.overview.maps[map];
    if (!found)
      return el(
        "section",
        {},
        el("h3", { text: `Nearest genes in ${name}` }),
        el("p", { class: "quiet", text: "This map does not hold the gene." }),
      );
    return el(
      "section",
      {},
      el("h3", { text: `Nearest genes in ${name}` }),
      card.phenotype && !card.phenotype.is_hit
        ? warning(`There is no evidence of a phenotype of ${card.symbol}: these neighbours mean little.`)
        : null,
      found.warnings.map(warning),
      found.place
        ? el("p", { class: `trust place ${found.place.status.replace(" ", "-")}` }, rich(`${card.symbol}: ${found.place.words}.`))
        : null,
      found.neighbours.length
        ? neighbourTable(found, shared, runs, shown.length === 2)
        : el("p", { class: "quiet", text: "No gene lies in its direction (all cosines are negative)." }),
      card.phenotype?.is_hit !== false && found.neighbours.some((n) => explorer.quiet(explorer.find(n.gene_symbol)))
        ? el("p", { class: "quiet", text: "Grey: no evidence of a phenotype; being near such a gene means little." })
        : null,
      el("p", { class: "quiet believe" }, rich(found.words)),
    );
  });
  const k = Math.min(...shown.map(explorer.close)),
    most = Math.max(...shown.map((map) => explorer.overview.maps[map].genes));
  const chance = (k * k) / (most - 1);
  return [
    both
      ? el("p", {
          class: "quiet",
          id: "agreement",
          text: `${shared.size} of the ${k} nearest genes are the same in both maps (marked); chance would give ${number(chance, 1)}.`,
        })
      : null,
    el("div", { class: shown.length === 2 ? "twin" : null }, sections),
  ];
}

/** How far the gene's restyled cells may be trusted. */
export const trust = (card) =>
  el("p", { class: `trust ${card.trust.status.replace(" ", "-")}` }, rich(`${card.symbol}: ${card.trust.words}.`));

const warning = (text) => el("p", { class: "warning" }, rich(text));

function guideTable(card) {
  if (!card.guides) return null;
  const tested = card.phenotype?.by_guide ?? null;
  const quiet = card.quiet_effect;
  const rows = card.guides.map((g) =>
    el(
      "tr",
      {},
      el("td", { class: "guide", text: g.guide, title: g.guide }),
      el("td", { text: count(g.n_cells) }),
      el(
        "td",
        {},
        el("span", { text: number(g.effect, 1) }),
        !tested && quiet !== null && g.effect !== null && g.effect <= quiet
          ? el("small", { class: "tag", text: "like control" })
          : null,
      ),
      el("td", { text: number(g.agreement) }),
      tested ? el("td", { class: "words", text: tested[g.guide] ?? "not tested" }) : null,
    ),
  );
  return el(
    "section",
    {},
    el("h3", { text: "Guides and their agreement" }),
    scrolling(
      el(
        "table",
        { class: "guides" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { text: "guide" }),
            el("th", { text: "cells" }),
            el("th", { text: "effect", title: "Distance from control cells, 1 = what chance gives" }),
            el("th", { text: "agreement", title: "Cosine with the mean of the other guides" }),
            tested ? el("th", { class: "words", text: "by itself", title: BY_ITSELF }) : null,
          ),
        ),
        el("tbody", {}, rows),
      ),
    ),
    el("p", {
      class: "quiet",
      text: `By simple image statistics, which no network has learnt. Effect 1 is what chance gives${quiet === null ? "" : `; 95% of non-targeting guides stay below ${quiet}`}. Agreement is the cosine with the other guides.`,
    }),
  );
}

function batchList(card) {
  if (card.batches.length < 2) return null;
  const most = card.batches[0][1];
  return el(
    "section",
    {},
    el("h3", { text: "Cells by batch" }),
    el(
      "ul",
      { class: "bars" },
      card.batches
        .slice(0, 12)
        .map(([batch, n]) =>
          el(
            "li",
            {},
            el("span", { text: batch }),
            el("i", { style: { "--share": n / most } }),
            el("b", { text: count(n) }),
          ),
        ),
    ),
    card.batches.length > 12 ? el("p", { class: "quiet", text: `and ${card.batches.length - 12} more batches` }) : null,
  );
}

const links = (symbol) =>
  el(
    "p",
    { class: "links" },
    Object.entries(LINKS).map(([title, address]) =>
      el("a", { href: address(encodeURIComponent(symbol)), target: "_blank", rel: "noopener noreferrer", text: title }),
    ),
  );

export async function draw() {
  const s = state.get(),
    panel = $("panel-gene"),
    mine = ++round;
  if (s.gene === null) {
    refill(
      panel,
      guide(),
      empty("Pick a gene", "Click a dot, or type a symbol above. Its cells, guides and nearest genes appear here."),
    );
    return;
  }
  let card;
  // A card that comes at once needs no sign that it is on its way.
  const late = setTimeout(() => {
    if (mine === round) refill(panel, waiting(`Looking up ${explorer.name(s.gene)}…`));
  }, WAIT);
  try {
    card = await explorer.card(s.gene);
  } catch (error) {
    if (mine === round) refill(panel, empty(explorer.name(s.gene), error.message));
    return;
  } finally {
    clearTimeout(late);
  }
  if (mine !== round) return;
  refill(
    panel,
    heading(s.gene, card),
    ...[phenotype(card)].filter(Boolean),
    links(card.symbol),
    ...card.warnings.map(warning),
    ...(card.trust && !explorer.overview.missing.restyler ? [trust(card)] : []),
    ...neighbourhood(card, s).filter(Boolean),
    el("div", { class: "twin wide" }, [guideTable(card), batchList(card)].filter(Boolean)),
  );
  panel.dataset.gene = card.symbol;
}

function guide() {
  const o = explorer.overview;
  const entry = (term, text) => [el("dt", { text: term }), el("dd", {}, rich(text))];
  return el(
    "dl",
    { class: "start" },
    o.simulated
      ? entry("Simulated", "This screen was drawn by grape-ops simulate: no gene here says anything of a real one.")
      : [],
    ...findings(o),
    entry(
      "This map",
      `${plural(o.genes.length, "gene")}, ${plural(o.n_cells, "cell")}, ${o.batches.length} ${o.batches.length === 1 ? "batch" : "batches"}; training step ${count(o.step)}${o.averaged ? ", filtered weights" : ""}.`,
    ),
    entry("Near", "Genes whose knock-outs change cells alike lie close together. The × is the non-targeting control."),
    entry(
      "Trust",
      "A flat map keeps only part of the distances: the table of nearest genes is computed on the full vectors.",
    ),
    o.places ? entry("Neighbours", o.places) : [],
    o.left_out.map((text) => entry("Left out", text)),
  );
}

export function begin() {
  state.listen((_, changed) => {
    if (["gene", "map", "other", "selection"].some((key) => changed.has(key))) draw();
  });
}
