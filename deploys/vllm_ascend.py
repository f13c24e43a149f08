"""The engine vLLM for Huawei's cards: its vendor's container by digest under systemd, closed, on loopback."""

from __future__ import annotations

from pyinfra import host

from deploys.operations.vllm_container import vllm_containers

vllm_containers(
    title="vLLM for Huawei's cards",
    user="vllm-ascend",
    services=host.data.vllm_ascend_services,
    api_key=host.data.vllm_ascend_api_key,
)
