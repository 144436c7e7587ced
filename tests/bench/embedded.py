"""`python -m tests.bench.embedded`: what `onboarding up` is, told by lines on stdin what to publish in itself.

Its broker is its own memory, so that nobody else could. Ends with its input.
"""

from __future__ import annotations

import base64
import json
import sys

from onboarding import observe
from onboarding.settings import load
from tasks.serve import serve_all


def main() -> None:
    """Worker, intake and upkeep in this process."""
    settings = load()
    observe.configure(settings.log_format)
    # after the settings: they make the Celery application
    from tasks.application import app  # noqa: PLC0415
    from tasks.publish import publish_event  # noqa: PLC0415
    from tests.bench import bare  # noqa: PLC0415

    def obey() -> None:
        for line in sys.stdin:
            match json.loads(line):
                case {"chain": port}:
                    bare.send(app, port)
                case {"body": body, "headers": headers}:
                    publish_event(base64.b64decode(body), headers, "contract.created")

    serve_all(settings, obey)


if __name__ == "__main__":
    main()
