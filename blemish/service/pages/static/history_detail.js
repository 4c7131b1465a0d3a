// One inspection: its map, the way to its neighbours, and what is said of it, by keys.

import { isTyping } from "./station.js";
import * as stage from "./stage.js";

const STEPS = { j: "older", arrowright: "older", k: "newer", arrowleft: "newer", escape: "list" };
const REVIEWS = { f: "false_alarm", m: "missed_defect", c: "confirmed", u: "none" };

function press(event) {
  if (isTyping(event)) return;
  const name = event.key.toLowerCase();
  if (event.target.matches("[type=range]") && name.startsWith("arrow")) return;
  if (STEPS[name]) document.querySelector(`a[data-step=${STEPS[name]}]`)?.click();
  else if (REVIEWS[name]) document.querySelector(`[data-say=${REVIEWS[name]}]`)?.click();
  else if (!stage.key(name === "o" ? "c" : name)) return;
  event.preventDefault();
}

document.addEventListener("keydown", press);
