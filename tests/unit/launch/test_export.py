"""Exported models answer in other programs as they did in the run."""

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import table_runs
import tiny_runs
import yaml

from launch.cli import main
from launch.export import find_converter
from rankfold.data.lines import lines_of_stream
from rankfold.errors import OperationalError, UserError
from rankfold.exporting.ollama import find_turns, modelfile
from rankfold.run_folder import RunFolder
from rankfold.stages.export import export
from rankfold.stages.predict import predict

TEXTS = ("Anna moved to Ulm in 0.", "Paul paints bridges in Berlin and Vienna.")
LORA = {"method": "lora", "r": 4, "target_modules": "all-linear"}


def adapted(folder: Path, task: str, model: Path, adapter: dict[str, Any]) -> RunFolder:
    """A run that has trained an adapter and been evaluated."""
    run = tiny_runs.new_run(folder, task, model)
    recipe = yaml.safe_load(run.recipe.read_text())
    recipe["model"]["adapter"] = adapter
    run.recipe.write_text(yaml.safe_dump(recipe))
    return tiny_runs.finish(run)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> RunFolder:
    return adapted(tmp_path_factory.mktemp("tagger"), "token_classification", encoder_folder, LORA)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory, causal_folder: Path) -> RunFolder:
    return adapted(tmp_path_factory.mktemp("writer"), "generative_ner", causal_folder, LORA)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> RunFolder:
    return adapted(tmp_path_factory.mktemp("answerer"), "extractive_qa", encoder_folder, LORA)


