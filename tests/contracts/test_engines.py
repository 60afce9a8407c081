"""The contract of every engine: order of events, lazy tasks, errors, and ended processes."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fakes import InlineEngine
from waiting import wait_until

from mlflow_recall.engines import ENGINES, get_engine
from mlflow_recall.engines.local import LocalEngine
from mlflow_recall.errors import ConfigError, TaskError, ZooError
from mlflow_recall.ports import Engine, Progress

WORKERS = 2
#: Seconds of sleep that no test waits for: one that did would hang.
FOREVER = 7200.0


@pytest.fixture(
    scope="module",
    params=[
        "inline",
        pytest.param("local", marks=pytest.mark.slow),
        pytest.param(
            "ray",
            marks=[
                pytest.mark.slow,
                pytest.mark.filterwarnings("ignore"),  # Ray's own affairs
            ],
        ),
    ],
)
def made(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One engine for all tests: its processes cost seconds."""
    if request.param == "ray":
        pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).parent  # Ray's workers import this file
        patch.setenv("PYTHONPATH", f"{here}{os.pathsep}{here.parent}")
        made = (
            InlineEngine() if request.param == "inline" else get_engine(request.param, WORKERS, 1)
        )
        yield made
        made.close()


# --- what workers run ----------------------------------------------------------------------------


def count(upto: int) -> Iterator[object]:
    yield from range(upto)


def fail(how: str) -> Iterator[object]:
    yield "started"
    if how == "bug":
        raise ZeroDivisionError("by nothing")
    if how == "known":
        raise ZooError("m: no weights")
    yield "done"


def die(how: str) -> Iterator[object]:
    yield "started"
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    if how == "leave":
        raise SystemExit(4)
    yield "done"


def sleep(seconds: float) -> Iterator[object]:
    yield os.getpid()
    time.sleep(seconds)
    yield "woke"


def where(_: int) -> Iterator[object]:
    yield os.getpid(), os.environ.get("OMP_NUM_THREADS")


def not_picklable(_: int) -> Iterator[object]:
    yield "started"
    yield lambda: None


def meet(folder: str) -> Iterator[object]:
    """Leave a file and wait until another worker has left one too."""
    Path(folder, str(os.getpid())).touch()
    wait_until(lambda: len(list(Path(folder).iterdir())) >= WORKERS)
    yield len(list(Path(folder).iterdir()))


def by_task(stream: Iterator[Progress]) -> dict[int, list[object]]:
    """Events of every task in the order they came; ``DONE`` or the error last."""
    answers: dict[int, list[object]] = defaultdict(list)
    for progress in stream:
        answer = progress.error or ("DONE" if progress.done else progress.event)
        answers[progress.index].append(answer)
    return dict(answers)


# --- every engine --------------------------------------------------------------------------------


def test_events_of_a_task_come_in_order_and_end_with_done(made: Engine) -> None:
    answers = by_task(made.stream(count, [3, 0, 2, 40, 1]))

    assert answers == {i: [*range(n), "DONE"] for i, n in enumerate([3, 0, 2, 40, 1])}


def test_no_tasks_are_an_empty_stream(made: Engine) -> None:
    assert list(made.stream(count, [])) == []


def test_an_engine_is_used_again_after_a_stream(made: Engine) -> None:
    for _ in range(3):
        assert by_task(made.stream(count, [1, 1])) == {0: [0, "DONE"], 1: [0, "DONE"]}


def test_a_task_is_taken_only_when_a_worker_is_free(made: Engine) -> None:
    """A task claims its cell when it is taken: nobody may claim what he cannot start."""
    taken: list[int] = []
    ended = 0

    def tasks() -> Iterator[int]:
        for i in range(8):
            taken.append(i)
            yield 2

    for progress in made.stream(count, tasks()):
        assert len(taken) <= ended + WORKERS
        ended += progress.done
    assert (ended, len(taken)) == (8, 8)


def test_a_task_that_is_taken_late_may_depend_on_what_came_before(made: Engine) -> None:
    """As the claim of a cell does, which looks at what others have finished meanwhile."""
    events: list[object] = []

    def tasks() -> Iterator[int]:
        yield 1
        yield 1
        yield 1
        yield len(events)

    for progress in made.stream(count, tasks()):
        events += [progress.event] * (progress.event is not None)
    assert len(events) >= 4


@pytest.mark.parametrize(
    ("how", "message", "raised"),
    [
        ("bug", "ZeroDivisionError: by nothing", "ZeroDivisionError: by nothing"),
        ("known", "m: no weights", "ZooError: m: no weights"),
    ],
)
def test_an_exception_is_one_error_with_its_traceback_and_the_others_go_on(
    made: Engine, how: str, message: str, raised: str
) -> None:
    answers = by_task(made.stream(fail, ["well", how, "well", "well"]))

    error = answers[1].pop()
    assert isinstance(error, TaskError)
    assert str(error) == message
    assert "in fail" in error.traceback
    assert error.traceback.rstrip().endswith(raised)
    assert answers == {1: ["started"], **{i: ["started", "done", "DONE"] for i in (0, 2, 3)}}


def test_a_consumer_that_stops_early_can_start_anew(made: Engine) -> None:
    stream = made.stream(count, [5] * 6)
    assert next(stream).event == 0
    stream.close()  # type: ignore[attr-defined]

    assert by_task(made.stream(count, [2])) == {0: [0, 1, "DONE"]}


def test_an_error_of_the_tasks_reaches_the_caller(made: Engine) -> None:
    def tasks() -> Iterator[int]:
        yield 1
        raise ConfigError("no more")

    with pytest.raises(ConfigError, match="no more"):
        list(made.stream(count, tasks()))
    assert by_task(made.stream(count, [1])) == {0: [0, "DONE"]}


