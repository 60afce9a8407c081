"""Damaged input for every parser and option: what is not one line, what takes long, what escapes.

    python benchmarks/fuzz.py [--inputs N] [--seed S] [--only NAME] [--minutes M]

Each input is a valid one with one to four seeded changes: bytes are cut, repeated, or replaced by
what parsers trip over. An input passes if it is read, or refused by one line of this package.
Anything else counts: another exception (``traceback``), more than 5 s (``slow``), or a file that
was about to be written outside the folder of the input (``escaped``). Python's own writes outside
are refused before they happen, and no command is given an option that names a file to write.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mlflow_recall.errors import RecallError

SLOW = 5.0  # seconds
_STOP = 30  # seconds
#: what parsers trip over
_TOKENS = tuple(
    token if isinstance(token, bytes) else token.encode()
    for token in (
        *("", "\0", "\n", "\r", "\t", ",", ";", ":", '"', "'", '""', "\\", "[", "]", "{", "}", "#"),
        *(
            "null",
            "true",
            "NaN",
            "Infinity",
            "-Infinity",
            ".inf",
            "-.inf",
            ".nan",
            "-1",
            "0",
            "1e999",
        ),
        *("9" * 30, "9" * 5000, "0x" + "f" * 400, "1:" * 200, "007", "1_0", "2020-99-99", "1.5"),
        *(
            "&a [*a]",
            "*a",
            "&a x",
            "!!int x",
            "!!python/object:os.system",
            "<<: *a",
            "? [a]",
            "- - -",
        ),
        *(
            "[" * 2000,
            "{" * 60,
            "a: " * 60,
            "x" * 10000,
            "../../etc",
            "/etc/passwd",
            "~root",
            "\\..\\",
        ),
        *(
            "http://[::",
            "http://a:b@c",
            "file:///etc",
            "hf:/",
            "s3://x",
            "\x1b[2J",
            "\u202e",
            "\ufeff",
        ),
        *(
            "\u2028",
            "é",
            "😀",
            '{"a": 1}',
            "[1, 2]",
            "[]",
            "{}",
            "None",
            "-0",
            "+",
            "=",
            "%",
            "%00",
        ),
        *(b"\xff", b"\xfe\xff", b"\xed\xa0\x80", b"\xc3", b"\x1f\x8b", b"PK\x03\x04", b"PAR1"),
    )
)
_WORD = re.compile(rb"[\w.+-]+")
#: audit event of Python that changes files -> how many of its first arguments are paths
_WRITES = {
    "open": 1, "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2,
    "os.symlink": 2, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "sqlite3.connect": 1,
}  # fmt: skip
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Target:
    """A parser, with what it accepts."""

    #: file name -> content; the first one is changed
    files: Mapping[str, bytes]
    #: reads the folder of the files
    read: Callable[[Path], object]


@dataclass
class Outcome:
    """What became of the inputs of one target."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    traceback: int = 0
    slow: int = 0
    escaped: int = 0
    slowest: float = 0.0
    #: last line and place of a traceback -> how often
    causes: Counter[str] = field(default_factory=Counter)

    def plus(self, other: Outcome) -> Outcome:
        """Return the outcome of both inputs."""
        sums = {name: value + getattr(other, name) for name, value in vars(self).items()}
        return Outcome(**sums | {"slowest": max(self.slowest, other.slowest)})


