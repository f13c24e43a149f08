"""The pyinfra worker: `python -m boxwright.engines.pyinfra.worker`, one Job in, Event lines out.

Standard output carries Events and nothing else: it is moved away first, and whatever pyinfra, its libraries
or a deploy file print goes to standard error, without the job's secrets. Exit code: 0 every host is done, 2 a
host failed, 4 hosts were unreachable and none failed, 1 the worker itself broke, 130 it was stopped.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - nothing else may be imported before the patch

from boxwright.engines.pyinfra.process import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
