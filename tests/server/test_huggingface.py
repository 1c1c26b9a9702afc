"""Models of transformers on a running replica, with KServe's payloads. The models are tiny and their weights random:
what they say means nothing, and how they are asked and answer is the real thing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .environment import made_by, python_with
from .replica import Replica, Start, payload

pytestmark = pytest.mark.slow

SCRIPT = """
import json, pathlib, sys, torch, transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"the capital of france is paris . hello , my dog cute".split()]
plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
plain.normalizer = normalizers.BertNormalizer(lowercase=True)
plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
marks = [("[CLS]", 2), ("[SEP]", 3)]
plain.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
    mask_token="[MASK]",
)
small = dict(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
bert = lambda **more: transformers.BertConfig(**small, max_position_embeddings=32, **more)
gpt = transformers.GPT2Config(
    vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_positions=48, bos_token_id=2, eos_token_id=3
)
made = {
    "classes": transformers.BertForSequenceClassification(bert(num_labels=3)),
    "tokens": transformers.BertForTokenClassification(bert(num_labels=5)),
    "mask": transformers.BertForMaskedLM(bert()),
    "vectors": transformers.BertModel(bert()),
    "text": transformers.GPT2LMHeadModel(gpt),
    "answers": transformers.BertForQuestionAnswering(bert()),
}
for name, model in made.items():
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
vision = transformers.ViTConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=28, patch_size=14,
    num_labels=4,
)
transformers.ViTForImageClassification(vision).save_pretrained(folder / "images")
said = {"image_processor_type": "ViTImageProcessor", "size": {"height": 28, "width": 28}, "do_resize": True}
(folder / "images" / "preprocessor_config.json").write_text(json.dumps(said))
Image.new("RGB", (30, 20), (200, 3, 4)).save(folder / "image.png")
with torch.inference_mode():
    inputs = tokenizer(["hello , my dog is cute"], return_tensors="pt")
    logits = made["classes"].eval()(**inputs).logits
(folder / "logits.json").write_text(json.dumps(logits.tolist()))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("huggingface", "torch==2.13.0", "transformers", "pillow")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, SCRIPT, tmp_path_factory.mktemp("huggingface"))


@pytest.fixture(scope="module")
def serve(start: Start, python: Path, models: Path) -> Any:
    """Starts a replica of one of the models."""
    return lambda name, *argv: start("--model-name=m", f"--model-dir={models / name}", *argv, python=python).ready()


def v1(replica: Replica, *instances: Any, **more: Any) -> Any:
    answer = replica.http.post("/v1/models/m:predict", json={"instances": list(instances), **more})
    return answer.json()["predictions"] if answer.status_code == 200 else (answer.status_code, answer.json()["error"])


def v2(replica: Replica, body: Any) -> Any:
    answer = replica.http.post("/v2/models/m/infer", json=body)
    assert answer.status_code == 200, answer.text
    [output] = answer.json()["outputs"]
    return output


def test_sequence_classification(serve: Any, kserve: Path, models: Path) -> None:
    replica = serve("classes")
    best = int(np.argmax(json.loads((models / "logits.json").read_text())))
    assert v1(replica, "Hello, my dog is cute") == [best]
    output = v2(replica, payload(kserve, "bert_sequence_classification_v2.json"))
    assert (output["name"], output["datatype"], output["shape"]) == ("output-0", "INT64", [1])
    assert v1(replica, 7)[0] == 400
    assert v1(replica)[0] == 400


def test_probabilities_by_class(serve: Any, models: Path) -> None:
    logits = np.array(json.loads((models / "logits.json").read_text()))
    expected = np.exp(logits) / np.exp(logits).sum()
    replica = serve("classes", "--return_probabilities")
    [answer] = v1(replica, "Hello, my dog is cute")
    assert answer == {str(index): pytest.approx(share, abs=1e-4) for index, share in enumerate(expected[0])}
    said = {"name": "input-0", "datatype": "BYTES", "shape": [1], "data": ["Hello, my dog is cute"]}
    np.testing.assert_allclose(v2(replica, {"inputs": [said]})["data"], expected[0], rtol=1e-5)


def test_token_classification(serve: Any, kserve: Path) -> None:
    output = v2(serve("tokens", "--disable_special_tokens"), payload(kserve, "bert_token_classification_v2.json"))
    assert output["shape"] == [1, 1, len(output["data"])]
    assert len(output["data"]) == 10  # one for each word


def test_fill_mask(serve: Any, kserve: Path) -> None:
    replica = serve("mask")
    words = replica.http.post("/v1/models/m:predict", json=payload(kserve, "bert_fill_mask_v1.json")).json()[
        "predictions"
    ]
    assert len(words) == 2
    assert all(isinstance(word, str) for word in words)
    assert v1(replica, "no mask here") == (400, "text 0 holds no [MASK]; put it where a word is wanted")


def test_vectors_have_length_one(serve: Any, kserve: Path) -> None:
    replica = serve("vectors")
    output = v2(replica, payload(kserve, "text_embedding_input_v2.json"))
    assert output["shape"] == [1, 16]
    assert np.linalg.norm(output["data"]) == pytest.approx(1, abs=1e-5)
    one, padded = v1(replica, "my dog", "my dog")[0], v1(replica, "my dog", "the capital of france is paris")[0]
    np.testing.assert_allclose(one, padded, atol=1e-5)


def test_generation(serve: Any) -> None:
    replica = serve("text")
    drawn = {"parameters": {"max_new_tokens": 5, "temperature": 1.5, "seed": 3}}
    assert v1(replica, "hello", **drawn) == v1(replica, "hello", **drawn)
    assert len(v1(replica, "hello", "my dog is", parameters={"max_new_tokens": 3})) == 2
    status, message = v1(replica, "hello", parameters={"max_new_tokens": 100})
    assert (status, "the model has 48 places" in message) == (400, True)
    status, message = v1(replica, "hello", parameters={"temperatur": 1})
    assert (status, "temperatur" in message) == (400, True)


def test_images(serve: Any, models: Path) -> None:
    replica = serve("images")
    encoded = base64.b64encode((models / "image.png").read_bytes()).decode()
    [one] = v1(replica, {"b64": encoded})
    assert one in range(4)
    assert v1(replica, {"image": {"b64": encoded}}, encoded) == [one, one]
    assert v1(replica, "AAAA") == (400, "image 0 is in no format that can be read; send PNG or JPEG")


@pytest.mark.parametrize(
    ("model", "argv", "cause"),
    [
        ("answers", (), "from which no task follows; give --task"),
        ("vectors", ("--task=sequence_classification",), "has no weights for classifier."),
        ("classes", ("--task=dreaming",), "--task is 'dreaming'"),
        ("classes", ("--backend=vllm",), "--backend is 'vllm'"),
    ],
)
def test_what_cannot_be_served(
    start: Start, python: Path, models: Path, tmp_path: Path, model: str, argv: tuple[str, ...], cause: str
) -> None:
    said = tmp_path / "termination"
    replica = start(f"--model-dir={models / model}", f"--termination-file={said}", *argv, python=python)
    assert replica.wait() != 0
    assert cause in said.read_text()
