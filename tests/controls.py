"""Tries every control of every page in a real browser, as a stranger would: each one has to do something.

From the first page on, every link is followed. On each page every button, link, field and choice is used once, by real
clicks and keys on a freshly loaded page; what appears then (a bar, a dialog, a card) is tried from there. Something
happens if a request leaves, the document changes, the address changes, or the browser asks or downloads. A field may
do nothing by itself where a button near it sends what it holds.

Pages that differ in numbers and names alone count as one, and so do controls, as in the rows of a list. What asks
before it acts is refused at first and confirmed at the end, since what it removes is needed until then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from playwright.sync_api import Browser, Dialog, ElementHandle, Error, FileChooser, Request, Response

# ms: the longest wait for a click, for work under way, for an effect, for that of a field alone; calm; between looks
ACTION, WORK, EFFECT, ALONE, QUIET, STEP = 20_000, 120_000, 6000, 2500, 120, 20
TRIES = 3
DEEPEST = 4  # controls that lead from a loaded page to another one
REFUSED = (400, 401, 409, 413, 422)  # answers to nonsense that a control may lead to; 404 and 5xx are faults
FACTS = "(element) => explored.facts(element)"


@dataclass(frozen=True)
class Step:
    """One control of a loaded page, and those that were used before it."""

    address: str
    path: tuple[str, ...]

    @property
    def before(self) -> Step:
        return Step(self.address, self.path[:-1])

    def __str__(self) -> str:
        return f"{self.address}: " + " -> ".join(self.path)


@dataclass
class Control:
    """An element as it is at the moment; of a list of choices one of them."""

    element: ElementHandle
    choice: int
    facts: dict[str, Any]

    @property
    def is_field(self) -> bool:
        return self.facts["tag"] in ("input", "select", "textarea")

    def use(self, text: str, file: Path) -> None:
        """As a person does, with mouse and keys; `text` is for fields of text, `file` for those of files."""
        if self.choice >= 0:
            self.element.select_option(index=self.choice)
        elif self.facts["type"] == "file":
            self.element.set_input_files(file)
        elif self.facts["type"] == "range":
            self.element.press("ArrowLeft" if self.facts["value"] == self.facts["max"] else "ArrowRight")
        elif self.is_field and self.facts["type"] not in ("checkbox", "radio"):
            self.element.fill(text)
        elif self.facts["tag"] == "li":
            self.element.hover()
        elif self.facts["isOff"]:  # the link past the navigation, which keys alone reach
            self.element.press("Enter")
        else:
            self.element.click()


@dataclass
class Seen:
    """What happened since a control was used."""

    requests: list[Request] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # by the browser: a question, a choice of files, a download


class Explorer:
    """Finds pages and controls; `dead` has those that did nothing, `faults` what the browser complained of."""

    def __init__(
        self, browser: Browser, url: str, token: str, image: Path, archive: Path, restore: Callable[[], None]
    ) -> None:
        self.url, self.token, self.image, self.archive, self._restore = url, token, image, archive, restore
        self.page = browser.new_context(base_url=url, viewport={"width": 1440, "height": 1000}).new_page()
        self.tried: dict[str, str] = {}  # key of a control, and what it did
        self.pages: set[str] = set()  # kinds of pages
        self.dead: list[str] = []
        self.faults: list[str] = []
        self._misses = Counter[str]()
        self._asking: list[Step] = []
        self._links: set[str] = set()
        self._seen, self._open, self._step = Seen(), set[Request](), Step("/", ())
        self._confirms = False
        self._loading = ""
        self._marks = 0
        self._listen()

    # -- the walk

    def explore(self, *addresses: str) -> None:
        """Everything that can be reached from there."""
        waiting = self._new_pages(addresses)
        while waiting:
            steps = self._uncovered(Step(waiting.pop(0), ()))
            while steps:
                steps += self._try(steps.pop(0))
            waiting += self._new_pages(sorted(self._links))

    @property
    def missed(self) -> list[str]:
        """What was there once and could not be found again."""
        return [key for key, effect in self.tried.items() if not effect and key not in self.dead]

    def confirm(self) -> None:
        """Use again what asked, and say yes."""
        self._confirms = True
        steps = [*self._asking]
        while steps:
            steps += self._try(steps.pop(0))

    def _new_pages(self, addresses: Iterable[str]) -> list[str]:
        found = []
        for address in (urljoin(self.url, address) for address in addresses):
            if urlsplit(address).netloc == urlsplit(self.url).netloc and kind(address) not in self.pages:
                self.pages.add(kind(address))
                found.append(address)
        return found

    def _uncovered(self, step: Step) -> list[Step]:
        """The controls that are there after `step` and were not tried."""
        return self._new(step) if self._reach(step) else []

    def _new(self, step: Step) -> list[Step]:
        found = []
        for key in self.page.evaluate("explored.controls().map((one) => one.key)"):
            if key not in self.tried and len(step.path) < DEEPEST:
                self.tried[key] = ""
                found.append(Step(step.address, (*step.path, key)))
        return found

    # -- one control

    def _try(self, step: Step) -> list[Step]:
        """Use the last control of a step; what it uncovers."""
        self._step, key = step, step.path[-1]
        control = self._find(key) if self._reach(step.before) else None
        if control is None:  # what was used before has taken it away
            self._restore()
            alone = Step(step.address, (key,))
            step = next((way for way in (step, alone) if self._reach(way.before) and self._find(key)), step)
            control = self._find(key)
        if control is None:  # it may be found again where the way to it has another name by now
            self._misses[key] += 1
            if self._misses[key] < TRIES:
                del self.tried[key]
            return []
        address = self.page.url
        effect = self._use(control)
        if not effect and control.is_field:
            self.tried[key] = self._carried(step)
            if not self.tried[key]:
                self.dead.append(key)
            return []  # what is there now, a button has uncovered
        self.tried[key] = effect
        if not effect:
            self.dead.append(key)
        elif "question" in effect and not self._confirms:
            self._asking.append(step)
        self._calm()
        return self._new(step) if urlsplit(self.page.url)[:4] == urlsplit(address)[:4] else []

    def _use(self, control: Control) -> str:
        """Use it; what happened then."""
        if control.facts["sends"]:
            self._fill_required(control.element)
            self._calm()
        self._seen, address = Seen(), self.page.url
        before = self.page.evaluate("explored.changes")
        try:
            control.use(self._mark(control.facts), self._file(control.facts["accept"]))
        except Error as error:
            self.faults.append(f"{self._step}: {error.message}")
        for _ in range((ALONE if control.is_field else EFFECT) // STEP):
            if effect := self._effect(address, before):
                return effect
            self.page.wait_for_timeout(STEP)
        return ""

    def _effect(self, address: str, before: int) -> str:
        requests = [one for one in self._seen.requests if "/banner" not in one.url]  # asked again and again
        if self._seen.said:
            return ", ".join(self._seen.said)
        if requests:
            return f"{requests[0].method} {kind(requests[0].url)}"
        if self.page.url != address:
            return f"leads to {kind(self.page.url)}"
        with suppress(Error):
            return "changes the page" if self.page.evaluate("explored.changes") != before else ""
        return "leads away"

    def _carried(self, step: Step) -> str:
        """The first button near a field, or choice of files, that sends what the field holds."""
        for number in range(9):
            control = self._find(step.path[-1]) if self._reach(step.before) else None
            if control is None:
                break
            button = (
                control.element.evaluate_handle("(element) => explored.carriers(element)")
                .get_property(str(number))
                .as_element()
            )
            if button is None:
                break
            self._fill_required(button)
            mark = self._filled(control)
            self._use(Control(button, -1, {**button.evaluate(FACTS), "sends": False}))
            self._calm()
            for request in self._seen.requests:
                if mark in request.url or mark.encode() in (request.post_data_buffer or b""):
                    return f"goes along with {request.method} {kind(request.url)}"
        return ""

    def _filled(self, control: Control) -> str:
        """Fill a field; what a request holds then, and otherwise does not."""
        mark = self._mark(control.facts)
        control.use(mark, self._file(control.facts["accept"]))
        if control.choice >= 0:
            return str(control.element.evaluate("(element) => element.value"))
        if control.facts["type"] in ("checkbox", "file"):  # without the file there would be no request
            return str(control.facts["name"]) if control.facts["type"] == "checkbox" else ""
        return mark

    # -- help

    def _reach(self, step: Step) -> bool:
        """Load the page and use what comes before; false if it is not there any more."""
        with suppress(Error):  # the first page of all has none
            self.page.evaluate("localStorage.clear()")
        self._load(step.address)
        if "/login" in self.page.url and "/login" not in step.address:  # signed out by a control
            self.page.fill("[name=token]", self.token)
            self.page.press("[name=token]", "Enter")
            self.page.wait_for_url(lambda address: "/login" not in address)
            self._load(step.address)
        self._calm()
        for key in step.path:
            if (control := self._find(key)) is None:
                return False
            self._use(control)
            self._calm()
        return True

    def _load(self, address: str) -> None:
        """Open an address, which a control may have taken away: a model has another name by now."""
        self._loading = address
        if self._goes(address) == 404:
            self._restore()
            self._goes(address)
        self._loading = ""

    def _goes(self, address: str) -> int:
        for _ in range(TRIES):
            with suppress(Error):  # a page that loads itself anew because its work is done comes in between
                answer = self.page.goto(address)
                for _ in range(WORK // QUIET):  # work that ends changes the page, or loads it anew
                    if self.page.evaluate("explored.isIdle()"):
                        break
                    self.page.wait_for_timeout(QUIET)
                return 0 if answer is None else answer.status
        return 0

    def _find(self, key: str) -> Control | None:
        found = self.page.evaluate_handle("(key) => explored.controls().find((one) => one.key === key) ?? {}", key)
        element = found.get_property("element").as_element()
        return element and Control(element, found.evaluate("(one) => one.choice"), element.evaluate(FACTS))

    def _fill_required(self, button: ElementHandle) -> None:
        """The empty fields of its form that it needs."""
        for one in button.evaluate_handle("(button) => explored.required(button)").get_properties().values():
            if (element := one.as_element()) is not None:
                facts = element.evaluate(FACTS)
                text = self.token if facts["name"] == "token" else self._mark(facts)
                Control(element, -1, facts).use(text, self._file(facts["accept"]))

    def _mark(self, facts: dict[str, Any]) -> str:
        """A value that is nowhere else."""
        self._marks += 1
        kinds = {"number": f"{1 + self._marks / 100}", "datetime-local": f"2024-05-01T10:{self._marks % 60:02}:07"}
        return kinds.get(facts["type"], f"trial{self._marks}")

    def _file(self, accept: str) -> Path:
        return self.image if "image" in accept else self.archive

    def _calm(self) -> None:
        """Until nothing is under way and the page holds still."""
        for _ in range(2000 // QUIET):
            with suppress(Error):  # the page is being left
                if self.page.evaluate("(time) => explored.isStill(time)", QUIET) and not self._open:
                    break
        self._links |= set(self.page.evaluate("explored.links()"))

    # -- what the browser tells

    def _listen(self) -> None:
        page = self.page
        page.set_default_timeout(ACTION)
        page.add_init_script(path=Path(__file__).with_suffix(".js"))
        page.on("request", self._asked)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, self._ended)
        page.on("response", self._answered)
        page.on("dialog", self._question)
        page.on("filechooser", self._chooser)
        page.on("download", lambda _: self._seen.said.append("download"))
        page.on("pageerror", lambda error: self.faults.append(f"{self._step}: {error}"))
        page.on("console", self._told)

    def _asked(self, request: Request) -> None:
        self._seen.requests.append(request)
        if request.resource_type != "eventsource":
            self._open.add(request)

    def _ended(self, request: Request) -> None:
        self._open.discard(request)

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in REFUSED and response.url != self._loading:
            self.faults.append(f"{self._step}: {response.status} of {response.url}")

    def _told(self, message: Any) -> None:
        if message.type == "error" and not re.search(r"status of 4|Status Error Code 4", message.text):
            self.faults.append(f"{self._step}: {message.text}")

    def _question(self, dialog: Dialog) -> None:
        self._seen.said.append("question")
        if self._confirms:
            dialog.accept()
        else:
            dialog.dismiss()

    def _chooser(self, chooser: FileChooser) -> None:
        self._seen.said.append("choice of files")
        chooser.set_files(self._file(chooser.element.get_attribute("accept") or ""))


def kind(address: str) -> str:
    """An address without what differs between pages of one kind: numbers, names, values."""
    parts = urlsplit(urljoin("http://station/", address))
    asked = ",".join(sorted(name for name, _ in parse_qsl(parts.query)))
    return re.sub(r"^(/\w+/)[^/]+", r"\1*", parts.path) + (f"?{asked}" if asked else "")
