"""The command `emo-rt serve`: the server, its options, and its end."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import platformdirs

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE
from emo_rt.console import CommandParser, lasting_stderr, say
from emo_rt.errors import EmoError, InputError, reason
from emo_rt.jobs.options import add_plan_options, add_sampling_options, generation_options
from emo_rt.jobs.parsing import parse_positive, parse_whole
from emo_rt.jobs.session import Session
from emo_rt.serve.settings import Settings, parse_age, parse_bytes
from emo_rt.stopping import STOPPED, Process, heard_signals

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

#: Packages of the extra `serve`, and where the token may be.
NEEDED = ("aiortc", "fastapi", "prometheus_client", "python_multipart", "uvicorn", "websockets")
TOKEN_VARIABLE = "EMO_RT_TOKEN"
#: Seconds for which answers that are being sent are waited for when the server stops.
LAST_ANSWERS = 5
#: Seconds after which a WebSocket whose client is silent is asked whether it is there, and waits for the answer.
PING = 4.0
#: Connections at once, at most.
_CONNECTIONS = 1000
_DEFAULTS = Settings(Path())

_DESCRIPTION = """\
Serves a page and an HTTP API that turn portraits and voices into talking videos.

examples:
  {prog}
  {prog} --port 9000 --folder /srv/emo-rt --quota 50G --keep 1d
  {prog} --host 0.0.0.0 --token-file token.txt
  {prog} --ray auto --replicas 8

  curl -F image=@me.jpg -F audio=@hello.wav http://127.0.0.1:8000/v1/videos

It is reached from this machine alone, unless --host says otherwise. Videos wait in
a queue that outlasts a restart. Ctrl-C or SIGTERM stops it after the current clip."""


def main(arguments: Sequence[str] | None = None, prog: str = "emo-rt serve") -> int:
    """Runs the server until a signal ends it.

    Args:
        arguments: words after the command; None for the process's own
        prog: command as the user typed it, for the help

    Returns:
        The exit code: 0 after a signal, 2 for what the user can put right.
    """
    with lasting_stderr():
        try:
            _serve(_parser(prog).parse_args(arguments))
        except EmoError as error:
            say(f"emo_rt: error: {error}")
            return 2
        except KeyboardInterrupt:
            say("emo_rt: stopped")
            return STOPPED
    return 0


def _serve(options: argparse.Namespace) -> None:
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError("the server needs packages that are not installed: pip install 'emo-rt[serve]'")
    settings = _settings(options)
    if options.replicas and not options.ray:
        raise InputError(f"--replicas {options.replicas}: they are on a cluster; give its address with --ray")
    bundle = Bundle.load(options.bundle, validated=not options.unvalidated)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings))
        from emo_rt.serve.app import create_app
        from emo_rt.serve.logs import log_to_stderr

        if options.ray:
            session, replicas = stack.enter_context(_on_cluster(bundle, options))
        else:
            session, replicas = Session(bundle, generation_options(options), provenance=True), 0
        app = create_app(settings, session, replicas)
        log_to_stderr()
        server = make_server(app, settings)
        if not settings.is_local and settings.token is None:
            say(
                f"emo_rt: warning: everybody who reaches {settings.host} can use this server and see all its videos; "
                f"give a token with --token-file or {TOKEN_VARIABLE}"
            )
        server.run([listener])
    if (app.state.live.preparing or not app.state.workers.ended) and Process.own:
        sys.stdout.flush()
        os._exit(0)  # what still computes is not waited for; its clips are kept


@contextlib.contextmanager
def _on_cluster(bundle: Bundle, options: argparse.Namespace) -> Iterator[tuple[Session, int]]:
    """A session whose clips replicas on a Ray cluster make, while the block lasts, and their number.

    Plans are chosen by the costs of this machine.
    """
    from emo_rt.cluster.clips import ClusterCascade, ReplicaSetup, replicas_of
    from emo_rt.cluster.connection import connected
    from emo_rt.cluster.shared_bundle import SharedBundle

    with connected(options.ray) as ray:
        asked = generation_options(options)
        threads = asked.threads or 1
        alone = replace(asked, threads=threads)
        plan = Session(bundle, alone, verbose=True).plan(predicted=False)
        setup = ReplicaSetup(SharedBundle.of(bundle, validated=not options.unvalidated), plan.backend, threads)
        with replicas_of(ray, setup, options.replicas) as replicas:
            cascade = ClusterCascade(bundle, replicas)
            yield Session(bundle, alone, provenance=True, plan=plan, cascade=cascade), replicas.number


def make_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """The HTTP server of an application; `run` it with a socket of `listen`."""
    import uvicorn

    class Server(uvicorn.Server):
        """Says its address once it answers; the first signal ends it when its work is safe, the second one at once."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and sockets:
                name = app.state.session.bundle.manifest.name
                say(f"emo-rt serves {name} at {_address(sockets[0])} (Ctrl-C stops it)", sys.stdout)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await app.state.live.close_all("the server stops")
            await super().shutdown(sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in heard_signals()}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                os._exit(STOPPED)
            app.state.workers.stop()
            self.should_exit = True

    config = uvicorn.Config(
        app,
        http="h11",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=16 * 2**10,
        ws_max_size=2**20,
        ws_ping_interval=PING,
        ws_ping_timeout=PING,
    )
    return Server(config)


