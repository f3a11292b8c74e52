// Light and dark: the system's wish, unless the user chose; the choice is kept.

import { $ } from "./dom.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const KEY = "grape-ops-theme";
const listeners = [];

const stored = () => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage switched off
  }
};
const current = () => stored() || (dark.matches ? "dark" : "light");

function apply() {
  document.documentElement.dataset.theme = current();
  listeners.forEach((heard) => heard());
}

export function toggle() {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // not kept, but changed
  }
  document.documentElement.dataset.theme = next;
  listeners.forEach((heard) => heard());
}

export const onTheme = (heard) => listeners.push(heard);
$("theme").addEventListener("click", toggle);
dark.addEventListener("change", apply);
apply();