class Guard:
    """Refuses writes outside of a folder while it is active, and remembers them.

    Hooks cannot be removed, so one guard serves the whole process.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []
        self._root: Path | None = None
        sys.addaudithook(self._check)

    @contextlib.contextmanager
    def active(self, root: Path) -> Iterator[None]:
        """Refuse what is outside of ``root``; what was refused before is forgotten."""
        self.refused.clear()
        self._root = root.resolve()
        try:
            yield
        finally:
            self._root = None

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        root = self._root
        if root is None or event not in _WRITES:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITE_FLAGS):
            return
        for path in arguments[: _WRITES[event]]:
            if not isinstance(path, str | bytes | os.PathLike):
                continue  # a file that is open already
            try:
                target = Path(os.path.realpath(os.fsdecode(path)))
            except ValueError:  # no name of a file
                continue
            if not target.is_relative_to(root) and target != Path(os.devnull):
                self.refused.append(str(target))
                raise PermissionError(f"outside of the folder: {target}")


_GUARD = Guard()


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return data with one to four changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((1, 2, 5, 20, 100)))
        kind = rng.randrange(7)
        if kind == 0:
            data = data[:start] + data[end:]
        elif kind == 1:
            data = data[:start] + rng.choice(_TOKENS) + data[start:]
        elif kind == 2:
            data = data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]
        elif kind == 3:
            data = data[:start] + rng.randbytes(end - start) + data[end:]
        elif kind == 4:
            data = data[:start]
        else:  # a whole word: the change that keeps the rest valid
            words = list(_WORD.finditer(data))
            if words:
                word = rng.choice(words)
                data = data[: word.start()] + rng.choice(_TOKENS) + data[word.end() :]
    return data


def try_input(target: Target, data: bytes, root: Path) -> tuple[str, str, float]:
    """Read one input in a folder below ``root``; nothing outside of ``root`` is written.

    Returns:
        ``read``, ``refused`` or ``traceback``; its cause; seconds.
    """
    folder = root / "input"
    shutil.rmtree(folder, ignore_errors=True)
    for number, (name, content) in enumerate(target.files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if number else data)
    start = time.perf_counter()
    signal.alarm(_STOP)
    try:
        quiet = contextlib.redirect_stderr(io.StringIO())
        with warnings.catch_warnings(), quiet, _GUARD.active(root):
            warnings.simplefilter("ignore")
            target.read(folder)
    except RecallError as error:
        line = str(error)
        kind, cause = ("traceback" if "\n" in line else "refused"), f"{line!r:.200}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "mlflow_recall" in f.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        kind, cause = "traceback", f"{type(error).__name__} at {place}: {str(error)[:80]!r}"
    else:
        kind, cause = "read", ""
    finally:
        signal.alarm(0)
    return kind, cause, time.perf_counter() - start


def fuzz(target: Target, inputs: int, seed: int, root: Path) -> Outcome:
    """Read changed inputs of a target below a folder."""
    signal.signal(signal.SIGALRM, _stop)
    rng, outcome = random.Random(seed), Outcome()  # noqa: S311
    data = next(iter(target.files.values()))
    for _ in range(inputs):
        changed = mutate(rng, data)
        kind, cause, seconds = try_input(target, changed, root)
        for place in _GUARD.refused:
            outcome.escaped += 1
            outcome.causes[f"escaped: {place!r:.80}"] += 1
        outcome.inputs += 1
        setattr(outcome, kind, getattr(outcome, kind) + 1)
        if seconds > SLOW:
            outcome.slow += 1
            outcome.causes[f"slow: {changed[:300]!r}"] += 1
        outcome.slowest = max(outcome.slowest, seconds)
        if kind == "traceback":
            outcome.causes[cause] += 1
        for path in _foreign(root):
            outcome.escaped += 1
            outcome.causes[f"escaped: {path.name!r:.80}"] += 1
    return outcome


def _foreign(root: Path) -> list[Path]:
    """Return what stands beside the folders that a parser may write, and remove it."""
    foreign = [path for path in root.iterdir() if path.name not in ("input", "cache", "home")]
    foreign += list((root / "home").iterdir())
    for path in foreign:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return foreign


# --- the targets ---------------------------------------------------------------------------------


def targets() -> dict[str, Target]:
    """Return every parser of files by its name."""
    return {**_manifests(), **_histories(), **_datasets(), **_small_files(), **_options()}


def _manifests() -> dict[str, Target]:
    from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo
    from mlflow_recall.adapters.tracking.adopted_runs import read_rules

    zoo = (
        b"models:\n- source: hf:/org/name@main\n  modality: text\n  name: a\n  family: bert\n"
        b"  license: MIT\n  parameters: 1000\n  gmacs: 1.5\n  input_size: 128\n"
        b"  source_head: true\n"
        b"  config: {num_hidden_layers: 2}\n  recipe: {epochs: 3, learning_rate: 1e-4}\n"
        b"- {source: timm:/resnet18.a1_in1k, modality: image, upstream: imagenet}\n"
    )
    benchmarks = (
        b"datasets:\n- path: reviews.csv\n  name: r\n  text: text\n  label: label\n  seed: 3\n"
        b"- {path: glue, config: sst2, split: split, license: MIT, origin: hub}\n"
    )
    rules = (
        b"experiment: [a, b]\nmodel: params.m\ndataset: [params.d, tags.d]\nvalidation: eval_acc\n"
        b"test: test_acc\nmetric: accuracy\nminimize: false\nmodality: text\nkeep: best\n"
        b"ignore: [x]\nmodels: {x: y}\ndatasets: {d: e}\nfilter: tags.a = 'b'\n"
    )
    return {
        "zoo YAML": Target({"zoo.yaml": zoo}, lambda f: read_zoo(f / "zoo.yaml")),
        "benchmark YAML": Target({"b.yaml": benchmarks}, lambda f: read_benchmarks(f / "b.yaml")),
        "rules YAML": Target({"rules.yaml": rules}, lambda f: read_rules(f / "rules.yaml")),
    }


def _histories() -> dict[str, Target]:
    from mlflow_recall.adapters.export.export_history import ExportHistory
    from mlflow_recall.adapters.tables.folder_history import FolderHistory
    from mlflow_recall.adapters.tables.validation import ImportOptions, collect_fine_tunings

    def read_export(folder: Path) -> None:
        history = ExportHistory(folder)
        for metric in (*history.metrics(), "primary"):
            history.records(metric)
            history.left_out(metric)
            history.is_loss(metric)
        history.model_features()

    def read_tables(folder: Path) -> None:
        tables = FolderHistory(folder)
        for metric in (*tables.metrics(), "primary"):
            tables.records(metric)
            tables.curves(metric)
        tables.scores()
        tables.model_features()
        tables.dataset_features()
        collect_fine_tunings(tables, ImportOptions(modality="text"))

    tags = {"recall.model": "a", "recall.dataset": "d", "recall.epochs": "2"}
    own = {
        "run": "r1",
        "name": "a on d",
        "start": 1,
        "end": 2,
        "params": {"model": "a"},
        "tags": {
            **tags,
            "recall.recipe": '{"epochs": 2}',
            "recall.dataset_classes": '["x", "y"]',
            "recall.task": "classification",
            "recall.metric": "accuracy",
        },
        "metrics": {"val/accuracy": [[1, 0.5], [2, 0.6]], "test/accuracy": [[2, 0.6]]},
    }
    sources = '{"accuracy": {"validation": "acc", "epochs": 2}}'
    adopted = {
        **own,
        "run": "r2",
        "tags": {
            **tags,
            "recall.adopted_metrics": sources,
            "recall.curve": '{"val/accuracy": [1]}',
        },
        "metrics": {"acc": [[1, 0.5], [2, 0.6]]},
    }
    runs = "".join(f"{json.dumps(entry)}\n" for entry in (own, adopted)).encode()
    model = {"title": "a", "tags": {"recall.arch": "transformers/bert", "recall.family": "bert"}}
    models = f"{json.dumps(model)}\n".encode()
    cells = [(m, d) for m in ("a", "b", "c") for d in ("x", "y")]
    matrix = pd.DataFrame(
        [(m, d, "accuracy", 0.5 + i / 20) for i, (m, d) in enumerate(cells)],
        columns=["model", "dataset", "metric", "value"],
    )
    curves = pd.DataFrame(
        [(m, d, s, "val", "accuracy", 0.4 + s / 20) for m, d in cells for s in (1, 2)],
        columns=["model", "dataset", "step", "split", "metric", "value"],
    )
    scores = "model,dataset,score_name,value\na,x,logme,0.5\nb,x,logme,0.7\n"
    features = "model,family,parameters\na,bert,1000\nb,bert,2000\nc,gpt,3000\n"
    primary = "dataset,task,metric,size\nx,classification,accuracy,100\ny,classification,,200\n"
    csv = {"matrix.csv": matrix.to_csv(index=False).encode()}
    curves_csv = {"curves.csv": curves.to_csv(index=False).encode()}
    return {
        "export runs": Target({"runs.jsonl": runs, "models.jsonl": models}, read_export),
        "export models": Target({"models.jsonl": models, "runs.jsonl": runs}, read_export),
        "table matrix": Target({**csv, **curves_csv}, read_tables),
        "table curves": Target({**curves_csv, **csv}, read_tables),
        "table scores": Target({"proxy.csv": scores.encode(), **csv}, read_tables),
        "table models": Target({"models.csv": features.encode(), **csv}, read_tables),
        "table datasets": Target({"datasets.csv": primary.encode(), **csv}, read_tables),
        "table Parquet": Target({"matrix.parquet": _parquet(matrix)}, read_tables),
    }


def _datasets() -> dict[str, Target]:
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec

    def read(name: str) -> Callable[[Path], object]:
        return lambda folder: prepare(DatasetSpec(path=str(folder / name)))

    rows = [(f"text number {i}, with words", "ab"[i % 2]) for i in range(12)]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    entries = frame.to_dict("records")
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()
    pictures = {f"pictures/{'ab'[i % 2]}/{i}.png": _png(i) for i in range(8)}
    return {
        "dataset CSV": Target({"d.csv": frame.to_csv(index=False).encode()}, read("d.csv")),
        "dataset TSV": Target(
            {"d.tsv": frame.to_csv(index=False, sep="\t").encode()}, read("d.tsv")
        ),
        "dataset JSONL": Target({"d.jsonl": lines}, read("d.jsonl")),
        "dataset JSON": Target({"d.json": json.dumps(entries).encode()}, read("d.json")),
        "dataset Parquet": Target({"d.parquet": _parquet(frame)}, read("d.parquet")),
        "image folder": Target(pictures, read("pictures")),
    }


def _small_files() -> dict[str, Target]:
    from mlflow_recall.adapters.tracking.members import read_flavors
    from mlflow_recall.adapters.tracking.run_records import adopted_curves
    from mlflow_recall.adapters.zoo.model_folder import read_config
    from mlflow_recall.core.defaults import Defaults
    from mlflow_recall.core.external_runs.rules import sources_from_json
    from mlflow_recall.core.history.recipes import Recipe

    def read_tags(folder: Path) -> None:
        text = (folder / "tag").read_text(encoding="utf-8", errors="replace")
        adopted_curves({"recall.curve": text}, "accuracy")
        sources_from_json(text)
        for read in (Recipe.from_json, Defaults.from_json):
            with contextlib.suppress(RecallError):
                read(text)

    flavors = (
        b"flavors:\n  python_function:\n    artifacts: {weights: {path: a/b, uri: x}}\n  x: {}\n"
    )
    config = {
        "model_type": "bert",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "id2label": {"0": "a"},
    }
    tag = b'{"val/accuracy": [0.5, 0.6], "epochs": 2, "validation": "acc", "ranker": "prior"}'
    return {
        "MLmodel": Target({"MLmodel": flavors}, lambda f: read_flavors(f / "MLmodel")),
        "config.json": Target({"config.json": json.dumps(config).encode()}, read_config),
        "tags": Target({"tag": tag}, read_tags),
    }


def _options() -> dict[str, Target]:
    """Return commands that read a folder of tables, whose arguments are changed.

    None of them is given an option that names a file to write.
    """
    from mlflow_recall.cli import main

    def call(folder: Path) -> None:
        text = (folder / "arguments").read_bytes().decode(errors="surrogateescape")
        arguments = [a.replace("\0", "") for a in text.replace("FOLDER", str(folder)).split("\n")]
        printed = io.StringIO()
        home = Path.cwd()
        os.chdir(folder)  # a relative path of an option is below it
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                main(arguments)
        except SystemExit as end:
            output = printed.getvalue()
            if "Traceback" in output:
                last = next(line for line in reversed(output.splitlines()) if line.strip())
                raise RuntimeError(last) from None
            if end.code not in (0, None):
                line = output.strip().rpartition("\n")[2]
                raise RecallError(line) from None
        finally:
            os.chdir(home)

    matrix = "model,dataset,metric,value\n" + "".join(
        f"{m},{d},accuracy,{0.5 + (i * 7 + j * 3) % 10 / 30}\n"
        for i, m in enumerate("abcdef")
        for j, d in enumerate("uvwxyz")
    )
    commands = {
        "recommend": "--history FOLDER --metric accuracy --top-k 2 --tolerance 0.01 --confidence "
        "0.9 --drop-dataset u --models a,b,c,d --max-params 30M --recommender prior",
        "history show": "--history FOLDER --metric accuracy",
        "cluster": "--history FOLDER --metric accuracy --drop-dataset u",
        "history import": "--from FOLDER --tracking-uri http://127.0.0.1:1 --namespace zoo "
        "--metric accuracy=acc --modality text",
        "register": "--zoo FOLDER/zoo.yaml --tracking-uri http://127.0.0.1:1 --namespace zoo",
        "select": "--tracking-uri http://127.0.0.1:1 --dataset FOLDER/d.csv --top-k auto "
        "--epochs 3 --learning-rate 1e-3 --budget-hours 1 --policy halving --register-as x "
        "--alias winner --license MIT --where a=b --seed 1 --workers 1",
    }
    zoo = "models: [{source: hf:/org/name, modality: text}]\n"
    return {
        f"options of {name}": Target(
            {
                "arguments": "\n".join([*name.split(), *options.split()]).encode(),
                "matrix.csv": matrix.encode(),
                "zoo.yaml": zoo.encode(),
            },
            call,
        )
        for name, options in commands.items()
    }


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


# --- the command ---------------------------------------------------------------------------------


@contextlib.contextmanager
def sealed(root: Path) -> Iterator[None]:
    """Work in a folder of its own, where home, cache and working folder are."""
    before, folder, bytecode = dict(os.environ), Path.cwd(), sys.dont_write_bytecode
    for name in ("home", "cache", "input"):
        (root / name).mkdir(exist_ok=True)
    os.environ["HOME"] = str(root / "home")
    tempfile.tempdir = str(root / "cache")
    sys.dont_write_bytecode = True
    for name in ("MLFLOW_RECALL_CACHE", "HF_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        os.environ[name] = str(root / "cache")
    os.environ |= {"HF_HUB_OFFLINE": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(folder)
        tempfile.tempdir, sys.dont_write_bytecode = None, bytecode
        os.environ.clear()
        os.environ.update(before)


def _stop(*_: Any) -> None:
    raise TimeoutError(f"more than {_STOP} s")


def main_fuzz(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs of each parser")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of names of parsers")
    parser.add_argument("--minutes", type=float, default=0.0, help="time for each parser; 0: any")
    options = parser.parse_args(argv)
    failed = 0
    columns = ("inputs", "read", "refused", "traceback", "slow", "escaped", "slowest")
    print(f"| parser | {' | '.join(columns)} s |\n|{' --- |' * (len(columns) + 1)}")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        root.mkdir()
        with sealed(root):
            for name, target in targets().items():
                if options.only and not name.startswith(tuple(options.only)):
                    continue
                outcome, deadline = Outcome(), time.monotonic() + 60 * options.minutes
                kind, cause, _ = try_input(target, next(iter(target.files.values())), root)
                if kind != "read":
                    print(f"{name}: the valid input is {kind}: {cause}", file=sys.stderr)
                for start in range(0, options.inputs, 50):
                    part = fuzz(target, min(50, options.inputs - start), options.seed + start, root)
                    outcome = outcome.plus(part)
                    if options.minutes and time.monotonic() > deadline:
                        break
                cells = [f"{getattr(outcome, key):,}" for key in columns[:-1]]
                print(f"| {name} | {' | '.join(cells)} | {outcome.slowest:.2f} |", flush=True)
                for cause, count in outcome.causes.most_common(8):
                    print(f"  {name}: {count} x {cause}", file=sys.stderr, flush=True)
                failed += outcome.traceback + outcome.slow + outcome.escaped
    return int(failed > 0)


if __name__ == "__main__":
    if main_fuzz():
        sys.exit(1)
