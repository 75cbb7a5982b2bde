"""`umgclip export`: the tuned model for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from umgclip.io.atomic import fresh_folder
from umgclip.register.source import Loaded, open_model
from umgclip.summary import Summary

Format = Literal["open_clip", "peft", "onnx"]


def export(source: str | Path, adapter: Path | None, to: Format, out: Path) -> Summary:
    """Write a model in another tool's format.

    Args:
        source: as in `umgclip.register.source.open_model`.
        adapter: a folder with an adapter for a base.
        to: the format.
        out: the folder to make; an old one is replaced.

    Raises:
        InputError: no such model, or its adapter does not go into that format; names those that it goes into.
        OutputError: `out` cannot be written, or ONNX does not agree with torch.
    """
    with open_model(source, adapter) as loaded, fresh_folder(out) as folder:
        rows = {"open_clip": _open_clip, "peft": _peft, "onnx": _onnx}[to](loaded, folder, out)
    return Summary(f"export --to {to}", (*rows, ("folder", str(out))))


def _open_clip(loaded: Loaded, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.export.open_clip_folder import write_open_clip
    from umgclip.model.files import WEIGHTS

    name, digest = write_open_clip(loaded.clip, loaded.base, loaded.name, folder)
    first = (
        [("first", f'open_clip.add_model_config("{out / name}.json")')] if (folder / f"{name}.json").is_file() else []
    )
    call = f'open_clip.create_model("{name}", pretrained="{out / WEIGHTS}")'
    return [("sha256", digest[:16]), *first, ("load with", call), ("or", f'open_clip.create_model("local-dir:{out}")')]


def _peft(loaded: Loaded, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.export.peft_folder import write_peft

    digest = write_peft(loaded.clip, loaded.adapter, loaded.name, folder)
    return [("sha256", digest[:16]), ("load with", f'peft.PeftModel.from_pretrained(open_clip_base, "{out}")')]


def _onnx(loaded: Loaded, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.export import onnx_files

    differences = onnx_files.write_onnx(loaded.clip, loaded.base, folder)
    found = [(f"{name}: largest difference to torch", f"{value:.1e}") for name, value in differences.items()]
    return [*found, ("graphs", f"{onnx_files.IMAGE}, {onnx_files.TEXT}")]
