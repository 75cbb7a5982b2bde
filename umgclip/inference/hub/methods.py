"""`save_pretrained`, `from_pretrained` and `push_to_hub` of a `Model`, as huggingface_hub names them, and `save`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from umgclip.errors import InputError
from umgclip.inference.arguments import Device, Pixels, Resize, Share, check_options
from umgclip.inference.hub.origin import ModelOrigin, with_data, with_results
from umgclip.io.json_file import read_object

if TYPE_CHECKING:
    from umgclip.inference.opening import OpenedModel
    from umgclip.model.clip.tower import DenseClip
    from umgclip.model.clip.usage import Usage
else:  # imported where they are used
    OpenedModel = DenseClip = Usage = Any

_Model = TypeVar("_Model", bound="PretrainedMethods")


class CardOptions(TypedDict, total=False):
    """Options of a model's folder with its card.

    Attributes:
        transformers: True: also files for transformers, or an error that says why not; False: none; None, the default:
            where it is possible.
        license: of the weights, by the hub's identifier (`apache-2.0`); None: as far as base and data say it.
        datasets: names of the training data in the hub.
        metrics: the file `metrics/evaluate.json` of this model, whose numbers the card shows.
        data: the folder with the datasets `train` and `benchmark`, whose sources and licences the card names.
        card: text of README.md; None: written from what is known.
    """

    transformers: bool | None
    license: str | None
    datasets: Sequence[str]
    metrics: str | PathLike[str] | None
    data: str | PathLike[str] | None
    card: str | None


class PushOptions(CardOptions, total=False):
    """Options of a push: those of a folder with a card, and one more.

    Attributes:
        force: write into a repository that another tool filled.
    """

    force: bool


class PretrainedMethods:
    """Reading and writing of a `Model`: folders, and repositories of the Hugging Face hub.

    Attributes:
        origin: what is known of the model's making; its card in the hub is written from it.
    """

    origin: ModelOrigin = ModelOrigin()
    tower: DenseClip
    usage: Usage

    @classmethod
    def from_pretrained(
        cls: type[_Model],
        source: str | PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **options: Any,  # noqa: ANN401 - those of `umgclip.load`
    ) -> _Model:
        """Load a model from a folder, or from the Hugging Face hub, of which only the needed files are fetched.

        Nothing in a repository is run, and pickled weights are not read.

        Args:
            source: a folder, or `USER/NAME` in the hub (`hf-hub:USER/NAME@REVISION` also does).
            revision: a branch, a tag or a commit of the repository; None: its main branch.
            token: of the hub; None: the one that `hf auth login` or `HF_TOKEN` set.
            cache_dir: where the hub's files are kept; None: the hub's own place (`HF_HOME`).
            force_download: fetch files that are in the cache again.
            local_files_only: ask nobody; what is not in the cache is an error.
            **options: `device`, `image_px`, `resize` and `box_share`, as in `umgclip.load`.

        Raises:
            InputError: there is no such folder or repository, no right to read it, or it holds no such model.
            StorageError: the hub does not answer, and its cache lacks the model.
            DataError: files do not belong together, or weights are damaged.

        Example:
            >>> import umgclip
            >>> umgclip.Model.from_pretrained("artifacts").embed_dim
            512
        """
        from umgclip.inference.hub.fetch import fetched
        from umgclip.inference.opening import open_folder

        name = fspath(source)
        folder = Path(name)
        if not folder.is_dir():
            folder = fetched(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        elif revision is not None:
            raise InputError(f"revision: expected none for a folder, got {revision!r} with {name}")
        with open_folder(folder, name=name) as opened:
            return cls.of_opened(opened, **options)

    @classmethod
    def of_opened(
        cls: type[_Model],
        opened: OpenedModel,
        *,
        device: Device = None,
        image_px: Pixels = None,
        resize: Resize = None,
        box_share: Share = None,
    ) -> _Model:
        """Return the model of an opened folder; the arguments are those of `umgclip.load`."""
        check_options(box_share, image_px, resize, device)
        make: Any = cls
        model: _Model = make(
            opened.clip,
            template=opened.usage.template,
            device=device,
            image_px=image_px,
            resize=opened.usage.preprocess.fit if resize is None else resize,
            box_share=opened.usage.box_share if box_share is None else box_share,
        )
        model.origin = opened.origin
        return model

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model into a new folder, which `umgclip.load` reads, and open_clip as `local-dir:FOLDER`.

        A side other than the model's (`image_px`) is not saved; a warning says so.

        Raises:
            InputError: the folder is not empty, or the model cannot be written: it was made in memory, or its adapter
                cannot be merged.
            OutputError: the folder cannot be written.

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").save("saved")
            >>> umgclip.load("saved").embed_dim
            512
        """
        from umgclip.inference.export.open_clip_folder import save_model

        save_model(self.tower, self.usage, Path(folder))
        self._warn_of_side()

    def save_pretrained(self, folder: str | PathLike[str], **options: Unpack[CardOptions]) -> None:
        """Write the model with its card, as `push_to_hub` would push it.

        The folder is read by `umgclip.load`, by open_clip as `local-dir:FOLDER` and, where transformers has a class
        for the tower, by its Auto classes.

        Args:
            folder: to create. One that this method wrote is replaced.
            **options: `transformers`, `license`, `datasets`, `metrics`, `data` and `card`, see `CardOptions`.

        Raises:
            InputError: the folder holds something else, or the model cannot be written.
            DataError: the metrics are of another model.
            OutputError: the folder cannot be written.

        Example:
            >>> import umgclip
            >>> umgclip.load("artifacts").save_pretrained("published", transformers=False)
            >>> umgclip.Model.from_pretrained("published").embed_dim
            512
        """
        from umgclip.io.atomic import MODEL, replaced_folder

        with replaced_folder(Path(folder), MODEL) as working:
            self._write(None, options, working)
        self._warn_of_side()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Push model with umgclip",
        token: str | bool | None = None,
        **options: Unpack[PushOptions],
    ) -> str:
        """Push the model to the Hugging Face hub in one commit, and return the commit's address.

        open_clip and `umgclip.load` then read it as `hf-hub:USER/NAME`, and transformers as `USER/NAME` where it has a
        class for the tower. The repository is made if it is missing. A push that was interrupted is run again; what
        reached the hub is not sent twice.

        Args:
            repo_id: `USER/NAME`.
            private: whether a repository that is made is private; None: as the hub does by default, which is public.
            revision: a branch, made if it is missing; None: the main branch.
            commit_message: of the commit.
            token: of the hub; None: the one that `hf auth login` or `HF_TOKEN` set.
            **options: those of `save_pretrained`, and `force`, see `PushOptions`.

        Raises:
            InputError: no such name, no token or no right, or a repository that another tool filled.
            StorageError: the hub does not answer or refuses.
        """
        from umgclip.inference.hub.push import Destination, push_folder, require_destination

        force = options.pop("force", False)
        destination = Destination(repo_id, private, revision, commit_message, token, force)
        require_destination(destination)
        with tempfile.TemporaryDirectory() as name:
            self._write(repo_id, options, Path(name))
            return push_folder(Path(name), destination).url

    def _write(self, repo: str | None, options: CardOptions | PushOptions, folder: Path) -> None:
        from umgclip.inference.hub.repository import Publication, write_repository

        if unknown := sorted(set(options) - set(CardOptions.__annotations__)):
            raise TypeError(f"expected the options {', '.join(CardOptions.__annotations__)}, got {unknown[0]!r}")
        metrics, data, origin = options.get("metrics"), options.get("data"), self.origin
        if metrics is not None:
            origin = with_results(origin, read_object(Path(metrics)), Path(metrics))
        if data is not None:
            origin = with_data(origin, Path(data))
        publication = Publication(
            repo,
            options.get("transformers"),
            options.get("license"),
            tuple(options.get("datasets", ())),
            options.get("card"),
        )
        write_repository(self.tower, self.usage, origin, publication, folder)

    def _warn_of_side(self) -> None:
        raise NotImplementedError