def answers(run: RunFolder, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = lines_of_stream([json.dumps(row).encode() for row in rows], "rows")
    return [json.loads(line) for line in predict(run, lines)]


def test_a_tagger_gives_transformers_pipeline_the_runs_own_labels(tagger: RunFolder, tmp_path: Path) -> None:
    from transformers import pipeline

    exported = export(tagger, tmp_path / "model")
    assert (exported.kind, exported.notes) == ("model", ())
    tags = pipeline("token-classification", model=str(tmp_path / "model"), ignore_labels=[])
    assert tags.model.config.id2label == {0: "O", 1: "B-place", 2: "I-place"}
    # The run's own model, as its evaluation loads it.
    from rankfold.stages.evaluate import load_variant
    from rankfold.stages.inputs import recipe_and_task

    recipe, task = recipe_and_task(tagger)
    own = load_variant(tagger, recipe, task, "fine_tuned")
    for text in TEXTS:
        inputs = tags.tokenizer(text, return_tensors="pt")
        probabilities = own(**inputs).logits[0].softmax(dim=-1)
        found = tags(text)
        assert len(found) == len(probabilities) - 2
        for token in found:
            of_token = probabilities[token["index"]]
            assert token["entity"] == own.config.id2label[int(of_token.argmax())]
            assert token["score"] == pytest.approx(float(of_token.max()), abs=1e-6)


def test_a_chat_model_writes_in_a_pipeline_what_it_wrote_in_the_run(
    writer: RunFolder, tmp_path: Path
) -> None:
    from transformers import pipeline

    from rankfold.entities.prompt import messages, wording
    from rankfold.stages.inputs import recipe_and_task

    export(writer, tmp_path / "model")
    generate = pipeline("text-generation", model=str(tmp_path / "model"))
    recipe, _ = recipe_and_task(writer)
    details = [json.loads(line) for line in writer.details("fine_tuned").read_text().splitlines()]
    for row in details[:3]:
        chat = messages(row["text"], ["place"], wording(recipe.prompt))
        [written] = generate([dict(message) for message in chat])
        assert written["generated_text"][-1]["content"] == row["generated"][0]


def test_a_classifier_gives_transformers_pipeline_the_runs_own_probabilities(
    tmp_path: Path, encoder_folder: Path
) -> None:
    from transformers import pipeline

    rows = [{"text": text, "labels": label} for text, label in zip(TEXTS * 4, "abab" * 2, strict=True)]
    run = table_runs.finish(tmp_path, "text_classification", encoder_folder, train=rows, test=rows)
    export(run, tmp_path / "model")
    classify = pipeline("text-classification", model=str(tmp_path / "model"), top_k=None)
    for text, answer in zip(TEXTS, answers(run, [{"text": text} for text in TEXTS]), strict=True):
        [found] = classify([text])
        assert [one["label"] for one in found] == [one["label"] for one in answer["nbest"]]
        for one, own in zip(found, answer["nbest"], strict=True):
            assert one["score"] == pytest.approx(own["probability"], abs=1e-6)


def test_a_masked_model_fills_masks_as_the_runs_own_does(tmp_path: Path) -> None:
    import models
    from transformers import BertForMaskedLM, pipeline

    from rankfold.stages.evaluate import load_variant
    from rankfold.stages.inputs import recipe_and_task

    tokenizer = models.encoder_tokenizer()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    config = models.encoder_model(tokenizer).config
    base = models.save(BertForMaskedLM(config), tokenizer, tmp_path / "base")
    rows = [{"text": text} for text in TEXTS * 4]
    run = table_runs.finish(tmp_path, "masked_lm", base, train=rows, test=rows)
    export(run, tmp_path / "model")
    fill = pipeline("fill-mask", model=str(tmp_path / "model"), top_k=3)
    recipe, task = recipe_and_task(run)
    own = load_variant(run, recipe, task, "fine_tuned")
    inputs = tokenizer("Anna moved to [MASK].", return_tensors="pt")
    place = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    best = own(**inputs).logits[0, place].softmax(dim=-1).topk(3)
    found = fill("Anna moved to [MASK].")
    assert [one["token"] for one in found] == best.indices.tolist()
    assert [one["score"] for one in found] == pytest.approx(best.values.tolist(), abs=1e-6)


def test_an_exported_question_answerer_gives_the_runs_own_logits(answerer: RunFolder, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    export(answerer, tmp_path / "model")
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    context = "Anna moved to Ulm. The old town."
    row = {"question": "Where?", "context": context}
    [answer] = answers(answerer, [row])
    inputs = tokenizer(row["question"], context, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        output = model(**inputs)
    logits = {
        (offsets[start][0], offsets[end][1]): (float(output.start_logits[0, start]), end)
        for start in range(len(offsets))
        for end in range(start, len(offsets))
        if inputs.token_type_ids[0, start] == inputs.token_type_ids[0, end] == 1 and any(offsets[end])
    }
    assert len(answer["nbest"]) > 1
    for candidate in answer["nbest"]:
        start_logit, end = logits[candidate["start"], candidate["end"]]
        assert candidate["start_logit"] == pytest.approx(start_logit, abs=1e-5)
        assert candidate["end_logit"] == pytest.approx(float(output.end_logits[0, end]), abs=1e-5)


def test_the_card_has_scores_before_and_after_with_intervals_and_what_the_hub_reads(
    tagger: RunFolder, tmp_path: Path, encoder_folder: Path
) -> None:
    (encoder_folder / "README.md").write_text("---\nlicense: Apache-2.0\n---\n# x\n")
    try:
        export(tagger, tmp_path / "model")
    finally:
        (encoder_folder / "README.md").unlink()
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["license"] == "apache-2.0"
    assert values["pipeline_tag"] == "token-classification"
    # A folder of this machine is no base model that the hub could know.
    assert "base_model" not in values
    [result] = values["model-index"][0]["results"]
    metrics = json.loads(tagger.metrics("fine_tuned").read_bytes())
    f1 = next(metric for metric in result["metrics"] if metric["type"] == "entity_f1")
    assert f1["value"] == pytest.approx(metrics["entity_f1"], abs=1e-6)
    low, high = metrics["confidence_intervals"]["entity_f1"]
    assert f"({low:.2f}–{high:.2f})" in body
    assert re.search(r"\| +before \| +after \|", body)
    assert f"Fine-tuned from `{encoder_folder.name}`, whose licence is Apache-2.0." in body
    assert "- labels: place" in body


def test_weights_come_in_the_precision_that_was_asked_for(tagger: RunFolder, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    export(tagger, tmp_path / "model", dtype="bfloat16")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.bfloat16"}
    assert not any("lora" in name for name in weights)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_folder_with_something_in_it_is_left_alone(
    tagger: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").touch()
    assert main(["export", str(tagger.root), "--to", str(tmp_path)]) == 2
    assert f"--to: {tmp_path} is there already and not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("target", "message"),
    [("run/exported", "run/exported is inside the run"), ("a file/model", "a file is not a folder you may")],
)
def test_a_place_where_no_folder_can_be_is_told_before_anything_is_loaded(
    tmp_path: Path, target: str, message: str
) -> None:
    run = RunFolder(tmp_path / "run")
    run.model.mkdir(parents=True)
    run.train_summary.touch()
    (tmp_path / "a file").touch()
    with pytest.raises(UserError, match=f"--to: .*{message}"):
        export(run, tmp_path / target)


def test_a_run_without_scores_is_exported_where_a_link_leads_for_others_to_read(
    tagger: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(Path(shutil.copytree(tagger.root, tmp_path / "run")))
    shutil.rmtree(run.root / "results")
    # As a package says it that has no SPDX name.
    base = Path(yaml.safe_load(run.recipe.read_text())["model"]["name_or_path"])
    (base / "README.md").write_text("---\nlicense: Ask us first\n---\n")
    (tmp_path / "wide").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "wide")
    try:
        export(run, tmp_path / "link")
    finally:
        (base / "README.md").unlink()
    card = (tmp_path / "wide" / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert not {"license", "model-index"} & yaml.safe_load(front).keys()
    assert "whose licence is Ask us first" in body
    assert "None: the run had not been evaluated when this was written." in body
    (tmp_path / "of umask").touch()
    expected = (tmp_path / "of umask").stat().st_mode
    assert {file.stat().st_mode for file in (tmp_path / "wide").iterdir()} == {expected}
    (tmp_path / "new").mkdir()
    assert (tmp_path / "wide").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_the_folder_one_is_in_is_not_replaced(
    tagger: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the folder you are in"):
        export(tagger, Path())


def test_a_run_that_has_not_trained_has_nothing_to_export(make_run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="small-1 has no trained model yet"):
        export(make_run(), tmp_path / "model")


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_virtual_tokens_are_exported_as_the_adapter_that_they_are(
    method: str, tmp_path: Path, causal_folder: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = {"method": method, "num_virtual_tokens": 3}
    run = adapted(tmp_path, "generative_ner", causal_folder, adapter)
    exported = export(run, tmp_path / "out")
    assert exported.kind == "adapter"
    assert "virtual tokens cannot be merged" in exported.notes[0]
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == causal_folder.name
    base = AutoModelForCausalLM.from_pretrained(causal_folder)
    assert PeftModel.from_pretrained(base, tmp_path / "out").active_peft_config.num_virtual_tokens == 3
    with pytest.raises(UserError, match="this is an adapter of virtual tokens"):
        export(run, tmp_path / "other", ollama=True)
    with pytest.raises(UserError, match="written as it was trained"):
        export(run, tmp_path / "other", dtype="float16")


def test_the_card_of_an_adapter_loads_the_base_with_a_head_of_the_adapters_size(
    encoder_folder: Path, tmp_path: Path
) -> None:
    prompts = {"method": "prompt_tuning", "num_virtual_tokens": 3}
    run = adapted(tmp_path, "token_classification", encoder_folder, prompts)
    assert export(run, tmp_path / "out").kind == "adapter"
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = code.replace(f'"{encoder_folder.name}"', repr(str(encoder_folder)))
    code = code.replace('"."', repr(str(tmp_path / "out")))
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (what the card tells people to type)
    assert names["model"].config.num_labels == 3


def test_ollama_gets_the_turns_of_the_chat_template_and_where_to_stop(
    writer: RunFolder, tmp_path: Path
) -> None:
    export(writer, tmp_path / "model", ollama=True)
    assert (tmp_path / "model" / "Modelfile").read_text() == (
        "FROM .\n"
        'TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}'
        "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
        '<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"""\n'
        'PARAMETER stop "<|im_end|>"\n'
        "PARAMETER num_predict 6\n"
        "PARAMETER temperature 0\n"
    )


DEFAULT = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
NUMBERED = "{% for m in messages %}{{ loop.index }}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"


def test_a_default_system_message_is_ollamas_too(writer: RunFolder) -> None:
    import models

    from rankfold.stages.inputs import recipe_and_task

    recipe, _ = recipe_and_task(writer)
    tokenizer = models.chat_tokenizer(DEFAULT + models.CHATML)
    turns = find_turns(tokenizer)
    assert turns is not None
    assert turns.default_system == "Be kind."
    text, notes = modelfile(tokenizer, recipe.evaluation, [2], ".")
    assert ('SYSTEM """Be kind."""' in text, notes) == (True, [])


def test_a_beginning_that_the_tokenizer_adds_is_left_to_ollama() -> None:
    import models
    from tokenizers.processors import TemplateProcessing

    tokenizer = models.chat_tokenizer("{{ bos_token }}" + models.CHATML)
    tokenizer.bos_token = models.END_OF_TEXT
    assert find_turns(tokenizer) is None, "Ollama has no place for what stands once before all turns"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{models.END_OF_TEXT} $A", special_tokens=[(models.END_OF_TEXT, tokenizer.bos_token_id)]
    )
    turns = find_turns(tokenizer)
    assert turns is not None
    assert turns.system[0] == "<|im_start|>system\n"


def test_a_turn_keeps_its_mark_though_the_tokenizer_calls_it_the_beginning() -> None:
    import models

    tokenizer = models.chat_tokenizer()
    # As SmolLM2 does, which adds no such token.
    tokenizer.bos_token = models.END_OF_TURN.replace("end", "start")
    turns = find_turns(tokenizer)
    assert turns is not None
    assert turns.system[0] == "<|im_start|>system\n"


@pytest.mark.parametrize("template", [NUMBERED, REFUSING, None])
def test_a_template_that_is_more_than_turns_is_not_guessed(template: str | None, writer: RunFolder) -> None:
    import models

    from rankfold.stages.inputs import recipe_and_task

    recipe, _ = recipe_and_task(writer)
    tokenizer = models.chat_tokenizer(template)
    assert find_turns(tokenizer) is None
    text, notes = modelfile(tokenizer, recipe.evaluation, [2], ".")
    assert "TEMPLATE" not in text
    assert "write one" in notes[0]


def test_gguf_and_ollama_are_for_causal_models(tagger: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="and this is a model for token_classification"):
        export(tagger, tmp_path / "model", ollama=True)
    assert list(tmp_path.iterdir()) == []


CONVERTS = """\
import sys, pathlib
folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1])
assert (folder / "model.safetensors").is_file() and sys.argv[-2:] == ["--outtype", "f32"]
out.write_bytes(b"GGUF")
"""


def test_gguf_is_made_by_the_converter_that_is_found(
    writer: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = tmp_path / "bin" / "convert_hf_to_gguf.py"
    converter.parent.mkdir()
    converter.write_text(CONVERTS)
    converter.chmod(converter.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(converter.parent))
    export(writer, tmp_path / "model", ollama=True, converter=find_converter(None))
    assert (tmp_path / "model" / "model.gguf").read_bytes() == b"GGUF"
    assert (tmp_path / "model" / "Modelfile").read_text().startswith("FROM ./model.gguf\n")


def test_a_converter_that_fails_leaves_nothing(writer: RunFolder, tmp_path: Path) -> None:
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text("print('Model Tiny is not supported'); raise SystemExit(3)")
    with pytest.raises(OperationalError, match=r"ended with 3 .* it said:\n    Model Tiny is not supported"):
        export(writer, tmp_path / "model", converter=converter)
    assert [path.name for path in tmp_path.iterdir()] == [converter.name]


def test_without_a_converter_gguf_is_refused_before_anything_is_loaded(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP_CONVERTER", raising=False)
    arguments = ["export", str(make_run().root), "--to", str(tmp_path / "model"), "--gguf"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "--gguf: there is no convert_hf_to_gguf.py on PATH" in said
    assert "$LLAMA_CPP_CONVERTER" in said
    assert main([*arguments, "--converter", "nowhere.py"]) == 2
    assert "there is no converter nowhere.py" in capsys.readouterr().err
    assert main([*arguments[:-1], "--converter", "nowhere.py"]) == 2
    assert "--converter: it makes GGUF files only\n  → Add --gguf." in capsys.readouterr().err


def test_a_script_reads_what_was_exported(
    tagger: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "model"
    assert main(["export", str(tagger.root), "--to", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run_id": "run", "folder": str(target), "kind": "model", "notes": []}
