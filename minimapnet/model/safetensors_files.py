"""The files of a pretrained folder as they are on the disk: JSON objects, and tensors in the safetensors format.

Format: https://huggingface.co/docs/safetensors: eight bytes that give the header's length, a JSON header that gives each
tensor's dtype, shape and place, then the values, little-endian. No pickle, so nothing in a file can run.
"""

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minimapnet.errors import InputError
from minimapnet.files import is_lfs_pointer, lfs_pointer, read_json, written_whole

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # NumPy has no bfloat16: its bits, as whole numbers


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file: its header's entry; the values stay on the disk until `read`."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file

    def read(self) -> numpy.ndarray:
        """Return the values, float16, float32 or float64 as stored; bfloat16 comes as float32, which holds it exactly."""
        values = numpy.fromfile(self.path, DTYPES[self.dtype], math.prod(self.shape), offset=self.start)
        if self.dtype == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")  # a bfloat16 is the upper half of a float32
        return values.reshape(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return what model.safetensors holds, or the shards that model.safetensors.index.json lists, by name.

    Raises InputError where there is neither, and where a file is damaged or cut short, or a shard or its tensor missing.
    """
    if (folder / WEIGHTS).is_file():
        return _read_header(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        return _read_shards(folder / INDEX)
    for name in PICKLES:
        if (folder / name).exists():
            raise InputError(_how_to_convert(folder, name))
    raise InputError(f"{folder} has no {WEIGHTS}")


def _how_to_convert(folder: Path, name: str) -> str:
    code = (
        "import glob, torch; from safetensors.torch import save_file; "
        "parts = [torch.load(file, map_location='cpu', weights_only=True) for file in glob.glob('pytorch_model*.bin')]; "
        "tensors = {name: value.clone().contiguous() for part in parts for name, value in part.items()}; "
        f"save_file(tensors, '{WEIGHTS}', {{'format': 'pt'}})"
    )
    return (
        f"{folder} has its weights as {name} only, a pickle, which is not read since it could run any code; "
        f'where PyTorch is installed, convert it: cd {shlex.quote(str(folder))} && python -c "{code}"'
    )


def _read_header(path: Path) -> dict[str, StoredTensor]:
    try:
        if is_lfs_pointer(path):
            raise InputError(lfs_pointer(path))
        with safe_open(path, framework="np"):  # looks at the header, every offset, and the file's length
            pass
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from error
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(name, path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _read_shards(index: Path) -> dict[str, StoredTensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise InputError(f"{index} has no weight_map")
    shards, tensors = {}, {}
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError(f"{index} puts {name} in {file!r}, which is not the name of a file beside it")
        if file not in shards:
            if not (index.parent / file).is_file():
                raise InputError(f"{index} lists {file}, which is not there")
            shards[file] = _read_header(index.parent / file)
        if name not in shards[file]:
            raise InputError(f"{index} puts {name} in {file}, which does not hold it")
        tensors[name] = shards[file][name]
    return tensors


def write_folder(folder: Path, config: dict, tensors: dict[str, numpy.ndarray]) -> None:
    """Write config.json and model.safetensors, neither of them before both are whole; the folder is made where missing.

    Raises InputError where they cannot be written.
    """
    with written_whole(folder / CONFIG) as new_config, written_whole(folder / WEIGHTS) as new_weights:
        new_config.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        try:
            save_file(tensors, new_weights, metadata={"format": "pt"})  # transformers wants to be told
        except SafetensorError as error:  # a full disk, say
            raise OSError(str(error)) from error
        new_weights.chmod(new_config.stat().st_mode)  # the library would hide it from everybody else
