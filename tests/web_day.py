"""`python -m tests.web_day`: a day at a clinic's workstation, replayed fast, and its memory.

Per simulated hour: films are added (the given ones in turn, or drawn ones), each is looked at with
its worklist, pictures and slip, and phones ask every five seconds whether the list has changed.
Requests follow each other as fast as they are answered. Prints one line of JSON with the server's
and its workers' resident memory after each hour.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import httpx2

from tests.web_load import films_of, resident_megabytes
from tests.web_station import start_server

_POLLS_PER_HOUR = 720


def main() -> int:
    """Replay and print; 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--films-per-hour", type=int, default=10)
    parser.add_argument("--phones", type=int, default=2)
    parser.add_argument("--films", type=Path, help="a folder of films (default: drawn ones)")
    args = parser.parse_args()
    films = films_of(args.films)
    began, failed, requests, curve = time.monotonic(), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        process, address = start_server(Path(folder) / "record")
        try:
            with httpx2.Client(base_url=address, timeout=60) as client:
                for hour in range(args.hours):
                    answers = _hour(client, films, hour, args.films_per_hour, args.phones)
                    requests += len(answers)
                    failed += sum(status >= 400 for status in answers)
                    curve.append(resident_megabytes(process.pid))
        finally:
            process.terminate()
            process.wait(20)
    result = {
        "hours": args.hours,
        "films_per_hour": args.films_per_hour,
        "requests": requests,
        "failed": failed,
        "seconds": round(time.monotonic() - began),
        "server_mb": [memory["server"] for memory in curve],
        "with_workers_mb": [memory["with_workers"] for memory in curve],
    }
    print(json.dumps(result))
    return 1 if failed else 0


def _hour(
    client: httpx2.Client, films: list[bytes], hour: int, count: int, phones: int
) -> list[int]:
    """The statuses of an hour's answers."""
    polls = phones * _POLLS_PER_HOUR // max(1, count)
    found = []
    for n in range(count):
        film = films[(hour * count + n) % len(films)]
        added = client.post("/api/v1/studies", params={"patient": f"{hour}-{n}"}, content=film)
        study = f"/studies/{added.json()['id']}"
        paths = ("/", study, f"{study}/small.jpg", f"{study}/picture.jpg", f"{study}/slip")
        found += [added.status_code, *(client.get(path).status_code for path in paths)]
        counter = hour * count + n
        found += [client.get(f"/changes?since={counter}").status_code for _ in range(polls)]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
