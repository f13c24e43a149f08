"""Whether an engine is guarded on the box itself: by its key, or from people's accounts where it knows no keys."""

from __future__ import annotations

from testinfra.host import Host


def wants_its_key(host: Host, engine_url: str) -> str:
    """Ask for a chat without a key, on the loopback, and return what was seen.

    Raises:
        AssertionError: It is not refused.
    """
    status = host.check_output(
        "curl --silent --noproxy '*' --max-time 10 --output /dev/null --write-out %s -X POST --data '{}' %s",
        "%{http_code}",
        f"{engine_url.rstrip('/')}/v1/chat/completions",
    )
    if status != "401":
        raise AssertionError(f"a request without a key on the loopback was answered {status}")
    return "401 without a key on the loopback"


def kept_from_people(host: Host, engine_url: str) -> str:
    """Try to reach an engine that knows no keys from accounts of people, and return what was seen.

    The gateway's account must reach it, or nothing is proven.

    Raises:
        AssertionError: People reach it, or the gateway does not.
    """
    url = f"{engine_url.rstrip('/')}/v1/models"
    asking = (
        "setpriv --reuid=%s --regid=%s --clear-groups curl --silent --noproxy '*' --max-time 10 --output /dev/null %s"
    )
    person, nobody = (host.run(asking, uid, uid, url).rc for uid in ("1000", "65534"))
    gateway = host.run(asking, "www-data", "www-data", url).rc
    if gateway != 0:
        raise AssertionError(f"not even the gateway's account reaches it (curl ends with {gateway})")
    if (person, nobody) != (7, 7):
        raise AssertionError(f"accounts of people reach it (curl ends with {person} and {nobody}, not 7)")
    return "refused to accounts from 1000 on, and answers the gateway's"
