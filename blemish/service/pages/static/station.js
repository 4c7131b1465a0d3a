// What every page has: the colours, times in the reader's zone, errors told, work followed as it happens.

const MANNERS = {
  "": { dateStyle: "short", timeStyle: "medium" },
  time: { hour: "2-digit", minute: "2-digit" },
  date: { month: "short", day: "numeric" },
};
const THEMES = { "": "as the system", light: "light", dark: "dark" };

export const csrf = document.querySelector("meta[name=csrf]").content;

/** Tell the reader something in a corner, for a while. */
export function note(text, kind = "") {
  const line = document.createElement("p");
  line.className = `note ${kind}`;
  line.textContent = text;
  document.getElementById("notes").append(line);
  setTimeout(() => line.remove(), 8000);
}

/** The one line of a refusal of ours, whatever shape it came in. */
export function reason(text, status) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return status ? `The service answered ${status}.` : "The service does not answer.";
  }
}

/** A request as our pages make it; an error whose message can be shown unless it succeeds. */
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: { "X-CSRF-Token": csrf, ...options.headers } });
  } catch {
    throw new Error(reason("", 0));
  }
  if (answer.status === 401) location.reload(); // the session is over, and the page leads to a new one
  if (!answer.ok) throw new Error(reason(await answer.text(), answer.status));
  return answer;
}

/** Whether a key is meant for a field rather than for the page. */
export function isTyping(event) {
  const { target } = event;
  return event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable
    || (target.matches("input, select, textarea") && !target.matches("[type=checkbox], [type=radio], [type=range]"));
}

function showTheme() {
  const chosen = document.documentElement.dataset.theme ?? "";
  document.getElementById("theme").setAttribute("aria-label", `Colours: ${THEMES[chosen]}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("theme", next);
  showTheme();
  note(`Colours: ${THEMES[next]}`);
}

function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const time = new Date(element.dateTime);
    element.dataset.local = "";
    element.title = element.textContent;
    element.textContent = time.toLocaleString(undefined, MANNERS[element.dataset.shows ?? ""]);
  }
}

// An element with `data-events` shows what the server sends as `job`; `end` is told to whoever waits for it.
function follow(root) {
  for (const element of root.querySelectorAll("[data-events]")) {
    const events = new EventSource(element.dataset.events);
    delete element.dataset.events;
    events.addEventListener("job", (event) => {
      element.innerHTML = event.data;
      globalThis.htmx?.process(element);
      localTimes(element);
    });
    events.addEventListener("end", (event) => {
      events.close();
      element.dispatchEvent(new CustomEvent("job:end", { bubbles: true, detail: event.data }));
    });
  }
}

document.getElementById("theme").addEventListener("click", nextTheme);
document.body.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRF-Token"] = csrf; });
document.body.addEventListener("htmx:responseError", ({ detail: { xhr } }) => note(reason(xhr.responseText, xhr.status), "bad"));
document.body.addEventListener("htmx:sendError", () => note(reason("", 0), "bad"));
document.body.addEventListener("htmx:load", ({ detail }) => {
  const root = detail.elt.parentElement ?? detail.elt;
  localTimes(root);
  follow(root);
});
showTheme();
localTimes(document);
follow(document);
