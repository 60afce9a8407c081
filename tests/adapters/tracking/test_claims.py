"""Of workers that share a store, one holds each cell, whatever the order of their requests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, Thread
from typing import Any, cast

import pytest
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunData, RunInfo, RunTag

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.claims import Claims
from mlflow_recall.adapters.tracking.ownership import Liveness, take_over
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter


@pytest.fixture
def writer(client: MlflowClient, namespace: str) -> Iterator[RunWriter]:
    made = RunWriter(client, f"{namespace}/benchmark")
    yield made
    for run in made.open_runs:
        run.finish("KILLED")
    made.close()


def claim(claims: Claims, cell: str = "c1") -> ActiveRun | None:
    return claims.claim(cell, "m on d", {})


def test_a_cell_is_held_until_it_is_finished(client: MlflowClient, writer: RunWriter) -> None:
    ours, theirs = Claims(writer), Claims(writer)

    run = claim(ours)

    assert run is not None
    assert claim(theirs) is None
    assert (ours.look("c1").is_held, ours.look("c1", own=run).is_free) == (True, True)
    run.finish()
    assert claim(theirs) is None
    assert ours.look("c1").is_finished
    assert len(writer.runs_of_cell("c1")) == 1


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_cell_that_was_left_may_be_claimed_again(writer: RunWriter, status: str) -> None:
    claims = Claims(writer)
    first = claim(claims)
    assert first is not None
    first.finish(status, "so it was")

    second = claim(claims)

    assert second is not None
    failed = claims.look("c1").failed
    assert failed == ({first.run_id: "so it was"} if status == "FAILED" else {})
    assert claims.claim("c1", "m on d", {}, given_up=lambda state: bool(state.failed)) is None


def test_a_run_that_only_claims_blocks_nobody(writer: RunWriter) -> None:
    """Such as one whose creation got no answer: its owner never knew of it."""
    writer.open_run("m on d", "benchmark", {tags.CELL: "c1"})

    assert claim(Claims(writer)) is not None


def test_a_withdrawn_run_that_could_not_be_deleted_blocks_nobody(
    client: MlflowClient, writer: RunWriter
) -> None:
    run = claim(Claims(writer))
    assert run is not None
    client.set_tag(run.run_id, tags.WITHDRAWN, "true")

    assert claim(Claims(writer)) is not None


def test_an_imported_run_holds_its_cell_from_the_start(
    client: MlflowClient, writer: RunWriter
) -> None:
    opened = writer.open_run("m on d", "benchmark", {tags.CELL: "c1"})
    client.delete_tag(opened.run_id, tags.TOKEN)

    assert claim(Claims(writer)) is None


class Dead(Liveness):
    """Every owner of these runs is dead."""

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__()
        self._runs = runs

    def why_dead(self, run: Run) -> str | None:
        return "it stood still" if run.info.run_id in self._runs else None


def test_a_dead_holder_is_closed_and_its_cell_claimed(
    client: MlflowClient, writer: RunWriter
) -> None:
    held = claim(Claims(writer))
    assert held is not None

    run = claim(Claims(writer, Dead([held.run_id])))

    assert run is not None
    closed = client.get_run(held.run_id)
    assert closed.info.status == "FAILED"
    assert closed.data.tags[tags.TAKEN_OVER] == "it stood still"
    assert Claims(writer).look("c1", own=run).failed == {}  # it died, which is no failure
    assert not held.finish_unless_taken_over()
    assert run.finish_unless_taken_over()


def test_an_owner_that_finishes_while_it_is_taken_over_has_finished(
    client: MlflowClient, writer: RunWriter
) -> None:
    held = claim(Claims(writer))
    assert held is not None
    held.finish()

    take_over(client, held.run_id, "it stood still")

    assert client.get_run(held.run_id).info.status == "FINISHED"
    assert claim(Claims(writer)) is None


def test_a_claim_that_never_held_its_cell_is_no_failure_of_it(writer: RunWriter) -> None:
    """Such as one that could not be withdrawn, because the server was away."""
    writer.open_run("m on d", "benchmark", {tags.CELL: "c1"}).finish("FAILED", "no answer")

    assert Claims(writer).look("c1").failed == {}


# --- every order of requests ---------------------------------------------------------------------


class Store:
    """A tracking store whose requests take effect one by one, in an order that a seed decides."""

    def __init__(self, workers: int, seed: int) -> None:
        self._turn = Condition()
        self._waiting: set[int] = set()
        self._alive = set(range(workers))
        self._random = random.Random(seed)
        self._chosen: int | None = None
        self._ids = itertools.count()
        self.runs: dict[str, dict[str, str]] = {}

    def request(self, worker: int, effect: Callable[[], Any]) -> Any:
        """Have an effect when it is the worker's turn."""
        with self._turn:
            self._waiting.add(worker)
            self._choose()
            self._turn.wait_for(lambda: self._chosen == worker)
            result = effect()
            self._waiting.discard(worker)
            self._chosen = None
            self._choose()
            return result

    def leave(self, worker: int) -> None:
        with self._turn:
            self._alive.discard(worker)
            self._choose()

    def _choose(self) -> None:
        if self._chosen is None and self._waiting and self._waiting == self._alive:
            self._chosen = self._random.choice(sorted(self._waiting))
            self._turn.notify_all()

    def create(self, run_tags: dict[str, str]) -> str:
        # ids are random on a server, so their order says nothing
        run_id = f"{self._random.randrange(10**6):06}{next(self._ids):03}"
        self.runs[run_id] = {"status": "RUNNING", **run_tags}
        return run_id

    def read(self) -> list[Run]:
        return [
            Run(
                RunInfo(run_id, "0", "me", values["status"], 0, None, LifecycleStage.ACTIVE),
                RunData(tags=[RunTag(k, v) for k, v in values.items() if k != "status"]),
            )
            for run_id, values in sorted(self.runs.items())
            if values["status"] != "DELETED"
        ]


