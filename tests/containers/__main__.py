"""
Do the images and docker-compose.yml do what they say? With the docker on PATH:

    make images          first: nothing is built here
    make compose-test    5 minutes; prints PASS or FAIL per claim; exit status 1 after any FAIL

It runs beside a stack that is up: under another name, on free ports, and removes its containers and volumes. Where a
third party's image cannot be pulled, tests/containers/standins.sh makes one of Debian's packages, and it is named as
what it is. Only the standard library is needed.
"""

import argparse
import sys

from tests.containers.claims import Broken, Claims
from tests.containers.crash_claims import crash_claims
from tests.containers.image_claims import image_claims
from tests.containers.serving_claims import serving_claims
from tests.containers.stack import Stack, docker
from tests.containers.watching_claims import image_of, obtained, standin, watching_claims

OTHERS = ("redis", "prometheus", "alertmanager", "load")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.containers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    claims, stack = Claims(_tell), Stack()
    _tell(f"docker {docker('version', '--format', '{{.Server.Version}}')}, {docker('compose', 'version', '--short')}")
    for image in [image_of(stack, service) for service in OTHERS]:
        if not obtained(image):
            _tell(f"error: {image} cannot be pulled; tests/containers/standins.sh makes a stand-in")
            return 2
        _tell(f"{image}: {standin(image) or 'itself'}")
    image_claims(claims, image_of(stack, "service"), image_of(stack, "trainer"))
    try:
        if claims.check("up without a profile: trained, healthy", lambda: f"{stack.up('service'):.0f} s"):
            serving_claims(claims, stack)
            watching_claims(claims, stack)
            crash_claims(claims, stack)
        if claims.failed:
            _tell(stack.logs())
    finally:
        claims.check("down leaves nothing", stack.down)
    _tell(f"{claims.failed} claims failed" if claims.failed else "every claim holds")
    return 1 if claims.failed else 0


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Broken as error:
        sys.exit(f"error: {error}")