# --- engines with processes of their own ---------------------------------------------------------


@pytest.fixture
def processes(made: Engine) -> Engine:
    if isinstance(made, InlineEngine):
        pytest.skip("has no processes")
    return made


def test_tasks_run_at_once(processes: Engine, tmp_path: Path) -> None:
    answers = by_task(processes.stream(meet, [str(tmp_path)] * WORKERS))

    assert answers == {i: [WORKERS, "DONE"] for i in range(WORKERS)}


def test_tasks_run_elsewhere_with_the_threads_they_were_promised(processes: Engine) -> None:
    for event, _ in by_task(processes.stream(where, [0] * 3)).values():
        assert event != (os.getpid(), "1")
        assert isinstance(event, tuple)
        assert event[1] == "1"


def test_tasks_of_a_consumer_that_stops_early_make_room_at_once(processes: Engine) -> None:
    stream = processes.stream(sleep, [FOREVER] * WORKERS)
    for _ in range(WORKERS):
        next(stream)
    stream.close()  # type: ignore[attr-defined]

    assert by_task(processes.stream(count, [1] * 3)) == {i: [0, "DONE"] for i in range(3)}


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_worker_that_dies_is_one_error_and_the_others_go_on(processes: Engine, how: str) -> None:
    answers = by_task(processes.stream(die, ["well", how, "well", "well"]))

    error = answers[1][-1]
    assert isinstance(error, TaskError)
    assert "\n" not in str(error)
    assert answers[1][:-1] in ([], ["started"])  # nothing is reported twice
    assert {i: answers[i] for i in (0, 2, 3)} == {i: ["started", "done", "DONE"] for i in (0, 2, 3)}


# --- the local engine ----------------------------------------------------------------------------


@pytest.fixture
def local() -> Iterator[LocalEngine]:
    made = LocalEngine(WORKERS, 1)
    yield made
    made.close()


def children() -> set[int]:
    """Processes of ours; not the one that keeps multiprocessing's books."""
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and any("spawn_main" in argument for argument in child.cmdline())
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("kill", r"the worker process died \(SIGKILL\): probably out of memory, try fewer workers"),
        ("exit", r"the worker process died \(exit code 3\)"),
        ("leave", r"the worker process died \(exit code 4\)"),
    ],
)
def test_how_a_local_worker_died_is_told(local: LocalEngine, how: str, message: str) -> None:
    error = by_task(local.stream(die, [how]))[0][-1]

    assert isinstance(error, TaskError)
    with pytest.raises(TaskError, match=message):
        raise error


@pytest.mark.slow
def test_a_worker_killed_from_outside_is_one_error_and_its_place_is_filled(
    local: LocalEngine,
) -> None:
    answers: dict[int, list[object]] = defaultdict(list)
    for progress in local.stream(sleep, [0.1, FOREVER, 0.1, 0.1, 0.1]):
        answers[progress.index].append(progress.error or progress.event)
        if progress.index == 1 and isinstance(progress.event, int):
            os.kill(progress.event, signal.SIGKILL)

    assert isinstance(answers[1][-1], TaskError)
    assert [answers[i][1] for i in (0, 2, 3, 4)] == ["woke"] * 4


@pytest.mark.slow
def test_a_worker_that_died_while_idle_is_replaced(local: LocalEngine) -> None:
    process = by_task(local.stream(sleep, [0.0]))[0][0]
    assert isinstance(process, int)
    os.kill(process, signal.SIGKILL)
    wait_until(
        lambda: (
            not psutil.pid_exists(process)
            or psutil.Process(process).status() == psutil.STATUS_ZOMBIE
        )
    )

    assert by_task(local.stream(count, [1])) == {0: [0, "DONE"]}


@pytest.mark.slow
def test_an_event_that_cannot_travel_is_an_error_of_its_task(local: LocalEngine) -> None:
    answers = by_task(local.stream(not_picklable, [0]))

    assert answers[0][0] == "started"
    assert isinstance(answers[0][-1], TaskError)


@pytest.mark.slow
def test_a_consumer_that_stops_early_leaves_no_process_at_work(local: LocalEngine) -> None:
    """Whatever still runs is abandoned: nobody waits for a sleeper."""
    before = children()
    stream = local.stream(sleep, [FOREVER] * 4)
    working = {next(stream).event for _ in range(WORKERS)}
    assert working <= children() - before

    stream.close()  # type: ignore[attr-defined]

    assert children() == before


@pytest.mark.slow
def test_close_lets_idle_workers_go_and_a_closed_engine_can_start_anew(local: LocalEngine) -> None:
    before = children()
    by_task(local.stream(where, [0] * 4))
    kept = children() - before
    assert 1 <= len(kept) <= WORKERS

    local.close()

    assert children() == before
    assert by_task(local.stream(count, [1])) == {0: [0, "DONE"]}


@pytest.mark.slow
def test_workers_are_kept_for_the_next_stream(local: LocalEngine) -> None:
    """A fresh process pays seconds for importing torch."""
    first = {answers[0] for answers in by_task(local.stream(where, [0])).values()}
    second = {answers[0] for answers in by_task(local.stream(where, [0])).values()}

    assert first == second


def test_an_unknown_engine_lists_the_known_ones() -> None:
    assert set(ENGINES) == {"local", "ray"}
    with pytest.raises(ConfigError, match="unknown engine 'slurm': expected one of local, ray"):
        get_engine("slurm")


def test_the_environment_of_this_process_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numeric threads are a child's affair."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    from mlflow_recall.engines.local import _numeric_threads

    with _numeric_threads(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
