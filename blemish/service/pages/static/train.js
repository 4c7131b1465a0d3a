// Train: good images go to the service one after another; refused ones are told, and the others go on.

import { ask, isTyping, note } from "./station.js";

const at = (id) => document.getElementById(id);
const counts = { added: 0, known: 0, refused: 0 };
let waiting = [];
let total = 0;
let isBusy = false;

function tell() {
  const done = total - waiting.length - (isBusy ? 1 : 0);
  const told = [`${done} of ${total} files`, `${counts.added} new`];
  if (counts.known) told.push(`${counts.known} there already`);
  if (counts.refused) told.push(`${counts.refused} refused`);
  at("tally").textContent = told.join(" · ");
  at("sent").value = total ? done / total : 0;
}

function refuse(line) {
  const entry = document.createElement("li");
  entry.textContent = line;
  at("refused").append(entry);
}

async function send(folder, file) {
  if (file.size > at("upload").dataset.largest * 2 ** 20) throw new Error(`larger than ${at("upload").dataset.largest} MB`);
  const address = `/train/data/${encodeURIComponent(folder)}/images?source=${encodeURIComponent(file.name.slice(0, 200))}`;
  const answer = await ask(address, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
  const became = await answer.json();
  for (const name of Object.keys(counts)) counts[name] += became[name];
  became.told.forEach(refuse);
}

function finish(folder) {
  const address = `/train?data=${encodeURIComponent(`uploaded/${folder}`)}`;
  if (!counts.refused) {
    location.href = address;
    return;
  }
  at("stop").hidden = true;
  if (!counts.added && !counts.known) return;
  const link = Object.assign(document.createElement("a"), { href: address, className: "button", textContent: "Go on" });
  at("stop").replaceWith(link);
  link.focus();
}

async function take(files) {
  const folder = at("folder");
  if (!files.length) return;
  if (!folder.reportValidity()) {
    const what = folder.value ? `${folder.title}: change the name` : "Name the folder first";
    note(`${what}, then drop the images again.`, "bad");
    return;
  }
  waiting.push(...files);
  total += files.length;
  if (isBusy) return;
  isBusy = true;
  at("sending").hidden = false;
  folder.readOnly = true; // all of these belong together
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    tell();
    try {
      await send(folder.value, file);
    } catch (error) {
      counts.refused += 1;
      refuse(error.message.startsWith(file.name) ? error.message : `${file.name}: ${error.message}`);
    }
  }
  isBusy = false;
  tell();
  finish(folder.value);
}

function listen() {
  at("upload").addEventListener("submit", (event) => { event.preventDefault(); at("files").click(); });
  at("files").addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = "";
    take(files);
  });
  at("stop").addEventListener("click", () => { total -= waiting.length; waiting = []; });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => at("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
}

// The card of a training that was started already comes once more; the one that is there gives way.
function replaceCard({ detail: { elt } }) {
  if (!elt.matches(".card.job")) return;
  for (const card of document.querySelectorAll(`[id="${elt.id}"]`)) if (card !== elt) card.remove();
}

function press(event) {
  if (isTyping(event)) return;
  const name = event.key.toLowerCase();
  if (name === "o") at("files").click();
  else if (name === "c" && at("check-start")) at("check-start").click();
  else if (name === "t" && at("train")) at("train").elements.name.focus();
  else return;
  event.preventDefault();
}

listen();
document.addEventListener("keydown", press);
document.body.addEventListener("htmx:load", replaceCard);
