"""The edge's judgement of signed URLs, against signatures made by the openssl command line as AWS documents it."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from embedded.cloudfront import NotAnObjectPath, object_key
from embedded.kept_files import new_p256_key, new_rsa_key, private_pem, public_pem
from embedded.signed_urls import PublicKey, Refused, load_public_key, take_apart, verify

NOW = 1_795_000_000
URL = "https://cdn.example/audio/one.m4a"
CLIENT = "203.0.113.7"


class Signer:
    """Signs with ``openssl``; ``names`` is the private key's file by key pair id."""

    def __init__(self, folder: Path) -> None:
        self.keys: dict[str, PublicKey] = {}
        self.files: dict[str, Path] = {}
        for key_pair_id, key in (("KRSA", new_rsa_key()), ("KEC", new_p256_key())):
            self.files[key_pair_id] = folder / f"{key_pair_id}.pem"
            self.files[key_pair_id].write_text(private_pem(key))
            self.keys[key_pair_id] = load_public_key(public_pem(key))

    def signature(self, text: str, key_pair_id: str = "KRSA", digest: str = "sha1") -> str:
        pipe = f"openssl {digest} -sign {self.files[key_pair_id]} | openssl base64 -A | tr -- '+=/' '-_~'"
        made = subprocess.run(["sh", "-c", pipe], input=text, capture_output=True, text=True, check=True)
        return made.stdout

    def canned(self, url: str = URL, expires: int = NOW + 60, key_pair_id: str = "KRSA", digest: str = "sha1") -> str:
        policy = (
            f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'
        )
        signed = f"Expires={expires}&Signature={self.signature(policy, key_pair_id, digest)}&Key-Pair-Id={key_pair_id}"
        algorithm = "" if digest == "sha1" else f"&Hash-Algorithm={digest.upper()}"
        return f"{url}{'&' if '?' in url else '?'}{signed}{algorithm}"

    def custom(self, url: str, *statements: Any) -> str:
        policy = json.dumps({"Statement": statements}, separators=(",", ":"))
        encoded = base64.b64encode(policy.encode()).decode().translate(str.maketrans("+=/", "-_~"))
        return f"{url}?Policy={encoded}&Signature={self.signature(policy)}&Key-Pair-Id=KRSA"

    def judge(self, url: str, now: int = NOW, client: str = CLIENT) -> str:
        """``served``, or the code of the refusal."""
        try:
            verify(url, client, now, self.keys)
        except Refused as refused:
            return refused.code
        return "served"

    def accepts(self, url: str, now: int = NOW) -> bool:
        return self.judge(url, now) == "served"

    def denies(self, url: str, now: int = NOW) -> bool:
        return self.judge(url, now) == "AccessDenied"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"))


def statement(resource: str | None = URL, **condition: Any) -> dict[str, Any]:
    limits = {"DateLessThan": {"AWS:EpochTime": NOW + 60}, **condition}
    return {**({"Resource": resource} if resource else {}), "Condition": limits}


