"""The engines there are. Adding one is its file and its line here."""

from serving.engines import Launcher, llamacpp, scripted, vllm

ENGINES: dict[str, Launcher] = {
    "llamacpp": llamacpp.Launcher(),
    "vllm": vllm.Launcher(),
    "scripted": scripted.Launcher(),
}
