"""Fetching, with the real huggingface_hub, from a hub on this machine."""

import io
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_hub import MODEL, FakeHub, serve
from huggingface_hub import constants

import rankfold.fetch
from launch import fetch as fetching
from launch.cli import main
from launch.fetch import ensure_fetched
from launch.new_run import create_run
from launch.planning import Planned, plan_recipe
from rankfold.data.hub import read_hub
from rankfold.errors import OperationalError, RankfoldError, UserError
from rankfold.lock import read_lock
from rankfold.modeling.sources import model_folder
from rankfold.recipe.load import load_recipe

RECIPE = """\
name: small
task: extractive_qa
model: {name_or_path: some/tiny}
data: {source: {path: "hub:some/questions", format: squad}}
"""
ROW = {
    "id": "q1",
    "context": "Ulm lies on the Danube.",
    "question": "Where?",
    "answers": {"text": ["Danube"], "answer_start": [16]},
}
CARD = """\
---
configs:
- config_name: plain
  data_files:
  - {split: train, path: plain/train-*}
  - {split: validation, path: plain/test-*}
---
"""


def parquet(identity: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{**ROW, "id": identity}]), file)
    return file.getvalue()


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Closed, it takes the hub off the network."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def hub(tmp_path: Path, running: ExitStack, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A hub with a model and a data set, an empty cache, and a recipe that names both."""
    hub = running.enter_context(serve(FakeHub()))
    hub.push("some/tiny", {**MODEL, "pytorch_model.bin": b"pickle", "onnx/config.json": b"{}"})
    data = {"plain/train-0.parquet": parquet("q1"), "plain/test-0.parquet": parquet("q2")}
    more = {"README.md": CARD.encode(), "load.py": b"raise SystemExit"}
    hub.push("some/questions", data | more, kind="dataset")
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / ".cache" / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return hub


@pytest.fixture
def here(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch in this process, which saves two seconds each time; what its imports would read is set."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    files = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / ".cache" / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)

    def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        output = io.StringIO()
        with redirect_stdout(output):
            code = rankfold.fetch.main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue())

    monkeypatch.setattr(fetching, "_run_apart", run)


def planned(*overrides: str, profile: str | None = None) -> Planned:
    cluster = "local" if profile is None else "slurm"
    return plan_recipe(Path("small.yaml"), overrides, cluster=cluster, profile=profile)  # type: ignore[arg-type]


def refusal(*overrides: str) -> RankfoldError:
    with pytest.raises((UserError, OperationalError)) as caught:
        ensure_fetched(planned("data.source.path=small.yaml", *overrides))
    return caught.value


