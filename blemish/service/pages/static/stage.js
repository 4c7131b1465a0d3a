// The slider and the contours of every image under its map; regions of the list are marked in the image.

const settings = { heat: localStorage.getItem("heat") ?? "60", contours: localStorage.getItem("contours") ?? "true" };

/** Show the map as strongly as was chosen last. */
export function apply(root) {
  for (const stage of root.querySelectorAll("[data-stage]")) {
    stage.style.setProperty("--heat", settings.heat / 100);
    stage.classList.toggle("plain", settings.contours !== "true");
    stage.querySelector("[data-heat]").value = settings.heat;
    stage.querySelector("[data-contours]").checked = settings.contours === "true";
  }
}

export function choose(name, value) {
  settings[name] = String(value);
  localStorage.setItem(name, settings[name]);
  apply(document);
}

/** Keys: the map on and off, the contours on and off. */
export function key(name) {
  if (name === "h") choose("heat", settings.heat === "0" ? "60" : "0");
  else if (name === "c") choose("contours", settings.contours !== "true");
  else return false;
  return true;
}

function mark(event, on) {
  const entry = event.target.closest("[data-mark]");
  const rect = entry?.closest(".seen")?.querySelector(`rect[data-region="${entry.dataset.mark}"]`);
  rect?.classList.toggle("marked", on);
}

document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-heat]")) choose("heat", target.value);
  if (target.matches("[data-contours]")) choose("contours", target.checked);
});
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => mark(event, true));
for (const name of ["pointerout", "focusout"]) document.addEventListener(name, (event) => mark(event, false));
apply(document);
document.body.addEventListener("htmx:load", () => apply(document));
