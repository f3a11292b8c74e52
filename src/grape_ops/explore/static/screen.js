// The screen as a whole: well and plate maps, how many cells genes have, and guides to distrust.

import * as explorer from "./explorer.js";
import { json } from "./data.js";
import { $, count, el, empty, plural, refill, rich, scrolling, waiting } from "./dom.js";
import { geneButton } from "./gene.js";
import * as state from "./state.js";

const BARS = 20;
const DENSE = 12; // most columns of a plate whose wells show numbers
let round = 0;

function plateTable(plate) {
  const wellOf = (well) =>
    well
      ? el(
          "td",
          { style: { "--share": well.share ?? 0 }, title: `plate ${plate.name}, well ${well.well}: ${well.text}` },
          el("span", { text: well.text }),
        )
      : el("td", { class: "none" });
  return el(
    "table",
    { class: plate.columns.length > DENSE ? "plate dense" : "plate" },
    el("caption", { text: `plate ${plate.name}` }),
    el(
      "thead",
      {},
      el("tr", {}, el("td"), plate.columns.map((name) => el("th", { scope: "col", text: name }))),
    ),
    el(
      "tbody",
      {},
      plate.rows.map(([name, wells]) => el("tr", {}, el("th", { scope: "row", text: name }), wells.map(wellOf))),
    ),
  );
}

const plateMap = (measure) =>
  el(
    "section",
    { class: "platemap", "data-measure": measure.key },
    el(
      "h3",
      {},
      measure.title,
      el("small", { class: "scale" }, measure.low, el("i"), measure.high),
    ),
    el("p", { class: "quiet", text: measure.caption }),
    scrolling(measure.plates.map(plateTable)),
  );

function cellsPerGene({ cells, smallest }) {
  const least = Math.min(...cells),
    most = Math.max(...cells),
    width = Math.max(1, Math.ceil((most - least + 1) / BARS));
  const bins = Array(Math.ceil((most - least + 1) / width)).fill(0);
  for (const n of cells) bins[Math.floor((n - least) / width)]++;
  const highest = Math.max(...bins);
  return el(
    "section",
    {},
    el("h3", { text: "Cells per gene" }),
    el(
      "div",
      { class: "histogram", role: "img", "aria-label": `Histogram of the number of cells of a gene. ${smallest}` },
      bins.map((n, i) => {
        const first = least + i * width;
        return el("i", {
          style: { "--share": n / highest },
          title: `${count(first)} to ${count(first + width - 1)} cells: ${plural(n, "gene")}`,
        });
      }),
    ),
    el("p", { class: "axis quiet" }, el("span", { text: count(least) }), el("span", { text: count(most) })),
    el("p", { class: "quiet", id: "smallest", text: smallest }),
  );
}

/** Guides to distrust of one kind, by gene: of all guides tested, and what they do. */
function distrusted(id, pairs, all, what, meaning) {
  const n = pairs.reduce((sum, [, guides]) => sum + guides.length, 0);
  return el(
    "section",
    {},
    el("h3", { text: `Guides that ${what}: ${count(n)} of ${count(all)}` }),
    el("p", { class: "quiet", text: meaning }),
    el(
      "ul",
      { id, class: "distrusted" },
      pairs.map(([gene, guides]) => el("li", {}, geneButton(explorer.find(gene), gene), ` ${guides.join(", ")}`)),
    ),
  );
}

const guidesToDistrust = (found) =>
  found
    ? [
        distrusted(
          "discordant",
          found.discordant,
          found.n_guides,
          "contradict the other guides of their gene",
          "They change cells significantly, away from what the gene's other guides do.",
        ),
        distrusted(
          "inactive",
          found.inactive,
          found.n_guides,
          "seem to do nothing",
          "In a gene with a phenotype, they look like non-targeting guides; they dilute its effect. Where no guide of a gene is significant by itself, as with few cells, none can be told to do nothing.",
        ),
      ]
    : [];

export async function draw() {
  const panel = $("panel-screen"),
    mine = ++round;
  if (state.get().tab !== "screen") return;
  if (!panel.firstChild) refill(panel, waiting("Looking through the screen…"));
  try {
    const screen = await json("data/screen.json");
    if (mine !== round) return;
    const { findings } = explorer.overview;
    refill(
      panel,
      ...[
        ...guidesToDistrust(findings),
        ...(screen.plates ? screen.plates.map(plateMap) : [el("p", { class: "quiet" }, rich(explorer.overview.missing.cells))]),
        screen.cells.length ? cellsPerGene(screen) : null,
      ].filter(Boolean),
    );
    panel.dataset.ready = "true";
  } catch (error) {
    if (mine === round) refill(panel, empty("The screen cannot be shown", error.message));
  }
}

export function begin() {
  state.listen((_, changed) => {
    if (changed.has("tab")) draw();
  });
}
