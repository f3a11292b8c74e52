// One control cell restyled: by the network while the slider moves, or from a strip computed beforehand.

import * as explorer from "./explorer.js";
import { picture } from "./data.js";
import { $, el, tell } from "./dom.js";
import { crop, scaleBar } from "./pictures.js";
import * as state from "./state.js";

const UNSEEN = 4; // of 255 grey levels
let cells = [];
let real = null;
let unsure = false;
let asking = null;
let round = 0;

/** The panel's frame; `draw` fills it. */
export function panel() {
  const { missing } = explorer.overview,
    s = state.get();
  if (missing.restyler)
    return el(
      "section",
      { class: "restyle" },
      el("h3", { text: "Restyle a control cell" }),
      el("p", { class: "quiet", text: missing.restyler }),
    );
  const symbol = explorer.name(s.gene);
  const from = explorer.live()
    ? el("input", {
        id: "from",
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
  const s = state.get();
  const at = Math.min(s.cell, cells.length - 1);
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
  const s = state.get();
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
const doubted = () => (unsure && state.get().mix > 0 ? " (not significant)" : "");

/** The cell at the slider's place. While one picture is asked for, the newest wish waits and older ones are dropped. */
async function made() {
  const s = state.get(),
    mine = ++round;
  if (!explorer.live()) return fromStrip(s);
  asking?.abort();
  asking = new AbortController();
  try {
    const view = await picture(address(s, s.mix), asking.signal);
    if (mine === round && $("restyle-made")) put(crop(view, 0, 0, said(s)), s);
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message);
  }
  return undefined;
}

function put(canvas, s) {
  $("restyle-made").replaceChildren(canvas, scaleBar() ?? "");
  $("restyle-made").dataset.shown = `${s.gene}/${s.cell}/${s.from}/${s.mix}`;
  $("restyle-words").textContent = said(s) + doubted();
}

async function fromStrip(s) {
  const view = await picture(`data/strip/${s.gene}.png`);
  const { steps, crop_size: size, channels } = explorer.overview;
  const rows = view.height / size / channels.length;
  const step = steps.reduce((best, mix, i) => (Math.abs(mix - s.mix) < Math.abs(steps[best] - s.mix) ? i : best), 0);
  const row = Math.min(s.cell, rows - 1);
  if ($("restyle-made")) put(crop(view, row, step, said(s)), { ...s, cell: row, mix: steps[step] });
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
  const s = state.get(),
    { steps, crop_size: size, channels } = explorer.overview;
  const place = $("strip");
  place.dataset.key = key();
  let view, row;
  try {
    view = explorer.live()
      ? await picture(address(s, 1).replace("restyled.png", "strip.png").replace("&mix=1", ""))
      : await picture(`data/strip/${s.gene}.png`);
    row = explorer.live() ? 0 : Math.min(s.cell, view.height / size / channels.length - 1);
  } catch (error) {
    return void place.replaceChildren(el("p", { class: "quiet", text: error.message }));
  }
  if (place.dataset.key !== key()) return;
  if (!differs(view, row, steps.length))
    return void place.replaceChildren(
      el("p", { class: "quiet", text: "The pictures on the way look the same: the generator changes this cell too little to be seen." }),
    );
  place.replaceChildren(
    ...steps.map((mix, i) =>
      el(
        "button",
        { class: "cell", title: `${Math.round(100 * mix)} %`, onclick: () => state.set({ mix }) },
        crop(view, row, i, `${Math.round(100 * mix)} percent of the way`),
      ),
    ),
  );
}
