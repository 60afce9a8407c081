"""Recall -> fine-selection -> a registered winner; see ``Select`` in the documentation."""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun, settings_of
from mlflow_recall.adapters.pruner import COHORT, MODEL, CohortPruner
from mlflow_recall.adapters.registry import MlflowRegistry
from mlflow_recall.adapters.zoo.serving import save_servable
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import SelectConfig
from mlflow_recall.core import policies
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.metrics import oriented
from mlflow_recall.core.overview import noise_floor
from mlflow_recall.core.policies import Past, Settings, Verdict
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.core.truth import Truth
from mlflow_recall.errors import RecallError, SettingError, TaskError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.advice import advice_rows
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.benchmark import recipe_of
from mlflow_recall.workflows.recall import Recalled, log_recall, recall, survey


@dataclass
class Candidate:
    """A recalled model on its way."""

    member: Member
    recipe: Recipe
    weights: str
    run: OpenRun
    trial: optuna.trial.Trial
    #: validation scores so far, higher is better
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0
    checkpoint: str = ""
    #: running | winner | finalist | stopped | failed
    status: str = "running"
    reason: str = ""
    rival: str | None = None
    foretold: list[tuple[int, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.member.name

    @property
    def stage(self) -> int:
        """Stages trained so far."""
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Selected:
    """The outcome of a selection."""

    recalled: Recalled
    candidates: Sequence[Candidate]
    winner: Candidate
    metric: str
    #: metric -> value on the test split, touched once
    test: Mapping[str, float]
    run_id: str
    experiment_id: str
    registered: Mapping[str, str]
    epochs: int
    seconds: float
    #: strategy -> epochs that it would have cost
    cost: Mapping[str, int]
    final: Mapping[str, Any]
    #: why the winner was not trained to the last stage; empty: it was
    cut: str = ""

    @property
    def truth(self) -> Truth | None:
        """What brute force reached on this dataset, where it was recorded for the winner too."""
        known = self.recalled.prospect.truth
        return known if known and not math.isnan(known.score(self.winner.name)) else None

    @property
    def regret(self) -> float | None:
        """Recorded score of the best model minus that of the winner; None: nobody knows."""
        return self.truth.regret(self.winner.name) if self.truth else None


def select(config: SelectConfig, bench: Bench, registry: MlflowRegistry) -> Selected:
    """Find the model for a dataset, train it to the end and register it.

    Everything that can be wrong about dataset, zoo and history is found before a run is written.

    Raises:
        RecallError: it cannot be done; the parent run says why.
    """
    prospect = survey(config.recall, bench)
    ledger = Ledger(bench.client, f"{bench.namespace}/select")
    title = f"select for {prospect.dataset.name}"
    parent = ledger.start(title, "selection", bench.run_id)
    try:
        race = _Race(config, bench, registry, ledger, parent)
        try:
            parent.reads(prospect.dataset, "target")
            parent.params(_resolved(config), "resolved.")
            recalled = recall(config.recall, prospect, bench)
            log_recall(recalled, parent)
            selected = race.run(recalled)
        except BaseException as error:
            for run in [*race.open_runs(), parent]:
                run.abandon(error)
            raise
        parent.finish()
    finally:
        ledger.close()
        shutil.rmtree(cache_folder("checkpoints", parent.run_id), ignore_errors=True)
    return selected


@dataclass(frozen=True, eq=False)
class _Plan:
    """Who is trained, how, and who decides when to stop."""

    policy: str
    settings: Settings
    past: Past | None
    #: candidate -> its recipe, in the order of recall
    recipes: Mapping[str, Recipe]


def _plan(config: SelectConfig, recalled: Recalled, bench: Bench) -> _Plan:
    """The policy that decides, and whom it starts with."""
    prospect, defaults = recalled.prospect, recalled.defaults
    policy = defaults.policy if config.policy == "auto" else config.policy
    price = defaults.price if config.price is None else config.price
    names = recalled.chosen
    recipes = _recipes(config, recalled, names)
    settings = Settings(next(iter(recipes.values())).epochs, config.threshold, price)
    if policy not in policies.LEARNED:
        return _Plan(policy, settings, None, recipes)
    curves = Curves.of(prospect.usable.records)
    known = prospect.usable.recipes
    recorded = {name: recipe for name, recipe in recipes.items() if name in curves.models}
    if any(recipe != known.get(name) for name, recipe in recorded.items()):
        why = "unknown in" if any(name not in known for name in recorded) else "another than"
        bench.voice.say(
            f"note: the recipe is {why} the history's: trends do not hold, halving decides"
        )
        return _Plan("halving", settings, None, recipes)
    if not curves.stages:
        bench.voice.say("note: the history has no curves: halving decides")
        return _Plan("halving", settings, None, recipes)
    past = Past(curves, noise_floor(prospect.usable.records).known)
    if policy in policies.STARTERS and not config.recall.top_k:
        ranking = (*names, *(m for m in recalled.advice.ranking.models if m not in names))
        names = policies.STARTERS[policy](ranking, past, settings)
        recipes = _recipes(config, recalled, names)
    return _Plan(policy, settings, past, recipes)


def _recipes(config: SelectConfig, recalled: Recalled, names: Sequence[str]) -> dict[str, Recipe]:
    """The history's recipe of every candidate; all with the same number of stages."""
    prospect, changes = recalled.prospect, config.recipe
    known = prospect.usable.recipes
    fields = ("epochs", "train_samples", "eval_samples", "input_size")
    usual = Counter(tuple(getattr(r, name) for name in fields) for r in known.values())
    common = dict(zip(fields, usual.most_common(1)[0][0], strict=True)) if usual else {}
    recipes = {}
    for name in names:
        recipe = known.get(name) or recipe_of(prospect.members[name], common)
        epochs = {"epochs": common["epochs"]} if common else {}
        recipes[name] = recipe.altered({**epochs, **changes}, "options")
    return recipes


def _seconds_per_epoch(recalled: Recalled, names: Collection[str]) -> float:
    """Mean of what an epoch of these models took in the history; NaN where it was not recorded."""
    seconds = [
        second
        for record in recalled.prospect.usable.records
        if record.model in names
        for second in record.seconds
    ]
    return float(np.mean(seconds)) if seconds else math.nan


class _Race:
    """The candidates of one selection, from the first stage to the registered winner."""

    def __init__(
        self,
        config: SelectConfig,
        bench: Bench,
        registry: MlflowRegistry,
        ledger: Ledger,
        parent: OpenRun,
    ) -> None:
        self._config = config
        self._metric = config.recall.metric
        self._bench = bench
        self._registry = registry
        self._ledger = ledger
        self._parent = parent
        self._folder = cache_folder("checkpoints", parent.run_id)
        self._candidates: list[Candidate] = []
        self._final_run: OpenRun | None = None
        #: numbers of the trials whose end Optuna knows
        self._told: set[int] = set()
        self._started = time.perf_counter()
        #: seconds after the start at which the first epoch began
        self._begun = 0.0
        #: seconds that an epoch of these candidates took in the history; NaN: unknown
        self._per_epoch = math.nan
        #: why it ended before the last stage; empty: it did not
        self._cut = ""

    def open_runs(self) -> list[OpenRun]:
        """Children that are still RUNNING."""
        runs = [c.run for c in self._candidates]
        if self._final_run is not None:
            runs.append(self._final_run)
        return [run for run in runs if not run.closed]

    def run(self, recalled: Recalled) -> Selected:
        dataset = recalled.prospect.dataset
        plan = _plan(self._config, recalled, self._bench)
        stages = plan.settings.stages
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=CohortPruner(policies.policy(plan.policy), plan.settings, plan.past),
        )
        self._pruner: CohortPruner = self._study.pruner  # type: ignore[assignment]
        self._open(recalled, plan.recipes)
        self._per_epoch = _seconds_per_epoch(recalled, plan.recipes)
        self._train(dataset, stages)
        winner = self._finish(stages)
        test = self._test(winner, dataset, stages)
        final = self._train_on_all(winner, dataset, stages)
        registered = self._register(winner, dataset, final)
        epochs = sum(c.stage for c in self._candidates)
        selected = Selected(
            recalled=recalled,
            candidates=tuple(self._candidates),
            winner=winner,
            metric=self._metric,
            test=test,
            run_id=self._parent.run_id,
            experiment_id=self._parent.experiment_id,
            registered=registered,
            epochs=epochs,
            seconds=time.perf_counter() - self._started,
            cost={
                "brute_force": stages * len(recalled.advice.ranking.models),
                "halving": policies.epochs("halving", len(recalled.advice.ranking.models), stages),
            },
            final={k: v for k, v in final.items() if k in ("epochs", "test")},
            cut=self._cut,
        )
        self._report(selected, plan)
        return selected

    def _open(self, recalled: Recalled, recipes: Mapping[str, Recipe]) -> None:
        """One child run and one trial for each candidate; the cohort is fixed."""
        for place, name in enumerate(recipes, start=1):
            member = recalled.prospect.members[name]
            run = self._ledger.open(
                name,
                "candidate",
                {
                    tags.MODEL: name,
                    tags.MODEL_VERSION: member.version,
                    tags.FAMILY: member.family,
                    tags.DATASET: recalled.prospect.dataset.name,
                    tags.DIGEST: recalled.prospect.dataset.digest,
                    tags.MODALITY: member.modality,
                    tags.RECIPE: recipes[name].to_json(),
                    tags.EPOCHS: str(recipes[name].epochs),
                },
                parent=self._parent,
            )
            trial = self._study.ask()
            trial.set_user_attr(MODEL, name)
            candidate = Candidate(member, recipes[name], "", run, trial)
            self._candidates.append(candidate)
            run.params({"model": name, "dataset": recalled.prospect.dataset.name, "rank": place})
            run.params(recipes[name].__dict__, "recipe.")
            run.reads(recalled.prospect.dataset, "target")
        numbers = [c.trial.number for c in self._candidates]
        self._study.set_user_attr(COHORT, numbers)
        for candidate in self._candidates:
            try:
                candidate.weights = self._bench.registry.weights(candidate.member)
            except RecallError as error:
                self._fail(candidate, TaskError(str(error)))

    def _train(self, dataset: Dataset, stages: int) -> None:
        """Stage after stage until nobody has one left."""
        total = policies.epochs("halving", len(self._candidates), stages)
        with self._bench.voice.progress("fine-select", total) as bar:
            done = 0
            while waiting := [c for c in self._alive() if c.stage < stages]:
                waiting = self._within_budget(waiting, stages)
                if not waiting:
                    break
                tasks = [self._task(c, dataset, c.stage + 1, c.stage + 1) for c in waiting]
                for progress in self._bench.engine.stream(self._bench.train, tasks):
                    candidate = waiting[progress.index]
                    if isinstance(progress.event, StageResult):
                        self._report_stage(candidate, progress.event)
                        done += 1
                        bar.advance(now=f"{candidate.name}, stage {candidate.stage} of {stages}")
                    elif progress.error is not None:
                        self._fail(candidate, progress.error)
                if len(self._alive()) > 1 and self._alive()[0].stage < stages:
                    self._decide()
                if not self._alive():
                    self._revive()
                ahead = (stages - self._alive()[0].stage) * len(self._alive())
                bar.expect(done + ahead)

    def _within_budget(self, waiting: list[Candidate], stages: int) -> list[Candidate]:
        """Those that may train one more stage; the others are out of the race."""
        budget, stage = self._config.budget, waiting[0].stage
        spent = sum(c.stage for c in self._candidates)
        elapsed = time.perf_counter() - self._started
        if not spent:
            self._begun = elapsed
        many = budget.affordable(
            epochs=spent,
            seconds=elapsed,
            per_epoch=(elapsed - self._begun) / spent if spent else self._per_epoch,
            waiting=len(waiting),
            ahead=stages - stage - 1,
        )
        if not many:
            self._cut = f"the budget of {budget} ended after stage {stage} of {stages}"
            self._bench.voice.say(f"note: {self._cut}")
            return []
        best = sorted(waiting, key=lambda c: -c.scores[-1] if c.scores else 0.0)  # stable: recall
        for candidate in best[many:]:
            self._stop(
                candidate,
                f"after stage {stage}: the budget of {budget} leaves {many} of {len(waiting)}",
                best[many - 1].name,
                optuna.trial.TrialState.FAIL,  # to the pruner it drops out: no verdict waits for it
            )
        return [c for c in waiting if c in best[:many]]

    def _task(self, candidate: Candidate, dataset: Dataset, first: int, last: int) -> TrainTask:
        return TrainTask(
            candidate.member,
            candidate.weights,
            dataset,
            candidate.recipe,
            first,
            last,
            candidate.checkpoint,
            str(self._folder / candidate.run.run_id),
        )

    def _alive(self) -> list[Candidate]:
        return [c for c in self._candidates if c.status == "running"]

    def _report_stage(self, candidate: Candidate, result: StageResult) -> None:
        candidate.scores.append(oriented(self._metric, result.validation[self._metric]))
        candidate.seconds += result.seconds
        candidate.checkpoint = result.checkpoint
        candidate.run.stage(result)
        if candidate.trial.number not in self._told:
            candidate.trial.report(candidate.scores[-1], result.stage)

    def _decide(self) -> None:
        """Ask for everyone's verdict, then tell."""
        alive = self._alive()
        stage = alive[0].stage
        verdicts = self._pruner.verdicts(self._study, stage)
        for candidate in alive:
            self._foretell(candidate, verdicts[candidate.trial.number], stage)
        for candidate in alive:
            verdict = verdicts[candidate.trial.number]
            if verdict.stop:
                reason = f"after stage {stage}: {verdict.reason}"
                self._stop(candidate, reason, verdict.rival, optuna.trial.TrialState.PRUNED)

    def _stop(
        self, candidate: Candidate, reason: str, rival: str | None, state: optuna.trial.TrialState
    ) -> None:
        candidate.status, candidate.reason, candidate.rival = "stopped", reason, rival
        self._tell(candidate, state=state)
        candidate.run.tag({tags.STATUS: "stopped", **({tags.RIVAL: rival} if rival else {})})
        candidate.run.describe(f"Stopped {reason}.")
        candidate.run.finish("KILLED", reason)

    def _tell(self, candidate: Candidate, value: float | None = None, **state: Any) -> None:
        """Tell Optuna how a trial ended, once."""
        if candidate.trial.number not in self._told:
            self._told.add(candidate.trial.number)
            self._study.tell(candidate.trial, value, **state)

    def _foretell(self, candidate: Candidate, verdict: Verdict, stage: int) -> None:
        if verdict.predicted is None:
            return
        end = oriented(self._metric, verdict.predicted)
        candidate.foretold.append((stage, end))
        candidate.run.log({"selection/foretold": end}, stage)

    def _fail(self, candidate: Candidate, error: TaskError) -> None:
        """One broken model never ends a selection."""
        candidate.status, candidate.reason = "failed", str(error)
        self._tell(candidate, state=optuna.trial.TrialState.FAIL)
        if error.traceback:
            candidate.run.text(error.traceback, "traceback.txt")
        candidate.run.tag({tags.STATUS: "failed"})
        candidate.run.finish("FAILED", str(error))
        self._bench.voice.say(f"failed: {candidate.name}: {error}")

    def _revive(self) -> None:
        """Everyone who was left has failed: the best of the stopped takes their place."""
        stopped = [c for c in self._candidates if c.status == "stopped"]
        if not stopped:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in self._candidates)
            raise SettingError(f"select: expected one model that trains, all failed: {reasons}")
        best = max(stopped, key=lambda c: (c.stage, c.scores[-1]))
        self._bench.voice.say(f"note: {best.name} is taken up again, since all others failed")
        best.status, best.reason, best.rival = "running", "taken up again", None
        best.run.reopen()  # its trial was told already; alone, it needs no verdict

    def _finish(self, stages: int) -> Candidate:
        """Close the finalists; the best of them on validation has won."""
        finalists = self._alive()
        winner = max(finalists, key=lambda c: c.scores[-1])  # ties: the better recalled
        for candidate in finalists:
            candidate.status = "winner" if candidate is winner else "finalist"
            candidate.reason = (
                f"best of {len(self._candidates)} recalled models"
                + (f"; {self._cut}" if self._cut else "")
                if candidate is winner
                else f"trained to stage {candidate.stage} of {stages}, {winner.name} ended higher"
            )
            self._tell(candidate, candidate.scores[-1])
            candidate.run.tag({tags.STATUS: candidate.status})
            if candidate is not winner:
                candidate.rival = winner.name
                candidate.run.tag({tags.RIVAL: winner.name})
                candidate.run.finish("FINISHED", candidate.reason)
        return winner

    def _test(self, winner: Candidate, dataset: Dataset, stages: int) -> Mapping[str, float]:
        """The winner's test score: the only look at the test split."""
        task = replace(self._task(winner, dataset, stages + 1, stages), test="last")
        (result,) = self._streamed(task, winner.name)
        winner.run.log({f"test/{name}": value for name, value in result.test.items()})
        winner.run.finish("FINISHED", winner.reason)
        return result.test

    def _train_on_all(self, winner: Candidate, dataset: Dataset, stages: int) -> dict[str, Any]:
        """The winner once more on all training samples, where that is more than it has seen."""
        seen, there = winner.recipe.train_samples, dataset.sizes["train"]
        more = 0 < seen < there
        same = {"epochs": 0, "test": {}, "checkpoint": winner.checkpoint, "run": winner.run}
        if self._config.final == "same" or self._cut:
            return same
        if self._config.final == "auto" and (self._config.budget.limited or not more):
            return same
        run = self._ledger.open(
            f"{winner.name} on all {there} samples",
            "final",
            {tags.MODEL: winner.name, tags.DATASET: dataset.name, tags.STATUS: "final"},
            parent=self._parent,
        )
        self._final_run = run
        recipe = replace(winner.recipe, train_samples=0)
        run.params(recipe.__dict__, "recipe.")
        workspace = str(self._folder / run.run_id)
        task = TrainTask(
            winner.member, winner.weights, dataset, recipe, 1, stages, "", workspace, test="last"
        )
        checkpoint, test = "", {}
        try:
            with self._bench.voice.progress(f"train {winner.name} on all samples", stages) as bar:
                for result in self._streamed(task, winner.name):
                    run.stage(result)
                    checkpoint, test = result.checkpoint, dict(result.test)
                    bar.advance(now=f"epoch {result.stage} of {stages}")
        except TaskError as error:  # what has won already is not lost
            run.abandon(error)
            self._bench.voice.say(f"note: not trained on all samples: {error}")
            return same
        run.finish("FINISHED", f"the winner, trained on all {there} samples")
        return {"epochs": stages, "test": test, "checkpoint": checkpoint, "run": run}

    def _streamed(self, task: TrainTask, name: str) -> Iterator[StageResult]:
        """Results of one task as they come.

        Raises:
            TaskError: it failed.
        """
        for progress in self._bench.engine.stream(self._bench.train, [task]):
            if progress.error is not None:
                raise TaskError(f"{name}: {progress.error}", progress.error.traceback)
            if isinstance(progress.event, StageResult):
                yield progress.event

    def _register(
        self, winner: Candidate, dataset: Dataset, final: Mapping[str, Any]
    ) -> dict[str, str]:
        name = self._config.register_as or dataset.name
        name = name.replace("/", "--").replace(":", "--")
        folder = self._folder / "servable"
        save_servable(folder, Path(final["checkpoint"]), winner.member, dataset)
        version = self._registry.register_winner(
            name,
            folder,
            winner.member,
            run_id=final["run"].run_id,
            parent_id=self._parent.run_id,
            experiment_id=self._parent.experiment_id,
            alias=self._config.alias,
            cut=self._cut,
        )
        return {"name": name, "version": str(version.version), "alias": self._config.alias}

    def _report(self, selected: Selected, plan: _Plan) -> None:
        """What the page of the parent run shows."""
        parent, metric = self._parent, self._metric
        parent.log(
            {
                "selection/epochs": selected.epochs,
                "selection/seconds": selected.seconds,
                "selection/train_seconds": sum(c.seconds for c in selected.candidates),
                "selection/brute_force_epochs": selected.cost["brute_force"],
                "selection/halving_epochs": selected.cost["halving"],
                "selection/final_epochs": selected.final["epochs"],
                **{f"test/{name}": value for name, value in selected.test.items()},
                **({} if selected.regret is None else {"selection/regret": selected.regret}),
            }
        )
        parent.tag(
            {
                "recall.winner": selected.winner.name,
                "recall.registered": "{name}/{version}".format(**selected.registered),
                "recall.policy": plan.policy,
                "recall.trends": str(plan.past is not None).lower(),
                **({tags.CUT: selected.cut} if selected.cut else {}),
            }
        )
        rows = candidate_rows(selected)
        parent.table(rows, "selection/candidates.json")
        curves = {
            c.name: [oriented(metric, s) for s in c.scores] for c in selected.candidates if c.scores
        }
        foretold = {c.name: c.foretold for c in selected.candidates}
        chart = figures.race(curves, foretold, metric)
        parent.picture(chart, "selection/race.png")
        link = figures.candidates_link("", parent.experiment_id, parent.run_id, metric)
        alias = "{name}@{alias}".format(**selected.registered)
        parent.describe(
            f"**{selected.winner.name}** wins with test {metric} {selected.test[metric]:.3f}, "
            f"registered as [`{alias}`](#/models/{selected.registered['name']}).\n\n"
            f"{verdict(selected)}\n\n{_paragraph(selected.cut)}"
            f"It cost {selected.epochs} epochs in {selected.seconds:.0f} s; brute force over the "
            f"{len(selected.recalled.advice.ranking.models)} eligible models costs "
            f"{selected.cost['brute_force']}, halving {selected.cost['halving']}.\n\n"
            f"[The candidates side by side]({link})\n\n"
            f"### Candidates\n\n{figures.markdown_table(rows)}\n\n"
            f"### Recall by {selected.recalled.by}\n\n"
            f"{figures.markdown_table(advice_rows(selected.recalled.advice))}\n"
        )


