"""`python -m tests.web_load`: many users at one workstation, on this machine, and what they wait.

A server of its own starts on loopback with the shipped bundle; each user looks at the worklist, a
study and its small picture, and now and then adds a picture of their own; they come one after
another over the first half minute. Times are those of whole
requests, connection included. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from edge_app.images.phantom import Phantom, draw_phantom
from tests.pictures import encoded
from tests.web_station import start_server

_PAUSE = (0.5, 1.5)  # seconds between two requests of one user
_SHARE_OF_UPLOADS = 0.1
_ARRIVING = 30.0  # seconds over which users come: each begins with a film of their own


def main() -> int:
    """Run; 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--films", type=Path, help="a folder of films (default: drawn ones)")
    args = parser.parse_args()
    films = films_of(args.films)
    with tempfile.TemporaryDirectory() as folder:
        process, address = start_server(Path(folder) / "record")
        try:
            seconds, errors = asyncio.run(_load(address, args.users, args.seconds, films))
            memory = resident_megabytes(process.pid)
        finally:
            process.terminate()
            process.wait(20)
    result = {
        "users": args.users,
        "seconds": args.seconds,
        "requests": {kind: len(times) for kind, times in seconds.items()},
        "errors": dict(errors),
        "ms": {
            kind: {f"p{q}": round(1000 * float(np.percentile(times, q))) for q in (50, 95, 99)}
            for kind, times in seconds.items()
            if times
        },
        "resident_mb": memory,
    }
    print(json.dumps(result))
    return 1 if errors else 0


async def _load(
    address: str, users: int, seconds: float, films: list[bytes]
) -> tuple[dict[str, list[float]], Counter[str]]:
    times: dict[str, list[float]] = {"worklist": [], "study": [], "small": [], "upload": []}
    errors: Counter[str] = Counter()
    async with httpx2.AsyncClient(base_url=address, timeout=30) as client:
        await client.post("/api/v1/studies", content=films[0])
        end = time.monotonic() + seconds
        tasks = [_user(client, times, errors, end, films, user) for user in range(users)]
        await asyncio.gather(*tasks)
    return times, errors


async def _user(
    client: httpx2.AsyncClient,
    times: dict[str, list[float]],
    errors: Counter[str],
    end: float,
    films: list[bytes],
    user: int,
) -> None:
    draw = random.Random(user)
    known: list[str] = []
    await asyncio.sleep(draw.uniform(0, _ARRIVING))
    while time.monotonic() < end:
        if draw.random() < _SHARE_OF_UPLOADS or not known:
            kind, request = "upload", client.build_request(
                "POST", "/api/v1/studies", content=draw.choice(films)
            )  # fmt: skip
        else:
            kind = draw.choice(("worklist", "study", "small"))
            paths = {"worklist": "/", "study": "/studies/{}", "small": "/studies/{}/small.jpg"}
            request = client.build_request("GET", paths[kind].format(draw.choice(known)))
        begin = time.perf_counter()
        try:
            answer = await client.send(request)
            times[kind].append(time.perf_counter() - begin)
            if answer.status_code >= 400:
                errors[f"{kind} {answer.status_code}"] += 1
            elif kind == "upload":
                known.append(answer.json()["id"])
        except httpx2.HTTPError as error:
            errors[f"{kind} {type(error).__name__}"] += 1
        await asyncio.sleep(draw.uniform(*_PAUSE))


def films_of(folder: Path | None) -> list[bytes]:
    """The files of a folder, or drawn films, which the shipped model does not take for real."""
    if folder is None:
        return [a_picture(seed) for seed in range(20)]
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


def a_picture(seed: int) -> bytes:
    """A drawn film of 512 pixels as JPEG."""
    return encoded(Image.fromarray(draw_phantom(Phantom(seed), 512, 512)), "JPEG", quality=90)


def resident_megabytes(pid: int) -> dict[str, float]:
    """Of the server, and of it with its workers (Linux); pages that both share count twice."""

    def resident(pid: int) -> float:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0.0
        line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "0 0")
        return int(line.split()[1]) / 1024

    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in path.read_text().split()] if path.is_file() else []
    server = resident(pid)
    return {
        "server": round(server),
        "with_workers": round(server + sum(map(resident, children))),
    }


if __name__ == "__main__":
    raise SystemExit(main())
