// One control cell restyled: by the network while the slider moves, or from a strip computed beforehand.

import * as explorer from "./explorer.js";
import { picture } from "./data.js";
import { $, el, rich, tell } from "./dom.js";
import { crop, scaleBar } from "./pictures.js";
import * as state from "./state.js";

const UNSEEN = 4; // of 255 grey levels
let cells = [];
let real = null;
let unsure = false;
let wishes = 0;
let busy = false;

/** What is looked at; the strips of a static page start at the control. */
const wish = () => (explorer.live() ? state.get() : { ...state.get(), from: null });

/** The panel's frame; `draw` fills it. */
export function panel() {
  const { missing } = explorer.overview,
    s = wish();
  if (missing.restyler)
    return el(
      "section",
      { class: "restyle" },
      el("h3", { text: "Restyle a control cell" }),
      el("p", { class: "quiet" }, rich(missing.restyler)),
    );
  const symbol = explorer.name(s.gene);
  const from = explorer.live()
    ? el("input", {
        id: "from",
        "data-focus": "from",
        list: "genes",
        value: s.from === null ? "control" : explorer.name(s.from),
        "aria-label": "Phenotype at the slider's left end",
        title: "A gene, or control",
        onchange: start,
      })
    : el("output", { text: "control" });
  return el(
    "section",
    { class: "restyle" },
    el("h3", { text: "Restyle a control cell" }),
    el(
      "div",
      { class: "before-after" },
      el(
        "figure",
        {},
        el("div", { class: "big", id: "restyle-real" }),
        el("figcaption", { text: `control cell ${s.cell + 1}, as it is` }),
      ),
      el("figure", {}, el("div", { class: "big", id: "restyle-made" }), el("figcaption", { id: "restyle-words" })),
    ),
    el(
      "div",
      { class: "slider" },
      from,
      el("input", {
        id: "mix",
        "data-focus": "mix",
        type: "range",
        min: 0,
        max: 1,
        step: explorer.live() ? 0.02 : 1 / (explorer.overview.steps.length - 1),
        value: s.mix,
        "aria-label": `Way to ${symbol}`,
        oninput: (event) => state.set({ mix: Number(event.target.value) }, true),
      }),
      el("output", { text: symbol }),
    ),
    el("div", { class: "strip", id: "strip" }),
  );
}

function start(event) {
  const word = event.target.value.trim();
  const gene = /^(control|nontargeting|)$/i.test(word) ? null : explorer.find(word);
  if (gene === undefined || (gene !== null && !explorer.overview.has_cells[gene])) {
    tell(`${word} is not a gene of this run.`);
    event.target.value = state.get().from === null ? "control" : explorer.name(state.get().from);
  } else state.set({ from: gene });
}

export async function draw(row, view, notSignificant) {
  [cells, real, unsure] = [row, view, notSignificant];
  if (!$("restyle-real")) return;
  const at = Math.min(state.get().cell, cells.length - 1);
  $("restyle-real").replaceChildren(crop(real, 0, at, `control cell ${at + 1}, as it is`), scaleBar() ?? "");
  await Promise.all([made(), strip()]);
}

export async function again() {
  if (!$("restyle-made")) return;
  $("mix").value = state.get().mix;
  await made();
  if ($("strip").dataset.key !== key()) await strip();
}

const key = () => {
  const s = wish();
  return [s.gene, s.cell, s.from, s.draw, JSON.stringify(s.channels)].join("/");
};

function address(s, mix) {
  const parts = [`cell=${cells[Math.min(s.cell, cells.length - 1)].cell}`, `gene=${s.gene}`, `mix=${mix}`];
  if (s.from !== null) parts.push(`start=${s.from}`);
  return `live/restyled.png?${parts.join("&")}`;
}

