"""Which names of Python and of well-known packages break which rule."""

from __future__ import annotations

from windlass.testing.rules import CLOCK, ENVIRONMENT, OUTSIDE, RANDOM, TASKS, THREADS, UUID, WAITS, Rule

MUTATING = frozenset({
    "append", "extend", "insert", "remove", "pop", "clear", "add", "discard", "update", "setdefault", "popitem", "sort",
    "reverse", "appendleft", "popleft",
})  # fmt: skip
"""Methods that change what they belong to."""

_EXACT: dict[str, Rule] = {
    **dict.fromkeys((
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
        "time.localtime", "time.gmtime", "time.ctime", "datetime.datetime.now",
        "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "pendulum.now", "arrow.now",
        "arrow.utcnow",
    ), CLOCK),
    **dict.fromkeys(("os.urandom", "random.SystemRandom"), RANDOM),
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"), UUID),
    **dict.fromkeys((
        "os.getenv", "os.getpid", "os.getcwd", "os.cpu_count", "socket.gethostname", "platform.node", "getpass.getuser",
    ), ENVIRONMENT),
    **dict.fromkeys((
        "open", "io.open", "os.open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.stat", "os.mkdir",
        "os.makedirs", "os.system", "os.popen", "input", "sqlalchemy.create_engine", "os.path.exists",
        "os.path.getmtime", "os.path.getsize", "os.path.isfile", "os.path.isdir",
        "sqlalchemy.ext.asyncio.create_async_engine", "asyncio.open_connection", "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
    ), OUTSIDE),
    **dict.fromkeys((
        "asyncio.create_task", "asyncio.ensure_future", "asyncio.gather", "asyncio.wait", "asyncio.as_completed",
        "asyncio.TaskGroup", "asyncio.run_coroutine_threadsafe", "asyncio.shield", "anyio.create_task_group",
        "trio.open_nursery",
    ), TASKS),
    **dict.fromkeys((
        "asyncio.sleep", "asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for", "time.sleep", "anyio.sleep",
        "anyio.fail_after", "anyio.move_on_after",
    ), WAITS),
    **dict.fromkeys(("asyncio.to_thread", "os.fork", "anyio.to_thread.run_sync"), THREADS),
}  # fmt: skip
_PREFIXES: dict[str, Rule] = {
    **dict.fromkeys(("random.", "secrets.", "numpy.random."), RANDOM),
    **dict.fromkeys((
        "requests.", "httpx.", "aiohttp.", "urllib.request.", "http.client.", "socket.", "smtplib.", "ftplib.",
        "boto3.", "psycopg.", "psycopg2.", "asyncpg.", "sqlite3.", "aiosqlite.", "redis.", "shutil.", "tempfile.",
    ), OUTSIDE),
    **dict.fromkeys(("threading.", "multiprocessing.", "concurrent.futures.", "subprocess."), THREADS),
}  # fmt: skip
_METHODS: dict[str, Rule] = {
    "create_task": TASKS, "run_in_executor": THREADS, "read_text": OUTSIDE, "write_text": OUTSIDE,
    "read_bytes": OUTSIDE, "write_bytes": OUTSIDE,
}  # fmt: skip
_PURE = frozenset(
    {"random.Random", "time.gmtime", "urllib.request.Request", "numpy.random.default_rng", "shutil.which"}
)
"""Harmless when they get arguments: dice with a seed, a request not sent."""


def rule_of(name: str, *, bare: bool) -> Rule | None:
    """Return the rule that a call of this full name breaks; ``bare``: it gets no arguments."""
    if name in _PURE and not bare:
        return None
    exact = _EXACT.get(name)
    if exact is not None or name.rpartition(".")[2].endswith(("Error", "Exception")):
        return exact
    return next((rule for prefix, rule in _PREFIXES.items() if name.startswith(prefix)), None)


def rule_of_method(method: str) -> Rule | None:
    """Return the rule that a call of a method of this name breaks, whatever it belongs to."""
    return _METHODS.get(method)
