"""TargetModel, as SageMaker does it: a model is loaded when it is first asked for; when the container says that
memory is short (507), the least recently used idle models are unloaded until the new one fits."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from emulators.http_exchange import exchange
from emulators.sagemaker_runtime.endpoints import MultiModel

_JSON = {"content-type": "application/json"}


class UnknownModel(Exception):
    """No model of that name belongs to the endpoint."""


class LoadFailed(Exception):
    """The container refused to load the model."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"loading was refused with {status}")
        self.status = status
        self.body = body


class ModelCache:
    """What one multi-model container has loaded, least recently used first."""

    def __init__(self, endpoint: MultiModel) -> None:
        self._endpoint = endpoint
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._in_use: dict[str, int] = {}
        # SageMaker loads one model at a time per instance as well, since each may cost others their place.
        self._loading = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, target_model: str) -> AsyncIterator[str]:
        """The path that invokes the model; it is loaded, and stays so until the context is left.

        Raises UnknownModel, LoadFailed, ExchangeFailed.
        """
        if target_model not in self._endpoint.models:
            raise UnknownModel(target_model)
        self._in_use[target_model] = self._in_use.get(target_model, 0) + 1
        try:
            if target_model not in self._loaded:
                async with self._loading:
                    if target_model not in self._loaded:
                        await self._load(target_model)
            self._loaded.move_to_end(target_model)
            yield f"/models/{name_in_container(target_model)}/invoke"
        finally:
            self._in_use[target_model] -= 1

    async def reload(self, target_model: str) -> None:
        """Load a held model that the container says it does not know: it was restarted since."""
        async with self._loading:
            await self._load(target_model)

    async def _load(self, target_model: str) -> None:
        name = name_in_container(target_model)
        request = json.dumps({"model_name": name, "url": self._endpoint.models[target_model]}).encode()
        while True:
            async with exchange(self._endpoint.url, "POST", "/models", _JSON, request) as reply:
                body = await reply.read()
            if reply.status in (200, 409):  # 409: loaded already
                self._loaded[target_model] = None
                return
            if reply.status != 507 or not await self._unload_one():
                raise LoadFailed(reply.status, body)

    async def _unload_one(self) -> bool:
        """Unload the least recently used model that nobody uses. False: there is none."""
        idle = next((model for model in self._loaded if not self._in_use.get(model)), None)
        if idle is None:
            return False
        del self._loaded[idle]
        async with exchange(self._endpoint.url, "DELETE", f"/models/{name_in_container(idle)}", {}) as reply:
            await reply.read()
        return True


def name_in_container(target_model: str) -> str:
    """SageMaker hands a container a hash, not the name that the caller used."""
    return sha256(target_model.encode()).hexdigest()[:32]
