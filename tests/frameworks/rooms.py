"""Two ends of a LiveKit room in one process: what would need a server, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from livekit import rtc


class Bytes:
    """A byte stream, its writer and its reader."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.info = SimpleNamespace(attributes=attributes, stream_id=f"stream-{id(self)}")
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        await self._queue.put(data)

    async def aclose(self) -> None:
        await self._queue.put(None)

    def __aiter__(self) -> Bytes:
        return self

    async def __anext__(self) -> bytes:
        if (data := await self._queue.get()) is None:
            raise StopAsyncIteration
        return data


class Local:
    """The participant that a room belongs to."""

    def __init__(self, room: Room, identity: str) -> None:
        self.identity, self._room = identity, room
        self._rpc_handlers: dict[str, Callable[[Any], str]] = {}
        self.calls: list[tuple[str, str]] = []  # methods that it called, and what it said

    async def publish_track(self, track: object, options: object) -> SimpleNamespace:
        await asyncio.sleep(0.1)
        self._room.published.append(track)
        return SimpleNamespace(wait_for_subscription=lambda: asyncio.sleep(0))

    def register_rpc_method(self, method: str, handler: Callable[[Any], str]) -> None:
        self._rpc_handlers[method] = handler

    async def perform_rpc(self, *, destination_identity: str, method: str, payload: str) -> str:
        self.calls.append((method, payload))
        await asyncio.sleep(0.01)
        other = self._room.other
        assert other.local_participant.identity == destination_identity
        data = rtc.RpcInvocationData("request", self.identity, payload, 10)
        if method not in other.local_participant._rpc_handlers:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, f"no {method}")
        return other.local_participant._rpc_handlers[method](data)

    async def stream_bytes(self, *, topic: str, attributes: dict[str, str], **_: object) -> Bytes:
        stream = Bytes(attributes)
        self._room.other.streams[topic](stream, self.identity)
        return stream


class Room(rtc.EventEmitter[str]):
    """One end."""

    def __init__(self, identity: str) -> None:
        super().__init__()
        self.local_participant = Local(self, identity)
        self.remote_participants: dict[str, SimpleNamespace] = {}
        self.streams: dict[str, Callable[[Bytes, str], None]] = {}
        self.published: list[object] = []
        self.other = self

    def isconnected(self) -> bool:
        return True

    def register_byte_stream_handler(self, topic: str, handler: Callable[[Bytes, str], None]) -> None:
        self.streams[topic] = handler


def both_ends() -> tuple[Room, Room]:
    """The room as an agent sees it, and as its avatar does."""
    agent, avatar = Room("agent"), Room("avatar")
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    states = getattr(rtc, "ParticipantState", None)  # older ones have none
    active = states and states.PARTICIPANT_STATE_ACTIVE
    for room, other in ((agent, avatar), (avatar, agent)):
        room.other = other
        identity = other.local_participant.identity
        room.remote_participants[identity] = SimpleNamespace(identity=identity, kind=kind, state=active, attributes={})
    return agent, avatar
