"""`python -m tests.web_pages`: what pages weigh, and how fast a study opens on a slow phone.

The shipped bundle in a server of its own, a real Chromium: bytes over the line with an empty cache,
then a study's page with the processor 4 times slower and 1 Mbit/s with 40 ms, its cache empty and
filled. Prints one line of JSON; milliseconds are medians with the range.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import httpx2

from tests.chromium import chromium
from tests.web_load import a_picture
from tests.web_station import served

_BYTES_PER_SECOND = 1_000_000 / 8


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=9)
    parser.add_argument("--film", type=Path, help="a film to open (default: a drawn one)")
    args = parser.parse_args()
    content = a_picture(1) if args.film is None else args.film.read_bytes()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder) / "record") as address,
        chromium() as browser,
    ):
        for _ in range(30):  # a full page of the worklist
            answer = httpx2.post(f"{address}/api/v1/studies", content=content, timeout=60)
        study = f"/studies/{answer.json()['id']}"
        pages = ("/", study, f"{study}/slip", "/about", "/phone/")
        result = {
            "decision": answer.json()["decision"],
            "bytes": {
                page.replace(study, "study"): weight(browser, address + page) for page in pages
            },
            "slow_phone_ms": {
                name: opening_ms(browser, address, study, args.loads, is_warm=is_warm)
                for name, is_warm in (("empty cache", False), ("after the worklist", True))
            },
            "loads": args.loads,
        }
    print(json.dumps(result))
    return 0


def weight(browser: Any, url: str) -> int:
    """Bytes over the line, headers included, of a page and all that it loads at once."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    line, sizes = context.new_cdp_session(page), list[float]()
    line.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    line.send("Network.enable")
    page.goto(url, wait_until="networkidle")
    context.close()
    return round(sum(sizes))


def opening_ms(
    browser: Any, address: str, study: str, loads: int, *, is_warm: bool
) -> dict[str, list[float]]:
    """Until the page can be read, and until its small picture is there: median, least, most."""
    found: dict[str, list[float]] = {"page": [], "small_picture": []}
    for _ in range(loads):
        context = browser.new_context(viewport={"width": 360, "height": 740})
        page = context.new_page()
        line = context.new_cdp_session(page)
        if is_warm:
            page.goto(address, wait_until="networkidle")
        line.send("Network.enable")
        limits = {"downloadThroughput": _BYTES_PER_SECOND, "uploadThroughput": _BYTES_PER_SECOND}
        line.send("Network.emulateNetworkConditions", {"offline": False, "latency": 40, **limits})
        line.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        page.goto(address + study, wait_until="domcontentloaded")
        page.locator("#picture").wait_for()
        found["page"].append(page.evaluate(_READABLE))
        page.wait_for_load_state("networkidle")
        found["small_picture"].append(page.evaluate(_SMALL_PICTURE))
        context.close()
    return {
        name: [round(f(times)) for f in (statistics.median, min, max)]
        for name, times in found.items()
    }


_READABLE = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
_SMALL_PICTURE = (
    "performance.getEntriesByType('resource')"
    ".find(one => one.name.endsWith('small.jpg')).responseEnd"
)


if __name__ == "__main__":
    raise SystemExit(main())