class Worker:
    """The writer of one worker, and the runs that it opens."""

    def __init__(self, store: Store, number: int) -> None:
        self._store = store
        self._number = number
        self.client = None

    def runs_of_cell(self, cell: str) -> list[Run]:
        return cast("list[Run]", self._store.request(self._number, self._store.read))

    def open_run(self, name: str, kind: str, own_tags: dict[str, str]) -> Any:
        created = {**own_tags, tags.TOKEN: f"{self._number}"}
        run_id = self._store.request(self._number, lambda: self._store.create(created))
        return WorkerRun(self._store, self._number, run_id)


class WorkerRun:
    def __init__(self, store: Store, number: int, run_id: str) -> None:
        self._store = store
        self._number = number
        self.run_id = run_id

    def _set(self, **values: str) -> None:
        self._store.request(self._number, lambda: self._store.runs[self.run_id].update(values))

    def set_tags(self, values: dict[str, str]) -> None:
        self._set(**values)

    def withdraw(self) -> None:
        self._set(**{tags.WITHDRAWN: "true"})
        self._set(status="DELETED")

    def finish(self) -> None:
        self._set(status="FINISHED")


class Living(Liveness):
    def why_dead(self, run: Run) -> str | None:
        return None


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_in_hundreds_of_orders_exactly_one_worker_trains_a_cell(workers: int) -> None:
    """A worker that gets the cell trains for a while, and all others are told that it is taken."""
    for seed in range(150):
        store = Store(workers, seed)
        training: list[int] = []

        def work(number: int, store: Store = store, training: list[int] = training) -> None:
            worker = cast("Any", Worker(store, number))
            claims = Claims(worker, Living(), sleep=lambda _: None)
            run = cast("Any", claims.claim("c1", "m on d", {}))
            if run is not None:
                training.append(number)
                store.request(number, dict)  # a stage
                run.finish()
            store.leave(number)

        threads = [Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(training) == 1, seed
        finished = [r for r in store.runs.values() if r["status"] == "FINISHED"]
        assert len(finished) == 1
        assert all(r["status"] in ("FINISHED", "DELETED") for r in store.runs.values())
