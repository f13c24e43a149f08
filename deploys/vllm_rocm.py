"""The engine vLLM for AMD's cards: its vendor's container by digest under systemd, closed, on loopback."""

from __future__ import annotations

from pyinfra import host

from deploys.operations.vllm_container import vllm_containers

vllm_containers(
    title="vLLM for AMD's cards",
    user="vllm-rocm",
    services=host.data.vllm_rocm_services,
    api_key=host.data.vllm_rocm_api_key,
)
