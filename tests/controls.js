// What controls.py asks of a page; in every page before its own programs run.
window.explored = {
  changes: 0,

  /** Every control that can be used, with a key without numbers and names; each choice of a list is one by itself. */
  controls() {
    const kind = location.pathname.replace(/^(\/\w+\/)[^/]+/, "$1*");
    const plain = (text) => text.replace(/\b[0-9a-f]{12}\b|[\d.,:]+/g, "#").replace(/\s+/g, " ").trim().slice(0, 40);
    const place = (element) => {
      const names = [];
      for (let at = element; at && at !== document.documentElement; at = at.parentElement) {
        names.unshift(at.localName + (at.id && !/\d/.test(at.id) ? `#${at.id}` : ""));
      }
      return names.join(">");
    };
    const isShown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length;
    const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, li[tabindex='0']";
    const found = [];
    for (const element of (document.querySelector("dialog[open]") ?? document).querySelectorAll(wanted)) {
      if (!isShown(element) || element.disabled || element.readOnly || element.closest("#swagger")) continue;
      if (element.type === "radio" && element.checked) continue;
      const label = [...(element.labels?.[0]?.childNodes ?? [])].filter((one) => one.nodeType === Node.TEXT_NODE);
      const own = element.matches("select, textarea") ? "" : element.textContent;
      const words = element.ariaLabel || label.map((one) => one.data).join("") || own;
      const what = [element.type ?? "", element.name ?? "", element.dataset.say ?? "", plain(words)];
      const key = [element.closest("main") ? kind : "", place(element), ...what].filter(Boolean).join(" ");
      const choices = element.localName === "select"
        ? [...element.options].flatMap((option, index) => (option.selected ? [] : [[index, plain(option.text)]]))
        : [[-1, ""]];
      for (const [choice, text] of choices) found.push({ element, choice, key: `${key} ${text}`.trim() });
    }
    return found;
  },

  facts: (element) => ({
    tag: element.localName,
    type: element.type ?? "",
    name: element.name ?? "",
    accept: element.accept ?? "",
    value: element.value ?? "",
    max: element.max ?? "",
    isOff: element.getBoundingClientRect().right <= 0,
    sends: element.matches("button[type=submit], button:not([type])"),
  }),

  /** What may send a field: the buttons near it, and choices of files. */
  carriers: (element) =>
    [...((element.closest("form") ?? element.closest("section"))?.querySelectorAll("button, [type=file]") ?? [])]
      .filter((one) => one !== element && one.checkVisibility() && !one.disabled),

  /** The empty fields that a button's form needs. */
  required: (button) => [...(button.form?.elements ?? [])].filter((one) => one.required && !one.value),

  links: () => [...document.querySelectorAll("a[href]:not([download])")].map((one) => one.href.split("#")[0]),

  /** Whether no work is under way. */
  isIdle: () => ![...document.querySelectorAll("progress")].some((one) => one.checkVisibility()),

  /** Whether nothing changes for so many ms. */
  async isStill(time) {
    const before = this.changes;
    await new Promise((resolve) => setTimeout(resolve, time));
    return document.readyState === "complete" && this.changes === before;
  },
};
new MutationObserver((found) => { window.explored.changes += found.length; })
  .observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
