"""What a site supplies comes out of the bundle, under the name that it has there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from factory.bundles import artefact

from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Lock
from boxwright.factory.supplied import supplied
from boxwright.model.site import Artefacts, HygonArtefact, LlamaCppArtefact
from boxwright.whole_files import write_whole


def test_a_file_that_is_elsewhere_by_now_is_taken_out_of_the_bundle(tmp_path: Path) -> None:
    data = {"rock.run": b"an installer", "llama.cpp-b1.tar.gz": b"source"}
    digests = {name: hashlib.sha256(bytes_).hexdigest() for name, bytes_ in data.items()}
    bundle = Bundle(tmp_path / "b")
    for name, one in data.items():
        write_whole(bundle.artefact(digests[name]), one)
    lock = Lock(
        profile="p",
        distribution="debian-12",
        artefacts=(
            artefact("hygon_dtk-driver", data["rock.run"], kind="installer", file="rock.run"),
            artefact("llama.cpp", data["llama.cpp-b1.tar.gz"], kind="source", file="llama.cpp-b1.tar.gz"),
        ),
    )
    gone = "/gone/rock.run"
    driver = HygonArtefact(part="driver", path=gone, version="1", sha256=digests["rock.run"])
    own = Artefacts(
        hygon_dtk=(driver, driver.model_copy(update={"part": "dtk", "sha256": "0" * 64})),
        llama_cpp=LlamaCppArtefact(path="/gone/x.tar.gz", version="b1", sha256=digests["llama.cpp-b1.tar.gz"]),
    )
    with supplied(bundle, lock, own) as found:
        path = Path(found.hygon_dtk[0].path)
        assert (path.name, path.read_bytes()) == ("rock.run", b"an installer")
        assert found.llama_cpp
        assert Path(found.llama_cpp.path).read_bytes() == b"source"
        assert found.hygon_dtk[1].path == gone  # what the bundle does not have stays as the site names it
    assert not path.exists()
