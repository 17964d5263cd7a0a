"""Hostile session tokens by name; each would be accepted by some verifier somewhere. The gateway refuses every one."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding

from embedded.session_tokens import base64url, rsa_jwk
from tests.support.token_forge import ABSENT, TokenForge, as_json, new_rsa_key, public_bytes

Forging = Callable[[TokenForge], str]

OTHER_KEY = new_rsa_key()
P256_KEY = ec.generate_private_key(ec.SECP256R1())
P384_KEY = ec.generate_private_key(ec.SECP384R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()


def _header(**changes: object) -> Forging:
    return lambda forge: forge.token(changes)


def _claims(**changes: object) -> Forging:
    return lambda forge: forge.token(**changes)


def _at(**offsets: float) -> Forging:
    """Claims that are so many seconds from now."""
    return lambda forge: forge.token(**{name: int(time.time() + offset) for name, offset in offsets.items()})


def _raw(header: bytes | None = None, payload: bytes | None = None) -> Forging:
    def forging(forge: TokenForge) -> str:
        return forge.signed(header or as_json(forge.header()), payload or as_json(forge.claims()))

    return forging


def _hmac(secret: Callable[[TokenForge], bytes]) -> Forging:
    def forging(forge: TokenForge) -> str:
        header, payload = as_json(forge.header(alg="HS256")), as_json(forge.claims())
        return forge.signed(header, payload, lambda message: hmac.digest(secret(forge), message, hashlib.sha256))

    return forging


def _unsigned(algorithm: object) -> Forging:
    def forging(forge: TokenForge) -> str:
        return f"{base64url(as_json(forge.header(alg=algorithm)))}.{base64url(as_json(forge.claims()))}."

    return forging


def _rsa_with(algorithm: str, digest: hashes.HashAlgorithm, *, pss: bool = False) -> Forging:
    def forging(forge: TokenForge) -> str:
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size) if pss else padding.PKCS1v15()
        header, payload = as_json(forge.header(alg=algorithm)), as_json(forge.claims())
        return forge.signed(header, payload, lambda message: forge.key.sign(message, scheme, digest))

    return forging


def _zeros(algorithm: str, length: int) -> Forging:
    def forging(forge: TokenForge) -> str:
        header = as_json(forge.header(alg=algorithm))
        return forge.signed(header, as_json(forge.claims()), lambda message: bytes(length))

    return forging


def _respelled(change: Callable[[str], str]) -> Forging:
    def forging(forge: TokenForge) -> str:
        content, signature = forge.token().rsplit(".", 1)
        return f"{content}.{change(signature)}"

    return forging


def _next_in_alphabet(signature: str) -> str:
    """The same bytes spelled with other padding bits: 256 bytes leave four unused bits in the last character."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return signature[:-1] + alphabet[alphabet.index(signature[-1]) + 1]


def _payload_with(member: str) -> Forging:
    """The genuine payload with a member written before its end, for JSON no serialiser would write."""
    return lambda forge: _raw(payload=as_json(forge.claims())[:-1] + f",{member}}}".encode())(forge)


def _replaced(name: str, spelled: str) -> Forging:
    """The genuine payload with the value of one claim spelled out."""

    def forging(forge: TokenForge) -> str:
        payload = as_json(forge.claims(**{name: ABSENT}))[:-1] + f',"{name}":{spelled}}}'.encode()
        return forge.signed(as_json(forge.header()), payload)

    return forging


def _swapped_payload(forge: TokenForge) -> str:
    header, _, signature = forge.token().split(".")
    return f"{header}.{base64url(as_json(forge.claims(sub='user_victim')))}.{signature}"


def _borrowed_signature(forge: TokenForge) -> str:
    content, _ = forge.token().rsplit(".", 1)
    _, signature = forge.token().rsplit(".", 1)
    return f"{content}.{signature}"


def _cut(forge: TokenForge) -> str:
    return forge.token()[:-100]


def _own_key_in_header(forge: TokenForge) -> str:
    header = forge.header(jwk=rsa_jwk(OTHER_KEY, forge.kid))
    sign = TokenForge(forge.issuer, key=OTHER_KEY).rs256
    return forge.signed(as_json(header), as_json(forge.claims()), sign)


