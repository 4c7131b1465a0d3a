// Models: what changes them goes over the JSON routes; the slider tells its rate in words; keys.

import { ask, isTyping, note } from "./station.js";

const slider = document.getElementById("step");

async function change(address, options, next) {
  try {
    await ask(address, options);
    if (next) location.href = next;
    else location.reload();
  } catch (error) {
    note(error.message, "bad");
  }
}

function json(method, body) {
  return body ? { method, body, headers: { "Content-Type": "application/json" } } : { method };
}

async function press(button) {
  const { method, address, body, confirm: question } = button.dataset;
  if (question && !confirm(question)) return;
  button.disabled = true;
  await change(address, json(method, body));
  button.disabled = false;
}

async function upload(form) {
  const fields = new FormData(form);
  const name = encodeURIComponent(fields.get("name"));
  const button = form.querySelector("button");
  button.disabled = true;
  note("Uploading…");
  const query = fields.get("activate") ? "?activate=true" : "";
  const options = { method: "POST", body: fields.get("file"), headers: { "Content-Type": "application/zip" } };
  await change(`/v1/models/${name}/versions${query}`, options, `/models/${name}`);
  button.disabled = false;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-address]");
  if (button) press(button);
});

// a new version changes the whole page, not its card alone
document.addEventListener("job:end", () => location.reload());

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "upload" && !form.matches("[data-rename]")) return;
  event.preventDefault();
  if (form.id === "upload") upload(form);
  else change(form.dataset.address, json("POST", JSON.stringify({ name: form.elements.name.value })));
});

if (slider) {
  const tell = () => slider.setAttribute("aria-valuetext", document.querySelector("#rate [data-rate]").dataset.rate);
  tell();
  document.body.addEventListener("htmx:afterSwap", ({ detail }) => { if (detail.target.id === "rate") tell(); });
  document.addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    if (event.key === "r") slider.focus();
    else if (event.key === "Escape" && slider.value !== slider.dataset.start) {
      slider.value = slider.dataset.start;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
}
