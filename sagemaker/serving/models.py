"""The models that are loaded, and the memory they share."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import journal
from serving.engines import BadModel, Engine, Launcher
from serving.refusal import AlreadyLoaded, Malformed, MemoryShort, UnknownModel
from serving.settings import Settings, machine_limit_mb

DRAIN_TIMEOUT_S = 10.0
MAX_NAME = 256


class Model:
    """One loaded model and how many calls are using it."""

    def __init__(self, name: str, url: str, need_mb: int, engine: Engine) -> None:
        self.name = name
        self.url = url
        self.need_mb = need_mb
        self.engine = engine
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def use(self) -> Iterator[Engine]:
        self._users += 1
        self._idle.clear()
        try:
            yield self.engine
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def close(self, drain_s: float) -> None:
        """After the calls that use it have ended, or `drain_s` later in spite of them."""
        try:
            async with asyncio.timeout(drain_s):
                await self._idle.wait()
        except TimeoutError:
            journal.event("unload_cut_short", model=self.name, calls=self._users)
        await self.engine.close()


class Models:
    """Loads one model at a time; asks for none that would not fit."""

    def __init__(self, launcher: Launcher, settings: Settings) -> None:
        self._launcher = launcher
        self._settings = settings
        self._loaded: dict[str, Model] = {}
        self._reserved_mb: dict[str, int] = {}  # name -> MB, of models that are being loaded or unloaded
        self._one_at_a_time = asyncio.Lock()
        self.limit_mb = settings.memory_limit_mb or machine_limit_mb()

    def all(self) -> list[Model]:
        return list(self._loaded.values())

    def get(self, name: str) -> Model:
        """Raises: UnknownModel."""
        model = self._loaded.get(name)
        if model is None:
            raise UnknownModel("no such model is loaded here")
        return model

    def only(self) -> Model | None:
        return next(iter(self._loaded.values())) if len(self._loaded) == 1 else None

    async def load(self, name: str, url: str) -> None:
        """Raises: AlreadyLoaded, MemoryShort, Malformed (a bad model)."""
        if not name or len(name) > MAX_NAME or not name.isprintable() or "/" in name:
            raise Malformed(f"a model's name has 1 to {MAX_NAME} printable characters and no slash")
        if name in self._loaded or name in self._reserved_mb:
            raise AlreadyLoaded("a model of that name is loaded or on its way")
        path = Path(url)
        try:
            need_mb = await asyncio.to_thread(self._launcher.need_mb, path, self._settings)
            self._reserve(name, need_mb)
            try:
                async with self._one_at_a_time:
                    engine = await self._launcher.launch(name, path, self._settings)
            finally:
                del self._reserved_mb[name]
        except BadModel as error:
            raise Malformed(str(error)) from None
        self._loaded[name] = Model(name, url, need_mb, engine)
        journal.event("model_loaded", model=name, need_mb=need_mb)

    async def unload(self, name: str) -> None:
        """Raises: UnknownModel. The name answers 404 at once; the memory is free when this returns."""
        model = self.get(name)
        del self._loaded[name]
        self._reserved_mb[name] = model.need_mb
        try:
            await model.close(DRAIN_TIMEOUT_S)
        finally:
            del self._reserved_mb[name]
        journal.event("model_unloaded", model=name)

    async def close(self) -> None:
        models, self._loaded = self.all(), {}
        await asyncio.gather(*(model.close(0.1) for model in models))

    def _reserve(self, name: str, need_mb: int) -> None:
        if name in self._loaded or name in self._reserved_mb:  # somebody was quicker while we read the file
            raise AlreadyLoaded("a model of that name is loaded or on its way")
        taken_mb = sum(model.need_mb for model in self.all()) + sum(self._reserved_mb.values())
        if taken_mb + need_mb > self.limit_mb:
            raise MemoryShort(
                f"the model needs about {need_mb} MB; {max(0, self.limit_mb - taken_mb)} of {self.limit_mb} MB are free"
            )
        self._reserved_mb[name] = need_mb
