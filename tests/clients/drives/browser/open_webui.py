"""Open WebUI's page in a real Chromium: a model chosen, an answer read as it appears, and a tool used."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

#: Keeps every text that the last answer shows, in order.
WATCH = """() => {
  const seen = window.seenTexts = [];
  new MutationObserver(() => {
    const text = [...document.querySelectorAll(".chat-assistant")].at(-1)?.innerText.trim();
    if (text && text !== seen.at(-1)) seen.push(text);
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}"""
PATIENCE = 60_000  # milliseconds, for every step


def opened(page: Page) -> None:
    """A new chat."""
    page.goto(os.environ["OPEN_WEBUI_URL"])
    page.wait_for_selector("#chat-input")


def choose(page: Page, model: str) -> list[str]:
    """Pick a model in the page's list; the list."""
    page.locator("#model-selector-model-button").click()
    row = page.locator(f'[role="option"][data-value="{model}"]')
    row.wait_for()
    listed = page.locator('[role="option"]').evaluate_all("rows => rows.map(row => row.dataset.value)")
    row.click()
    return list(listed)


def ask(page: Page, question: str, last: str) -> list[str]:
    """Type a question; the texts its answer went through, until it ends with `last`."""
    page.evaluate(WATCH)
    page.locator("#chat-input").click()
    page.keyboard.type(question)
    page.keyboard.press("Enter")
    page.locator(".chat-assistant").filter(has_text=last).wait_for()
    return list(page.evaluate("() => window.seenTexts"))


def drive(page: Page) -> dict[str, Any]:
    """Everything that is told."""
    opened(page)
    listed = choose(page, "quiet:latest")
    count = ask(page, "Count from 1 to 100.", "99, 100.")
    opened(page)
    choose(page, "forecast")
    weather = ask(page, "What is the weather in Paris?", "21 degrees")
    return {"listed": listed, "count": count, "weather": weather}


def main() -> None:
    """Drive it; a picture of the page is left where something went wrong."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.set_default_timeout(PATIENCE)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        try:
            told = drive(page)
        except Exception:
            page.screenshot(path=Path.home() / "page.png")
            sys.stderr.write(f"{page.inner_text('body')}\n{faults}\nsee {Path.home() / 'page.png'}\n")
            raise
        sys.stdout.write("\n" + json.dumps(told | {"faults": faults}) + "\n")


main()
