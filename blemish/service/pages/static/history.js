// History: the filter stands in the address; entries are walked through, selected and reviewed by keys.

import { isTyping, note } from "./station.js";

const at = (id) => document.getElementById(id);
const entries = () => [...document.querySelectorAll("#entries .entry")];
const boxOf = (entry) => entry?.querySelector("input[type=checkbox]");
const entryOf = (element) => element?.closest?.(".entry") ?? null;
const selected = () => entries().filter((entry) => boxOf(entry)?.checked);
let currentId = ""; // where the keys are; it outlives a row that is replaced
let anchorId = ""; // where a range began

const current = () => at(currentId);

// Everything that is asked for and nothing else stands in the address.
function tidy({ detail }) {
  if (detail.elt !== at("filters")) return;
  const asked = detail.parameters;
  if (asked.span === "today") asked.utc = String(-new Date().getTimezoneOffset());
  else delete asked.utc;
  for (const name of Object.keys(asked)) if (asked[name] === "") delete asked[name];
}

// Fields of a date know no zone: they show and take the reader's, the address has UTC.
function showRange() {
  for (const field of document.querySelectorAll("[data-moment]")) {
    const { value } = at("filters").elements[field.dataset.moment];
    if (!value) { field.value = ""; continue; }
    const time = new Date(value);
    field.value = new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
  }
}

function takeRange({ target }) {
  const { elements } = at("filters");
  if (target.id === "span") {
    const isRange = "range" in target.selectedOptions[0].dataset;
    at("range").hidden = !isRange;
    if (!isRange) for (const name of ["since", "until"]) elements[name].value = "";
    showRange();
  } else if (target.dataset.moment) {
    elements[target.dataset.moment].value = target.value ? new Date(target.value).toISOString() : "";
  }
}

function go(entry) {
  if (!entry) return;
  currentId = entry.id;
  entry.querySelector(".open").focus({ preventScroll: true });
  entry.scrollIntoView({ block: "nearest" });
}

function move(step, isSelecting) {
  const all = entries();
  const index = all.indexOf(current());
  const next = all[index < 0 ? 0 : index + step];
  if (!next && step > 0) at("more")?.click();
  if (isSelecting) for (const entry of [all[index], next]) select(entry, true);
  go(next);
}

function select(entry, isOn) {
  const box = boxOf(entry);
  if (!box) return;
  box.checked = isOn;
  anchorId = entry.id;
  tell();
}

function selectTo(entry) {
  const all = entries();
  const ends = [all.indexOf(at(anchorId)), all.indexOf(entry)].sort((a, b) => a - b);
  if (ends[0] < 0) return select(entry, true);
  for (const one of all.slice(ends[0], ends[1] + 1)) boxOf(one).checked = true;
  tell();
}

function selectNone() {
  for (const entry of selected()) boxOf(entry).checked = false;
  tell();
}

function tell() {
  if (!at("act")) return;
  const count = selected().length;
  at("tally").textContent = count ? `${count} selected` : "";
  at("say").hidden = !count;
  at("act").hidden = !count && !at("said").querySelector("form");
}

async function say(review) {
  const chosen = selected();
  if (!chosen.length && current()) chosen.push(current());
  if (!at("act") || !chosen.length) return;
  if (chosen.length > 500) { note("At most 500 at a time.", "bad"); return; }
  const query = at("found").dataset.query;
  const values = { ids: chosen.map((entry) => entry.dataset.id), review, note: at("note").value };
  await globalThis.htmx.ajax("POST", `/history/review${query && `?${query}`}`, { source: "#act", values, target: "#said", swap: "innerHTML" });
}

// What was replaced is no longer selected, and the place of the keys is where it was.
function settled({ detail }) {
  if (detail.target?.id !== "said") return tell();
  at("note").value = "";
  if (!at("said").querySelector("form")) note(at("said").textContent.trim());
  tell();
  if (document.activeElement === document.body) go(current());
}

const KEYS = {
  j: (event) => move(1, event.shiftKey),
  k: (event) => move(-1, event.shiftKey),
  arrowdown: (event) => move(1, event.shiftKey),
  arrowup: (event) => move(-1, event.shiftKey),
  x: (event) => { if (event.shiftKey) selectTo(current()); else if (boxOf(current())) select(current(), !boxOf(current()).checked); },
  f: () => say("false_alarm"),
  m: () => say("missed_defect"),
  c: () => say("confirmed"),
  u: () => say("none"),
  "/": () => at("source").focus(),
  "?": () => at("help").showModal(),
  escape: selectNone,
};

function press(event) {
  if (isTyping(event) || at("help").open || event.target.matches("select")) return;
  const name = event.key.toLowerCase();
  if (name === "enter" && !event.target.closest("a, button, input")) current()?.querySelector(".open").click();
  if (!KEYS[name] || (name !== "escape" && name !== "?" && name !== "/" && !at("entries"))) return;
  KEYS[name](event);
  event.preventDefault();
}

function click(event) {
  const button = event.target.closest("#say [data-say]");
  if (button) return say(button.dataset.say);
  const entry = entryOf(event.target);
  if (!entry) return undefined;
  currentId = entry.id;
  if (!event.target.matches("input[type=checkbox]")) return undefined;
  if (event.shiftKey && event.target.checked) selectTo(entry);
  else select(entry, event.target.checked);
  return undefined;
}

if (at("filters")) {
  document.body.addEventListener("htmx:configRequest", tidy);
  document.body.addEventListener("htmx:afterSettle", settled);
  at("filters").addEventListener("input", takeRange);
  document.addEventListener("click", click);
  document.addEventListener("focusin", ({ target }) => { if (entryOf(target)) currentId = entryOf(target).id; });
  document.addEventListener("keydown", press);
  showRange();
  tell();
}