def test_what_is_fetched_once_serves_without_a_network(
    hub: FakeHub, running: ExitStack, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan", "small.yaml", "--cluster", "local"]) == 0
    note = "note: not here yet: model some/tiny, data set some/questions; `launch submit` fetches it first"
    assert note in capfd.readouterr().out
    assert main(["fetch", "small.yaml", "--cluster", "local"]) == 0
    text, progress = capfd.readouterr()
    assert "model some/tiny: fetched" in text
    assert "2 files, 9 B" in text
    assert "fetching data set some/questions: commit " in progress
    wanted = [
        "config.json",
        "model.safetensors",
        "README.md",
        "plain/test-0.parquet",
        "plain/train-0.parquet",
    ]
    assert sorted(hub.downloads()) == sorted(wanted)
    running.close()
    assert main(["plan", "small.yaml", "--cluster", "local"]) == 0
    assert "not here yet" not in capfd.readouterr().out
    run = create_run(planned(), Path("runs"))
    recipe = load_recipe(run.recipe).recipe
    assert model_folder(recipe.model).name == recipe.model.revision
    assert {file.name for file in model_folder(recipe.model).iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", Path("arrow").absolute())
    assert recipe.data.source is not None
    assert len(read_hub(recipe.data.source, "validation").examples) == 1


@pytest.mark.usefixtures("here")
def test_nothing_is_fetched_twice(hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    ensure_fetched(planned())
    hub.requests.clear()
    ensure_fetched(planned())
    assert hub.requests == []
    capfd.readouterr()
    assert main(["fetch", "small.yaml", "--cluster", "local", "--json"]) == 0
    assert hub.downloads() == []
    answer = json.loads(capfd.readouterr().out)
    assert [(one["what"], one["is_new"]) for one in answer] == [
        ("model some/tiny", False),
        ("data set some/questions", False),
    ]


@pytest.mark.usefixtures("here")
def test_a_run_keeps_the_commit_it_was_submitted_with_and_so_does_its_recipe(hub: FakeHub) -> None:
    ensure_fetched(planned())
    run = create_run(planned(), Path("runs"))
    before = load_recipe(run.recipe).recipe
    folder = model_folder(before.model)
    hub.push("some/tiny", {**MODEL, "config.json": b'{"newer": 1}'})
    assert main(["fetch", "small.yaml", "--cluster", "local"]) == 0
    assert model_folder(planned().loaded.recipe.model) != folder
    assert model_folder(load_recipe(run.recipe).recipe.model) == folder
    again = plan_recipe(run.recipe, [], cluster="local", profile=None)
    ensure_fetched(again)
    assert load_recipe(create_run(again, Path("runs")).recipe).recipe == before
    assert read_lock(run)[0].revision == folder.name


@pytest.mark.usefixtures("here")
def test_a_tag_and_a_branch_with_a_slash_are_revisions_too(hub: FakeHub) -> None:
    commit = hub.push("some/tiny", MODEL, "v1")
    ensure_fetched(planned("model.revision=v1", "data.source.path=small.yaml"))
    hub.push("some/questions", {"train.json": b"{}"}, "refs/convert/parquet", kind="dataset")
    path = "hub:some/questions@refs/convert/parquet"
    ensure_fetched(planned("model.revision=v1", f"data.source.path={path}"))
    run = create_run(planned("model.revision=v1", f"data.source.path={path}"), Path("runs"))
    recipe = load_recipe(run.recipe).recipe
    assert recipe.model.revision == commit
    assert recipe.data.source is not None
    assert recipe.data.source.path.startswith("hub:some/questions@")
    assert "refs" not in recipe.data.source.path


@pytest.mark.usefixtures("here")
def test_a_download_that_breaks_off_goes_on_where_it_was(hub: FakeHub) -> None:
    content = bytes(11_000_000)
    hub.push("some/tiny", {**MODEL, "model.safetensors": content})
    hub.dropped["model.safetensors"] = 10_500_000
    ensure_fetched(planned("data.source.path=small.yaml"))
    starts = [
        one.first_byte for one in hub.requests if one.path.endswith("safetensors") and one.method == "GET"
    ]
    assert starts[0] == 0 < starts[1]
    folder = model_folder(planned().loaded.recipe.model)
    assert (folder / "model.safetensors").read_bytes() == content


@pytest.mark.usefixtures("here")
def test_what_an_interrupted_fetch_left_is_no_model_and_the_next_fetches_the_rest_only(hub: FakeHub) -> None:
    hub.refused.add("model.safetensors")
    assert "HTTP 403" in refusal().message
    with pytest.raises(UserError, match="is not in the cache"):
        create_run(planned("data.source.path=small.yaml"), Path("runs"))
    assert list(Path("runs").iterdir()) == []
    hub.refused.clear()
    hub.requests.clear()
    ensure_fetched(planned("data.source.path=small.yaml"))
    assert hub.downloads() == ["model.safetensors"]


@pytest.mark.parametrize(
    ("override", "token", "message"),
    [
        ("model.name_or_path=some/typo", None, "the hub has no model some/typo that you may read"),
        ("model.name_or_path=some/hidden", None, "the hub has no model some/hidden that you may read"),
        ("model.name_or_path=some/gated", None, "the model some/gated is gated"),
        ("model.name_or_path=some/gated", "hf_aWrongTokenOfNobody", "does not let this token read"),
        ("model.revision=v9", None, "the hub has the model some/tiny, but no 'v9' of it"),
        ("model.name_or_path=some/pickled", None, "holds no config.json with *.safetensors beside it"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_may_not_be_read_is_told_with_the_way_out_and_without_the_token(
    override: str,
    token: str | None,
    message: str,
    hub: FakeHub,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.push("some/gated", MODEL)
    hub.push("some/hidden", MODEL)
    hub.push("some/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    hub.gated.add("some/gated")
    hub.hidden.add("some/hidden")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    error = refusal(override)
    assert message in error.message
    assert "model.name_or_path: " in error.message
    assert "→" in error.message
    assert error.exit_code == 2
    assert hub.downloads() == []
    assert token is None or token not in str(error) + "".join(capfd.readouterr())


def test_a_token_goes_to_the_hub_in_a_header_and_is_written_nowhere(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("some/gated", MODEL)
    hub.gated.add("some/gated")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    mine = planned("model.name_or_path=some/gated")
    ensure_fetched(mine)
    create_run(mine, Path("runs"))
    asked = [request for request in hub.requests if "some/gated" in request.path]
    assert {request.token for request in asked} == {hub.token}
    assert not any(hub.token in request.path for request in hub.requests)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if hub.token.encode() in path.read_bytes()]


@pytest.mark.usefixtures("here")
def test_everything_that_cannot_be_fetched_is_told_at_once(hub: FakeHub) -> None:
    with pytest.raises(UserError) as caught:
        ensure_fetched(planned("model.name_or_path=some/typo", "data.source.path=hub:some/missing"))
    assert "model.name_or_path: the hub has no model some/typo" in str(caught.value)
    assert "data.source.path: the hub has no data set some/missing" in str(caught.value)


@pytest.mark.usefixtures("here")
def test_without_a_network_what_is_missing_is_refused_and_what_is_here_is_used(
    hub: FakeHub, running: ExitStack, capfd: pytest.CaptureFixture[str]
) -> None:
    ensure_fetched(planned("data.source.path=small.yaml"))
    running.close()
    capfd.readouterr()
    assert main(["submit", "small.yaml", "--cluster", "local"]) == 1
    text = capfd.readouterr().err
    assert f"the data set some/questions cannot be fetched: {hub.endpoint} cannot be reached" in text
    assert "→ Run `launch fetch small.yaml` where there is a network" in text
    assert "some/tiny" not in text
    assert not any(Path("runs").glob("small-*"))
    assert main(["fetch", "small.yaml", "--cluster", "local"]) == 1
    assert "note: whether there is a newer one is not known" in capfd.readouterr().out


@pytest.mark.usefixtures("here")
def test_a_hub_that_is_turned_off_is_not_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = refusal()
    assert "HF_HUB_OFFLINE turns the hub off" in error.message
    assert "Unset it and run `launch fetch small.yaml`" in error.message
    assert hub.requests == []


def test_the_cache_is_the_one_that_the_jobs_of_the_profile_see(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(f"environment: {{HF_HOME: {tmp_path / 'scratch'}}}\n")
    mine = planned("data.source.path=small.yaml", profile="lab.yaml")
    ensure_fetched(mine)
    assert (tmp_path / "scratch" / "hub" / "models--some--tiny").is_dir()
    assert not (tmp_path / ".cache").exists()
    [model, _] = read_lock(create_run(mine, Path("runs")))
    assert model.folder is not None
    assert model.folder.startswith(str(tmp_path / "scratch"))


def test_a_recipe_of_files_needs_nothing_from_the_hub(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("model").mkdir()
    files = ["model.name_or_path=./model", "data.source.path=small.yaml"]
    assert main(["fetch", "small.yaml", *files, "--cluster", "local"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert hub.requests == []


def test_a_package_s_gguf_file_is_converted_in_a_process_of_its_own(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "tiny_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("tiny.gguf,,\n")
    (tmp_path / "site" / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("RANKFOLD_CACHE", str(tmp_path / "converted"))
    asked: list[list[str]] = []

    def convert(arguments: list[str], environment: dict[str, str]) -> None:
        asked.append(arguments)
        assert environment["RANKFOLD_CACHE"] == os.environ["RANKFOLD_CACHE"]
        from rankfold.modeling.packages import converted_folder, package_model

        folder = converted_folder(package_model("tiny-model"))
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(fetching, "_run", convert)
    command = ["fetch", "small.yaml", "--cluster", "local"]
    command += ["model.name_or_path=package:tiny-model", "data.source.path=small.yaml"]
    assert main(command) == 0
    assert "package tiny-model: fetched\n  version 1.0, 1 files, 7 B" in capsys.readouterr().out
    assert main(command) == 0
    assert "package tiny-model: here already" in capsys.readouterr().out
    assert asked == [["package", "tiny-model"]]