def listen(settings: Settings) -> socket.socket:
    """A socket that is bound to the host and the port."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":  # there, two servers would share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        name = f"--host {settings.host} --port {settings.port}"
        raise InputError(f"{name}: cannot be listened at ({reason(error)}); choose others") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        folder=options.folder or Path(platformdirs.user_data_dir("emo-rt")) / "server",
        host=options.host,
        port=options.port,
        token=_token(options.token_file),
        max_upload_bytes=options.max_upload,
        max_pixels=options.max_pixels,
        max_seconds=options.max_seconds,
        quota_bytes=options.quota,
        keep_seconds=options.keep,
    )


def _token(file: Path | None) -> str | None:
    """The token in a file or in the environment; never one of the command line, which other users can read."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"token file {file}: cannot be read ({reason(error)})") from error


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog,
        description=_DESCRIPTION.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --token is no way to give one
    )
    parser.add_argument("--version", action="version", version=f"emo-rt {version('emo-rt')}")
    add = parser.add_argument_group("server").add_argument
    add("--host", default=_DEFAULTS.host, help="address to listen at (default: %(default)s)")
    port = "TCP port; 0 for any that is free (default: %(default)s)"
    add("--port", type=partial(parse_whole, name="--port", smallest=0, largest=65535), default=8000, help=port)
    token = f"file with the token that clients send as bearer token (default: the variable {TOKEN_VARIABLE}, or none)"
    add("--token-file", type=Path, metavar="FILE", help=token)
    cluster = "make clips on the Ray cluster at HOST:PORT; auto finds it, local starts one (needs emo-rt[ray])"
    add("--ray", metavar="ADDRESS", help=cluster)
    replicas = "processes of the cluster that make clips (default: those that run, or as many as fit)"
    add("--replicas", type=partial(parse_whole, name="--replicas", smallest=1), metavar="N", help=replicas)
    folder = "directory of uploads, videos and the queue (default: in the user's data directory)"
    add("--folder", type=Path, metavar="DIR", help=folder)
    add = parser.add_argument_group("limits").add_argument
    upload = "bytes of the largest request (default: 100M)"
    add("--max-upload", type=partial(parse_bytes, name="--max-upload"), default="100M", metavar="SIZE", help=upload)
    pixels = "pixels of the largest picture (default: %(default)s)"
    whole = partial(parse_whole, name="--max-pixels", smallest=1)
    add("--max-pixels", type=whole, default=_DEFAULTS.max_pixels, metavar="N", help=pixels)
    seconds = "seconds of the longest voice (default: %(default)g)"
    longest = partial(parse_positive, name="--max-seconds")
    add("--max-seconds", type=longest, default=_DEFAULTS.max_seconds, metavar="SECONDS", help=seconds)
    quota = "bytes that the folder may hold; the oldest finished videos make room (default: 10G)"
    add("--quota", type=partial(parse_bytes, name="--quota"), default="10G", metavar="SIZE", help=quota)
    keep = "time for which finished videos and portraits are kept (default: 7d)"
    add("--keep", type=partial(parse_age, name="--keep"), default="7d", metavar="AGE", help=keep)
    add_plan_options(parser.add_argument_group("plan").add_argument)
    add_sampling_options(parser.add_argument_group("generation").add_argument)
    add = parser.add_argument_group("model").add_argument
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="model bundle (default: emo-photo)")
    unvalidated = "serve a bundle that differs too much from the model that it was exported from"
    add("--unvalidated", action="store_true", help=unvalidated)
    return parser
