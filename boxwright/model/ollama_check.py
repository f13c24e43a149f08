"""What of a profile Ollama would not run, or would run on the processor without a word."""

from __future__ import annotations

from boxwright.model.ollama import GROUPS_SHARDS
from boxwright.model.profile import Profile
from boxwright.model.versions import release_key
from boxwright.model.weights import Weights

# Ollama's pull request 16895: from this release on, its libraries for CUDA 12 ask for this driver.
_ASKS_SINCE, _ASKS_FOR = "0.30.11", 550


def check_ollama(profile: Profile, version: str, weights: Weights | None) -> tuple[str, str] | None:
    """Whether a release takes the model's files, and the driver.

    Returns:
        What is wrong, and what to do instead; None where nothing is.
    """
    shards = weights.build.shards or len(weights.build.files) if weights else 1
    if weights and shards > 1 and release_key(version) < release_key(GROUPS_SHARDS):
        ggufs = [one for one in weights.model.builds if one.format == "gguf"]
        whole = [one.name for one in ggufs if one.shards == 1 or len(one.files) == 1]
        other = f", or take a build of one file, such as {whole[0]}" if whole else ""
        instead = (
            f"Set stack.engine_version to {GROUPS_SHARDS} or later{other}. Or merge the files by "
            "the deploy gguf, and name the merged one as a build of a catalogue of your own."
        )
        return f"{weights.name} is {shards} files, and ollama {version} takes one", instead
    driver = profile.nvidia_driver
    if driver and driver.branch < _ASKS_FOR and release_key(version) >= release_key(_ASKS_SINCE):
        wrong = (
            f"ollama {version} asks for an NVIDIA driver from {_ASKS_FOR} on, and the profile has {driver.branch}: "
            "it would compute on the processor without a word"
        )
        return wrong, f"Set nvidia_driver.branch to {_ASKS_FOR} or later."
    return None