def _signed_by_another(**header: object) -> Forging:
    """Names the other key in the header and is signed by it."""

    def forging(forge: TokenForge) -> str:
        return TokenForge(forge.issuer, key=OTHER_KEY, kid=forge.kid).token(header)

    return forging


def _other_instance(forge: TokenForge) -> str:
    return TokenForge("https://other.clerk.accounts.dev", key=OTHER_KEY, kid=forge.kid).token()


def _same_key_other_issuer(forge: TokenForge) -> str:
    return forge.token(iss="https://other.clerk.accounts.dev")


def _prefix_issuer(forge: TokenForge) -> str:
    return forge.token(iss=forge.issuer[:-1])


def _listed_issuer(forge: TokenForge) -> str:
    return forge.token(iss=[forge.issuer])


def _slashed_issuer(forge: TokenForge) -> str:
    return forge.token(iss=f"{forge.issuer}/")


def _json_form(forge: TokenForge) -> str:
    protected, payload, signature = forge.token().split(".")
    return json.dumps({"payload": payload, "protected": protected, "signature": signature})


def _huge(forge: TokenForge) -> str:
    return forge.token(note="x" * 7000)


def _nested_header(forge: TokenForge) -> str:
    """Unsigned: it must be refused before anything is verified."""
    header = b'{"a":' + b"[" * 1000
    return f"{base64url(header)}.{base64url(as_json(forge.claims()))}.AAAA"


def _with_number(forge: TokenForge) -> bytes:
    return as_json(forge.header())[:-1] + b',"n":' + b"9" * 5000 + b"}"


def _deep_header(depth: int) -> Forging:
    return lambda forge: f"{base64url(b'[' * depth)}.{base64url(as_json(forge.claims()))}.AAAA"