def _paragraph(sentence: str) -> str:
    """In bold, if there is anything to say."""
    return f"**{sentence[:1].upper()}{sentence[1:]}.**\n\n" if sentence else ""


def verdict(selected: Selected) -> str:
    """How the choice compares with a recorded brute force; empty where there is none."""
    truth, winner = selected.truth, selected.winner.name
    if truth is None:
        return ""
    score = oriented(selected.metric, truth.score(truth.best))
    return (
        f"Brute force is on record for this dataset: the best of {len(truth.models)} models is "
        f"{truth.best} with test {selected.metric} {score:.3f}; the winner is number "
        f"{truth.rank(winner)}, a regret of {truth.regret(winner):.3f}."
    )


def candidate_rows(selected: Selected) -> list[dict[str, object]]:
    """One row a candidate, in the order of recall, for tables."""
    return [
        {
            "model": c.name,
            "status": c.status,
            "stage": c.stage,
            f"validation {selected.metric}": (
                oriented(selected.metric, c.scores[-1]) if c.scores else None
            ),
            "seconds": round(c.seconds, 1),
            "reason": c.reason,
            "rival": c.rival or "",
        }
        for c in selected.candidates
    ]


def _resolved(config: SelectConfig) -> dict[str, object]:
    """Settings as the run keeps them; the declared parameters of `mlflow run` stay as they are."""
    plain = {**config.recall.__dict__, **config.__dict__}
    plain["dataset"] = config.recall.dataset.path
    plain.pop("recall")
    return settings_of(plain)
