// Real cells beside restyled ones: the control row pinned on top, the same cells restyled to the gene, one row per guide.

import * as explorer from "./explorer.js";
import { json, picture } from "./data.js";
import { $, el, empty, plural, refill } from "./dom.js";
import { heading, trust } from "./gene.js";
import { applyContrast, channelChips, contrastSliders, crop, enlarge, scaleBar } from "./pictures.js";
import * as restyle from "./restyle.js";
import * as state from "./state.js";

let round = 0;

const words = (row, symbol) =>
  ({
    control: ["control", "real cells"],
    unchanged: ["restyled", "to control"],
    restyled: ["restyled", `to ${symbol}`],
    knockout: [row.label, "knock-out"],
  })[row.kind];

function rowOf(row, view, place, symbol) {
  const [title, note] = words(row, symbol);
  const s = state.get();
  const n = explorer.overview.cells_per_row;
  const cells = Array.from({ length: n }, (_, column) => {
    const cell = row.cells[column];
    if (!cell) return el("span", { class: "nocell" });
    const label =
      row.kind === "restyled"
        ? `control cell ${column + 1} restyled to ${symbol}`
        : row.kind === "control"
          ? `control cell ${column + 1}`
        : row.kind === "unchanged"
          ? `control cell ${column + 1} restyled to control`
          : `${symbol} knock-out, guide ${row.label}, cell ${column + 1}`;
    const button = el(
      "button",
      {
        class: "cell",
        "data-focus": `${row.kind}-${row.label}-${column}`,
        title: `${label}\n${cell.where}\nClick: full size`,
        onclick: () => enlarge(view, place, column, label[0].toUpperCase() + label.slice(1), cell.where),
      },
      crop(view, place, column, label),
    );
    if (row.kind !== "control") return button;
    const pick = el("button", {
      class: "pick",
      "data-focus": `pick-${column}`,
      "aria-pressed": String(column === s.cell),
      title: "Restyle this cell below",
      text: "restyle",
      onclick: () => state.set({ cell: column }),
    });
    return el(
      "span",
      { class: column === s.cell ? "slot picked" : "slot" },
      button,
      pick,
      column === n - 1 ? scaleBar() : null,
    );
  });
  return el(
    "div",
    { class: `cellrow ${row.kind}` },
    el("div", { class: "rowlabel" }, el("b", { text: title, title }), el("small", { text: note })),
    cells,
  );
}

export async function draw() {
  const s = state.get(),
    panel = $("panel-cells"),
    mine = ++round;
  if (s.tab !== "cells") return;
  const { missing } = explorer.overview;
  if (missing.cells) return void refill(panel, empty("There are no pictures of cells", missing.cells));
  if (s.gene === null)
    return void refill(
      panel,
      empty(
        "Pick a gene",
        "Click a dot or type a symbol: its knock-out cells appear here, beside control cells and the same cells restyled.",
      ),
    );
  if (!explorer.overview.has_cells[s.gene])
    return void refill(
      panel,
      empty(explorer.name(s.gene), "The gene is in a map only: this run has no cells of it."),
    );
  if (explorer.overview.pictured && !explorer.overview.pictured.includes(s.gene))
    return void refill(
      panel,
      empty(
        explorer.name(s.gene),
        `This static page has pictures of ${plural(explorer.overview.pictured.length, "gene")}. This gene is not among them. A live page (\`grape-ops explore RUN\`) shows all genes.`,
      ),
    );
  const query = s.draw && explorer.live() ? `?draw=${s.draw}` : "";
  const part = (name) => [json(`data/cells/${name}.json${query}`), picture(`data/cells/${name}.png${query}`)];
  try {
    const [card, control, controlSheet, own, view] = await Promise.all([
      explorer.card(s.gene),
      ...part("control"),
      ...part(s.gene),
    ]);
    if (mine !== round) return;
    const symbol = explorer.name(s.gene);
    const [views, chips] = channelChips();
    const tools = el(
      "div",
      { class: "celltools" },
      views,
      explorer.live()
        ? el("button", {
            "data-focus": "draw",
            text: "Other cells",
            title: "Draw other cells at random",
            onclick: () => state.set({ draw: s.draw + 1 }),
          })
        : null,
      chips,
      contrastSliders(),
    );
    const restyled = own.rows.some((row) => row.kind === "restyled");
    const grid = el(
      "div",
      { class: "montage", style: { "--n": explorer.overview.cells_per_row } },
      control.rows.map((row, place) => rowOf(row, controlSheet, place, symbol)),
      own.rows.map((row, place) => rowOf(row, view, place, symbol)),
    );
    const note = restyled
      ? `Columns of the three upper rows are the same cells; the second is what the generator does to every cell; knock-outs are from the control's batch where possible. Drawn at random, all at the same contrast.`
      : "Drawn at random, all at the same contrast.";
    const restyling = restyle.panel();
    const doubt = restyled ? [trust(card)] : [];
    if (card.trust) grid.dataset.trust = card.trust.status;
    refill(panel, heading(s.gene, card), tools, ...doubt, grid, el("p", { class: "quiet", text: note }), restyling);
    panel.dataset.gene = symbol;
    restyle.draw(control.rows[0].cells, controlSheet, card.trust?.status === "not significant");
  } catch (error) {
    if (mine === round) refill(panel, empty("The cells cannot be shown", error.message));
  }
}

export function begin() {
  state.listen((_, changed) => {
    if (["gene", "tab", "channels", "draw", "cell", "selection"].some((key) => changed.has(key))) draw();
    else if (changed.has("contrast")) applyContrast();
    else if (changed.has("from") || changed.has("mix")) restyle.again();
  });
}
