"""A training run: it resumes to the same bytes, keeps its best, stops early, overwrites nothing."""

import csv
import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra train")

import keras

from edge_app.errors import ConfigError, StorageError
from edge_app.files.whole import PART, whole
from tests.train_inputs import sample, tiny_config, write_phantoms
from train import reader_task
from train import run as run_module
from train.cache import Cache, open_cache
from train.checkpoint import load_network, read_checkpoint
from train.cli import main
from train.config import Config
from train.folds import pool, read_held_out
from train.loader import prefetch
from train.network import multiply_adds
from train.reader_task import ReaderTask
from train.record import check_folder, file_sha256, identify, start_record, write_rows
from train.run import Run
from train.samples import read_samples
from train.search import compare, draw, in_words
from train.splits import Splits, make_splits


class _InterruptionError(Exception):
    """Stands for a power cut."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Splits, Cache]:
    folder = tmp_path_factory.mktemp("run")
    samples = read_samples(write_phantoms(folder / "data", 6))
    splits = make_splits(samples, tiny_config().split, tiny_config().seed)
    return splits, open_cache([s.path for s in samples], folder / "cache")


def _fit(config: Config, data: tuple[Splits, Cache], folder: Path) -> dict[str, Any]:
    split, cache = data
    record = start_record(identify(config, split), split, folder)
    return Run(config, ReaderTask(config, split, cache), record, folder).fit()


def _weights(folder: Path) -> list[np.ndarray]:
    return load_network(read_checkpoint(folder)).get_weights()


def _without_time(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "images_per_s"} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def uninterrupted(data: tuple[Splits, Cache], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    _fit(tiny_config(), data, folder)
    return folder


# 16 training pictures in batches of 4: the epochs end at steps 4 and 8; the state is saved at
# every second step, so a cut after an odd number of steps loses one. (2, 3): cut after 2, and
# the resumed run again after 3 more.
@pytest.mark.parametrize(
    "cuts",
    [(3,), (2, 3), *(pytest.param((cut,), marks=pytest.mark.slow) for cut in (1, 2, 4, 5, 6, 7))],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    cuts: tuple[int, ...],
    data: tuple[Splits, Cache],
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(run_module, "STATE_EVERY_STEPS", 2)
    for cut in cuts:
        left = cut

        def interrupted(*arguments: Any) -> Any:
            nonlocal left
            for batch in prefetch(*arguments):
                if left == 0:
                    raise _InterruptionError
                left -= 1
                yield batch

        monkeypatch.setattr(run_module, "prefetch", interrupted)
        keras.utils.set_random_seed(cut)  # another process starts with another random state
        with pytest.raises(_InterruptionError):
            _fit(tiny_config(), data, folder)
        assert not json.loads((folder / "run.json").read_text())["finished"]
    monkeypatch.setattr(run_module, "prefetch", prefetch)
    record = _fit(tiny_config(), data, folder)
    assert record["finished"]
    for resumed, unbroken in zip(_weights(folder), _weights(uninterrupted), strict=True):
        np.testing.assert_array_equal(resumed, unbroken)
    assert _without_time(folder) == _without_time(uninterrupted)
    assert (folder / "validation.csv").read_text() == (uninterrupted / "validation.csv").read_text()


def test_what_a_run_leaves(uninterrupted: Path, data: tuple[Splits, Cache]) -> None:
    names = {path.name for path in uninterrupted.iterdir()}
    tables = {"history.csv", "split.csv", "validation.csv"}
    assert names == {"model.keras", "run.json", "curves.png"} | tables
    record = json.loads((uninterrupted / "run.json").read_text())
    assert record["validation"] == {"n_images": 8, "n_patients": 4, "n_positive": 4}
    assert record["train"] == {"n_images": 16, "n_patients": 8, "n_positive": 8}
    assert record["versions"]["backend"] == keras.backend.backend()
    assert record["training_s"] > 0
    assert record["images_per_s"] > 0
    assert record["checkpoint_sha256"] == file_sha256(uninterrupted / "model.keras")
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert record["best"]["val_auroc_degraded"] == max(
        row["val_auroc_degraded"] for row in record["history"]
    )
    network = load_network(read_checkpoint(uninterrupted))
    assert record["multiply_adds"] == multiply_adds(network)
    assert (uninterrupted / "curves.png").read_bytes().startswith(b"\x89PNG")
    with (uninterrupted / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [s.name for s in data[0].validation]


def test_the_checkpoint_gives_the_recorded_logits(
    uninterrupted: Path, data: tuple[Splits, Cache]
) -> None:
    from edge_app.images.preprocess import preprocess
    from train.predict import predict

    network = load_network(read_checkpoint(uninterrupted))
    config, (splits, cache) = tiny_config(), data
    pictures = [preprocess(cache.read(s.path), config.preprocess) for s in splits.validation]
    outputs = predict(network, pictures)
    with (uninterrupted / "validation.csv").open(newline="") as file:
        recorded = [float(row["logit"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(outputs["logit"][:, 0], recorded, atol=1e-4)
    # The activation map averages into the logit: the contract with the edge app.
    means = outputs["activation_map"].mean(axis=(1, 2))
    np.testing.assert_allclose(means, outputs["logit"], atol=1e-4)
    assert set(outputs) == {"logit", "activation_map", "embedding", "subtype_logit"}


def _clean_config(**changes: Any) -> Config:
    return tiny_config(degrade=None, optimizer__epochs=3, **changes)


@pytest.fixture(scope="module")
def undegraded(data: tuple[Splits, Cache], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "clean"
    _fit(_clean_config(), data, folder)
    return folder


def test_a_run_without_degradation_has_no_degraded_figures(undegraded: Path) -> None:
    record = json.loads((undegraded / "run.json").read_text())
    assert set(record["best"]) == {"epoch", "val_auroc", "val_loss", "val_accuracy"}
    assert record["best"]["val_auroc"] == max(row["val_auroc"] for row in record["history"])
    for name in ("history.csv", "validation.csv"):
        assert "degraded" not in (undegraded / name).read_text()
    assert (undegraded / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_pooling_and_comparing_go_by_the_configuration(
    undegraded: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    # As runs without a degradation wrote it before: the clean logits a second time.
    old = shutil.copytree(undegraded, tmp_path / "old")
    with (old / "validation.csv").open(newline="") as file:
        rows = [row | {"logit_degraded": row["logit"]} for row in csv.DictReader(file)]
    write_rows(rows, old / "validation.csv")
    for folder in (undegraded, old):
        held = read_held_out(folder)
        assert held.degraded is None
        # A network of three epochs tells nothing; logits that do take the place of its own.
        told = replace(held, logits=held.labels + np.linspace(-0.9, 0.9, len(held.labels)))
        folds = pool([told, told])
        assert folds.aurocs_degraded is None
        assert [p.pictures for p in folds.pooled] == ["all folds"]
        assert "clean copies alone" in folds.pooled[0].operating_point
    assert read_held_out(uninterrupted).degraded is not None
    entries = {e.name: e for e in compare([undegraded, old, uninterrupted])}
    assert entries["clean"].auroc_degraded is entries["old"].auroc_degraded is None
    assert entries["run"].auroc_degraded is not None
    draw(list(entries.values()), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert in_words(list(entries.values())).count("not degraded") == 2


def test_a_run_from_before_goes_on_without_degraded_figures(
    undegraded: Path, data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_finish", _cut)
        with pytest.raises(_InterruptionError):
            _fit(_clean_config(), data, folder)
    with np.load(folder / "state.npz") as state:
        arrays = dict(state)
    progress = json.loads(str(arrays["progress"]))
    for row in (*progress["history"], progress["best"]):
        row["val_auroc_degraded"] = row["val_auroc"]
    np.savez(folder / "state.npz", **arrays | {"progress": np.array(json.dumps(progress))})
    best = _fit(_clean_config(), data, folder)["best"]
    assert set(best) == {"epoch", "val_auroc", "val_loss", "val_accuracy"}


def test_without_degradation_patience_goes_by_the_clean_figure(
    data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aurocs = iter([0.8, 0.9, 0.7, 0.95])
    monkeypatch.setattr(reader_task.metrics, "auroc", lambda labels, scores: next(aurocs))
    record = _fit(_clean_config(optimizer__patience=1), data, tmp_path / "run")
    assert [row["val_auroc"] for row in record["history"]] == [0.8, 0.9, 0.7]
    best = {name: record["best"][name] for name in ("epoch", "val_auroc")}
    assert best == {"epoch": 2, "val_auroc": 0.9}


def _cut(*_: Any) -> Any:
    raise _InterruptionError


def test_a_finished_run_is_not_trained_again(
    uninterrupted: Path, data: tuple[Splits, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (uninterrupted / "model.keras").read_bytes()
    monkeypatch.setattr(run_module, "prefetch", None)
    assert _fit(tiny_config(), data, uninterrupted)["finished"]
    assert (uninterrupted / "model.keras").read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"optimizer__learning_rate": 0.1}, {"degrade": None}]
)
def test_another_runs_folder_is_left_alone(
    change: dict[str, Any], uninterrupted: Path, data: tuple[Splits, Cache]
) -> None:
    before = {path.name: path.read_bytes() for path in uninterrupted.iterdir()}
    with pytest.raises(ConfigError, match=r"holds another run \(config differ\)"):
        _fit(tiny_config(**change), data, uninterrupted)
    assert {path.name: path.read_bytes() for path in uninterrupted.iterdir()} == before


def test_other_data_is_another_run(uninterrupted: Path, data: tuple[Splits, Cache]) -> None:
    split = Splits(data[0].train[1:], data[0].validation)
    with pytest.raises(ConfigError, match=r"\(train_sha256 differ\)"):
        _fit(tiny_config(), (split, data[1]), uninterrupted)


def test_other_larger_copies_are_another_run(
    uninterrupted: Path, data: tuple[Splits, Cache], tmp_path: Path
) -> None:
    """Half of the pictures that a network sees are larger copies, so they are part of the data."""
    root = data[0].train[0].path.parent.parent
    copies = write_phantoms(tmp_path / "larger", 6, side=96)
    splits = make_splits(read_samples(root, copies), tiny_config().split, tiny_config().seed)
    refused = r"holds another run \(larger copies \(--larger\) differ\)"
    with pytest.raises(ConfigError, match=refused):
        check_folder(uninterrupted, identify(tiny_config(), splits))
    folder = tmp_path / "run"
    start_record(identify(tiny_config(), splits), splits, folder)
    # The same copies elsewhere are the same; one of another size, and none at all, are not.
    moved = copies.rename(tmp_path / "moved")
    again = make_splits(read_samples(root, moved), tiny_config().split, tiny_config().seed)
    check_folder(folder, identify(tiny_config(), again))
    larger = next(s.larger for s in again.train if s.larger is not None)
    larger.write_bytes(larger.read_bytes() + b" ")
    for other in (again, data[0]):
        with pytest.raises(ConfigError, match=refused):
            check_folder(folder, identify(tiny_config(), other))
    # Before this key, a record did not say which copies there were.
    record = json.loads((folder / "run.json").read_text())
    del record["larger_sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    check_folder(folder, identify(tiny_config(), data[0]))


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path, data: tuple[Splits, Cache]) -> None:
    (tmp_path / "thesis.txt").write_text("chapter one")
    with pytest.raises(ConfigError, match=r"holds other files \(thesis.txt\)"):
        _fit(tiny_config(), data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_checkpoint_holds_the_averaged_weights(data: tuple[Splits, Cache]) -> None:
    """Worked out by hand over two steps: average = 0.8 * first + 0.2 * second."""
    from train.loader import TrainingBatches
    from train.trainer import averaged, make_trainer

    config = tiny_config()
    trainer = make_trainer(config, 16)
    batches = TrainingBatches(data[0].train, data[1], config, 0)
    kernel = trainer.network.get_layer("stem_conv").kernel
    after = []
    for index in range(2):
        trainer.train(batches[index])
        after.append(keras.ops.convert_to_numpy(kernel))
    expected = 0.8 * after[0] + 0.2 * after[1]
    with averaged(trainer):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(kernel), expected, rtol=1e-5, atol=1e-7
        )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), after[1])
    assert not np.array_equal(after[0], after[1])


def test_batch_statistics_are_part_of_the_state(data: tuple[Splits, Cache]) -> None:
    from train.trainer import make_trainer

    trainer = make_trainer(tiny_config(), 16)
    held = {id(variable) for variable in trainer.variables()}
    norm = trainer.network.get_layer("stem_bn")
    assert {id(norm.moving_mean), id(norm.moving_variance)} <= held
    (dropout,) = (layer for layer in trainer.network.layers if layer.name == "dropout")
    assert id(dropout.seed_generator.state) in held
    assert all(id(v) in held for v in trainer.model.optimizer.variables)


def test_training_stops_when_patience_ends(
    data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aurocs = iter([0.8, 0.8, 0.9, 0.9, 0.7, 0.7, 0.8, 0.8, 0.95, 0.95])
    monkeypatch.setattr(reader_task.metrics, "auroc", lambda labels, scores: next(aurocs))
    config = tiny_config(optimizer__epochs=5, optimizer__patience=2)
    record = _fit(config, data, tmp_path / "run")
    # Best after epoch 2, two epochs without a better one, so the fifth is never trained.
    assert [row["val_auroc_degraded"] for row in record["history"]] == [0.8, 0.9, 0.7, 0.8]
    assert record["best"]["epoch"] == 2


def _stops_early(monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration that ends after three of five epochs, its second being the best."""
    aurocs = iter([0.8, 0.8, 0.9, 0.9, 0.7, 0.7])
    monkeypatch.setattr(reader_task.metrics, "auroc", lambda labels, scores: next(aurocs))
    return tiny_config(optimizer__epochs=5, optimizer__patience=1)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_stopped_early_stays_stopped(
    data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = _stops_early(monkeypatch), tmp_path / "run"
    record = _fit(config, data, folder)
    assert [row["epoch"] for row in record["history"]] == [1, 2, 3]
    before = _contents(folder)
    monkeypatch.setattr(run_module, "prefetch", _cut)
    assert _fit(config, data, folder) == record
    assert _contents(folder) == before


@pytest.mark.parametrize("cut", ["draw_curves", "write_json"])
def test_a_run_killed_after_it_decided_to_stop_only_finishes(
    cut: str, data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    expected = _fit(_stops_early(monkeypatch), data, unbroken)
    config = _stops_early(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, cut, _cut)
        with pytest.raises(_InterruptionError):
            _fit(config, data, killed)
    assert not json.loads((killed / "run.json").read_text())["finished"]
    # Neither another epoch nor another validation: the figures have run out.
    monkeypatch.setattr(run_module, "prefetch", _cut)
    record = _fit(config, data, killed)
    assert record["finished"]
    assert record["best"] == expected["best"]
    assert [row["epoch"] for row in record["history"]] == [1, 2, 3]
    assert set(_contents(killed)) == set(_contents(unbroken))
    assert (killed / "validation.csv").read_bytes() == (unbroken / "validation.csv").read_bytes()
    assert _without_time(killed) == _without_time(unbroken)
    for one, other in zip(_weights(killed), _weights(unbroken), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_is_no_number_ends_the_run(data: tuple[Splits, Cache], tmp_path: Path) -> None:
    config = tiny_config(optimizer__learning_rate=1e30, optimizer__clip_norm=1e30)
    with pytest.raises(ConfigError, match=r"tiny: the loss is (nan|inf) at step \d+: lower"):
        _fit(config, data, tmp_path / "run")


def test_going_on_with_other_versions_is_said_and_written_down(
    data: tuple[Splits, Cache],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    identity = identify(tiny_config(), data[0])
    record = start_record(identity, data[0], folder)
    start_record(identity, data[0], folder)
    assert capsys.readouterr().err == ""
    old = record | {"versions": record["versions"] | {"keras": "3.0.1"}}
    (folder / "run.json").write_text(json.dumps(old))
    for _ in range(2):  # said once, however often it goes on
        went_on = start_record(identity, data[0], folder)
    assert went_on["went_on_with"] == [record["versions"]]
    assert json.loads((folder / "run.json").read_text()) == went_on
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1
    assert f"keras 3.0.1 then, {keras.__version__} now" in notes[0]


@pytest.mark.parametrize("damage", ["truncated", "other"])
def test_a_damaged_state_is_named(
    damage: str, data: tuple[Splits, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_finish", _cut)
        with pytest.raises(_InterruptionError):
            _fit(tiny_config(optimizer__epochs=1), data, folder)
    state = folder / "state.npz"
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:5000])
    else:
        np.savez(state, a=np.zeros(3))
    with pytest.raises(ConfigError, match=r"state\.npz is damaged .*remove it"):
        _fit(tiny_config(optimizer__epochs=1), data, folder)


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("before")

    def fill_the_disk() -> None:
        with whole(path) as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match=r"run\.json: .*No space"):
        fill_the_disk()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"run.json": "before"}
    # What a kill in the first write leaves is no other's file, and does not lock the folder.
    (tmp_path / "run.json").rename(tmp_path / f"{PART}1-run.json")
    split = Splits((sample("a"),), (sample("b"),))
    check_folder(tmp_path, identify(tiny_config(), split))


def test_a_damaged_checkpoint_ends_in_one_line(uninterrupted: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "run")
    (folder / "model.keras").write_bytes((folder / "model.keras").read_bytes()[:3000])
    record = json.loads((folder / "run.json").read_text())
    del record["checkpoint_sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"model\.keras: Keras cannot load it"):
        load_network(read_checkpoint(folder))


def test_degraded_figures_of_other_degradations_do_not_compare(
    uninterrupted: Path, undegraded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(uninterrupted), str(undegraded)]
    assert main(["compare", *runs]) == 0
    assert "degrade differently" not in capsys.readouterr().err
    other = shutil.copytree(uninterrupted, tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    record["config"]["degrade"]["gamma"] = 0.1
    (other / "run.json").write_text(json.dumps(record))
    assert main(["compare", *runs, str(other)]) == 0
    assert "degrade differently" in capsys.readouterr().err


def test_mixed_precision_saves_a_plain_checkpoint(
    data: tuple[Splits, Cache], tmp_path: Path
) -> None:
    config = tiny_config(optimizer__precision="mixed_bfloat16", optimizer__epochs=1)
    _fit(config, data, tmp_path / "run")
    network = load_network(read_checkpoint(tmp_path / "run"))
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_checkpoint_of_another_configuration_is_refused(
    uninterrupted: Path, data: tuple[Splits, Cache], tmp_path: Path
) -> None:
    _fit(tiny_config(network__head_channels=24, optimizer__epochs=1), data, tmp_path / "other")
    folder = tmp_path / "mixed"
    folder.mkdir()
    record = json.loads((uninterrupted / "run.json").read_text())
    (folder / "model.keras").write_bytes((tmp_path / "other" / "model.keras").read_bytes())
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"not the checkpoint that run\.json"):
        read_checkpoint(folder)
    del record["checkpoint_sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="holds another network"):
        load_network(read_checkpoint(folder))


def test_a_checkpoint_needs_its_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such checkpoint"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"run\.json is missing"):
        read_checkpoint(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json: "):
        read_checkpoint(tmp_path)


def test_a_record_from_before_the_key_stages_loads(uninterrupted: Path) -> None:
    from train.record import identity_of

    record = json.loads((uninterrupted / "run.json").read_text())
    del record["config"]["network"]["stages"]
    network = identity_of(record, uninterrupted).config.network
    assert network is not None
    assert network.stages == 7


def test_loss_and_accuracy_by_hand() -> None:
    found = reader_task.loss_and_accuracy(np.array([1, 0, 1, 0]), np.array([0.0, 0.0, 2.0, -800.0]))
    # log 2, log 2, log(1 + exp(-2)), 0; a logit of 0 is called sick.
    assert found == {"val_loss": round((2 * np.log(2) + np.log1p(np.exp(-2))) / 4, 5)} | {
        "val_accuracy": 0.75
    }
