"""Loading a transformer of true width against reading its bytes once: seconds, and peak memory against the file's size.

Writes a Wan2.1 I2V transformer of few layers with random weights (2.1 GB) in three forms: one bf16 file, bf16 shards
with their index, one fp16 file in original key names. Each round, in turn and each in a process of its own: the form's
bytes are read in order into one buffer of 16 MiB; our engine's loader loads it on the CPU in bf16; diffusers loads the
folders its own way. Then every page of every parameter is touched: nothing is left to be read later. Before each the
files are dropped from the system's cache (posix_fadvise), which a virtual machine's host does not hear of. The median
of the rounds counts. Memory is the peak of resident memory (VmHWM: anonymous and mapped pages) over what the imports
took. The load average stands in the results: on a busy machine the form that is cast suffers, the others do not.

Hashing is no part of it: a file is hashed at its first use and the digest remembered; its seconds stand beside.
Prints a table and writes results/loading.json. `--quick`: a fifth of the size, one round, nothing written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from report import table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

CARD = "wan2.1-i2v-14b-720p"
PART = "transformer"
SHARD = 700_000_000
"""Most bytes of a shard."""
ROUNDS = 5
BUFFER = 16 << 20


def prepare(folder: Path, quick: bool) -> None:
    """The three forms, and what each is called."""
    import torch
    from safetensors.torch import save_file
    from tiny_models import original_name

    model = _empty(quick)
    random = torch.Generator().manual_seed(1)
    state = {}
    for name, value in model.state_dict().items():
        tensor = torch.empty(value.shape, dtype=torch.float32).uniform_(-0.02, 0.02, generator=random)
        state[name] = tensor.to(torch.bfloat16)
    config = json.dumps(dict(model.config), default=list)
    for form in ("one file", "shards"):
        target = folder / form / PART
        target.mkdir(parents=True)
        (target / "config.json").write_text(config)
        shards = _shards(state) if form == "shards" else [state]
        placed = {}
        for at, shard in enumerate(shards, start=1):
            tail = f"-{at:05}-of-{len(shards):05}" if form == "shards" else ""
            name = f"diffusion_pytorch_model{tail}.safetensors"
            save_file(shard, target / name, metadata={"format": "pt"})
            placed |= dict.fromkeys(shard, name)
        if form == "shards":
            index = {"metadata": {}, "weight_map": placed}
            (target / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    single = folder / "original names, fp16"
    single.mkdir()
    save_file({original_name(key): value.to(torch.float16) for key, value in state.items()}, single / "wan.safetensors")


def _shards(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = [{}]
    size = 0
    for name, value in state.items():
        if size + value.nbytes > SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    return shards


def _card(quick: bool) -> Any:
    from dataclasses import replace

    from models.cards import card

    found = card(CARD)
    smaller = {"num_layers": 2} | ({"num_layers": 1, "num_attention_heads": 16} if quick else {})
    smaller |= {"ffn_dim": 4096, "added_kv_proj_dim": 2048} if quick else {}
    return replace(found, transformer=dict(found.transformer) | smaller)


def _empty(quick: bool) -> Any:
    import diffusers

    from models.single_files import empty_model

    return empty_model(diffusers.WanTransformer3DModel, dict(_card(quick).transformer))


def files_of(folder: Path) -> list[Path]:
    """The weight files of a form."""
    return sorted(folder.rglob("*.safetensors"))


def forget(folder: Path) -> None:
    """Have the system drop the files from its cache."""
    for path in files_of(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def child(how: str, folder: Path, quick: bool) -> None:
    """One measurement in this process, printed as JSON."""
    if how == "read":
        buffer = bytearray(BUFFER)
        started = time.perf_counter()
        for path in files_of(folder):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        print(json.dumps({"seconds": time.perf_counter() - started}))
        return
    import diffusers
    import torch
    import transformers  # noqa: F401 - the loader imports it; what it takes is no part of loading

    from models import diffusion
    from models.diffusion import Placement
    from models.installed import Weights

    _empty(True)  # imports what building a model imports
    single = None if (folder / PART).is_dir() else files_of(folder)[0]
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    started = time.perf_counter()
    if how == "ours":
        weights, placement = Weights(folder, transformer=single), Placement(dtype="bfloat16")
        model = diffusion._transformer(_card(quick), weights, placement, lambda _: None, part=PART)
    else:
        model = diffusers.WanTransformer3DModel.from_pretrained(
            folder / PART, torch_dtype=torch.bfloat16, low_cpu_mem_usage=True, local_files_only=True
        )
    touched = sum(int(value.reshape(-1).view(torch.uint8)[::4096].sum()) for value in model.parameters())
    seconds = time.perf_counter() - started
    assert touched
    print(json.dumps({"seconds": seconds, "peak": _resident("VmHWM") - before}))


def _resident(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measured(how: str, folder: Path, quick: bool) -> dict[str, float]:
    """A child's figures, its files dropped from the cache before."""
    forget(folder)
    argv = [sys.executable, __file__, "--child", how, str(folder), *(["--quick"] if quick else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Every form, every way, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the size, one round, nothing written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child[0], Path(given.child[1]), given.quick)
    runs: dict[str, dict[str, list[dict[str, float]]]] = {}
    rows = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as top:
        prepare(Path(top), given.quick)
        os.sync()
        forms = sorted(path.name for path in Path(top).iterdir())
        for _ in range(1 if given.quick else ROUNDS):
            for form in forms:
                for how in ("read", "ours", *(["diffusers"] if "names" not in form else [])):
                    found = measured(how, Path(top) / form, given.quick)
                    runs.setdefault(form, {}).setdefault(how, []).append(found)
        digests = {form: _hashing(Path(top) / form) for form in forms}
        for form in forms:
            sizes = [path.stat().st_size for path in files_of(Path(top) / form)]
            read = median(run["seconds"] for run in runs[form]["read"])
            for how in [how for how in ("ours", "diffusers") if how in runs[form]]:
                seconds = median(run["seconds"] for run in runs[form][how])
                peak = max(run["peak"] for run in runs[form][how])
                rows.append(
                    {
                        "form": form,
                        "loader": how,
                        "GB": round(sum(sizes) / 1e9, 2),
                        "files": len(sizes),
                        "read_s": round(read, 2),
                        "load_s": round(seconds, 2),
                        "ratio": round(seconds / read, 2),
                        "peak_over_bytes": round(peak / sum(sizes), 3),
                        "sha256_s": round(digests[form], 2),
                    }
                )
    print(table(rows))
    if not given.quick:
        seconds_of = {
            form: {how: [round(run["seconds"], 2) for run in its] for how, its in ways.items()}
            for form, ways in runs.items()
        }
        result = {"goal": {"ratio": 1.2, "peak_over_bytes": 1.15}, "rows": rows, "seconds": seconds_of}
        write("loading", result | {"load_average": [round(figure, 1) for figure in os.getloadavg()]})
    return None


def _hashing(folder: Path) -> float:
    """Seconds to take every file's digest at its first use, from a cold cache."""
    from models.weights_lock import file_sha256

    forget(folder)
    started = time.perf_counter()
    for path in files_of(folder):
        file_sha256(path)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
