"""`umgclip export`: write the tuned model in the formats of other tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from umgclip.io.atomic import MODEL, replaced_folder
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import USAGE
from umgclip.params import RegisterParams
from umgclip.register.opening import OpenedModel, open_model
from umgclip.stage import Summary

Format = Literal["open_clip", "transformers", "peft", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(
    source: str | Path, adapter: Path | None, to: Format, out: Path, register: RegisterParams | None = None
) -> Summary:
    """Write a model in another tool's format.

    Args:
        source: the model, as in `umgclip.register.opening.open_model`.
        adapter: a folder with an adapter for a base.
        to: the format.
        out: the folder to create; an existing one is replaced.
        register: the section `register`, with the prompt and the box share of a model of the pipeline; None uses
            the model's own settings.

    Raises:
        InputError: there is no such model, or the format cannot hold its adapter; the message names formats that can.
        OutputError: `out` cannot be written, or the results of ONNX and torch differ.
    """
    with open_model(source, adapter) as loaded, replaced_folder(out, MODEL) as folder:
        if register is not None:
            usage = replace(loaded.usage, template=register.template, box_share=register.box_share)
            loaded = replace(loaded, usage=usage)
        write = {"open_clip": _open_clip, "transformers": _transformers, "peft": _peft, "onnx": _onnx}[to]
        rows = write(loaded, folder, out)
    images = loaded.usage.preprocess
    preprocessing = ("images", f"{images.fit}, {images.interpolation}; all settings are in {USAGE}")
    return Summary(f"export --to {to}", (*rows, preprocessing, ("folder", str(out))), {"to": to})


def _open_clip(loaded: OpenedModel, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.inference.export.open_clip_folder import write_open_clip
    from umgclip.model.clip.files import WEIGHTS

    tower = DenseClip(loaded.clip)
    name, digest = write_open_clip(tower, loaded.usage, loaded.name, folder)
    first = (
        [("first", f'open_clip.add_model_config("{out / name}.json")')] if (folder / f"{name}.json").is_file() else []
    )
    call = f'open_clip.create_model("{name}", pretrained="{out / WEIGHTS}")'
    rows = [("sha256", digest[:16]), *first, ("load with", call)]
    rows.append(("with its transform", f'open_clip.create_model_and_transforms("local-dir:{out}")'))
    if loaded.usage.preprocess.fit == "pad":
        rows.append(("difference", "open_clip shows the padding to the model, so results differ slightly"))
    return rows


def _transformers(loaded: OpenedModel, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.inference.export.transformers_folder import write_transformers

    written = write_transformers(DenseClip(loaded.clip), loaded.usage, folder)
    rows = [(f"{name}: largest difference to ours", f"{value:.1e}") for name, value in written.differences.items()]
    return [
        ("sha256", written.sha256[:16]),
        *rows,
        ("load with", f'transformers.{written.model_class}.from_pretrained("{out}")'),
        ("classify with", f'transformers.pipeline("zero-shot-image-classification", model="{out}")'),
        ("its image processor", written.images),
        ("not in it", "dense maps and the read-outs of boxes and masks; see docs/hub.md"),
    ]


def _peft(loaded: OpenedModel, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.inference.export.peft_folder import write_peft

    digest = write_peft(DenseClip(loaded.clip), loaded.usage, loaded.adapter, loaded.name, folder)
    return [
        ("sha256", digest[:16]),
        ("load with", f'peft.PeftModel.from_pretrained(with_linear_attention(open_clip_base), "{out}")'),
        ("from", "umgclip.model.clip.attention import with_linear_attention"),
    ]


def _onnx(loaded: OpenedModel, folder: Path, out: Path) -> list[tuple[str, str]]:
    from umgclip.inference.export import onnx_files

    differences = onnx_files.write_onnx(DenseClip(loaded.clip), loaded.usage, folder)
    rows = [(f"{name}: largest difference to torch", f"{value:.1e}") for name, value in differences.items()]
    return [*rows, ("graphs", f"{onnx_files.IMAGE}, {onnx_files.TEXT}")]
