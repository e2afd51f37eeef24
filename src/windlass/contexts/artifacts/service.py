"""What can be done with artifacts. The door for others is ``api``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from windlass.contexts.artifacts import rows
from windlass.contexts.artifacts.collecting import Collected, Collector, Rounds
from windlass.contexts.artifacts.examining import Examiner
from windlass.contexts.artifacts.integrity import Integrity, key_of
from windlass.contexts.artifacts.model import (
    ANY_MIME,
    FILE,
    OBJECT,
    Artifact,
    ArtifactNotFound,
    ChecksumMismatch,
    FileMissing,
    Limits,
    MimeRefused,
    NotAFile,
    OutsideRoot,
    RunNotFound,
    Saved,
    artifact_id,
    check_file_name,
    check_metadata,
    check_mime,
    check_type,
    unique_names,
)
from windlass.contexts.artifacts.objects import Content, ObjectStore, Opened, new_key
from windlass.contexts.artifacts.saving import HERE
from windlass.contexts.artifacts.sealing import Sealer
from windlass.contexts.artifacts.zipped import Entry, archive
from windlass.engine.engine import Engine
from windlass.kernel.actors import Actor
from windlass.kernel.clock import to_iso
from windlass.kernel.errors import TooLarge, WindlassError
from windlass.kernel.stepping import step_info

PAGE = 500
ARCHIVED = 10_000
"""How many files an archive may have: its table of contents is kept in memory."""
ID_LENGTH = 200
Rows = list[dict[str, Any]]


class File(NamedTuple):
    """An artifact whose file is open: close it, or read it to its end."""

    artifact: Artifact
    opened: Opened


class Artifacts:
    """Artifacts of one database and one store.

    Args:
        engine: reads and writes; its clock is the one.
        store: where contents are kept.
        limits: sizes, media types and times.
        sealer: encrypts metadata.
    """

    def __init__(
        self, engine: Engine, store: ObjectStore, limits: Limits | None = None, sealer: Sealer | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.integrity = Integrity(store)
        self.examiner = Examiner(engine, store, self._tell)
        self._engine = engine
        self._store = store
        self._sealer = sealer or Sealer()
        self._rounds = Rounds(self.gc, self._tell)
        HERE.add(self)

    # putting
    async def put(
        self,
        run_id: str,
        name: str,
        content: Content,
        *,
        mime: str = ANY_MIME,
        type: str = FILE,  # noqa: A002  the contract's word
        step: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        actor: Actor | None = None,
    ) -> Saved:
        """Store a file of a run; it is on disk, and so is its row, when this returns.

        The same content under the same name in the same step of the same run is the same artifact, however often it is
        put. Equal contents share one object.

        Args:
            run_id: whose file it is.
            name: its file name.
            content: all of it, or its pieces as they come.
            mime: its media type; parameters are dropped.
            type: what it is to the run, ``webhook_response`` for example.
            step: the step run that makes it.
            metadata: JSON data to keep with it.
            actor: who asks from outside: the run must exist for it, and the media type be allowed.

        Raises:
            RunNotFound: there is no such run (for the actor).
            ValidationFailed: the name, the type or the metadata breaks a rule.
            MimeRefused: the media type is none, or not allowed.
            TooLarge: the content is larger than allowed.
            Unavailable: nothing was stored.
        """
        said = check_metadata({**(metadata or {}), "name": check_file_name(name)})
        kind, given = check_type(type), check_mime(mime)
        run = await self._run(run_id, actor)
        if actor is not None and not self.limits.allows(given):
            raise MimeRefused(given)
        owner = run.owner if actor is None else actor.user_id
        staged = await self._store.receive(_pieces(content), self.limits.max_upload)
        try:
            text, encryption = self._sealer.seal(said)
            now = to_iso(self._engine.clock.now())
            row = {
                "artifact_id": artifact_id(run_id, step, name, staged.checksum), "tenant_id": run.tenant_id,
                "run_id": run_id, "step_run_id": step, "type": kind, "size_bytes": staged.size, "mime_type": given,
                "checksum_sha256": staged.checksum, "encryption": encryption, "owned_by": owner,
                "metadata_json": text, "created_at": now,
            }  # fmt: skip
            return await self._keep(staged, rows.New(row, new_key(staged.checksum), now))
        finally:
            staged.discard()

    async def _keep(self, staged: Any, new: rows.New) -> Saved:
        found = await self._engine.transact(lambda tx: rows.known(tx, new))
        if found is None:
            try:
                await self._store.settle(staged, new.key)
            except WindlassError:
                with suppress(WindlassError):
                    await self._engine.transact(lambda tx: rows.give_up(tx, new.key))
                raise
            found = await self._engine.transact(lambda tx: rows.arrived(tx, new))
            if found.artifact.uri != OBJECT + new.key:
                await self._store.delete(new.key)
        else:
            key = key_of(self._store, found.artifact)
            if not await self.integrity.holds(key, staged.checksum):  # somebody has removed or changed the file
                await self._store.settle(staged, key)
        return found._replace(artifact=self._plain(found.artifact))

    async def save(self, name: str, content: Content, **said: Any) -> Artifact:
        """Store a file of the step that is running, once however often the step runs; see ``put``.

        Raises:
            RuntimeError: called outside a step.
        """
        info = step_info()
        return (await self.put(info.run_id, name, content, step=info.idempotency_key, **said)).artifact

    def holds(self, run_id: str) -> bool:
        """Say whether this process carries the run out."""
        return run_id in self._engine.worker.runs

    # reading
    async def list(self, run_id: str, actor: Actor | None = None) -> AsyncIterator[Artifact]:
        """Yield the artifacts of a run, oldest first; they are read a page at a time.

        Raises:
            RunNotFound: there is no such run (for the actor).
        """
        await self._run(run_id, actor)
        return self._all(run_id)

    async def _all(self, run_id: str) -> AsyncIterator[Artifact]:
        after: tuple[str, str] | None = None
        while True:
            page = await self._engine.read(lambda connection, after=after: rows.page(connection, run_id, after, PAGE))  # type: ignore[misc]
            for artifact in page:
                yield self._plain(artifact)
            if len(page) < PAGE:
                return
            after = (page[-1].created_at, page[-1].artifact_id)

    async def get(self, wanted: str, actor: Actor | None = None) -> Artifact:
        """Return an artifact.

        Raises:
            ArtifactNotFound: there is none (for the actor).
        """
        return (await self._get(wanted, actor))[0]

    async def open(self, wanted: str, actor: Actor | None = None) -> File:
        """Open an artifact's file. It is looked at as a whole the first time only, not for every part that is read.

        Raises:
            ArtifactNotFound: there is none (for the actor).
            NotAFile, OutsideRoot, FileMissing: it cannot be opened.
            MimeRefused: files of its media type do not go out.
            ChecksumMismatch: the file is not what was stored, and that is refused.
        """
        artifact, run = await self._get(wanted, actor)
        key = key_of(self._store, artifact)
        if actor is not None and not self.limits.allows(artifact.mime_type):
            raise MimeRefused(artifact.mime_type or ANY_MIME)
        opened = await self._store.open(key)
        try:
            await self._trust(artifact, key, opened, strict=run.strict)
        except BaseException:
            opened.close()
            raise
        return File(artifact, opened)

    async def _trust(self, artifact: Artifact, key: str, opened: Opened, *, strict: bool) -> None:
        if artifact.checksum_sha256 is None:
            return
        if await self.integrity.checksum(key, opened) != artifact.checksum_sha256:
            if strict and self.limits.strict:
                raise ChecksumMismatch
            self._tell("artifacts.mismatch", artifact_id=artifact.artifact_id, run_id=artifact.run_id)

    async def manifest(
        self, run_id: str, *, verify: bool = False, actor: Actor | None = None
    ) -> AsyncIterator[tuple[Artifact, dict[str, Any] | None]]:
        """Yield the artifacts of a run with, when verified, what their files turned out to be.

        Raises:
            RunNotFound: there is no such run (for the actor).
        """
        found = await self.list(run_id, actor)

        async def examined() -> AsyncIterator[tuple[Artifact, dict[str, Any] | None]]:
            async for artifact in found:
                yield artifact, await self.integrity.verdict(artifact) if verify else None

        return examined()

    async def verify_batch(
        self, run_id: str, items: Sequence[tuple[str, str | None]], actor: Actor | None = None
    ) -> Rows:
        """Hash files of a run and compare them with what is expected, or with what was recorded.

        Args:
            run_id: whose artifacts; those of others are not found.
            items: ids, each with the SHA-256 expected.
            actor: who asks.

        Raises:
            RunNotFound: there is no such run (for the actor).
        """
        await self._run(run_id, actor)
        found: dict[str, Artifact] = {}
        ids = [wanted for wanted, _ in items if _may_be_id(wanted)]
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            found |= await self._engine.read(lambda connection, part=part: rows.chosen(connection, run_id, part))  # type: ignore[misc]
        results = []
        for wanted, expected in items:
            artifact = found.get(wanted)
            calculated, error = (None, "not_found") if artifact is None else await self.integrity.examine(artifact)
            recorded = None if artifact is None else artifact.checksum_sha256
            against = expected.lower() if expected is not None else recorded
            result: dict[str, Any] = {
                "artifact_id": wanted, "ok": calculated is not None and against in {None, calculated},
                "calculated": calculated, "expected": expected, "recorded": recorded,
            }  # fmt: skip
            results.append(result if error is None else result | {"error": error})
        return results

    async def zip(self, run_id: str, actor: Actor | None = None) -> AsyncIterator[bytes]:
        """Yield the files of a run as one archive. What cannot be downloaded is left out.

        Raises:
            RunNotFound: there is no such run (for the actor).
            ArtifactNotFound: there is nothing to put into it.
            TooLarge: it would be larger than allowed.
            ChecksumMismatch: a file is not what was stored, and that is refused.
        """
        run = await self._run(run_id, actor)
        chosen: list[tuple[Artifact, str]] = []
        seen = size = 0
        async for artifact in self._all(run_id):
            seen += 1
            length = await self._archivable(artifact, strict=run.strict)
            if length is None:
                continue
            size += length
            chosen.append((artifact, key_of(self._store, artifact)))
            if size > self.limits.max_bulk or len(chosen) > ARCHIVED:
                most = self.limits.max_bulk
                raise TooLarge(f"the archive would have more than {most} bytes or {ARCHIVED} files", limit=most)
        if not chosen:
            raise ArtifactNotFound("No eligible artifacts for bulk download" if seen else "No artifacts for run")
        names = unique_names([artifact.name for artifact, _ in chosen])
        entries = [
            Entry(name, artifact.created_at, _opening(self._store, key))
            for name, (artifact, key) in zip(names, chosen, strict=True)
        ]
        return archive(entries)

    async def _archivable(self, artifact: Artifact, *, strict: bool) -> int | None:
        """Return how many bytes a file adds to an archive, or None when it does not go into one."""
        if not self.limits.allows(artifact.mime_type):
            return None
        try:
            key = key_of(self._store, artifact)
            opened = await self._store.open(key)
        except (NotAFile, OutsideRoot, FileMissing):
            return None
        try:
            if opened.size <= self.limits.max_bulk:
                await self._trust(artifact, key, opened, strict=strict)
            return opened.size
        finally:
            opened.close()

    def shown(self, artifact: Artifact) -> dict[str, Any]:
        """Return an artifact as callers see it: an object of ours has the address of its file."""
        uri = self._store.uri(artifact.uri.removeprefix(OBJECT)) if artifact.uri.startswith(OBJECT) else artifact.uri
        return {
            "artifact_id": artifact.artifact_id, "type": artifact.type, "uri": uri, "size_bytes": artifact.size_bytes,
            "mime_type": artifact.mime_type, "checksum_sha256": artifact.checksum_sha256,
            "metadata": artifact.metadata, "created_at": artifact.created_at, "step_run_id": artifact.step_run_id,
        }  # fmt: skip

    # housekeeping
    async def gc(self, seconds: float | None = None) -> Collected:
        """Remove what nobody names, and what is older than ``seconds`` (as settings say) and needed by no open run."""
        kept = self.limits.retention if seconds is None else seconds
        found = await Collector(self._engine, self._store, kept, self._removed).round()
        if found.removed:
            self._tell("artifacts.collected", **found.view())
        return found

    def _removed(self, fields: dict[str, Any]) -> None:
        self._tell("artifact_gc", **fields, source="gc")

    async def start(self) -> None:
        """Collect garbage from time to time, where that is wanted."""
        if self.limits.gc_interval is not None:
            self._rounds.start(self.limits.gc_interval)

    async def stop(self) -> None:
        """Stop doing so."""
        await self._rounds.stop()

    # inside
    def _tell(self, event: str, **fields: Any) -> None:
        self._engine.worker.telemetry.event(event, **fields)

    def _plain(self, artifact: Artifact) -> Artifact:
        return replace(artifact, metadata=self._sealer.open(artifact.metadata))

    async def _run(self, run_id: str, actor: Actor | None) -> rows.RunOf:
        run = None
        if _may_be_id(run_id):
            run = await self._engine.read(lambda connection: rows.run_of(connection, run_id))
        if run is None or (actor is not None and not actor.owns(run.tenant_id, run.owner)):
            raise RunNotFound
        return run

    async def _get(self, wanted: str, actor: Actor | None) -> tuple[Artifact, rows.RunOf]:
        found = None
        if _may_be_id(wanted):
            found = await self._engine.read(lambda connection: rows.get(connection, wanted))
        if found is None:
            raise ArtifactNotFound
        try:
            return self._plain(found), await self._run(found.run_id, actor)
        except RunNotFound:
            raise ArtifactNotFound from None


def _may_be_id(text: str) -> bool:
    return 0 < len(text) <= ID_LENGTH and text.isprintable()


def _opening(store: ObjectStore, key: str) -> Any:
    def opening() -> Awaitable[Opened]:
        return store.open(key)

    return opening


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    if isinstance(content, bytes | bytearray | memoryview):
        yield bytes(content)
        return
    async for piece in content:
        yield piece
