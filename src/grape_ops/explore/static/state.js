// What is being looked at. All of it is in the address: a link shows the same view, back and forward undo and redo.

const START = {
  map: 0,
  plane: 0,
  colour: "complex",
  clustering: null,
  gene: null,
  selection: [],
  other: null,
  only: false,
  tab: "gene",
  channels: null,
  contrast: null,
  draw: 0,
  cell: 0,
  from: null,
  mix: 1,
};
const TABS = ["gene", "cells", "clusters", "selection", "screen"];

let state = { ...START };
let genes = [];
let places = new Map();
let furthest = 0;
const listeners = [];

export const get = () => state;
export const listen = (heard) => listeners.push(heard);
export const tabs = TABS;

const symbol = (index) => encodeURIComponent(genes[index]);
const place = (name) => places.get(decodeURIComponent(name));

function encode(s) {
  const parts = [];
  const add = (key, value) => parts.push(`${key}=${value}`);
  if (s.map !== START.map) add("map", s.map);
  if (s.plane !== START.plane) add("layout", s.plane);
  if (s.colour !== START.colour) add("colour", encodeURIComponent(s.colour));
  if (s.clustering !== START.clustering) add("clustering", s.clustering);
  if (s.gene !== null) add("gene", symbol(s.gene));
  if (s.selection.length) add("selection", s.selection.map(symbol).join(","));
  if (s.other !== null) add("compare", s.other);
  if (s.only) add("only", 1);
  if (s.tab !== START.tab) add("tab", s.tab);
  if (s.channels !== null) add("channels", s.channels.map(Number).join(""));
  if (s.contrast !== null) add("contrast", s.contrast.map((ends) => ends.join("-")).join(","));
  if (s.draw) add("draw", s.draw);
  if (s.cell) add("cell", s.cell);
  if (s.from !== null) add("from", symbol(s.from));
  if (s.mix !== 1) add("mix", s.mix);
  return parts.length ? `#${parts.join("&")}` : location.pathname + location.search;
}

/** Read an address; whatever does not fit is left at its start. */
function decode(hash) {
  const s = { ...START };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [key, value] = part.split(/=(.*)/s);
    if (value === undefined) continue;
    try {
      read(s, key, value);
    } catch {
      continue; // a broken escape in a link
    }
  }
  return s;
}

function read(s, key, value) {
  const whole = /^\d{1,9}$/.test(value) ? Number(value) : null;
  if (key === "gene" && place(value) !== undefined) s.gene = place(value);
  else if (key === "from" && place(value) !== undefined) s.from = place(value);
  else if (key === "selection")
    s.selection = value
      .split(",")
      .map(place)
      .filter((index) => index !== undefined);
  else if (key === "tab" && TABS.includes(value)) s.tab = value;
  else if (key === "only") s.only = value === "1";
  else if (key === "colour") s.colour = decodeURIComponent(value);
  else if (key === "channels" && /^[01]+$/.test(value)) s.channels = [...value].map((c) => c === "1");
  else if (key === "contrast" && /^\d{1,3}-\d{1,3}(,\d{1,3}-\d{1,3})*$/.test(value))
    s.contrast = value.split(",").map((ends) => ends.split("-").map(Number));
  else if (key === "mix" && Number(value) >= 0 && Number(value) <= 1) s.mix = Number(value);
  else if (whole !== null) {
    const names = {
      map: "map",
      layout: "plane",
      clustering: "clustering",
      compare: "other",
      draw: "draw",
      cell: "cell",
    };
    if (names[key]) s[names[key]] = whole;
  }
}

function tellAll(before) {
  const changed = new Set(
    Object.keys(START).filter((key) => JSON.stringify(before[key]) !== JSON.stringify(state[key])),
  );
  for (const heard of listeners) heard(state, changed);
}

const position = () => (history.state && history.state.position) || 0;
export const canUndo = () => position() > 0;
export const canRedo = () => position() < furthest;

let waiting = null;

/** Write the state into the present entry of the history. */
function note(s) {
  clearTimeout(waiting);
  waiting = null;
  history.replaceState({ position: position() }, "", encode(s));
}

/** Change some of the state. `replace` leaves no step to undo: for what changes while something is dragged. */
export function set(patch, replace = false) {
  const before = state;
  state = { ...state, ...patch };
  if (encode(before) === encode(state)) return;
  if (replace) {
    // Browsers refuse an address that changes with every move of a slider.
    clearTimeout(waiting);
    waiting = setTimeout(() => note(state), 250);
  } else {
    if (waiting !== null) note(before);
    furthest = position() + 1;
    history.pushState({ position: furthest }, "", encode(state));
  }
  tellAll(before);
}

/** Take the state from the address, with limits that keep it within this page's maps and genes. */
export function begin(symbols, fit) {
  genes = symbols;
  places = new Map(symbols.map((name, index) => [name, index]));
  state = fit(decode(location.hash));
  history.replaceState({ position: position() }, "", encode(state));
  furthest = position();
  addEventListener("popstate", () => {
    clearTimeout(waiting);
    const before = state;
    state = fit(decode(location.hash));
    furthest = Math.max(furthest, position());
    tellAll(before);
  });
  tellAll({});
}