HOSTILE: dict[str, Forging] = {
    **{f"A1 alg {name!r} without signature": _unsigned(name) for name in ("none", "None", "NONE", "nOnE", "")},
    "A1 alg none with a signature": _header(alg="none"),
    "A2 alg missing": _header(alg=ABSENT),
    "A2 alg null": _header(alg=None),
    "A2 alg list": _header(alg=["RS256"]),
    "A2 alg object": _header(alg={"RS256": 1}),
    **{f"A3 alg {part!r}": _header(alg=part) for part in ("RS", "256", "R", "S256", "RS256 ", "rs256", "RS256,HS256")},
    "A4 HMAC with the public PEM": _hmac(lambda forge: public_bytes(forge.key)),
    "A6 HMAC with the public DER": _hmac(lambda forge: public_bytes(forge.key, Encoding.DER)),
    "A6 HMAC with the JWK": _hmac(lambda forge: as_json(rsa_jwk(forge.key, forge.kid))),
    "A7 HMAC with an empty secret": _hmac(lambda forge: b""),
    "A5 HMAC named with our signature": _header(alg="HS256"),
    "A9 RS384": _rsa_with("RS384", hashes.SHA384()),
    "A9 RS512": _rsa_with("RS512", hashes.SHA512()),
    "A9 PS256": _rsa_with("PS256", hashes.SHA256(), pss=True),
    "A9 EdDSA named": _header(alg="EdDSA"),
    "A10 ES256 with a foreign key": lambda forge: forge.signed(
        as_json(forge.header(alg="ES256")),
        as_json(forge.claims()),
        lambda message: P384_KEY.sign(message, ec.ECDSA(hashes.SHA256())),
    ),
    "A9 EdDSA": lambda forge: forge.signed(
        as_json(forge.header(alg="EdDSA")), as_json(forge.claims()), ED25519_KEY.sign
    ),
    "A10 ES256 with a foreign key of the right curve": lambda forge: forge.signed(
        as_json(forge.header(alg="ES256")),
        as_json(forge.claims()),
        lambda message: P256_KEY.sign(message, ec.ECDSA(hashes.SHA256())),
    ),
    "A11 psychic signature": lambda forge: forge.signed(
        as_json(forge.header(alg="ES256")), as_json(forge.claims()), lambda message: bytes(64)
    ),
    **{f"A11 {length} zero bytes under ES256": _zeros("ES256", length) for length in (1, 63, 65)},
    "A11 zero signature": lambda forge: forge.signed(
        as_json(forge.header()), as_json(forge.claims()), lambda message: bytes(256)
    ),
    "A16 encrypted form": lambda forge: forge.token() + ".AAAA.AAAA",
    "A16 encryption named": _header(enc="A256GCM", alg="RSA-OAEP"),
    "A16 encryption beside a signature": _header(enc="A256GCM"),
    "B1 kid walks the file system": _header(kid="../../../../dev/null"),
    "B1 kid is SQL": _header(kid="x' UNION SELECT 'key"),
    "B1 kid is a list": _header(kid=["ins_2forge"]),
    "B1 kid is a number": _header(kid=1),
    "B1 kid of 2 KB": _header(kid="k" * 2048),
    "B1 kid of 10 KB": _header(kid="k" * 10240),
    "B1 kid empty": _header(kid=""),
    "B1 kid null": _header(kid=None),
    "B1 kid with a newline": _header(kid="ins_2forge\n"),
    "B2 kid unknown": _header(kid="ins_2unknown"),
    "B2 kid missing": _header(kid=ABSENT),
    "B2 kid in another case": _header(kid="INS_2FORGE"),
    "B7 jku": _header(jku="https://attacker.example/jwks.json"),
    "B7 x5u": _header(x5u="https://attacker.example/cert.pem"),
    "B7 x5c": _header(x5c=["AAAA"]),
    "B7 own jwk": _own_key_in_header,
    "B7 our jwk": lambda forge: forge.token({"jwk": rsa_jwk(forge.key, forge.kid)}),
    "B7 jku signed by its owner": _signed_by_another(jku="https://attacker.example/jwks.json"),
    "B7 x5u signed by its owner": _signed_by_another(x5u="https://attacker.example/cert.pem"),
    "B7 jku empty": _header(jku=""),
    "B7 jwk null": _header(jwk=None),
    "B8 crit": _header(crit=["exp"]),
    "B8 crit empty": _header(crit=[]),
    "B8 crit of nobody's": _header(crit=["x"]),
    "B8 crit null": _header(crit=None),
    "B9 b64": _header(b64=False),
    "B9 b64 said to be critical": _header(crit=["b64"], b64=False),
    "B9 b64 true": _header(b64=True),
    "B9 zip": _header(zip="DEF"),
    "B10 alg twice": lambda forge: _raw(header=b'{"alg":"none",' + as_json(forge.header())[1:])(forge),
    "B10 sub twice": _payload_with('"sub":"user_victim"'),
    "B10 iss twice": _payload_with('"iss":"https://other.clerk.accounts.dev"'),
    "B10 a member twice, deep inside": _payload_with('"metadata":{"a":1,"a":2}'),
    "B11 typ of OAuth access tokens": _header(typ="at+jwt"),
    "B11 typ number": _header(typ=123),
    "B11 typ in lower case": _header(typ="jwt"),
    "B11 typ of OAuth access tokens, in full": _header(typ="application/at+jwt"),
    "B11 typ of our own internal tokens": _header(typ="entrain-internal+jwt"),
    "B11 typ missing": _header(typ=ABSENT),
    "B12 JWT template": _header(cat="cl_B7d4PD222AAA"),
    "B12 machine token": _header(cat="cl_B7d4PD333AAA"),
    "B12 cat is a list": _header(cat=["cl_B7d4PD111AAA"]),
    "B12 machine subject": _claims(sub="mch_2abc"),
    "B12 handshake": _claims(sub=ABSENT, sid=ABSENT, handshake=["__session=…"]),
    "B12 no session": _claims(sid=ABSENT),
    "B12 OAuth access token": lambda forge: forge.token({"typ": "at+jwt"}, sid=ABSENT, client_id="c", scope="profile"),
    "B12 category unknown": _header(cat="cl_B7d4PD444AAA"),
    "B12 category null and no session": lambda forge: forge.token({"cat": None}, sid=ABSENT),
    "B12 session of another kind": _claims(sid="client_2abc"),
    "B13 another instance": _other_instance,
    "B13 another issuer under our key": _same_key_other_issuer,
    "B15 header nested": _nested_header,
    "B15 header nested 3,000 deep": _deep_header(3000),
    "B15 header of objects in objects": _raw(header=b'{"a":' * 400 + b"1" + b"}" * 400),
    "B16 payload nested": _raw(payload=b'{"a":' + b"[" * 1500 + b"]" * 1500 + b"}"),
    "B17 header with a byte order mark": lambda forge: _raw(header=b"\xef\xbb\xbf" + as_json(forge.header()))(forge),
    "B17 header in UTF-16": lambda forge: _raw(header=json.dumps(forge.header()).encode("utf-16"))(forge),
    "B17 header with a huge number": lambda forge: _raw(header=_with_number(forge))(forge),
    "B17 header null": _raw(header=b"null"),
    "B17 header empty object": _raw(header=b"{}"),
    "B17 header with bytes after it": lambda forge: _raw(header=as_json(forge.header()) + b"{}")(forge),
    "B17 header not UTF-8": lambda forge: _raw(header=as_json(forge.header())[:-1] + b',"a":"\xff"}')(forge),
    "B17 header no JSON": _raw(header=b"RS256"),
    "B17 header a list": _raw(header=b"[]"),
    **{f"C1 {name} missing": _claims(**{name: ABSENT}) for name in ("exp", "iat", "nbf", "iss", "sub", "sid")},
    "C2 exp text": _claims(exp="9999999999"),
    "C2 exp other text": _claims(exp="abc"),
    "C2 exp empty text": _claims(exp=""),
    "C2 iat text": _claims(iat="0"),
    "C2 iat other text": _claims(iat="abc"),
    "C3 exp fraction": lambda forge: forge.token(exp=time.time() + 30.5),
    "C3 exp 1e10": _replaced("exp", "1e10"),
    "C3 exp 1e300": _replaced("exp", "1e300"),
    "C3 exp of 4,000 digits": _replaced("exp", "9" * 4000),
    "C3 a year": _at(exp=365 * 86400),
    "C4 exp null": _claims(exp=None),
    "C4 exp list": _claims(exp=[]),
    "C4 exp object": _claims(exp={}),
    **{f"C5 exp {spelled}": _replaced("exp", spelled) for spelled in ("Infinity", "-Infinity", "NaN", "1e999")},
    "C6 exp of 5,000 digits": _replaced("exp", "9" * 5000),
    "C6 exp zero": _claims(exp=0),
    "C6 exp negative": _claims(exp=-1),
    "C7 at the end of the leeway": _at(exp=-5, iat=-65, nbf=-75),
    "C6 expired": _at(exp=-6, iat=-66, nbf=-76),
    "C8 exp true": _claims(exp=True),
    "C8 nbf true": _claims(nbf=True),
    "C8 iat true": _claims(iat=True),
    "C9 not yet valid": _at(nbf=30),
    "C9 not yet valid, as text": _claims(nbf="9999999999"),
    "C10 nbf null": _claims(nbf=None),
    "C10 nbf list": _claims(nbf=[]),
    "C10 iat null": _claims(iat=None),
    "C10 iat list": _claims(iat=[]),
    "C11 issued in the future": _at(iat=30, exp=90),
    "C11 expires before it was issued": _at(iat=3, exp=2),
    "C12 iss prefix": _prefix_issuer,
    "C12 iss with a slash": _slashed_issuer,
    "C12 iss list": _listed_issuer,
    "C12 iss number": _claims(iss=1),
    "C12 iss null": _claims(iss=None),
    "C12 iss object": lambda forge: forge.token(iss={forge.issuer: True}),
    "C12 iss in capitals": lambda forge: forge.token(iss=forge.issuer.upper()),
    "C12 iss with a suffix": lambda forge: forge.token(iss=f"{forge.issuer}.attacker.example"),
    "C12 iss with a blank": lambda forge: forge.token(iss=f"{forge.issuer} "),
    "C13 azp null": _claims(azp=None),
    "C13 azp empty": _claims(azp=""),
    "C13 azp in another case": _claims(azp="https://APP.example.com"),
    "C13 azp with a slash": _claims(azp="https://app.example.com/"),
    "C12 iss empty": _claims(iss=""),
    **{f"C16 sub {value!r}": _claims(sub=value) for value in (1, ["user_2abc"], {"id": "user_2abc"}, None)},
    "C17 sub empty": _claims(sub=""),
    "C17 sub of another kind": _claims(sub="00000000-0000-0000-0000-000000000000"),
    "C18 sub with NUL": _claims(sub="user_a\0b"),
    "C18 sub with CRLF": _claims(sub="user_a\r\nX-User-Id: user_b"),
    "C18 sub with a newline at its end": _claims(sub="user_a\n"),
    "C18 sub with a look-alike": _claims(sub="user_\u0430dmin"),
    "C18 sub with a lone surrogate": _replaced("sub", '"user_\\ud800"'),
    "C18 sub of 5 KB": _claims(sub="user_" + "a" * 5000),
    "C21 session pending": _claims(sts="pending"),
    "C21 status unknown": _claims(sts=["active"]),
    "C22 impersonation without a name": _claims(act={"iss": "x"}),
    "C22 impersonation as text": _claims(act="user_admin"),
    "C24 payload empty": _raw(payload=b"{}"),
    "C24 payload number": _raw(payload=b"1"),
    "C24 payload list": _raw(payload=b"[]"),
    "C24 payload text": _raw(payload=b'"user_2abc"'),
    "C24 payload null": _raw(payload=b"null"),
    "C24 payload no JSON": _raw(payload=b"user_2abc"),
    "D1 one part": lambda forge: base64url(as_json(forge.claims())),
    "D1 two parts": lambda forge: forge.token().rsplit(".", 1)[0],
    "D1 four parts": lambda forge: forge.token() + ".AAAA",
    "D1 five parts, all empty but one": lambda forge: "....A",
    "D1 dots around": lambda forge: f".{forge.token()}.",
    "D1 the JSON form": _json_form,
    "D1 dots only": lambda forge: "..",
    "D2 padded": _respelled(lambda signature: signature + "=="),
    "D2 padded once": _respelled(lambda signature: signature + "="),
    "D2 padded twice over": _respelled(lambda signature: signature + "===="),
    "D2 junk at the end": _respelled(lambda signature: signature + "!!!!"),
    "D2 one junk byte": _respelled(lambda signature: signature[:8] + "!" + signature[8:]),
    "D2 lines": _respelled(lambda signature: signature[:64] + "%0A" + signature[64:]),
    "D2 one character more": _respelled(lambda signature: signature + "A"),
    "D2 header padded": lambda forge: forge.token().replace(".", "=.", 1),
    "D2 other alphabet": _respelled(lambda signature: signature.replace("-", "+").replace("_", "/") + "+"),
    "D2 last character": _respelled(_next_in_alphabet),
    "D2 junk inside": _respelled(lambda signature: signature[:8] + "!!!!" + signature[8:]),
    "D3 signature cut": _cut,
    "D3 signature one character short": lambda forge: forge.token()[:-1],
    "D3 signature left out": lambda forge: forge.token().rsplit(".", 1)[0] + ".",
    "D3 signature of another token": _borrowed_signature,
    "D3 payload swapped": _swapped_payload,
    "D3 signed by another key": lambda forge: TokenForge(forge.issuer, key=OTHER_KEY, kid=forge.kid).token(),
    "D4 outside ASCII": lambda forge: forge.token() + "\u00e9",
    "D4 a blank inside the payload": lambda forge: forge.token().replace(".", ". ", 1),
    "D4 a blank in front": lambda forge: " " + forge.token(),
    "D4 a tab behind": lambda forge: forge.token() + "\tx",
    "D5 a lone surrogate's bytes": lambda forge: forge.token() + "\udced\udca0\udc80",
    "D6 garbage of 15 KB": lambda forge: "A" * 5000 + "." + "A" * 5000 + "." + "A" * 5000,
    "D7 dots": lambda forge: "." * 15_000,
    "D6 larger than any session token": _huge,
}
