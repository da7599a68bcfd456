"""How soon a live face answers, how soon it falls silent, and whether picture and voice stay together.

Starts the server as a process of its own and talks to it on this machine, through WebRTC and the WebSocket, with the
bundled voice, 20 ms at a time as a microphone gives it. What counts is what the client has decoded:

* answer: from the start of the sound until a picture whose mouth differs from all idle ones before;
* interruption: from `clear` until the mouth is again as it is while idling;
* offset: how much later a picture is decoded than the sound of the same moment;
* late frames: those that the server had to repeat, in the sessions that speak all the time and at once.

example:
  python -m benchmarks.live --trials 20 --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.live.clients import VOICE_RATE, LiveClient, Seen, WebRtcClient, WebSocketClient
from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from emo_rt.bundled import VOICE
from emo_rt.media.sound import read_voice

CLIENTS: dict[str, Callable[[str], LiveClient]] = {"WebRTC": WebRtcClient, "WebSocket": WebSocketClient}
#: Seconds of a trial's speech, of speech before an interruption, and of the idling after both.
SPEECH, BEFORE_CLEAR, _IDLE = 2.0, 1.6, 2.5
#: Rows and columns of the mouth, shares of the picture's side.
_ROWS, _COLUMNS = (0.52, 0.78), (0.32, 0.68)
#: Seconds that sound is on its way when the microphone has fallen silent; what comes after an interruption is answered.
ON_ITS_WAY = 0.15
#: Share of the widest movement of a voice below which a mouth counts as closed.
_CLOSED = 0.2
#: Sound below which the voice has not begun.
_SILENT = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20, help="of each measurement (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of speech without a pause (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="model bundle (default: the bundled one)")
    parser.add_argument("--serve", default="", help="further options of the server, such as '--quality fast'")
    parser.add_argument("--out", type=Path, default=results_file("live"), help="JSON to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    results = asyncio.run(_measure(options))
    write_results(options.out, results)
    for name, figures in results.items():
        print(f"{name}: {figures}")
    return 0


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    words = options.serve.split() + (["--bundle", str(options.bundle)] if options.bundle else [])
    results: dict[str, Any] = {"machine": machine_facts(), "options": words}
    async with server(words) as address:
        for name, client in CLIENTS.items():
            results[name] = await _talks(client(address), options.trials, name)
        rated = await _rated(address)
        results["rated_sessions"] = rated
        results["all_speak"] = await _all_speak(address, rated, options.minutes)
    return results


@contextlib.asynccontextmanager
async def server(words: Sequence[str]) -> AsyncIterator[str]:
    """A server of its own that has measured its machine; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "emo_rt", "serve", "--port", "0", "--folder", folder, *words]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            address = None
            while address is None:
                line = await asyncio.wait_for(process.stdout.readline(), 60)
                if not line:
                    raise SystemExit((await process.stderr.read()).decode())
                if found := re.search(r"http://[^ /]+", line.decode()):
                    address = found[0]
            drained = asyncio.create_task(process.stderr.read())
            while not await _rated(address):
                await asyncio.sleep(1)
            yield address
            process.terminate()
            await process.wait()
            drained.cancel()
        finally:
            if process.returncode is None:
                process.kill()


def _get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


async def _rated(address: str) -> int:
    text = await asyncio.to_thread(_get, f"{address}/metrics")
    return int(float(re.findall(r"^emo_rt_live_rated (\S+)", text, re.M)[0]))


async def _late(address: str) -> int:
    text = await asyncio.to_thread(_get, f"{address}/metrics")
    return int(float(re.findall(r"^emo_rt_live_late_frames_total (\S+)", text, re.M)[0]))


def spoken(seconds: float) -> np.ndarray:
    """The bundled voice from its first sound on, over and over, float32 (samples,)."""
    voice = read_voice(VOICE, VOICE_RATE)
    voice = voice[int(np.argmax(np.abs(voice) > _SILENT)) :]
    return np.resize(voice, round(seconds * VOICE_RATE))


async def _talks(client: LiveClient, trials: int, name: str) -> dict[str, Any]:
    answers, interruptions = [], []
    await client.start()
    await asyncio.sleep(2 * _IDLE)  # while the idle loop is generated
    for _ in tqdm(range(trials), desc=name, unit="trial"):
        began = await client.say(spoken(SPEECH))
        await asyncio.sleep(SPEECH + _IDLE)
        answers.append(first_movement(client.record.pictures, began))
        began = await client.say(spoken(BEFORE_CLEAR + 0.4))
        await asyncio.sleep(BEFORE_CLEAR)
        client.microphone.stop()
        await asyncio.sleep(ON_ITS_WAY)
        asked = time.monotonic()
        await client.clear()
        await asyncio.sleep(_IDLE)
        interruptions.append(last_movement(client.record.pictures, began, asked))
    offset = offsets(client)
    await client.stop()
    return {
        "answer_ms": percentiles(answers),
        "interruption_ms": percentiles(interruptions),
        "offset_ms": percentiles(offset),
    }


