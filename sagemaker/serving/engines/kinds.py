"""The engines there are. Adding one is its file and its line here."""

from serving.engines import Maker, llamacpp, scripted, vllm

ENGINES: dict[str, Maker] = {
    "llamacpp": llamacpp.Maker(),
    "vllm": vllm.Maker(),
    "scripted": scripted.Maker(),
}
