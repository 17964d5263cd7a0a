"""Gives a broker its users, what each of them may touch, and its policies: definitions.json beside this file.

Goes through the management API, once per broker and safe to repeat; what is there already is brought up to date. It
needs Python and nothing else. From the environment:

  RABBITMQ_API_URL                      where the management API is: http://rabbitmq:15672
  RABBITMQ_API_USER, RABBITMQ_API_PASSWORD
                                        an administrator of the broker
  RABBITMQ_VHOST                        the virtual host that is meant (default: /)
  GATEWAY_RABBITMQ_PASSWORD, IDENTITY_RABBITMQ_PASSWORD, BILLING_RABBITMQ_PASSWORD, MEDIA_RABBITMQ_PASSWORD
                                        the password of each service's user
"""

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DEFINITIONS = Path(__file__).with_name("definitions.json")
SECONDS = 10.0
EXIT_BAD_SETTINGS = 78


class Refused(Exception):
    """The broker does not take the definitions; says why, and what to do."""


def main() -> int:
    """Applies the definitions; the exit status."""
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    definitions = json.loads(DEFINITIONS.read_text())
    wanted = ["RABBITMQ_API_URL", "RABBITMQ_API_USER", "RABBITMQ_API_PASSWORD"]
    wanted += [password_variable(user["name"]) for user in definitions["users"]]
    if missing := [name for name in wanted if not os.environ.get(name)]:
        print(f"broker: set {', '.join(missing)}; --help says what each is", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    complete(definitions, os.environ.get("RABBITMQ_VHOST") or "/")
    try:
        send(definitions)
    except Refused as refusal:
        print(f"broker: {refusal}", file=sys.stderr)
        return 1
    print(f"broker: {len(definitions['users'])} users and {len(definitions['policies'])} policies are in place")
    return 0


def password_variable(user: str) -> str:
    return f"{user.upper()}_RABBITMQ_PASSWORD"


def complete(definitions: dict[str, Any], vhost: str) -> None:
    """Puts in what the file leaves open: the password of each user, and the virtual host."""
    for user in definitions["users"]:
        user["hashing_algorithm"] = "rabbit_password_hashing_sha256"
        user["password_hash"] = password_hash(os.environ[password_variable(user["name"])])
    definitions["vhosts"] = [{"name": vhost}]
    for kind in ("permissions", "topic_permissions", "policies"):
        for entry in definitions[kind]:
            entry["vhost"] = vhost


def password_hash(password: str) -> str:
    """As the broker keeps it: four bytes of salt, then their SHA-256 with the password, in base64."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def send(definitions: dict[str, Any]) -> None:
    """Raises Refused."""
    url = os.environ["RABBITMQ_API_URL"].rstrip("/")
    pair = f"{os.environ['RABBITMQ_API_USER']}:{os.environ['RABBITMQ_API_PASSWORD']}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        "Content-Type": "application/json",
    }
    request = Request(f"{url}/api/definitions", json.dumps(definitions).encode(), headers, method="POST")
    try:
        urlopen(request, timeout=SECONDS).close()
    except HTTPError as error:
        advice = {401: "RABBITMQ_API_USER and RABBITMQ_API_PASSWORD must be those of an administrator of the broker"}
        told = error.read(300).decode("utf-8", "replace")
        raise Refused(f"{url} answered {error.code}: {advice.get(error.code, told)}") from None
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Refused(
            f"{url} does not answer ({reason}): is it RABBITMQ_API_URL, and is the plugin rabbitmq_management on?"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
