// The legend: what colours and marks of the maps shown mean; clicking a name selects its genes.

import { mark } from "./colours.js";
import { $, count, el, plural } from "./dom.js";
import { shortly } from "./explorer.js";
import * as state from "./state.js";

const LEGEND = 40; // entries before the legend says how many more
const MOST = 2000; // genes up to which the map is drawn anew for the entry pointed at
let drawn = []; // { name, genes, look } of the maps shown

/** Genes of a level, in the first of the maps shown that has it: a level such as a cluster may mean others elsewhere. */
function members(code) {
  const map = drawn.find(({ look }) => look.codes.includes(code));
  return map ? map.genes.filter((_, row) => map.look.codes[row] === code) : [];
}

/** Entries of all maps, each once, in the order of their codes; genes without a level and grey ones last. */
function entriesOf(maps) {
  const found = new Map();
  for (const { name, look } of maps)
    for (const entry of look.entries) if (!found.has(entry.code)) found.set(entry.code, { ...entry, map: name });
  return [...found.values()].sort((a, b) => (a.code < 0) - (b.code < 0) || Math.abs(a.code) - Math.abs(b.code));
}

function scale({ label, scale: { low, high, logarithmic, gradient } }, unknown) {
  const text = (value) => (Number.isInteger(value) ? count(value) : shortly(value));
  return el(
    "span",
    { class: "scale" },
    el("b", { text: label }),
    el("span", { text: text(low) }),
    el("i", { style: { background: gradient } }),
    el("span", { text: text(high) + (logarithmic ? " (log)" : "") }),
    unknown ? [mark("circle", unknown), el("span", { text: "no value" })] : null,
  );
}

function chip(entry, emphasise) {
  const where = drawn.length > 1 ? ` of ${entry.map}` : "";
  const made = el(
    "button",
    {
      class: "chip",
      title: `Select the ${plural(entry.n, "gene")}${where}`,
      onclick: () => {
        emphasise(null);
        state.set({ selection: members(entry.code), tab: "selection" });
      },
    },
    mark(entry.symbol, entry.colour),
    el("span", { text: entry.name }),
    el("small", { text: count(entry.n) }),
  );
  made.addEventListener(
    "pointerenter",
    (event) =>
      event.pointerType === "mouse" && drawn.every(({ genes }) => genes.length <= MOST) && emphasise(members(entry.code)),
  );
  made.addEventListener("pointerleave", () => emphasise(null));
  return made;
}

/** Say what the maps' colours mean; `emphasise(genes or null)` dims all other genes while an entry is pointed at. */
export function drawLegend(maps, emphasise) {
  drawn = maps;
  const place = $("legend");
  const scaled = maps.find(({ look }) => look.scale);
  if (scaled) {
    place.dataset.key = "";
    const unknown = maps.map(({ look }) => look.scale?.unknown).find(Boolean);
    return place.replaceChildren(scale(scaled.look, unknown));
  }
  const entries = entriesOf(maps);
  // Replacing a legend under the pointer would end the pointing at once.
  const key = JSON.stringify(entries);
  if (place.dataset.key === key) return undefined;
  place.dataset.key = key;
  const more = entries.length - LEGEND;
  return place.replaceChildren(
    ...entries.slice(0, LEGEND).map((entry) => chip(entry, emphasise)),
    more > 0 ? el("span", { class: "quiet", text: `and ${more} more` }) : "",
  );
}