const said = (s) => {
  const from = s.from === null ? "control" : explorer.name(s.from),
    to = explorer.name(s.gene);
  return s.mix === 1
    ? `restyled to ${to}`
    : s.mix === 0
      ? `restyled to ${from}`
      : `${Math.round(100 * s.mix)} % of the way from ${from} to ${to}`;
};

/** What must stand beside a picture of a phenotype that nobody has found in it. */
const doubted = (s) => (unsure && s.mix > 0 ? " (not significant)" : "");

/** The cell at the slider's place. The server is asked for one at a time; when it has come, the latest wish is met. */
async function made() {
  if (!explorer.live()) return void show(wish());
  wishes++;
  if (busy) return;
  busy = true;
  let met;
  do {
    met = wishes;
    await show(wish());
  } while (met !== wishes);
  busy = false;
}

async function show(s) {
  const asked = key(),
    those = cells;
  const isGone = () => asked !== key() || those !== cells || !$("restyle-made");
  if (s.gene === null || isGone()) return;
  try {
    if (explorer.live()) {
      const view = await picture(address(s, s.mix));
      if (!isGone()) put(crop(view, 0, 0, said(s)), s);
    } else {
      const view = await picture(`data/strip/${s.gene}.png`);
      if (!isGone()) fromStrip(view, s);
    }
  } catch (error) {
    if (!isGone()) tell(error.message);
  }
}

function put(canvas, s) {
  $("restyle-made").replaceChildren(canvas, scaleBar() ?? "");
  $("restyle-made").dataset.shown = `${s.gene}/${s.cell}/${s.from}/${s.mix}`;
  $("restyle-words").textContent = said(s) + doubted(s);
}

function fromStrip(view, s) {
  const { steps, crop_size: size, channels } = explorer.overview;
  const rows = view.height / size / channels.length;
  const step = steps.reduce((best, mix, i) => (Math.abs(mix - s.mix) < Math.abs(steps[best] - s.mix) ? i : best), 0);
  const shown = { ...s, cell: Math.min(s.cell, rows - 1), mix: steps[step] };
  put(crop(view, shown.cell, step, said(shown)), shown);
  if (s.cell >= rows)
    $("restyle-words").textContent = `This static page restyles control cells 1 to ${rows}; this is cell ${rows}.`;
}

/** Whether the first and the last picture of the way differ by more than an eye may see, anywhere in the cell. */
function differs(view, row, n) {
  const { crop_size: size, channels } = explorer.overview;
  for (let y = row * channels.length * size; y < (row + 1) * channels.length * size; y++)
    for (let x = 0; x < size; x++) {
      const start = y * view.width + x;
      if (Math.abs(view.grey[start] - view.grey[start + (n - 1) * size]) > UNSEEN) return true;
    }
  return false;
}

/** Thumbnails of the way; clicking one moves the slider there. */
async function strip() {
  const s = wish(),
    { steps, crop_size: size, channels } = explorer.overview;
  const place = $("strip"),
    asked = key();
  place.dataset.key = asked;
  let view, row;
  try {
    view = explorer.live()
      ? await picture(address(s, 1).replace("restyled.png", "strip.png").replace("&mix=1", ""))
      : await picture(`data/strip/${s.gene}.png`);
    row = explorer.live() ? 0 : Math.min(s.cell, view.height / size / channels.length - 1);
  } catch (error) {
    if (asked === key()) place.replaceChildren(el("p", { class: "quiet" }, rich(error.message)));
    return;
  }
  if (asked !== key()) return;
  if (!differs(view, row, steps.length))
    return void place.replaceChildren(
      el("p", { class: "quiet", text: "The pictures on the way look the same: the generator changes this cell too little to be seen." }),
    );
  place.replaceChildren(
    ...steps.map((mix, i) =>
      el(
        "button",
        { class: "cell", "data-focus": `step-${i}`, title: `${Math.round(100 * mix)} %`, onclick: () => state.set({ mix }) },
        crop(view, row, i, `${Math.round(100 * mix)} percent of the way`),
      ),
    ),
  );
}