@pytest.mark.parametrize("key_pair_id", ["KRSA", "KEC"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_a_url_signed_by_openssl_is_accepted(signer: Signer, key_pair_id: str, digest: str) -> None:
    assert signer.accepts(signer.canned(key_pair_id=key_pair_id, digest=digest))


def test_the_applications_own_parameters_are_part_of_what_is_signed(signer: Signer) -> None:
    url = signer.canned(f"{URL}?quality=high&n=1")
    assert signer.accepts(url)
    assert signer.denies(url.replace("n=1", "n=2"))
    assert signer.denies(f"{url}&extra=1")
    assert take_apart(url).resource == f"{URL}?quality=high&n=1"


def test_a_url_of_botocores_signer_is_accepted(signer: Signer) -> None:
    key = serialization.load_pem_private_key(signer.files["KRSA"].read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    botocore = CloudFrontSigner("KRSA", lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA1()))
    policy = json.dumps({"Statement": [statement("https://cdn.example/audio/*")]})
    assert signer.accepts(botocore.generate_presigned_url(URL, policy=policy))


def test_it_is_valid_until_just_before_it_expires(signer: Signer) -> None:
    url = signer.canned(expires=NOW + 60)
    assert signer.accepts(url, now=NOW + 59)
    assert signer.denies(url, now=NOW + 60)


ALTERATIONS: dict[str, Callable[[str], str]] = {
    "another path": lambda url: url.replace("one.m4a", "two.m4a"),
    "another host": lambda url: url.replace("cdn.example", "cdn.other"),
    "another scheme": lambda url: url.replace("https://", "http://"),
    "a later expiry": lambda url: url.replace(str(NOW + 60), str(NOW + 61)),
    "another signature": lambda url: url.replace("Signature=", "Signature=AAAA"),
    "no signature": lambda url: url.replace("Signature=", "Sign="),
    "no expiry": lambda url: url.replace("Expires=", "Expiry="),
    "two expiries": lambda url: f"{url}&Expires={NOW + 60}",
    "a policy beside the expiry": lambda url: f"{url}&Policy=e30_",
    "an unknown hash": lambda url: f"{url}&Hash-Algorithm=MD5",
    "another hash than was signed": lambda url: f"{url}&Hash-Algorithm=SHA256",
    "the key of another pair": lambda url: url.replace("KRSA", "KEC"),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_url_is_refused(signer: Signer, alteration: str) -> None:
    assert signer.denies(ALTERATIONS[alteration](signer.canned()))


@pytest.mark.parametrize(
    "change,code",
    [
        (lambda url: URL, "MissingKey"),
        (lambda url: url.replace("Key-Pair-Id", "Key"), "MissingKey"),
        (lambda url: url.replace("KRSA", "KNONE"), "InvalidKey"),
        (lambda url: url.replace("Signature=", "Signature=%2B"), "MalformedSignature"),
        (lambda url: url.replace("Signature=", "Signature=A"), "MalformedSignature"),
        (lambda url: url.replace("Expires=", "Expires=-"), "MalformedPolicy"),
    ],
    ids=["unsigned", "no key id", "unknown key", "plain base64", "cut base64", "negative expiry"],
)
def test_what_is_not_well_formed_is_refused_by_name(signer: Signer, change: Callable[[str], str], code: str) -> None:
    assert signer.judge(change(signer.canned())) == code


@pytest.mark.parametrize(
    "pattern,fits",
    [
        (URL, True),
        ("https://cdn.example/audio/*", True),
        ("http*://cdn.example/*", True),
        ("https://cdn.example/audio/on?.m4a", True),
        ("*", True),
        (None, True),
        ("https://cdn.example/audio/?.m4a", False),
        ("https://cdn.example/video/*", False),
        ("https://cdnXexample/audio/*", False),
        ("https://cdn.example/audio/", False),
        ("https://cdn.example/audio/.*", False),
    ],
)
def test_a_policy_covers_what_its_pattern_fits(signer: Signer, pattern: str | None, fits: bool) -> None:
    assert signer.accepts(signer.custom(URL, statement(pattern))) is fits


def test_a_url_with_both_a_policy_and_an_expiry_is_refused(signer: Signer) -> None:
    assert signer.denies(f"{signer.custom(URL, statement())}&Expires={NOW + 60}")


def test_a_policy_can_begin_later_and_always_ends(signer: Signer) -> None:
    url = signer.custom(URL, statement(DateGreaterThan={"AWS:EpochTime": NOW + 10}))
    assert [signer.accepts(url, now=NOW + seconds) for seconds in (10, 11, 59, 60)] == [False, True, True, False]


@pytest.mark.parametrize(
    "network,allowed", [("203.0.113.0/24", True), ("203.0.113.7", True), ("203.0.113.8/32", False), ("0.0.0.0/0", True)]
)
def test_a_policy_can_be_for_one_network(signer: Signer, network: str, allowed: bool) -> None:
    url = signer.custom(URL, statement(IpAddress={"AWS:SourceIp": network}))
    assert signer.accepts(url) is allowed


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [statement(), statement()],
        ["text"],
        [{"Resource": URL}],
        [{"Resource": URL, "Condition": "DateLessThan"}],
        [{"Resource": URL, "Condition": {}}],
        [{"Resource": [URL], "Condition": {"DateLessThan": {"AWS:EpochTime": NOW + 60}}}],
        [{"Resource": URL, "Condition": {"DateLessThan": {"AWS:EpochTime": str(NOW + 60)}}}],
        [statement(IpAddress={"AWS:SourceIp": "somewhere"})],
    ],
)
def test_a_signed_policy_that_is_none_is_refused(signer: Signer, statements: list[Any]) -> None:
    assert signer.judge(signer.custom(URL, *statements)) == "MalformedPolicy"


def test_only_the_kinds_of_keys_that_cloudfront_takes_are_trusted() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="RSA-2048"):
        load_public_key(public_pem(small))


@pytest.mark.parametrize(
    "path,key",
    [("/a.m4a", "a.m4a"), ("/audio/a%20b.m4a", "audio/a b.m4a"), ("/%C3%A9/x", "é/x"), ("/a+b/~c", "a+b/~c")],
)
def test_a_path_names_a_key(path: str, key: str) -> None:
    assert object_key(path) == key


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "a",
        "//a",
        "/a//b",
        "/a/",
        "/../a",
        "/a/./b",
        "/a/%2e%2e/b",
        "/a%2fb",
        "/a%5Cb",
        "/a%00",
        "/%ff",
        "/%zz",
    ],
)
def test_a_path_in_any_other_spelling_is_refused(path: str) -> None:
    with pytest.raises(NotAnObjectPath):
        object_key(path)
