// The page's start: what there is, then the parts, then the address they show.

import * as explorer from "./explorer.js";
import * as cells from "./cells.js";
import * as clusters from "./clusters.js";
import { $, el, empty, plural, tell } from "./dom.js";
import * as gene from "./gene.js";
import * as maps from "./maps.js";
import * as screen from "./screen.js";
import * as search from "./search.js";
import * as selection from "./selection.js";
import * as state from "./state.js";
import { toggle } from "./theme.js";

const KEYS = [
  ["/", "find genes"],
  ["← → ↑ ↓", "on the map: the next gene that way"],
  ["Enter", "on the map: select the gene"],
  ["Shift-click", "on the map: put a gene into the selection, or take it out"],
  ["1 2 3 4 5", "gene, cells, clusters, selection, screen"],
  ["c", "compare two maps"],
  ["l, p", "lasso, pan"],
  ["f", "show all genes"],
  ["Esc", "clear the selection"],
  ["Ctrl+Z", "undo; so does the browser's back"],
  ["Ctrl+Shift+Z", "redo; so does the browser's forward"],
  ["t", "light or dark"],
  ["?", "this list"],
];

/** Keep an address of another run, or of a longer list of maps, within what is here. */
function fit(s) {
  const { maps: all, channels, cells_per_row: n } = explorer.overview;
  const map = Math.min(s.map, Math.max(0, all.length - 1));
  return {
    ...s,
    map,
    other: s.other !== null && s.other < all.length && s.other !== map ? s.other : null,
    cell: Math.min(s.cell, n - 1),
    channels: s.channels && s.channels.length === channels.length && s.channels.some(Boolean) ? s.channels : null,
    contrast:
      s.contrast && s.contrast.length === channels.length && s.contrast.every(([black, white]) => black < white && white <= 100)
        ? s.contrast
        : null,
  };
}

function tabs() {
  for (const tab of state.tabs) $(`tab-${tab}`).addEventListener("click", () => state.set({ tab }));
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = state.tabs[(state.tabs.indexOf(state.get().tab) + step + state.tabs.length) % state.tabs.length];
    state.set({ tab: next });
    $(`tab-${next}`).focus();
  });
  state.listen((s, changed) => {
    if (!changed.has("tab")) return;
    for (const tab of state.tabs) {
      $(`tab-${tab}`).setAttribute("aria-selected", String(tab === s.tab));
      $(`tab-${tab}`).tabIndex = tab === s.tab ? 0 : -1;
      $(`panel-${tab}`).hidden = tab !== s.tab;
    }
  });
}

function help() {
  const dialog = $("keys");
  dialog.replaceChildren(
    el(
      "header",
      {},
      el("h2", { text: "Keys" }),
      el("button", { text: "Close", autofocus: true, onclick: () => dialog.close() }),
    ),
    el(
      "dl",
      {},
      KEYS.map(([key, what]) => [el("dt", {}, el("kbd", { text: key })), el("dd", { text: what })]),
    ),
  );
  dialog.showModal();
}

function keys(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const does = {
    "/": () => {
      event.preventDefault();
      $("search").focus();
    },
    c: maps.toggleCompare,
    l: () => maps.setDrag("lasso"),
    p: () => maps.setDrag("pan"),
    f: maps.fit,
    t: toggle,
    "?": help,
    Escape: () => state.set({ selection: [] }),
    ...Object.fromEntries(state.tabs.map((tab, i) => [String(i + 1), () => state.set({ tab })])),
  }[event.key];
  if (does) does();
}

const undo = () => state.canUndo() && history.back();
const redo = () => state.canRedo() && history.forward();

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("Link copied: it shows exactly this view");
  } catch {
    tell("Copy the address of this page: it shows exactly this view");
  }
}

async function start() {
  try {
    await explorer.open();
  } catch (error) {
    $("loading").replaceWith(empty("The page cannot be shown", error.message));
    return;
  }
  const o = explorer.overview;
  const kind = o.simulated ? "simulated screen" : "gene map";
  document.title = `${o.title} – ${kind}`;
  $("title").textContent = o.title;
  $("subtitle").textContent = `${o.simulated ? "simulated screen · " : ""}${plural(o.genes.length, "gene")} · ${plural(o.n_cells, "cell")}`;
  document.body.append(
    el(
      "datalist",
      { id: "genes" },
      el("option", { value: "control" }),
      o.genes.length <= 2000 ? o.genes.map((symbol) => el("option", { value: symbol })) : [],
    ),
  );
  tabs();
  [maps, gene, cells, clusters, selection, screen, search].forEach((part) => part.begin());
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  $("share").addEventListener("click", share);
  $("help").addEventListener("click", help);
  addEventListener("keydown", keys);
  state.listen(() => {
    $("undo").disabled = !state.canUndo();
    $("redo").disabled = !state.canRedo();
  });
  $("loading").remove();
  state.begin(o.genes, fit);
  await maps.draw();
  document.documentElement.dataset.ready = "true";
}

start();
