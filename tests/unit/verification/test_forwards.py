"""What hands on a port is read from Docker, nftables and iptables alike; what is on the loopback alone is not."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.verification.forwards import forwards

# Recorded of `nft --json list ruleset` on a twin of Debian 13 with
# `tcp dport { 8088, 9000-9002 } dnat ip to 10.99.0.2:80` and the like.
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def rule(*expr: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 4, "expr": list(expr)}}


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DNAT = {"dnat": {"addr": "10.99.0.2", "port": 80}}


def told(**more: Any) -> list[str]:
    return [str(one) for one in forwards({"containers": [], "nft": [], "iptables": []} | more)]


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ("0.0.0.0:8080->80/tcp, [::]:8080->80/tcp", ["container web hands on port 8080"]),
        (":::8080->80/tcp", ["container web hands on port 8080"]),
        ("0.0.0.0:8080-8082->80-82/tcp", ["container web hands on port 8080 to 8082"]),
        ("127.0.0.1:8080->80/tcp, [::1]:81->81/udp", []),
        ("10.0.0.5:53->53/udp, 80/tcp", ["container web hands on port 53"]),
        ("", []),
    ],
)
def test_what_a_container_publishes(ports: str, said: list[str]) -> None:
    assert told(containers=[["web", ports]]) == said


@pytest.mark.parametrize(
    ("nft", "said"),
    [
        (rule(match(DPORT, 8088), DNAT), ["table ip nat hands on port 8088"]),
        (rule(match(DPORT, 8088), {"redirect": {"port": 80}}), ["table ip nat hands on port 8088"]),
        (
            rule(match(DPORT, {"set": [8088, {"range": [9000, 9002]}]}), DNAT),
            ["table ip nat hands on port 8088", "table ip nat hands on port 9000 to 9002"],
        ),
        (rule(DNAT), ["table ip nat hands on every port"]),
        (rule(match(DPORT, "@ports"), DNAT), ["table ip nat hands on every port"]),
        (rule(match({"meta": {"key": "iifname"}}, "lo"), match(DPORT, 8088), DNAT), []),
        (
            rule(match({"payload": {"protocol": "ip", "field": "daddr"}}, "127.0.0.1"), match(DPORT, 8088), DNAT),
            [],
        ),
        (rule(match(DPORT, 8088), {"accept": None}), []),
        (rule({"masquerade": None}), []),
        ({"chain": {"name": "pre"}}, []),
    ],
)
def test_what_rules_of_nftables_hand_on(nft: dict[str, Any], said: list[str]) -> None:
    assert told(nft=[nft]) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80",
            ["chain DOCKER of iptables hands on port 8080"],
        ),
        (
            "-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80",
            [],
        ),
        (
            "-A PREROUTING -p tcp -m multiport --dports 80,8000:8002 -j REDIRECT --to-ports 9",
            [
                "chain PREROUTING of iptables hands on port 80",
                "chain PREROUTING of iptables hands on port 8000 to 8002",
            ],
        ),
        ("-A PREROUTING -j DNAT --to-destination 10.0.0.2", ["chain PREROUTING of iptables hands on every port"]),
        ("-A POSTROUTING -s 172.30.0.0/24 ! -o docker0 -j MASQUERADE", []),
    ],
)
def test_what_rules_of_iptables_hand_on(line: str, said: list[str]) -> None:
    assert told(iptables=[line]) == said


def test_a_container_that_docker_wrote_rules_for_is_told_once_and_by_its_name() -> None:
    line = "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80"
    found = told(containers=[["web", "0.0.0.0:8080->80/tcp"]], iptables=[line], nft=[rule(match(DPORT, 8080), DNAT)])
    assert found == ["container web hands on port 8080"]