def movements(pictures: Sequence[Seen], began: float) -> tuple[np.ndarray, np.ndarray, float]:
    """How much each mouth differs from those that idled before `began`.

    Returns:
        when each picture after `began` was decoded, how much its mouth differs, and the most that an idle one does
    """
    side = pictures[-1].picture.shape[0]
    rows, columns = (slice(*(round(side * share) for share in part)) for part in (_ROWS, _COLUMNS))
    idle = [seen.picture[rows, columns].astype(float) for seen in pictures if began - 1 < seen.arrived <= began]
    usual = np.median(idle, axis=0)
    after = [seen for seen in pictures if seen.arrived > began]
    differs = np.array([np.abs(seen.picture[rows, columns] - usual).mean() for seen in after])
    most = max(float(np.abs(each - usual).mean()) for each in idle)
    return np.array([seen.arrived for seen in after]), differs, 1.2 * most + 0.5


def first_movement(pictures: Sequence[Seen], began: float) -> float:
    """Milliseconds from `began` until a mouth moves; NaN if none does."""
    arrived, differs, most = movements(pictures, began)
    moved = np.flatnonzero(differs > most)
    return 1e3 * float(arrived[moved[0]] - began) if len(moved) else float("nan")


def last_movement(pictures: Sequence[Seen], began: float, asked: float) -> float:
    """Milliseconds from `asked` until a mouth that moved then is closed; NaN if none moved then."""
    arrived, differs, most = movements(pictures, began)
    open_mouth = differs > most + _CLOSED * (differs.max() - most)
    moved = np.flatnonzero(open_mouth & (arrived > asked - 0.1))
    if not len(moved):
        return float("nan")
    next_one = arrived[min(moved[-1] + 1, len(arrived) - 1)]
    return max(1e3 * float(next_one - asked), 0.0)


def offsets(client: LiveClient) -> list[float]:
    """Milliseconds by which each picture is decoded later than the sound of the same moment."""
    ends = np.array([sound.at + sound.seconds for sound in client.record.sounds])
    arrived = np.array([sound.arrived for sound in client.record.sounds])
    first = min(client.record.pictures[0].at, client.record.sounds[0].at)
    result = []
    for seen in client.record.pictures:
        index = int(np.searchsorted(ends, seen.at + (client.record.sounds[0].at - first)))
        if index < len(ends):
            result.append(1e3 * float(seen.arrived - arrived[index]))
    return result


async def _all_speak(address: str, sessions: int, minutes: float) -> dict[str, Any]:
    """The rated number of sessions, all of which speak all the time, and one more that asks to come in."""
    kinds = itertools.islice(itertools.cycle(CLIENTS.values()), sessions)
    clients: list[LiveClient] = [kind(address) for kind in kinds]
    await asyncio.gather(*(client.start() for client in clients))
    await asyncio.sleep(3 * _IDLE)
    refused = None
    try:
        await asyncio.wait_for(WebSocketClient(address).start(), 30)
    except ConnectionError as error:
        refused = str(error)
    late = await _late(address)
    started = time.monotonic()
    await asyncio.gather(*(client.say(spoken(60 * minutes)) for client in clients))
    for _ in tqdm(range(round(60 * minutes)), desc=f"{sessions} speak", unit="s"):
        await asyncio.sleep(1)
    seconds = time.monotonic() - started
    found = {
        "sessions": sessions,
        "seconds": round(seconds),
        "late_frames": await _late(address) - late,
        "frames_per_second": [
            round(sum(seen.arrived > started for seen in client.record.pictures) / seconds, 2) for client in clients
        ],
        "offset_ms_first_and_last_minute": [
            [percentiles(part)["p50"] for part in (offset[:1500], offset[-1500:])] for offset in map(offsets, clients)
        ],
        "one_more": refused,
    }
    for client in clients:
        await client.stop()
    return found


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and largest of some values."""
    return {f"p{p}": round(float(np.nanpercentile(values, p)), 1) for p in (50, 95, 100)}


if __name__ == "__main__":
    sys.exit(main())
